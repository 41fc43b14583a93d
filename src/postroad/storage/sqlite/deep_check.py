"""`postroad check --deep`: is every database sound, has every row its content and every content its row?

It reads, and changes nothing, beside servers that write. Three rules keep what is under way from being called wrong:
names in a folder are listed before the rows are read, so that what came meanwhile is in no list; a row whose file is
missing is looked for once more, for it may have gone together with its file; and a file that no row names counts only
when nobody has touched it for CHECK_IN_FLIGHT_S, for content gets its name before its row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from postroad.storage.sqlite.backup_places import DatabasePlace, databases, names_known
from postroad.storage.sqlite.database import translated
from postroad.storage.sqlite.deep_queries import CONTENT_SIZES, ROWS, Rows
from postroad.vocabulary.limits import (
    CHECK_COMPLAINTS,
    CHECK_IN_FLIGHT_S,
    DATABASE_BUSY_S,
    INTEGRITY_COMPLAINTS,
)
from postroad.vocabulary.queue_id import from_number

_DATABASE_OF = {"mail": "mail/{}.db", "hold": "hold/{}.db", "queue": "queue/{}.db"}
_REPLACE = (
    "stop the server, move the file away with its -wal and -shm, and put that of a backup in its place "
    "(postroad restore BACKUP --to DIR)"
)
_CURE_OF = {
    "mail": f"{_REPLACE}; until then its accounts are told to come later, and mail for them waits in the queue",
    "queue": f"{_REPLACE}; mail that came since the backup has to be asked for again",
    "archive": f"postroad archive verify tells which records are changed; {_REPLACE}",
}
_NO_CONTENT = "it cannot be read any more; bring it back from a backup (postroad restore BACKUP), or remove the message"
_ORPHAN = "it takes room and does no harm; the server sweeps it away by and by. If it stays, remove the file"

Progress = Callable[[int, int, str], None]
"""Is told how many of how many databases were looked at, and which is next."""


@dataclass(frozen=True)
class Complaint:
    """`what` is a file below the data folder."""

    what: str
    finding: str
    cure: str


@dataclass(frozen=True)
class Looked:
    """What was looked at, of one store."""

    store: str
    databases: int
    files: int


@dataclass
class DeepCheck:
    """`now` is the time of the file system's clock, in seconds."""

    data: Path
    now: Callable[[], float]
    progress: Progress = lambda done, total, what: None

    def run(self) -> Iterator[Complaint | Looked]:
        """What is wrong, as it is found, at most CHECK_COMPLAINTS of each database; at the end what was looked at.
        Blocks, for as long as it takes to read everything. Raises OSError where the folder cannot be read."""
        places = databases(self.data)
        counted: dict[str, list[int]] = {}
        for number, place in enumerate(places):
            self.progress(number, len(places), place.path)
            looked = counted.setdefault(place.store or "others", [0, 0])
            looked[0] += 1
            yield from _bounded(place, self._database(place, looked))
        yield from self._lost_databases(places)
        yield from self._accounts_gone(places)
        for store, (files, contents) in counted.items():
            yield Looked(store, files, contents)

    def _database(self, place: DatabasePlace, looked: list[int]) -> Iterator[Complaint]:
        path = self.data / place.path
        cure = _CURE_OF.get(place.store, _REPLACE)
        try:
            if path.stat().st_size == 0 and not _has_log(path) and not self._is_young(path):
                yield Complaint(place.path, "it is empty: no database at all", cure)
                return
            # Before the rows: see above.
            names = self._names(place)
            with closing(_connect(path)) as connection:
                complaints = _damage(connection)
                yield from (Complaint(place.path, f"it is damaged: {line}", cure) for line in complaints)
                for table, *_ in connection.execute("PRAGMA foreign_key_check"):
                    yield Complaint(place.path, f"a row of {table} points to nothing", cure)
                if complaints:
                    return  # its rows say nothing certain
                for rows in ROWS.get(place.store, ()):
                    yield from _rows(connection, place, rows)
                if place.content is not None:
                    looked[1] += len(names)
                    yield from self._contents(connection, place, names)
        except (apsw.Error, OSError) as error:
            if path.exists():  # else its time was over: a day of the ledger
                yield Complaint(place.path, str(translated(error, place.path)), cure)

    def _names(self, place: DatabasePlace) -> dict[str, float]:
        """The files of the content folder, and when each was last touched."""
        if place.content is None:
            return {}
        found = {}
        try:
            with os.scandir(self.data / place.content) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    # A second name for an old file counts as new: the first moment of its own is when it was made.
                    found[entry.name] = max(facts.st_mtime, facts.st_ctime)
        except FileNotFoundError:
            return {}
        return found

    def _contents(
        self, connection: apsw.Connection, place: DatabasePlace, names: dict[str, float]
    ) -> Iterator[Complaint]:
        folder = self.data / str(place.content)
        known = set(names_known(connection, place))
        missing = {name for name in known if not (folder / name).exists()}
        if missing:
            missing &= set(names_known(connection, place))
        for name in sorted(missing):
            yield Complaint(f"{place.content}/{name}", f"the content of a message in {place.path} is gone", _NO_CONTENT)
        for name, size_bytes in _sizes(connection, place):
            try:
                there = (folder / name).stat().st_size
            except FileNotFoundError:
                continue
            if there != size_bytes:
                finding = f"it has {there} octets, and {size_bytes} when it was written"
                yield Complaint(f"{place.content}/{name}", finding, _NO_CONTENT)
        for name, touched_at in sorted(names.items()):
            if name in known or self.now() - touched_at < CHECK_IN_FLIGHT_S or not (folder / name).exists():
                continue
            yield Complaint(f"{place.content}/{name}", f"no message in {place.path} knows this file", _ORPHAN)

    def _lost_databases(self, places: list[DatabasePlace]) -> Iterator[Complaint]:
        """Content without the database that speaks of it."""
        known = {place.path for place in places}
        for store, pattern in _DATABASE_OF.items():
            folder = self.data / store if store == "queue" else self.data / store / "content"
            if not folder.is_dir():
                continue
            for below in sorted(folder.iterdir()):
                database = pattern.format(below.name)
                if below.is_dir() and database not in known and any(below.iterdir()):
                    finding = f"it is gone, and content of its messages is in {below.relative_to(self.data)}"
                    yield Complaint(database, finding, _CURE_OF.get(store, _REPLACE))

    def _accounts_gone(self, places: list[DatabasePlace]) -> Iterator[Complaint]:
        """Mailboxes that belong to nobody. An account is there before its mail, and its mail goes right after it."""
        shards = [place for place in places if place.store == "mail"]
        try:
            owners = self._owners(shards)
            with closing(_connect(self.data / "directory.db")) as directory:
                accounts = {account for (account,) in directory.execute("SELECT id FROM account")}
            again = self._owners([place for place in shards if owners[place.path] - accounts])
        except (apsw.Error, OSError):
            return  # told above
        for path, found in again.items():
            for account in sorted(found - accounts):
                finding = f"it has mail of account {account}, which is not there any more"
                cure = "bring the account back (postroad restore BACKUP --account ADDRESS), or leave it: nobody sees it"
                yield Complaint(path, finding, cure)

    def _owners(self, shards: list[DatabasePlace]) -> dict[str, set[int]]:
        owners: dict[str, set[int]] = {}
        for place in shards:
            owners[place.path] = set()
            try:
                with closing(_connect(self.data / place.path)) as connection:
                    rows = connection.execute("SELECT DISTINCT account_id FROM message")
                    owners[place.path] = {account for (account,) in rows}
            except apsw.Error:
                continue  # told above
        return owners

    def _is_young(self, path: Path) -> bool:
        return self.now() - path.stat().st_mtime < CHECK_IN_FLIGHT_S


def _bounded(place: DatabasePlace, complaints: Iterator[Complaint]) -> Iterator[Complaint]:
    more = 0
    for number, complaint in enumerate(complaints):
        if number < CHECK_COMPLAINTS:
            yield complaint
        else:
            more += 1
    if more:
        yield Complaint(place.path, f"{more} more things are wrong with it", "mend the first ones and check again")


def _damage(connection: apsw.Connection) -> tuple[str, ...]:
    """What SQLite finds wrong, but for entries of indexes, which would take many times as long."""
    lines = (str(line) for (line,) in connection.execute(f"PRAGMA quick_check({INTEGRITY_COMPLAINTS})"))
    return tuple(line for line in lines if line != "ok")


def _rows(connection: apsw.Connection, place: DatabasePlace, rows: Rows) -> Iterator[Complaint]:
    for row in connection.execute(rows.query, (CHECK_COMPLAINTS,)).fetchall():
        yield Complaint(place.path, rows.finding.format(*row), rows.cure)


def _sizes(connection: apsw.Connection, place: DatabasePlace) -> Iterator[tuple[str, int]]:
    if place.store in CONTENT_SIZES:
        for name, size_bytes in connection.execute(CONTENT_SIZES[place.store]).fetchall():
            assert isinstance(size_bytes, int)
            yield (from_number(name) if isinstance(name, int) else str(name)), size_bytes


def _has_log(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _connect(path: Path) -> apsw.Connection:
    """Neither made where it is missing, nor brought to another version."""
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(int(DATABASE_BUSY_S * 1000))
    connection.wal_autocheckpoint(0)
    connection.pragma("query_only", True)
    return connection
