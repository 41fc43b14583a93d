"""Appending to the journal: archive/<month>/<n>.db, n the shard of the queue. Implements contracts' ArchiveChain.

One writer, whoever owns the shard. The month is that in which a record is written; a month goes on from the head of the
one before, and a clock that was set back does not begin an earlier month again. Large content is the very file that
the queue has, under one more name; its hash is taken where the write runs, off the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from postroad.contracts.archive_store import NewRecord
from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.archive_folder import ChainFile, chain_file, chain_files
from postroad.storage.sqlite.archive_rows import (
    ARCHIVE,
    BEGINNING,
    EXPANSION,
    EXPANSION_SUFFIX,
    MESSAGE,
    Draft,
    Head,
    digest,
    digest_of_file,
    head_of,
    put,
)
from postroad.storage.sqlite.blocking import make_calls
from postroad.storage.sqlite.commit import CommitEngine, Item, Result, Verb
from postroad.storage.sqlite.content_files import ContentFiles
from postroad.storage.sqlite.database import close_database, open_database, translating
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.writer import make_writer
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.vocabulary.queue_id import QueueId, made_at

_HAS = "SELECT EXISTS (SELECT 1 FROM record WHERE key = ?)"
_NAMED = "SELECT file FROM record WHERE file IS NOT NULL"
_ENCODER = msgspec.json.Encoder()


class _Place(NamedTuple):
    """Where an item is to be written: the open month, its files, and what came before its first record."""

    file: ChainFile
    files: ContentFiles
    before: Head


class _Item(NamedTuple):
    months: ArchiveMonths
    record: NewRecord


class ArchiveMonths:
    """The file of the present month as an engine for the writer's thread."""

    def __init__(self, folder: Path, chain: str, vfs: str | None = None) -> None:
        self.chain = chain
        self._folder = folder
        self._vfs = vfs
        self._engine: CommitEngine | None = None
        self._place: _Place | None = None

    @property
    def place(self) -> _Place:
        assert self._place is not None, "a batch opens its month first"
        return self._place

    @property
    def is_open(self) -> bool:
        return self._engine is None or self._engine.is_open

    def open(self) -> None:
        if self._engine is not None:
            self._engine.open()

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        """All of a batch go into one month: that of the latest, for the months of a chain only rise."""
        month = max(month_of(argument.record.recorded_at) for _, argument in batch)
        try:
            with translating(str(self._folder)):
                engine = self._engine_of(month)
        except StoreUnavailable as error:
            return [type(error)(*error.args) for _ in batch]
        return engine.commit(batch)

    def checkpoint_if_due(self) -> None:
        if self._engine is not None:
            self._engine.checkpoint_if_due()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = self._place = None

    def has(self, key: str, since: datetime) -> bool:
        """Whether an earlier month than the present has it; the key was made at `since`. Raises apsw.Error."""
        first = month_of(since)
        for file in chain_files(self._folder, self.chain):
            if first <= file.month and file != self.place.file and _is_in(file, key):
                return True
        return False

    def _engine_of(self, month: str) -> CommitEngine:
        place = self._place
        if place is not None and self._engine is not None and month <= place.file.month:
            return self._engine
        self.close()
        earlier = chain_files(self._folder, self.chain)
        if earlier:
            month = max(month, earlier[-1].month)
        file = chain_file(self._folder, month, self.chain)
        before = BEGINNING
        for each in reversed(earlier):
            if each.month < month and (head := _head_in(each)) is not None:
                before = head
                break
        files = ContentFiles(file.content)
        engine = CommitEngine(lambda: open_database(file.path, ARCHIVE, vfs=self._vfs))
        engine.open()
        try:
            _sweep(engine.connection, files)
        except BaseException:
            engine.close()
            raise
        self._engine, self._place = engine, _Place(file, files, before)
        return engine


def month_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m")


def _head_in(file: ChainFile) -> Head | None:
    connection = open_database(file.path, ARCHIVE)
    try:
        return head_of(connection)
    finally:
        close_database(connection)


def _is_in(file: ChainFile, key: str) -> bool:
    connection = open_database(file.path, ARCHIVE)
    try:
        return bool(connection.execute(_HAS, (key,)).get)
    finally:
        close_database(connection)


def _sweep(connection: apsw.Connection, files: ContentFiles) -> None:
    """Remove files that no record names: a crash came between the link and the commit. Only the owner of the chain
    gives names here, and it has not begun."""
    named = {row[0] for row in connection.execute(_NAMED)}
    for name in files.names():
        if name not in named:
            files.remove(name)


def _append(connection: apsw.Connection, item: _Item) -> bool:
    months, record = item
    place, key = months.place, record.queue_id
    if connection.execute(_HAS, (key,)).get or months.has(key, made_at(key)):
        return False
    before = head_of(connection) or place.before
    at, accepted_at = to_microseconds(record.recorded_at), to_microseconds(record.accepted_at)
    given = msgspec.structs.replace(record.envelope, leads_to=())
    content, file = _kept(record, place.files)
    if content is not None:
        content_hash, size = digest(content), len(content)
    else:
        assert file is not None
        with translating(place.files.path(file)):
            content_hash, size = digest_of_file(place.files.path(file))
    message = Draft(MESSAGE, key, at, accepted_at, size, _ENCODER.encode(given), content_hash, file, content)
    row = put(connection, months.chain, before, message)
    if record.envelope.leads_to:
        expansion = Draft(
            EXPANSION, key + EXPANSION_SUFFIX, at, accepted_at, 0, _ENCODER.encode(record.envelope), row.hash
        )
        put(connection, months.chain, Head(row.number, row.hash), expansion)
    return True


def _kept(record: NewRecord, files: ContentFiles) -> tuple[bytes | None, str | None]:
    """The octets for the row, or the name of their file, which is durable then. Raises StoreFull, StoreUnavailable."""
    content = record.content
    octets = content if isinstance(content, bytes) else content.in_memory()
    if octets is not None and len(octets) <= 2 * CONTENT_IN_ROW_BYTES:
        return octets, None
    with translating(files.path("")):
        if octets is not None:
            file = files.write(octets)
        else:
            assert not isinstance(content, bytes)
            path = content.file_path()
            if path is None:
                raise StoreUnavailable("The content of the message is neither in memory nor in a file.")
            file = files.link(path)
        files.sync()
    return None, file


APPEND: Verb[_Item, bool] = Verb(_append)


class SqliteArchiveChain:
    """`folder` is data/archive; `shard` the shard of the queue whose owner writes here: no two may have the same. To be
    made on the loop; `direct` for a loop with virtual time; `vfs` is SQLite's file layer."""

    def __init__(self, folder: Path, shard: int, *, direct: bool = False, vfs: str | None = None) -> None:
        self._folder = folder
        self._chain = str(shard)
        self._months = ArchiveMonths(folder, self._chain, vfs)
        self._writer = make_writer(self._months, direct=direct, name="archive writer")
        self._reader = make_calls(direct=direct, threads=1, name="archive look-up")

    def append(self, record: NewRecord) -> asyncio.Future[bool]:
        return self._writer.submit(APPEND, _Item(self._months, record))

    async def has(self, queue_id: QueueId) -> bool:
        return await self._reader.run(self._has, queue_id)

    def _has(self, queue_id: QueueId) -> bool:
        first = month_of(made_at(queue_id))
        with translating(str(self._folder)):
            files = chain_files(self._folder, self._chain)
            return any(_is_in(file, queue_id) for file in reversed(files) if file.month >= first)

    async def close(self) -> None:
        """Write what was submitted."""
        await self._writer.close()
        await self._reader.close()
