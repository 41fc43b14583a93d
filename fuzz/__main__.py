"""python -m fuzz [TARGET ...] [--minutes M]: look for octets that break what must always hold.

The time is for all targets together, JOBS of them at once. What was found is kept in the corpus folder, so that a
later run begins where this one ended; an input that breaks something is written to its folder `broken`, and the exit
status is 1. `python -m fuzz --again FILE TARGET` shows it once more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import TARGETS

_CORPUS = Path(__file__).resolve().parent.parent / ".fuzz"
_INPUT_BYTES = 8192
_MEMORY_MIB = 1024
_INPUT_S = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__, formatter_class=_RAW)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of them together (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once (default %(default)s)")
    parser.add_argument("--corpus", type=Path, default=_CORPUS, help="where finds are kept (default %(default)s)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run the target on this input alone")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    unknown = set(names) - set(TARGETS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(TARGETS)}")
    if options.again:
        TARGETS[names[0]].check(options.again.read_bytes())
        return 0
    seconds = max(2.0, options.minutes * 60 * options.jobs / len(names))
    begin = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        good = list(pool.map(lambda name: fuzz(name, seconds, options.corpus), names))
    broken = [name for name, is_good in zip(names, good, strict=True) if not is_good]
    print(f"{len(names)} targets, {time.monotonic() - begin:.0f} s, broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


_RAW = argparse.RawDescriptionHelpFormatter


def fuzz(name: str, seconds: float, corpus: Path) -> bool:
    """One target for so long; whether all went well. Says what came of it."""
    folder, broken = corpus / name, corpus / "broken"
    folder.mkdir(parents=True, exist_ok=True)
    broken.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (folder / f"seed-{number:03d}").write_bytes(seed)
    words = corpus / f"{name}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in TARGETS[name].words))
    command = [sys.executable, "-m", "fuzz.one", name, str(folder), *_options(seconds, words, broken / f"{name}-")]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    lines = done.stdout.splitlines()
    summary = next((line for line in reversed(lines) if line.startswith("Done ")), "stopped before its time")
    print(f"{name:13} {summary}", flush=True)
    if done.returncode:
        print("\n".join(lines[-60:]), flush=True)
    return done.returncode == 0


def _options(seconds: float, words: Path, found: Path) -> Sequence[str]:
    return (
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={_INPUT_BYTES}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-timeout={_INPUT_S}",
        f"-dict={words}",
        f"-artifact_prefix={found}",
        "-print_final_stats=0",
    )


def _escaped(word: bytes) -> str:
    return "".join(chr(o) if 32 <= o < 127 and o not in (34, 92) else f"\\x{o:02x}" for o in word)


if __name__ == "__main__":
    sys.exit(main())
