"""The exclusive hold on a maildrop (RFC 1939 section 4), freed by the kernel when its process dies.

It is `flock` on mail/locks/<account id>.lock. The lock belongs to the open file, so two sessions of one
process exclude each other as two processes do. A file may be unlinked when its account goes; whoever has
locked a file that no longer bears the name tries again on the new one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from postroad.contracts.errors import MaildropLocked

_TRIES = 5
"""The name changes hands only when the account is removed: once is likely enough."""


class MaildropLock:
    def __init__(self, path: Path) -> None:
        """Take the lock. Raises MaildropLocked at once when another has it, and OSError."""
        for _ in range(_TRIES):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_named(handle, path):
                    self._handle = handle
                    return
            except BlockingIOError:
                os.close(handle)
                break
            except OSError:
                os.close(handle)
                raise
            os.close(handle)
        raise MaildropLocked(f"{path.name}: another session reads this mailbox")

    def release(self) -> None:
        os.close(self._handle)


def _is_named(handle: int, path: Path) -> bool:
    """Whether the open file is still the one that bears the name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
