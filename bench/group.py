"""What all processes of a server cost together: a control group of the kernel where we may make one, /proc elsewhere.

A process that nobody waits for (exim's deliveries) takes its figures along when it ends: only a group still has them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from bench.processes import pss_kib, pss_kib_of, wait_until
from postroad.app.bench_machine import cpu_s, tree

_numbers = itertools.count()


class Group:
    """Processes that are started within `joined` belong to it, and all that they start."""

    def __init__(self, folder: Path | None, home: Path) -> None:
        self._folder = folder
        self._home = home
        self._root = 0

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        if self._folder is None:
            yield
            return
        _move_here(self._folder)
        try:
            yield
        finally:
            _move_here(self._home)

    def watch(self, root: int) -> None:
        """The process whose descendants are looked at where there is no control group."""
        self._root = root

    def cpu_s(self) -> float:
        if self._folder is None:
            return cpu_s(self._root)
        fields = dict(line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def memory_mib(self) -> float:
        """Proportional set size: memory that processes share counts once."""
        if self._folder is None:
            return pss_kib(self._root) / 1024
        return pss_kib_of([int(pid) for pid in (self._folder / "cgroup.procs").read_text().split()]) / 1024

    def processes(self) -> int:
        if self._folder is None:
            return len(tree(self._root))
        return len((self._folder / "cgroup.procs").read_text().split())

    def close(self) -> None:
        if self._folder is not None:
            wait_until(lambda: not self.processes(), "the end of all processes of a server", 30)
            self._folder.rmdir()


@contextlib.contextmanager
def group() -> Iterator[Group]:
    home = _own_group()
    folder: Path | None = None
    if home is not None:
        folder = home / f"postroad-bench-{os.getpid()}-{next(_numbers)}"
        try:
            folder.mkdir()
            _move_here(folder)  # whether we may
            _move_here(home)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            folder = None
    made = Group(folder, home or Path())
    yield made
    made.close()


def _own_group() -> Path | None:
    """The group that this process is in, of the second version; None where there are none."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::") and places:
            return places[0] / line[3:].strip().lstrip("/")
    return None


def _move_here(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))
