"""What administrators have done to the queue: the part of the store that is for them.

    list, count, sum up      on the reading connection, page by page where it is long
    make due, hold, release  by pages of keys, each a transaction with its story
    claim                    groups for whoever then settles them: a bounce, a removal

A claim is a look like that of `take_due`, under the same rules: what is accepted or settled meanwhile does not come
out of it, and what comes out is given to nobody else until the claim ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import apsw
from msgspec import structs

from postroad.contracts.queue_store import (
    Claim,
    Cursor,
    QueueEntry,
    QueueFilter,
    QueueSummary,
    Recall,
)
from postroad.storage.sqlite import queue_reads
from postroad.storage.sqlite.commit import Verb
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.queue_notes import OwnersNotes
from postroad.storage.sqlite.queue_rows import EntryRow, entry_of, works_of_entries
from postroad.storage.sqlite.queue_summary import SummaryQuestion, summary
from postroad.storage.sqlite.queue_writes import Holding, QueueWrites
from postroad.storage.sqlite.writer import Reader, Writer
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.queue_id import from_number, to_number
from postroad.vocabulary.story import Acted, Entry

_START = (-1, "")


class QueueForAdministrators:
    """The verbs of a shard that its owner's administrator has; `SqliteQueueStore` is one of these."""

    _reader: Reader
    _writer: Writer
    _writes: QueueWrites
    _notes: OwnersNotes
    _taking: asyncio.Lock

    async def entries(self, filter: QueueFilter, limit: int) -> tuple[QueueEntry, ...]:
        rows: list[EntryRow] = []
        async for page in self._pages(filter):
            rows += page[: limit - len(rows)]
            if len(rows) >= limit:
                break
        return tuple(entry_of(row) for row in rows)

    async def counts(self, now: datetime) -> dict[str, int]:
        return await self._reader.read(queue_reads.counts, to_microseconds(now))

    async def summary(self, now: datetime, limit: int, destination: str = "") -> QueueSummary:
        return await self._reader.read(summary, SummaryQuestion(to_microseconds(now), destination, limit))

    async def make_due(self, filter: QueueFilter, now: datetime) -> int:
        changed = 0
        async for page in self._pages(structs.replace(filter, held=False)):
            keys = [(row[0], row[1]) for row in page]
            self._notes.heed(now)
            changed += await self._writer.submit(MAKE_DUE, (keys, to_microseconds(now)))
        self._notes.heed(now)
        return changed

    async def hold(self, filter: QueueFilter, act: Acted, recall: Recall) -> int:
        changed = 0
        async for page in self._pages(structs.replace(filter, held=False)):
            groups = frozenset((from_number(row[0]), Destination.parse(row[1])) for row in page)
            self._notes.touch(groups)
            changed += await self._writer.submit(self._writes.set_held, _holding(page, True, act))
            recall(groups)
        return changed

    async def release(self, filter: QueueFilter, act: Acted) -> int:
        changed = 0
        async for page in self._pages(structs.replace(filter, held=True)):
            self._notes.heed(None)
            changed += await self._writer.submit(self._writes.set_held, _holding(page, False, act))
        self._notes.heed(None)
        return changed

    @asynccontextmanager
    async def claim(self, filter: QueueFilter, after: Cursor, recall: Recall) -> AsyncIterator[Claim]:
        async with self._taking:
            with self._notes.watching() as touched:
                await self._writer.submit(self._writes.wait_for_earlier, None)
                place = (to_number(after[0]), after[1]) if after[0] else _START
                page = await self._reader.read(queue_reads.entries_page, queue_reads.PageQuestion(filter, place))
            found = works_of_entries(page.rows, self._writes.epoch)
            kept = recall(frozenset((work.queue_id, work.destination) for work in found))
            works = self._notes.hand_out(found, touched, lambda *key: key in kept)
            keys = [(work.queue_id, work.destination) for work in works]
            self._notes.claimed.update(keys)
        try:
            more = None if page.last is None else (from_number(page.last[0]), page.last[1])
            yield Claim(works, len(found) - len(works), more)
        finally:
            self._notes.claimed.difference_update(keys)
            self._notes.heed(None)

    async def _pages(self, filter: QueueFilter) -> AsyncIterator[list[EntryRow]]:
        after: tuple[int, str] | None = _START
        while after is not None:
            page = await self._reader.read(queue_reads.entries_page, queue_reads.PageQuestion(filter, after))
            if page.rows:
                yield page.rows
            after = page.last


def _holding(page: Sequence[EntryRow], held: bool, act: Acted) -> Holding:
    ids = dict.fromkeys(from_number(row[0]) for row in page)
    stories = tuple(Entry(queue_id, (queue_id,), (act,)) for queue_id in ids)
    return Holding([(row[0], row[1]) for row in page], held, stories)


def _make_due(connection: apsw.Connection, argument: tuple[list[tuple[int, str]], int]) -> int:
    keys, now = argument
    before = connection.total_changes()
    connection.executemany(
        "UPDATE recipient_group SET due_at = ? WHERE message = ? AND destination = ?",
        ((now, *key) for key in keys),
    )
    return connection.total_changes() - before


MAKE_DUE: Verb[tuple[list[tuple[int, str]], int], int] = Verb(_make_due)
