"""What waits for each destination: one pass over the index of what is due, and over that of what is held.

The first holds all that it needs, and SQLite adds up without Python's help, so that a million groups take well under
a second and the loop is not in the way meanwhile. Rows of the tables are read for those destinations alone that are
given out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

from postroad.contracts.queue_store import DestinationSummary, QueueSummary
from postroad.storage.sqlite.moments import from_microseconds

# The indexes are named: SQLite would rather read the table for a GROUP BY, which is several times their size.
_SUMMARY = """
    WITH part AS (
        SELECT destination, count(*) AS groups, 0 AS held, sum(due_at <= ?1) AS due,
               min(message) AS oldest, min(due_at) AS next_due
        FROM recipient_group INDEXED BY recipient_group_due
        WHERE held = 0 AND ?2 IN ('', destination) GROUP BY destination
        UNION ALL
        SELECT destination, count(*), count(*), 0, min(message), NULL
        FROM recipient_group INDEXED BY recipient_group_held
        WHERE held = 1 AND ?2 IN ('', destination) GROUP BY destination
    ), whole AS (
        SELECT destination, sum(groups) AS groups, sum(held) AS held, sum(due) AS due,
               min(oldest) AS oldest, max(next_due) AS next_due
        FROM part GROUP BY destination
    ), first AS (
        SELECT *, count(*) OVER () AS destinations, sum(groups) OVER () AS all_groups,
               sum(held) OVER () AS all_held, sum(due) OVER () AS all_due
        FROM whole ORDER BY groups DESC, destination LIMIT ?3
    )
    SELECT first.destination, first.groups, first.held, first.due, m.queued_at, first.next_due, g.last,
           destinations, all_groups, all_held, all_due
    FROM first
    JOIN recipient_group AS g ON g.message = first.oldest AND g.destination = first.destination
    JOIN message AS m ON m.id = first.oldest
    ORDER BY first.groups DESC, first.destination
"""


class SummaryQuestion(NamedTuple):
    now: int
    destination: str
    """Empty for all."""
    limit: int


def summary(connection: apsw.Connection, question: SummaryQuestion) -> QueueSummary:
    """The destinations with most groups, and the totals of all."""
    rows: list[Any] = connection.execute(_SUMMARY, question).fetchall()
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
