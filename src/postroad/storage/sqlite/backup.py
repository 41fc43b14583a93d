"""A backup of a data folder while servers write to it.

Databases are copied through SQLite alone, from a read transaction: as they were at one moment. Content files never
change, they only come and go, so a second name (a hard link) keeps one whose message ends meanwhile. A file has its
name before the commit that speaks of it, and loses it after the commit that forgets it. So for an instant all
writers of a store are kept waiting (BEGIN IMMEDIATE): in it the names that are new get links, most got theirs before,
and the read transaction begins. What that transaction sees has all its files.

The order is what keeps mail from falling between two stores:

    queue and holds   at one and the same moment, for mail goes from the queue into a hold and back again
    mailboxes         later: what had left the queue by then was in a mailbox already; what was still in the queue may
                      be in both, and the key of its delivery, kept in the mailbox, makes the repeat harmless
    archive, the rest later than the queue, for the same reason
    directory         last: whoever got mail until now has an account in it, and no id of an account comes back
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from postroad.storage.sqlite.backup_manifest import (
    CONFIGURATION,
    CONTENT,
    DATABASE,
    KEY,
    OTHER,
    BackupFile,
    Heading,
    Manifest,
    sha256_of,
    write_manifest,
)
from postroad.storage.sqlite.backup_places import DatabasePlace, databases, names_known, others
from postroad.storage.sqlite.copying import copy_database, sync_folder
from postroad.storage.sqlite.database import make_folder, translated, translating
from postroad.vocabulary.limits import BACKUP_READ_BYTES, DATABASE_BUSY_S

STAGING = "backup.staging"
"""Below the data folder: links to content that must outlive its message until it is copied."""

_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})

Progress = Callable[[str], None]
"""Is told each database as it is begun."""


@dataclass(frozen=True)
class BackupResult:
    """`missing` are stores that could not be read, each with the reason; all else is in the backup."""

    files: int
    size_bytes: int
    new_bytes: int
    missing: tuple[str, ...]


@dataclass
class _Held:
    """A database, the read transaction on it, and where the links to its content are."""

    place: DatabasePlace
    reader: apsw.Connection


@dataclass(kw_only=True)
class Backup:
    """One backup of `data` into `target`, an empty folder of ours. `former` is a complete backup in `former_folder`:
    files that have not changed since become links to its files where that can be."""

    data: Path
    target: Path
    former: Manifest | None = None
    former_folder: Path | None = None
    progress: Progress = lambda _: None
    _files: list[BackupFile] = field(default_factory=list)
    _missing: list[str] = field(default_factory=list)
    _new_bytes: int = 0

    def make(self, heading: Heading, *, configuration: Path, keys: Iterable[tuple[Path, str]] = ()) -> BackupResult:
        """`keys` are further secret files with the paths they get. Blocks. For one process at a time.

        Raises StoreUnavailable, StoreFull: there is no backup then, and no manifest."""
        staging = self.data / STAGING
        with translating(str(self.target)):
            shutil.rmtree(staging, ignore_errors=True)  # of one that was interrupted
            make_folder(staging)
            try:
                for together in _in_order(databases(self.data)):
                    self._copy_together(together, staging)
                for relative in others(self.data):
                    self._take(self.data / relative, relative, OTHER)
                self._take(configuration, f"configuration/{configuration.name}", CONFIGURATION)
                for path, relative in keys:
                    self._take(path, relative, KEY)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            for folder, _, _ in os.walk(self.target):
                sync_folder(Path(folder))
            missing = tuple(self._missing)
            named = Heading(
                id=heading.id,
                made_at=heading.made_at,
                hostname=heading.hostname,
                since=self.former.heading.id if self.former is not None else "",
                missing=missing,
            )
            write_manifest(self.target, named, self._files)
        size_bytes = sum(file.size_bytes for file in self._files)
        return BackupResult(len(self._files), size_bytes, self._new_bytes, missing)

    # ---- databases -------------------------------------------------------------------------------

    def _copy_together(self, places: list[DatabasePlace], staging: Path) -> None:
        """Copy these databases as they are at one moment, and the content they speak of then."""
        for place in places:
            self._link_content(place, staging)
        with ExitStack() as opened:
            held: list[_Held] = []
            with ExitStack() as writers_wait:
                for place in places:
                    try:
                        writers_wait.enter_context(_WithoutWriters(self.data / place.path))
                        reader = opened.enter_context(closing(_connect(self.data / place.path)))
                    except (apsw.Error, OSError) as error:
                        if (self.data / place.path).exists():  # else its time was over: a day of the ledger
                            self._missing.append(str(translated(error, place.path)))
                        continue
                    held.append(_Held(place, reader))
                for each in held:
                    self._link_content(each.place, staging)
                    each.reader.execute("BEGIN")
                    each.reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            for each in held:
                self._copy_database(each, staging)

    def _link_content(self, place: DatabasePlace, staging: Path) -> None:
        """A second name for each file that has none yet."""
        if place.content is None or not (self.data / place.content).is_dir():
            return
        into = staging / place.content
        make_folder(into)
        with os.scandir(self.data / place.content) as entries:
            for entry in entries:
                if not place.is_content(entry.name) or os.path.lexists(into / entry.name):
                    continue
                try:
                    _link_or_copy(Path(entry.path), into / entry.name)
                except FileNotFoundError:
                    continue  # its message is gone, or settled just now

    def _copy_database(self, held: _Held, staging: Path) -> None:
        place = held.place
        self.progress(place.path)
        target = self.target / place.path
        make_folder(target.parent)
        try:
            copy_database(held.reader, target)
            held.reader.close()
            with closing(open_copy(target)) as copy:
                names = names_known(copy, place)
        except apsw.Error as error:
            target.unlink(missing_ok=True)
            self._missing.append(str(translated(error, place.path)))
            return
        self._note_database(target, place.path)
        for name in names:
            relative = f"{place.content}/{name}"
            try:
                self._take(staging / relative, relative, CONTENT)
            except FileNotFoundError:
                self._missing.append(f"{relative}: a message in {place.path} has lost its content")
        if place.content is not None:
            shutil.rmtree(staging / place.content, ignore_errors=True)

    def _note_database(self, target: Path, relative: str) -> None:
        """The copy is whole. One that is what the former backup has becomes a link to it."""
        digest, size_bytes = sha256_of(target)
        former = self._former_file(relative)
        if former is not None and (former[1].sha256, former[1].size_bytes) == (digest, size_bytes):
            again = target.with_name(f"{target.name}.again")
            try:
                os.link(former[0], again)
            except OSError:
                self._new_bytes += size_bytes  # another file system: the copy stays
            else:
                os.replace(again, target)
        else:
            self._new_bytes += size_bytes
        self._files.append(BackupFile(relative, DATABASE, size_bytes, digest))

    # ---- files that nobody writes any more -------------------------------------------------------

    def _take(self, source: Path, relative: str, kind: str) -> None:
        """Raises FileNotFoundError, OSError."""
        target = self.target / relative
        make_folder(target.parent)
        if kind == CONTENT:
            size_bytes = source.stat().st_size
            former = self._former_file(relative)
            if former is not None and former[1].size_bytes == size_bytes and _has_size(former[0], size_bytes):
                _link_or_copy(former[0], target)
                self._files.append(BackupFile(relative, kind, size_bytes, former[1].sha256))
                return
            _link_or_copy(source, target)
        else:
            copy_file(source, target)
        digest, size_bytes = sha256_of(target)
        self._new_bytes += size_bytes
        self._files.append(BackupFile(relative, kind, size_bytes, digest))

    def _former_file(self, relative: str) -> tuple[Path, BackupFile] | None:
        if self.former is None or self.former_folder is None or relative not in self.former.files:
            return None
        return self.former_folder / relative, self.former.files[relative]


def _in_order(places: Iterable[DatabasePlace]) -> Iterator[list[DatabasePlace]]:
    """Groups of databases that are copied as of one moment, in the order that the module's text explains."""
    remaining = list(places)
    moving = [place for place in remaining if place.store in ("queue", "hold")]
    if moving:
        yield moving
    for store in ("mail", "archive", "", "ledger", "directory"):
        for place in remaining:
            if place.store == store:
                yield [place]


class _WithoutWriters:
    """While it lasts nobody writes to the database. It never waits for more than DATABASE_BUSY_S."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._connection = _connect(self._path)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._connection.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


def _connect(path: Path) -> apsw.Connection:
    """Neither made where it is missing, nor brought to another version."""
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(int(DATABASE_BUSY_S * 1000))
    connection.wal_autocheckpoint(0)
    return connection


def open_copy(path: Path) -> apsw.Connection:
    """A database in a backup: it is read as it lies there, and no file is made beside it."""
    uri = f"{path.absolute().as_uri()}?immutable=1"
    return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        copy_file(source, target)


def copy_file(source: Path, target: Path) -> None:
    """Synced, and for us alone. Raises OSError."""
    with (
        source.open("rb") as octets,
        open(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as copy,
    ):
        shutil.copyfileobj(octets, copy, BACKUP_READ_BYTES)
        copy.flush()
        os.fsync(copy.fileno())


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False
