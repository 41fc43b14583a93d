"""Reading holds: queries of one file, and the connections they run on, opened as they are needed.

Every query fetches what it needs and ends. A hold that has no file yet is empty, and asking it makes none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from postroad.contracts.hold_store import HeldMessage, HoldSummary, Report
from postroad.storage.sqlite.content_shard import unknown_files
from postroad.storage.sqlite.hold_shard import HoldShard
from postroad.storage.sqlite.moments import from_microseconds
from postroad.storage.sqlite.queue_rows import envelope_from_bytes, recipients_from_bytes
from postroad.storage.sqlite.writer import ReadingConnection
from postroad.vocabulary.outcome import Outcome
from postroad.vocabulary.queue_id import QueueId

A = TypeVar("A")
R = TypeVar("R")

_MESSAGES = """
    SELECT number, queue_id, envelope, recipients, size_bytes, queued_at, held_at, attempts FROM message
    WHERE number > ? AND waits = 1 ORDER BY number LIMIT ?
"""
_OVERDUE = """
    SELECT number, queue_id, envelope, recipients, size_bytes, queued_at, held_at, attempts FROM message
    WHERE deadline_at <= ? AND deadline_at IS NOT NULL AND waits = 1 ORDER BY deadline_at LIMIT ?
"""
_CONTENT = """
    SELECT content.file, content.octets, message.size_bytes
    FROM content JOIN message ON message.number = content.message WHERE content.message = ?
"""
_SUMMARY = """
    SELECT count(*), ifnull(sum(size_bytes), 0), min(held_at), min(deadline_at) FROM message WHERE waits = 1
"""
_REPORTS = """
    SELECT r.number, r.message, r.outcomes, m.queue_id, m.envelope, m.size_bytes, m.queued_at
    FROM report AS r JOIN message AS m ON m.number = r.message ORDER BY r.number LIMIT ?
"""
_OUTBOX = "SELECT number, entries FROM outbox ORDER BY number LIMIT ?"
_KEYS = "SELECT delivery_key FROM delivered WHERE delivery_key > ? AND delivered_at < ? ORDER BY delivery_key LIMIT ?"
_DOMAIN = "SELECT domain FROM hold"

_OUTCOMES = msgspec.msgpack.Decoder(tuple[Outcome, ...])

ContentRow = tuple[str | None, bytes | None, int]
"""File, octets, size."""


class HoldReads:
    """For one thread at a time; all methods block and raise StoreUnavailable. At most `open_max` files are open."""

    def __init__(self, open_max: int) -> None:
        self._open_max = open_max
        self._connections: OrderedDict[Path, ReadingConnection] = OrderedDict()

    def messages(self, asked: tuple[HoldShard, int, int]) -> tuple[HeldMessage, ...]:
        """Of a hold, after a number, at most so many."""
        hold, after, limit = asked
        return self._run(hold, _messages, (after, limit), ())

    def overdue(self, asked: tuple[HoldShard, int, int]) -> tuple[HeldMessage, ...]:
        """Of a hold, at a moment, at most so many."""
        hold, now, limit = asked
        return self._run(hold, _overdue, (now, limit), ())

    def content(self, asked: tuple[HoldShard, int]) -> ContentRow | None:
        return self._run(asked[0], _content, asked[1], None)

    def summary(self, hold: HoldShard) -> HoldSummary:
        return self._run(hold, _summary, None, HoldSummary(0, 0, None))

    def reports(self, asked: tuple[HoldShard, int]) -> tuple[Report, ...]:
        hold, limit = asked
        return self._run(hold, _reports, (hold.domain, limit), ())

    def outbox(self, asked: tuple[HoldShard, int]) -> tuple[tuple[int, bytes], ...]:
        return self._run(asked[0], _outbox, asked[1], ())

    def keys(self, asked: tuple[HoldShard, str, int, int]) -> tuple[str, ...]:
        hold, after, before, limit = asked
        return self._run(hold, _keys, (after, before, limit), ())

    def domain(self, hold: HoldShard) -> str | None:
        """What the file says it is of; None where nothing was ever delivered."""
        return self._run(hold, _domain, None, None)

    def unknown_files(self, hold: HoldShard) -> tuple[str, ...]:
        """Names in the hold's folder that no row knows at this moment: orphans, or on their way to a row.
        At most ORPHANS_PER_ROUND."""
        return self._run(hold, unknown_files, hold, ())

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _run(self, hold: HoldShard, query: Callable[[apsw.Connection, A], R], argument: A, empty: R) -> R:
        connection = self._connections.get(hold.path)
        if connection is None:
            if not hold.path.exists():
                return empty
            connection = self._connections[hold.path] = ReadingConnection(hold.connect)
            if len(self._connections) > self._open_max:
                self._connections.popitem(last=False)[1].close()
        else:
            self._connections.move_to_end(hold.path)
        return connection.run(query, argument)


def _messages(connection: apsw.Connection, asked: tuple[int, int]) -> tuple[HeldMessage, ...]:
    return tuple(_held(row) for row in connection.execute(_MESSAGES, asked))


def _overdue(connection: apsw.Connection, asked: tuple[int, int]) -> tuple[HeldMessage, ...]:
    return tuple(_held(row) for row in connection.execute(_OVERDUE, asked))


def _held(row: tuple[Any, ...]) -> HeldMessage:
    number, queue_id, envelope, recipients, size_bytes, queued_at, held_at, attempts = row
    return HeldMessage(
        number=number,
        queue_id=QueueId(queue_id),
        envelope=msgspec.structs.replace(envelope_from_bytes(envelope), recipients=recipients_from_bytes(recipients)),
        size_bytes=size_bytes,
        queued_at=from_microseconds(queued_at),
        held_at=from_microseconds(held_at),
        attempts=attempts,
    )


def _content(connection: apsw.Connection, number: int) -> ContentRow | None:
    row: ContentRow | None = connection.execute(_CONTENT, (number,)).get
    return row


def _summary(connection: apsw.Connection, _: None) -> HoldSummary:
    messages, size_bytes, *moments = connection.execute(_SUMMARY).get
    oldest, deadline = (None if moment is None else from_microseconds(moment) for moment in moments)
    return HoldSummary(messages, size_bytes, oldest, deadline)


def _reports(connection: apsw.Connection, asked: tuple[str, int]) -> tuple[Report, ...]:
    domain, limit = asked
    return tuple(
        Report(
            key=f"hold/{domain}/{number}",
            number=number,
            message=message,
            queue_id=QueueId(queue_id),
            envelope=envelope_from_bytes(envelope),
            size_bytes=size_bytes,
            queued_at=from_microseconds(queued_at),
            outcomes=_OUTCOMES.decode(outcomes),
        )
        for number, message, outcomes, queue_id, envelope, size_bytes, queued_at in connection.execute(
            _REPORTS, (limit,)
        )
    )


def _outbox(connection: apsw.Connection, limit: int) -> tuple[tuple[int, bytes], ...]:
    return tuple((number, entries) for number, entries in connection.execute(_OUTBOX, (limit,)))


def _keys(connection: apsw.Connection, asked: tuple[str, int, int]) -> tuple[str, ...]:
    return tuple(key for (key,) in connection.execute(_KEYS, asked))


def _domain(connection: apsw.Connection, _: None) -> str | None:
    domain: str | None = connection.execute(_DOMAIN).get
    return domain
