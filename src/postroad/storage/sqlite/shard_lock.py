"""Who owns a shard: `flock` on a file beside the database. A process that dies gives it back by dying."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.database import make_folder, translating


class ShardLock:
    """Held from construction until `release`. Raises StoreUnavailable when somebody else holds it.

    The lock is on a file of its own: opening and closing the database itself would lose SQLite's locks.
    """

    def __init__(self, path: Path) -> None:
        with translating(str(path)):
            make_folder(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._descriptor)
                raise StoreUnavailable(
                    f"{path}: another process owns this part of the queue. Is Postroad running already?"
                ) from None
            except OSError:
                os.close(self._descriptor)
                raise

    def release(self) -> None:
        """Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
