"""Opening SQLite files: one place that knows their settings, their formats and their errors.

Every store opens its files here, and only through apsw: a live database that is opened and closed by plain
file I/O in the same process loses SQLite's locks. `journal_mode=WAL` with `synchronous=FULL` makes a commit
one sync of the log; the log is carried over into the file by a second connection (`commit.py`), never
inside a commit.

The SQL of a kind of file stands in a folder of its own: `NNNN_what_it_does.sql` brings a file of version
NNNN - 1 to version NNNN (`upgrade.py`), and 0001 an empty one to version 1. A file is never edited once it was
released.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import apsw

from postroad.contracts.errors import StoreDamaged, StoreFull, StoreUnavailable
from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.upgrade import bring_up_to_date
from postroad.vocabulary.limits import DATABASE_BUSY_AGAIN_S, DATABASE_BUSY_S, INTEGRITY_COMPLAINTS, WAL_KEPT_BYTES

SQLITE_OLDEST = (3, 51, 3)
"""Older ones can damage a file when one connection writes while another resets the log."""

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class DatabaseKind:
    """What a file holds. `name` is for people; `application_id` is written into the file's header, so that
    no file is taken for one of another kind; `sql` is the folder with the migrations."""

    name: str
    application_id: int
    sql: Traversable
    page_size: int = 4096
    cache_kib: int = 16_384

    def migrations(self) -> dict[int, str]:
        """The SQL of each migration by its number; they count from 1 without a gap."""
        found = ((_MIGRATION.fullmatch(file.name), file) for file in self.sql.iterdir())
        return {int(match[1]): file.read_text("utf-8") for match, file in found if match}


def sql_folder(name: str) -> Traversable:
    """The folder of SQL files `name` beside this module, wherever the package is installed."""
    return files("postroad.storage.sqlite").joinpath(name)


def make_folder(path: Path) -> None:
    """Make the folder, and those above it, for us alone (0700)."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        sync_folder(folder.parent)


def translated(error: apsw.Error | OSError, name: str, system_errno: int = 0) -> StoreUnavailable:
    """A driver's or the system's error as what the contracts promise; `name` is the file's, for people.

    `system_errno` is the connection's, to tell a full disk from a broken one where SQLite does not.
    """
    if isinstance(error, OSError):
        system_errno = error.errno or 0
    # apsw.IOError is no OSError; SQLite says FULL for ENOSPC while writing, IOERR for the rest.
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError | OSError) and system_errno in _NO_ROOM):
        return StoreFull(f"{name}: no room left on the disk. Free some space; nothing was written.")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreDamaged(f"{name}: the file is damaged ({error}). Restore it from a backup.")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreUnavailable(f"{name}: another process kept it locked for {DATABASE_BUSY_S:.0f} s.")
    return StoreUnavailable(f"{name}: {error}")


@contextmanager
def translating(name: str) -> Iterator[None]:
    """Raise StoreFull or StoreUnavailable for what the driver or the system raises inside. Not for hot paths."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise translated(error, name) from error


def is_suspect(error: apsw.Error) -> bool:
    """Whether the connection must not be used any more: a failed sync says nothing true when it is asked again."""
    return isinstance(
        error, apsw.IOError | apsw.CorruptError | apsw.NotADBError | apsw.CantOpenError | apsw.MisuseError
    )


def open_database(path: Path, kind: DatabaseKind, *, vfs: str | None = None) -> apsw.Connection:
    """Open the file, make it if it is missing, bring it to the present version.

    File modes are 0600, those of folders 0700. Checkpoints are left to the caller (`commit.CommitEngine`).
    `vfs` is SQLite's file layer; the tests give one that fails when they ask it to. Blocks.

    Raises StoreFull, StoreUnavailable: not to be opened, damaged, of another kind, or of a newer Postroad.
    """
    if sqlite_version() < SQLITE_OLDEST:
        raise StoreUnavailable(
            f"SQLite {apsw.sqlite_lib_version()} can lose data; 3.51.3 or later is needed. Install a newer apsw."
        )
    with translating(str(path)):
        _make_file(path)
        connection = apsw.Connection(os.fspath(path), vfs=vfs)
        try:
            _prepare(connection, path, kind)
        except BaseException:
            connection.close()
            raise
    return connection


def close_database(connection: apsw.Connection) -> None:
    """Close it with whatever is open on it. Does not raise: it is closed all the same, and what the last one out
    could not carry over from the log the next to open will."""
    try:
        connection.close(True)
    except apsw.Error:
        pass


def _prepare(connection: apsw.Connection, path: Path, kind: DatabaseKind) -> None:
    """SQLite does not wait, whatever its time-out, where two connections switch a new file to the log, or one
    opens it while the last other one closes it. So we wait here, as long in all as it would."""
    give_up_at = time.monotonic() + DATABASE_BUSY_S
    while True:
        try:
            _configure(connection, kind)
            bring_up_to_date(
                connection, path, name=kind.name, application_id=kind.application_id, migrations=kind.migrations()
            )
        except apsw.BusyError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(DATABASE_BUSY_AGAIN_S)
        else:
            return


def sqlite_version() -> tuple[int, ...]:
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def _make_file(path: Path) -> None:
    """An empty file of the right mode. Nobody can have it open yet, so the plain close drops no locks;
    the log and its index take their modes from it."""
    if path.exists():
        return
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _FILE_MODE)
    except FileExistsError:
        return
    os.close(descriptor)
    sync_folder(path.parent)


def _configure(connection: apsw.Connection, kind: DatabaseKind) -> None:
    connection.set_busy_timeout(int(DATABASE_BUSY_S * 1000))
    connection.wal_autocheckpoint(0)
    # Before the first page is written: afterwards it has no effect.
    connection.pragma("page_size", kind.page_size)
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreUnavailable(f"{connection.filename}: this file system cannot hold a write-ahead log ({mode}).")
    for name, value in (
        ("synchronous", "full"),
        ("foreign_keys", "off"),
        ("trusted_schema", "off"),
        ("cell_size_check", "on"),
        ("mmap_size", 0),
        ("temp_store", "memory"),
        ("cache_size", -kind.cache_kib),
        ("journal_size_limit", WAL_KEPT_BYTES),
    ):
        connection.pragma(name, value)


def integrity_complaints(connection: apsw.Connection) -> tuple[str, ...]:
    """What SQLite finds wrong with the file, at most INTEGRITY_COMPLAINTS lines; empty when it is sound.
    Reads the whole file: minutes for a large one. Raises apsw.Error."""
    lines = (str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({INTEGRITY_COMPLAINTS})"))
    return tuple(line for line in lines if line != "ok")
