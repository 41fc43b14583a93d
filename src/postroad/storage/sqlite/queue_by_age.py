"""Looks into the queue by age instead of by due time: what has waited too long, and what is due impossibly late.

Queue ids count the time, so the oldest messages are the first of the table, and a look at them reads no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import apsw

from postroad.contracts.queue_store import START, Cursor, OldWork, Work
from postroad.storage.sqlite.moments import from_microseconds, to_microseconds
from postroad.storage.sqlite.queue_notes import OwnersNotes
from postroad.storage.sqlite.queue_orders import MAKE_DUE
from postroad.storage.sqlite.queue_rows import envelope_from_bytes, works_of
from postroad.storage.sqlite.queue_writes import QueueWrites
from postroad.storage.sqlite.writer import Reader, Writer
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import QUEUE_PAGE_GROUPS
from postroad.vocabulary.queue_id import QueueId, from_number, last_number_of, to_number

_COLUMNS = "g.message, g.destination, g.recipients, g.attempts, g.warned, m.envelope, m.size_bytes, m.queued_at"
# The sign keeps SQLite from the index of due times: in a queue that waits everything is due.
_OLD = f"""
    SELECT {_COLUMNS} FROM recipient_group AS g JOIN message AS m ON m.id = g.message
    WHERE (g.message, g.destination) > (?1, ?2) AND g.message <= ?3 AND g.held = 0 AND +g.due_at <= ?4
    ORDER BY g.message, g.destination LIMIT ?5
"""
_NEXT = """
    SELECT m.queued_at FROM recipient_group AS g JOIN message AS m ON m.id = g.message
    WHERE g.message > ? AND g.held = 0 ORDER BY g.message LIMIT 1
"""
_LATE = """
    SELECT g.message, g.destination, m.envelope, g.due_at
    FROM recipient_group AS g JOIN message AS m ON m.id = g.message
    WHERE g.held = 0 AND g.due_at >= ?1 AND (g.due_at, g.message, g.destination) > (?1, ?2, ?3)
    ORDER BY g.due_at, g.message, g.destination LIMIT ?4
"""


class _OldQuestion(NamedTuple):
    after: tuple[int, str]
    up_to: int
    now: int
    lease: int


class _OldAnswer(NamedTuple):
    works: list[Work]
    after: tuple[int, str] | None
    next_queued_at: int | None


def _old_work(connection: apsw.Connection, question: _OldQuestion) -> _OldAnswer:
    asked = (*question.after, question.up_to, question.now, QUEUE_PAGE_GROUPS)
    rows: list[Any] = connection.execute(_OLD, asked).fetchall()
    after = (rows[-1][0], rows[-1][1]) if len(rows) == QUEUE_PAGE_GROUPS else None
    next_queued_at: int | None = connection.execute(_NEXT, (question.up_to,)).get
    destinations = {text: Destination.parse(text) for text in {row[1] for row in rows}}
    return _OldAnswer(works_of(rows, destinations, question.lease), after, next_queued_at)


class _LatePage(NamedTuple):
    keys: list[tuple[int, str]]
    after: tuple[int, int, str] | None


def _late_page(connection: apsw.Connection, question: tuple[tuple[int, int, str], datetime]) -> _LatePage:
    after, latest = question
    rows: list[Any] = connection.execute(_LATE, (*after, QUEUE_PAGE_GROUPS)).fetchall()
    last = (rows[-1][3], rows[-1][0], rows[-1][1]) if len(rows) == QUEUE_PAGE_GROUPS else None
    keys = []
    for row in rows:
        release_at = envelope_from_bytes(row[2]).release_at
        if release_at is None or release_at <= latest:
            keys.append((row[0], row[1]))
    return _LatePage(keys, last)


class QueueByAge:
    """`SqliteQueueStore` is one of these."""

    _reader: Reader
    _writer: Writer
    _writes: QueueWrites
    _notes: OwnersNotes
    _taking: asyncio.Lock

    async def take_old(
        self, now: datetime, queued_before: datetime, taken: Callable[[QueueId, Destination], bool], after: Cursor
    ) -> OldWork:
        place = (-1, "") if after == START else (to_number(after[0]), after[1])
        question = _OldQuestion(place, last_number_of(queued_before), to_microseconds(now), self._writes.epoch)
        async with self._taking:
            with self._notes.watching() as touched:
                await self._writer.submit(self._writes.wait_for_earlier, None)
                found = await self._reader.read(_old_work, question)
        works = self._notes.hand_out(found.works, touched, taken)
        return OldWork(
            works,
            None if found.after is None else (from_number(found.after[0]), found.after[1]),
            None if found.next_queued_at is None else from_microseconds(found.next_queued_at),
        )

    async def bring_forward(self, latest: datetime) -> int:
        changed = 0
        moment = to_microseconds(latest)
        after: tuple[int, int, str] | None = (moment, (1 << 63) - 1, "")
        while after is not None:
            page = await self._reader.read(_late_page, (after, latest))
            if page.keys:
                self._notes.heed(latest)
                changed += await self._writer.submit(MAKE_DUE, (page.keys, moment))
            after = page.after
        return changed
