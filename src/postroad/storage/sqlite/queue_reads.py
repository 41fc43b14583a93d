"""The queue's questions: what is due, what is there. Each runs on the reading connection and fetches all it needs.

A question about the whole queue is asked page by page (QUEUE_PAGE_GROUPS), so that others come in between and
no read transaction stays open for long: it would keep the log from beginning anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import apsw

from postroad.contracts.queue_store import QueueFilter, Work
from postroad.storage.sqlite.many_rows import ManyRows
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.queue_rows import EntryRow, WorkRow, matches, works_of
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import QUEUE_PAGE_GROUPS
from postroad.vocabulary.queue_id import QueueId, from_number, to_number

_DUE = """
    SELECT message, destination FROM recipient_group
    WHERE held = 0 AND due_at <= ? ORDER BY due_at, message, destination
"""
# CROSS JOIN keeps SQLite to the order of the keys.
_WORKS = ManyRows(
    "WITH key (message, destination) AS (VALUES ",
    "(?,?)",
    """)
    SELECT g.message, g.destination, g.recipients, g.attempts, g.warned, m.envelope, m.size_bytes, m.queued_at
    FROM key
    CROSS JOIN recipient_group AS g ON g.message = key.message AND g.destination = key.destination
    CROSS JOIN message AS m ON m.id = key.message
    """,
)
_ENTRIES = """
    SELECT g.message, g.destination, g.recipients, m.envelope, m.size_bytes, m.queued_at, g.due_at, g.attempts, g.last,
           g.held, g.warned
    FROM recipient_group AS g JOIN message AS m ON m.id = g.message
    WHERE (g.message, g.destination) > (?1, ?2) AND g.message <= ?3 AND m.queued_at < ?4
      AND (?5 = '' OR g.destination IN ('domain:' || ?5, 'hold:' || ?5)
           OR NOT (g.destination GLOB 'domain:*' OR g.destination GLOB 'hold:*'))
      AND (?6 IS NULL OR g.held = ?6)
    ORDER BY g.message, g.destination LIMIT ?7
"""
# A destination that is named for a domain has recipients of that domain alone; in the others anybody may be.
_KEYS = "SELECT key FROM taken WHERE key > ? AND key < ? ORDER BY key LIMIT ?"
_NUMBER_MAX = (1 << 63) - 1


@contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Several statements that see the same moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


class DueQuestion(NamedTuple):
    now: int
    limit: int
    taken: Callable[[QueueId, Destination], bool]
    without: frozenset[str]
    lease: int


def due_work(connection: apsw.Connection, question: DueQuestion) -> list[Work]:
    """Groups to be tried, the longest due first. Those in hand are passed over on the index alone."""
    destinations: dict[str, Destination] = {}
    chosen: list[int | str] = []
    last, queue_id = -1, QueueId("")
    with snapshot(connection):
        due = connection.execute(_DUE, (question.now,))
        for message, text in due:
            if text in question.without:
                continue
            destination = destinations.get(text)
            if destination is None:
                destination = destinations[text] = Destination.parse(text)
            if message != last:  # the groups of a message often come one after the other
                last, queue_id = message, from_number(message)
            if not question.taken(queue_id, destination):
                chosen += (message, text)
                if len(chosen) >= 2 * question.limit:
                    break
        due.close(True)
        rows: list[WorkRow] = _WORKS.fetch(connection, chosen)
    return works_of(rows, destinations, question.lease)


def next_due(connection: apsw.Connection, after: int) -> int | None:
    found: int | None = connection.execute(
        "SELECT min(due_at) FROM recipient_group WHERE held = 0 AND due_at > ?", (after,)
    ).get
    return found


class StoredRow(NamedTuple):
    octets: bytes | None
    size_bytes: int


def content_of(connection: apsw.Connection, number: int) -> StoredRow | None:
    """None when there is no such message; octets None when they are in a file."""
    row = connection.execute(
        "SELECT c.octets, m.size_bytes FROM message AS m LEFT JOIN content AS c ON c.id = m.id WHERE m.id = ?",
        (number,),
    ).get
    return None if row is None else StoredRow(*row)


class PageQuestion(NamedTuple):
    filter: QueueFilter
    after: tuple[int, str]


class Page(NamedTuple):
    """`last` is where the next page begins; None at the end."""

    rows: list[EntryRow]
    last: tuple[int, str] | None


def entries_page(connection: apsw.Connection, question: PageQuestion) -> Page:
    """The groups among the next QUEUE_PAGE_GROUPS that fit the filter."""
    filter = question.filter
    after, up_to = question.after, _NUMBER_MAX
    if filter.queue_id:
        try:
            up_to = to_number(filter.queue_id)
        except ValueError:
            return Page([], None)
        after = max(after, (up_to, ""))
    before = _NUMBER_MAX if filter.before is None else to_microseconds(filter.before)
    asked = (*after, up_to, before, filter.domain.lower(), filter.held, QUEUE_PAGE_GROUPS)
    rows: list[Any] = connection.execute(_ENTRIES, asked).fetchall()
    last = (rows[-1][0], rows[-1][1]) if len(rows) == QUEUE_PAGE_GROUPS else None
    return Page([row for row in rows if matches(row, filter)], last)


def counts(connection: apsw.Connection, now: int) -> dict[str, int]:
    with snapshot(connection):
        messages, size_bytes = connection.execute("SELECT count(*), ifnull(sum(size_bytes), 0) FROM message").get
        groups = connection.execute("SELECT count(*) FROM recipient_group").get
        due = connection.execute("SELECT count(*) FROM recipient_group WHERE held = 0 AND due_at <= ?", (now,)).get
        held = connection.execute("SELECT count(*) FROM recipient_group WHERE held = 1").get
    return {"messages": messages, "groups": groups, "due": due, "held": held, "bytes": size_bytes}


def known(connection: apsw.Connection, numbers: list[int]) -> list[int]:
    """Those of the messages that are there."""
    query = "SELECT 1 FROM message WHERE id = ?"
    with snapshot(connection):
        return [number for number in numbers if connection.execute(query, (number,)).get is not None]


def outbox(connection: apsw.Connection, limit: int) -> tuple[tuple[int, bytes], ...]:
    return tuple(connection.execute("SELECT number, entries FROM outbox ORDER BY number LIMIT ?", (limit,)))


class KeyQuestion(NamedTuple):
    prefix: str
    after: str
    limit: int


def keys(connection: apsw.Connection, question: KeyQuestion) -> tuple[str, ...]:
    """Keys that begin with the prefix and stand above `after`, in order."""
    prefix = question.prefix
    # U+10FFFF is above every character that a key can hold.
    asked = (max(prefix, question.after), prefix + "\U0010ffff", question.limit)
    return tuple(key for (key,) in connection.execute(_KEYS, asked))
