"""What this machine can do, and what processes on it have cost, as Linux tells it in /proc."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_BLOCK = b"x" * 4096


def fdatasyncs_per_second(seconds: float = 1.0) -> float:
    """How often the disk of temporary files makes 4 KiB durable: the limit of a server that syncs each message."""
    with tempfile.NamedTemporaryFile() as file:
        count, begin = 0, time.monotonic()
        while time.monotonic() - begin < seconds:
            os.write(file.fileno(), _BLOCK)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.monotonic() - begin)


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_s(root: int) -> float:
    """Processor time of the tree so far, with that of children that ended and were waited for.

    stat counts hundredths of a second and drops what is less: with a hundred processes that is most of it. Where the
    kernel tells nanoseconds of each thread, the larger of both is right: a thread that ended is in stat alone."""
    total = 0.0
    for pid in tree(root):
        fields = _stat(pid)
        if fields:
            own, ended = (sum(int(field) for field in fields[n : n + 2]) / _TICKS for n in (11, 13))
            total += max(own, _of_threads_s(pid)) + ended
    return total


def _of_threads_s(pid: int) -> float:
    nanoseconds = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0.0
    return nanoseconds / 1e9


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (the third); none when it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
