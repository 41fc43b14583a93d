"""Where `postroad`, `postroad-sendmail` and `python -m postroad.cli` begin: the commands meet the wiring here."""

from __future__ import annotations

import sys
from pathlib import Path

from postroad.cli.application import postroad, run
from postroad.cli.house import House


def _house(configuration: Path | None) -> House:
    from postroad.app.house import TheHouse

    return TheHouse(configuration)


def main() -> None:
    sys.exit(run(postroad, _house))


def sendmail_main() -> None:
    """`postroad-sendmail ...` is `postroad sendmail ...`, for programs that call sendmail by its path."""
    sys.exit(run(postroad, _house, ["sendmail", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
