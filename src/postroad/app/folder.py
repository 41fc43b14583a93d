"""The data folder: made, owned, locked.

The folder itself and run/ may be passed through by everybody (0711), because run/submit.sock is for all
users of the machine; nothing can be listed, every other folder in it is 0700 and every file 0600.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import time
from pathlib import Path

from postroad.app.errors import TRY_AGAIN, CannotServe

_PASSABLE = 0o711
_OURS = 0o700
_LOCK = "server.lock"
_TRIES = 5
_TRY_S = 0.05


def prepare(data: Path, user: str = "") -> None:
    """Make the data folder with what must be in it. As root, give it to `user`. Raises CannotServe."""
    try:
        _make(data, _PASSABLE)
        for name, mode in (("run", _PASSABLE), ("keys", _OURS), ("queue", _OURS), ("mail", _OURS), ("ledger", _OURS)):
            _make(data / name, mode)
        if user and os.geteuid() == 0:
            _give(data, user)
    except OSError as error:
        raise CannotServe(
            f"{error.filename or data}: {error.strerror}; the data folder must be ours to write"
        ) from None


def _make(folder: Path, mode: int) -> None:
    folder.mkdir(mode=_OURS, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_mode & 0o777 != mode and facts.st_uid == os.geteuid():
        folder.chmod(mode)


def _give(data: Path, user: str) -> None:
    """What root has made there so far: the folder, and what is below every entry that is root's."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CannotServe(f'processes.user: there is no user "{user}" on this machine') from None
    for path in (data, *data.iterdir()):
        if path.lstat().st_uid != 0:
            continue
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        if path != data and path.is_dir() and not path.is_symlink():
            for folder, folders, files in os.walk(path):
                for name in (*folders, *files):
                    os.chown(os.path.join(folder, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)


class FolderLock:
    """One server on one data folder: `flock` on run/server.lock, freed by the kernel when we die."""

    def __init__(self, data: Path) -> None:
        """Take it. Raises CannotServe (75) when another server has it."""
        path = data / "run" / _LOCK
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._taken():
            pid = _pid(self._handle)
            os.close(self._handle)
            raise _served(data, pid)
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def _taken(self) -> bool:
        # A command that only asks whether a server runs holds the lock for an instant (`server_pid`).
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(_TRY_S)
        return False

    def release(self) -> None:
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def server_pid(data: Path) -> int | None:
    """The process that serves this data folder; None when nobody does, 0 when it is not known which.

    Raises PermissionError where we may not look."""
    try:
        handle = os.open(data / "run" / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(handle)
    finally:
        os.close(handle)
    return None


def refuse_if_served(data: Path) -> None:
    """Raises CannotServe (75) when a server runs on this folder: said before its ports are found taken."""
    pid = server_pid(data)
    if pid is not None:
        raise _served(data, pid)


def _pid(handle: int) -> int:
    text = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else 0


def _served(data: Path, pid: int) -> CannotServe:
    return CannotServe(
        f"another server (process {pid or 'unknown'}) serves {data}; stop it first, or give this one a data folder "
        "of its own",
        TRY_AGAIN,
    )
