"""A disk that fails when a test asks it to: a file layer for SQLite between it and the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw


class FailingDisk(apsw.VFS):
    """`syncs_to_fail` counts the next syncs of the write-ahead log that fail; `opens_to_fail` the same for opening."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.syncs_to_fail = 0
        self.opens_to_fail = 0
        self.syncs = 0
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if flags[0] & apsw.SQLITE_OPEN_MAIN_DB and self.opens_to_fail:
            self.opens_to_fail -= 1
            raise apsw.CantOpenError("the disk does not answer")
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        if self._is_log:
            self._disk.syncs += 1
            if self._disk.syncs_to_fail:
                self._disk.syncs_to_fail -= 1
                raise apsw.IOError("the disk lost what was written")
        super().xSync(flags)


@contextmanager
def failing_disk(name: str) -> Iterator[FailingDisk]:
    disk = FailingDisk(name)
    try:
        yield disk
    finally:
        disk.unregister()
