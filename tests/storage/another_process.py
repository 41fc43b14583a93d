"""Another process that works on the same data, for tests of what two processes do to each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def another_process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program with the arguments; it is killed at the end if it has not ended itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        kill(process)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def kill(process: subprocess.Popen[str]) -> None:
    """End it as a power cut would, and wait until it is gone."""
    process.kill()
    process.wait()


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """What it prints, line by line as it comes."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.strip()
