"""Which mailbox files there must be, and which are set aside because they are damaged. Files in mail/shards:

    07.made      07.db has held mailboxes. It is durable before the first of them is: 07.db missing or empty is then
                 no new file, in which UIDs would begin again, but a lost one
    07.damaged   what is wrong with 07.db, and what it looked like then (JSON). Nobody reads or writes 07.db while it
                 looks so; one that looks different is looked through, and used again if it is sound

Both are for all processes that open mailboxes, and outlive them: a damaged file is not written on after a restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from postroad.contracts.errors import StoreDamaged
from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.database import (
    DatabaseKind,
    integrity_complaints,
    make_folder,
    open_database,
    translated,
    translating,
)
from postroad.vocabulary.limits import DATABASE_BUSY_S

FOLDER = "shards"
REPLACE = (
    "stop the server, move the file away with its -wal and -shm, and put that of a backup in its place "
    "(postroad restore BACKUP --to DIR); until then its accounts are told to come later, and mail for them waits"
)
CURE = "postroad check says what to do"

Noticed = Callable[[str, BaseException], None]
"""Is told what was being done and what is wrong. May be called by any thread."""


class Looks(msgspec.Struct, frozen=True):
    """What a file that was replaced or changed has not in common with the one before."""

    inode: int
    size_bytes: int
    changed_ns: int


class _Note(msgspec.Struct, frozen=True):
    reason: str
    looks: Looks | None


class ShardState:
    """Of the file at `path`. For any thread: what is known is in the files, and none of the methods keeps them open."""

    def __init__(self, path: Path, kind: DatabaseKind, vfs: str | None = None) -> None:
        self._path = path
        self._kind = kind
        self._vfs = vfs
        self._folder = path.parent / FOLDER
        self._made = self._folder / f"{path.stem}.made"
        self._note = self._folder / f"{path.stem}.damaged"
        self._is_marked = False
        self._told: _Note | None = None
        self.noticed: Noticed | None = None

    def look(self) -> Looks | None:
        """Whether the file may be used now; None where there is none, and never was. Raises StoreDamaged,
        StoreUnavailable."""
        with translating(str(self._path)):
            looks, note = self._looks(), self._read_note()
            if note is not None and note.looks == looks:
                raise StoreDamaged(note.reason)
            if (looks is None or not looks.size_bytes) and self._made.exists():
                gone = "is not there any more" if looks is None else "is empty"
                raise StoreDamaged(f"{self._path}: the file {gone}, and it had mailboxes in it.")
            if note is not None:
                if looks is not None and looks.size_bytes:
                    self._look_through()
                self._note.unlink(missing_ok=True)
                self._told = None
        return looks if looks is not None and looks.size_bytes else None

    def inode(self) -> int:
        """0 where there is no file."""
        looks = self._looks()
        return 0 if looks is None else looks.inode

    def refuse_a_blank(self) -> None:
        """To be called before the file is opened: one with no tables in the place of one that had some would become a
        new one. Raises StoreDamaged, StoreUnavailable."""
        with translating(str(self._path)):
            if not self._made.exists():
                return
            with closing(apsw.Connection(os.fspath(self._path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)) as it:
                it.set_busy_timeout(int(DATABASE_BUSY_S * 1000))
                if it.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)").get:
                    raise StoreDamaged(f"{self._path}: the file has no mailboxes in it any more.")

    def mark(self) -> None:
        """The file is there and whole. Durable when it returns. Raises StoreFull, StoreUnavailable."""
        if self._is_marked:
            return
        with translating(str(self._made)):
            if not self._made.exists():
                make_folder(self._folder)
                os.close(os.open(self._made, os.O_CREAT | os.O_WRONLY, 0o600))
                sync_folder(self._folder)
        self._is_marked = True

    def set_aside(self, error: StoreDamaged) -> None:
        """To be called by whoever met the damage, after closing the file. Told once for each damage. Does not raise."""
        looks = self._looks()
        note = self._read_note()
        if note is None or note.looks != looks:
            note = _Note(str(error), looks)
            try:
                make_folder(self._folder)
                partial = self._note.with_name(f"{self._note.name}.{os.getpid()}")
                partial.write_bytes(msgspec.json.encode(note))
                os.replace(partial, self._note)
                sync_folder(self._folder)
            except OSError as failure:
                self._tell(_Note(str(failure), None), translated(failure, str(self._note)))
        self._tell(note, error)

    def trouble(self) -> str:
        """Why the file is not used, "" where it is."""
        looks, note = self._looks(), self._read_note()
        if note is not None and note.looks == looks:
            return note.reason
        if (looks is None or not looks.size_bytes) and self._made.exists():
            return f"{self._path}: the file is gone or empty, and it had mailboxes in it."
        return ""

    def _tell(self, note: _Note, error: BaseException) -> None:
        if self._told != note and self.noticed is not None:
            self._told = note
            self.noticed(f"a mailbox file is set aside, all others go on; {CURE}", error)

    def _look_through(self) -> None:
        with closing(open_database(self._path, self._kind, vfs=self._vfs)) as connection:
            complaints = integrity_complaints(connection)
        if complaints:
            raise StoreDamaged(f"{self._path}: the file is damaged ({complaints[0]}). Restore it from a backup.")

    def _looks(self) -> Looks | None:
        try:
            facts = os.stat(self._path)
        except OSError:
            return None
        return Looks(facts.st_ino, facts.st_size, facts.st_mtime_ns)

    def _read_note(self) -> _Note | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=_Note)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            return _Note(f"{self._note}: cannot be read ({error}).", None)
