"""The whole journal for administrators, over the files of data/archive. Implements contracts' Archive.

Any process may have one beside the workers that append: files are opened for one question and closed again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from postroad.contracts.archive_store import (
    Access,
    ArchiveQuery,
    ChainHead,
    Found,
    JournalEnvelope,
    LegalHold,
    Unindexed,
    Verified,
    Words,
)
from postroad.storage.sqlite.archive_folder import ChainFile, chain_file, chain_files
from postroad.storage.sqlite.archive_index import ArchiveIndex
from postroad.storage.sqlite.archive_register import Register
from postroad.storage.sqlite.archive_removal import remove_before
from postroad.storage.sqlite.archive_rows import ARCHIVE, COLUMNS, EXPANSION_SUFFIX, REGISTER, Row
from postroad.storage.sqlite.archive_verify import Verification, heads_of
from postroad.storage.sqlite.blocking import make_calls
from postroad.storage.sqlite.database import close_database, open_database, translating
from postroad.storage.sqlite.mailbox_content import ContentInFile
from postroad.storage.sqlite.moments import from_microseconds, to_microseconds
from postroad.storage.sqlite.row_content import pieces
from postroad.vocabulary.queue_id import QueueId, shard_of

_ROW = f"SELECT {COLUMNS} FROM record WHERE key = ?"


class SqliteArchive:
    """`folder` is data/archive. To be made on the loop; `direct` for a loop with virtual time."""

    def __init__(self, folder: Path, *, direct: bool = False) -> None:
        self._folder = folder
        self._register = Register(folder)
        self._index = ArchiveIndex(folder)
        # One thread: what it does is no part of any mail's way, and a search sees what was indexed before it.
        self._calls = make_calls(direct=direct, threads=1, name="archive")

    async def record(self, access: Access) -> None:
        await self._calls.run(self._register.access, access)

    async def accesses(self, limit: int) -> tuple[Access, ...]:
        return await self._calls.run(self._register.accesses, limit)

    async def verify(self, heads: tuple[ChainHead, ...] = ()) -> Verified:
        return await self._calls.run(lambda _: Verification(self._folder).run(heads), None)

    async def heads(self) -> tuple[ChainHead, ...]:
        return await self._calls.run(heads_of, self._folder)

    async def tie(self, now: datetime) -> bool:
        return await self._calls.run(self._tie, now)

    def _tie(self, now: datetime) -> bool:
        heads = tuple(head for head in heads_of(self._folder) if head.chain != REGISTER)
        return bool(heads) and self._register.tie(now, heads)

    async def show(self, queue_id: QueueId) -> Found | None:
        found = await self._calls.run(self._find, queue_id)
        if found is None:
            return None
        file, row = found
        return await self._calls.run(partial(_found, file, row), "")

    def content(self, queue_id: QueueId) -> AsyncIterator[bytes]:
        return self._content(queue_id)

    async def _content(self, queue_id: QueueId) -> AsyncIterator[bytes]:
        found = await self._calls.run(self._find, queue_id)
        if found is None:
            raise KeyError(queue_id)
        file, row = found
        if row.content is not None:
            for piece in pieces(row.content):
                yield piece
        elif row.file is not None:
            async for chunk in ContentInFile(
                b"", str(file.content / row.file), b"", row.size_bytes, self._calls
            ).chunks():
                yield chunk
        else:
            raise KeyError(queue_id)

    async def hold(self, hold: LegalHold, access: Access) -> bool:
        return await self._calls.run(lambda _: self._register.hold(hold, access), None)

    async def release(self, name: str, access: Access) -> bool:
        return await self._calls.run(lambda _: self._register.release(name, access), None)

    async def holds(self) -> tuple[LegalHold, ...]:
        return await self._calls.run(lambda _: self._register.holds(), None)

    async def remove_before(self, accepted_before: datetime, now: datetime) -> int:
        return await self._calls.run(lambda _: self._remove_before(accepted_before, now), None)

    def _remove_before(self, accepted_before: datetime, now: datetime) -> int:
        removed = remove_before(self._folder, accepted_before, now)
        if removed:
            self._index.forget_removed(to_microseconds(accepted_before))
        return removed

    async def unindexed(self, limit: int) -> tuple[Unindexed, ...]:
        return await self._calls.run(self._index.unindexed, limit)

    async def index(self, words: tuple[Words, ...]) -> None:
        await self._calls.run(self._index.add, words)

    async def forget_index(self) -> None:
        await self._calls.run(lambda _: self._index.forget(), None)

    async def search(self, query: ArchiveQuery, limit: int) -> tuple[Found, ...]:
        return await self._calls.run(lambda _: self._search(query, limit), None)

    def _search(self, query: ArchiveQuery, limit: int) -> tuple[Found, ...]:
        found = []
        for chain, month, queue_id, subject in self._index.find(query, limit):
            file = chain_file(self._folder, month, chain)
            row = _row_in(file, queue_id)
            if row is not None and row.envelope is not None:
                found.append(_found(file, row, subject))
        return tuple(found)

    async def close(self) -> None:
        await self._calls.close()

    def _find(self, queue_id: QueueId) -> tuple[ChainFile, Row] | None:
        try:
            chain = str(shard_of(queue_id))
        except ValueError:
            return None
        for file in reversed(chain_files(self._folder, chain)):
            row = _row_in(file, queue_id.upper())
            if row is not None:
                return None if row.envelope is None else (file, row)
        return None


def _row_in(file: ChainFile, key: str) -> Row | None:
    with translating(str(file.path)):
        connection = open_database(file.path, ARCHIVE)
        try:
            row = connection.execute(_ROW, (key,)).fetchone()
        finally:
            close_database(connection)
    return None if row is None else Row(*row)


def _found(file: ChainFile, row: Row, subject: str) -> Found:
    expansion = _row_in(file, row.key + EXPANSION_SUFFIX)
    envelope = row.envelope if expansion is None or expansion.envelope is None else expansion.envelope
    assert envelope is not None, "asked before"
    return Found(
        queue_id=QueueId(row.key),
        envelope=msgspec.json.decode(envelope, type=JournalEnvelope),
        accepted_at=from_microseconds(row.accepted_at),
        size_bytes=row.size_bytes,
        content_hash=row.content_hash.hex(),
        hash=row.hash.hex(),
        subject=subject,
    )
