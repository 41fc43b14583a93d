"""What waits for each destination: counted along the indexes of what is due and of what is held.

SQLite sorts to group, which takes most of a second for a million groups, and 80 MiB. So it only strings the
destinations together, a block of the index at a time, and they are counted here; those that are given out are then
looked at more closely. A block takes Python a millisecond: the loop gets its turn in between. Whoever asks for
thousands of destinations has them by the long way, which is the shorter one then.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from typing import Any, NamedTuple

import apsw

from postroad.contracts.queue_store import DestinationSummary, QueueSummary
from postroad.storage.sqlite.moments import from_microseconds
from postroad.storage.sqlite.queue_reads import snapshot
from postroad.vocabulary.limits import SUMMARY_BLOCK_GROUPS, SUMMARY_CHOSEN

# The indexes are named: SQLite would rather read the table, which is several times their size. Each begins with due_at
# and goes on with the table's key.
_BLOCK_END = """
    SELECT due_at, message, destination FROM recipient_group INDEXED BY {index}
    WHERE held = {held} AND (due_at, message, destination) > (?, ?, ?)
    ORDER BY due_at, message, destination LIMIT 1 OFFSET ?
"""
# No destination has a line feed in its name.
_BLOCK = """
    SELECT group_concat(destination, char(10)) FROM recipient_group INDEXED BY {index}
    WHERE held = {held} AND (due_at, message, destination) > (?, ?, ?) AND (due_at, message, destination) <= (?, ?, ?)
"""
_SUMMARY = """
    WITH part AS (
        SELECT destination, count(*) AS groups, 0 AS held, sum(due_at <= ?1) AS due,
               min(message) AS oldest, min(due_at) AS next_due
        FROM recipient_group INDEXED BY recipient_group_due
        WHERE held = 0 {chosen} GROUP BY destination
        UNION ALL
        SELECT destination, count(*), count(*), 0, min(message), NULL
        FROM recipient_group INDEXED BY recipient_group_held
        WHERE held = 1 {chosen} GROUP BY destination
    ), whole AS (
        SELECT destination, sum(groups) AS groups, sum(held) AS held, sum(due) AS due,
               min(oldest) AS oldest, max(next_due) AS next_due
        FROM part GROUP BY destination
    ), first AS (
        SELECT *, count(*) OVER () AS destinations, sum(groups) OVER () AS all_groups,
               sum(held) OVER () AS all_held, sum(due) OVER () AS all_due
        FROM whole ORDER BY groups DESC, destination LIMIT ?2
    )
    SELECT first.destination, first.groups, first.held, first.due, m.queued_at, first.next_due, g.last,
           destinations, all_groups, all_held, all_due
    FROM first
    JOIN recipient_group AS g ON g.message = first.oldest AND g.destination = first.destination
    JOIN message AS m ON m.id = first.oldest
    ORDER BY first.groups DESC, first.destination
"""
_OF_ALL = _SUMMARY.format(chosen="")
_OF_CHOSEN = _SUMMARY.format(chosen="AND destination IN (SELECT value FROM json_each(?3))")
_DUE = "SELECT count(*) FROM recipient_group WHERE held = 0 AND due_at <= ?"

_Place = tuple[int, int, str]
_BEGINNING: _Place = (-1 << 63, 0, "")
_END: _Place = ((1 << 63) - 1, (1 << 63) - 1, "")


class SummaryQuestion(NamedTuple):
    now: int
    destination: str
    """Empty for all."""
    limit: int


def summary(connection: apsw.Connection, question: SummaryQuestion) -> QueueSummary:
    """The destinations with most groups, and the totals of all."""
    now, destination, limit = question
    if destination:
        return _closer(connection, _OF_CHOSEN, (now, limit, json.dumps([destination])))
    if limit > SUMMARY_CHOSEN:
        return _closer(connection, _OF_ALL, (now, limit))
    with snapshot(connection):
        groups, held = Counter[str](), Counter[str]()
        _count(connection, "recipient_group_due", 0, groups)
        _count(connection, "recipient_group_held", 1, held)
        groups.update(held)
        due: int = connection.execute(_DUE, (now,)).get
        most = heapq.nsmallest(limit, groups.items(), key=lambda item: (-item[1], item[0]))
        found = _closer(connection, _OF_CHOSEN, (now, limit, json.dumps([name for name, _ in most])))
    return QueueSummary(found.destinations, len(groups), groups.total(), held.total(), due)


def _count(connection: apsw.Connection, index: str, held: int, counted: Counter[str]) -> None:
    """Add the groups of each destination in the index."""
    block_end, block = _BLOCK_END.format(index=index, held=held), _BLOCK.format(index=index, held=held)
    place: _Place | None = _BEGINNING
    while place is not None:
        end: _Place | None = connection.execute(block_end, (*place, SUMMARY_BLOCK_GROUPS - 1)).get
        names: str | None = connection.execute(block, (*place, *(end or _END))).get
        if names is not None:
            counted.update(names.split("\n"))
        place = end


def _closer(connection: apsw.Connection, sql: str, asked: tuple[object, ...]) -> QueueSummary:
    """All that is told of the destinations that the question is about, and their totals."""
    rows: list[Any] = connection.execute(sql, asked).fetchall()
    totals = rows[0][7:] if rows else (0, 0, 0, 0)
    return QueueSummary(
        tuple(
            DestinationSummary(
                destination=destination,
                groups=groups,
                held=held,
                due=due,
                oldest_at=from_microseconds(oldest),
                next_attempt_at=None if next_due is None else from_microseconds(next_due),
                last=last,
            )
            for destination, groups, held, due, oldest, next_due, last, *_ in rows
        ),
        *totals,
    )
