"""python -m faults [FAULT ...]: break running servers on purpose, and count their mail.

Every letter has a token. One whose client saw a 250 must be in its mailbox or at the other server, or have been
returned, or still be in the queue; else it is lost. One that is there twice is a duplicate, and an unavoidable one only
where the other server's 250 was lost on its way, or the process that was to note it died first (RFC 5321 section 6.1,
RFC 1047). The exit status is 1 when a letter was lost or doubled without need. All of it takes about a quarter of
an hour.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults.count import HEAD, Row
from faults.lab import FAULTS, Fault
from faults.shim import CannotBeBuilt, build

_PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- make faults writes this table: ARGS=--write -->", "<!-- end of the table -->"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all without")
    parser.add_argument("--every", type=int, default=1, help="break each so many-th call only (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="faults at once, each with a server of its own")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    parser.add_argument("--folder", type=Path, help="keep the servers' folders and logs here")
    options = parser.parse_args()
    unknown = set(options.faults) - set(FAULTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(FAULTS)}")
    chosen = [FAULTS[name] for name in options.faults or FAULTS]
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            rows, failed = run(chosen, folder, build(folder), options.every, options.jobs)
        except CannotBeBuilt as error:
            print(error, file=sys.stderr)
            return 69
    table = markdown(rows)
    print(f"\n{table}")
    if failed:
        print(f"could not be counted: {'; '.join(failed)}", file=sys.stderr)
    elif options.write:
        write(table)
    return 0 if not failed and all(row.is_good for row in rows) else 1


def run(faults: Sequence[Fault], folder: Path, library: Path, every: int, jobs: int = 1) -> tuple[list[Row], list[str]]:
    """The rows, and what could not be counted because a server did not come to rest. Prints as it goes."""
    failed: list[str] = []

    def play(number: int, fault: Fault) -> Row | None:
        began = time.monotonic()
        try:
            row, said = fault(folder / f"{number:02d}", library, every)
        except Exception as error:  # one fault that cannot be played must not hide what the others show
            failed.append(f"{type(error).__name__}: {error}".splitlines()[0])
            print(f"broken off: {type(error).__name__}: {error}", flush=True)
            return None
        print(f"{_shown(row)} ({said}; {time.monotonic() - began:.0f} s)", flush=True)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        rows = [row for row in pool.map(play, range(len(faults)), faults) if row is not None]
    return rows, failed


def _shown(row: Row) -> str:
    numbers = ", ".join(f"{head} {cell}" for head, cell in zip(HEAD[1:], row.cells()[1:], strict=True))
    lost = f"; LOST {', '.join(row.lost)}" if row.lost else ""
    doubled = f"; DOUBLED {', '.join(row.doubled)}" if row.doubled else ""
    return f"{row.fault}: {numbers}{lost}{doubled}"


def markdown(rows: Sequence[Row]) -> str:
    lines = [HEAD, tuple("---" for _ in HEAD), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def write(table: str, page: Path = _PAGE) -> None:
    """Between the two marks of the page."""
    before, _, rest = page.read_text().partition(f"{BEGIN}\n")
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
