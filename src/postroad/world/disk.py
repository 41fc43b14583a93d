"""How much room is left where the mail is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from postroad.vocabulary.limits import DISK_LOOK_S, DISK_RESERVE_FILES


class Disk:
    """The file system that `folder` is on. Asked at every MAIL, so the answer is kept for DISK_LOOK_S."""

    def __init__(self, folder: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._looked_at = -DISK_LOOK_S
        self._free_bytes = 0
        self._has_files = True

    def free_bytes(self) -> int:
        """What a process without privileges may still write. Raises OSError if the folder cannot be asked."""
        self._look()
        return self._free_bytes

    def room_bytes(self) -> int:
        """The same, but 0 where hardly any file could be made any more, however many octets are free."""
        self._look()
        return self._free_bytes if self._has_files else 0

    def _look(self) -> None:
        now = self._monotonic()
        if now - self._looked_at >= DISK_LOOK_S:
            facts = os.statvfs(self._folder)
            self._free_bytes = facts.f_bavail * facts.f_frsize
            # Some file systems have no fixed number of files, and say 0.
            self._has_files = not facts.f_files or facts.f_favail >= DISK_RESERVE_FILES
            self._looked_at = now
