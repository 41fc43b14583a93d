"""How much room is left where the mail is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from postroad.vocabulary.limits import DISK_LOOK_S


class Disk:
    """The file system that `folder` is on. Asked at every MAIL, so the answer is kept for DISK_LOOK_S."""

    def __init__(self, folder: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._looked_at = -DISK_LOOK_S
        self._free_bytes = 0

    def free_bytes(self) -> int:
        """What a process without privileges may still write. Raises OSError if the folder cannot be asked."""
        now = self._monotonic()
        if now - self._looked_at >= DISK_LOOK_S:
            facts = os.statvfs(self._folder)
            self._free_bytes = facts.f_bavail * facts.f_frsize
            self._looked_at = now
        return self._free_bytes
