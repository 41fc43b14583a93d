"""The queue's questions are answered out of indexes, however long it is: what SQLite plans to do for them."""

from __future__ import annotations

import apsw
import pytest

from postroad.storage.sqlite import queue_reads, queue_summary
from postroad.storage.sqlite.queue_store import QUEUE


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for _, sql in sorted(QUEUE.migrations().items()):
        connection.execute(sql)
    return connection


def plan(connection: apsw.Connection, sql: str, *values: object) -> list[str]:
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def test_what_is_due_is_read_off_one_index_in_its_order(connection: apsw.Connection) -> None:
    steps = plan(connection, queue_reads._DUE, 1)
    assert steps == ["SEARCH recipient_group USING COVERING INDEX recipient_group_due (due_at<?)"]


def test_groups_and_their_messages_are_found_by_their_keys_in_the_order_of_these(connection: apsw.Connection) -> None:
    for sql, values in queue_reads._WORKS._parts([1, "x"] * 85):
        steps = plan(connection, sql, *values)
        assert steps[-2:] == [
            "SEARCH g USING PRIMARY KEY (message=? AND destination=?)",
            "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)",
        ]
        assert [step for step in steps if "SORT" in step or "ORDER" in step] == []
        assert "key" in steps[-3]


def test_a_page_of_the_queue_is_read_in_the_order_of_its_key(connection: apsw.Connection) -> None:
    steps = plan(connection, queue_reads._ENTRIES, 1, "x", 9, 9, "", None, 5)
    assert [step.split()[0] for step in steps] == ["SEARCH", "SEARCH"]


def test_destinations_are_counted_along_the_indexes_in_their_order(connection: apsw.Connection) -> None:
    for held, index in enumerate(("recipient_group_due", "recipient_group_held")):
        for sql, values in ((queue_summary._BLOCK_END, (1, 2, "x", 9)), (queue_summary._BLOCK, (1, 2, "x", 1, 2, "y"))):
            (step,) = plan(connection, sql.format(index=index, held=held), *values)
            assert step.startswith(
                f"SEARCH recipient_group USING COVERING INDEX {index} ((due_at,message,destination)>"
            )


@pytest.mark.parametrize(("sql", "values"), [(queue_summary._OF_ALL, ()), (queue_summary._OF_CHOSEN, ("[]",))])
def test_the_summary_reads_no_table_but_for_what_it_gives_out(
    connection: apsw.Connection, sql: str, values: tuple[str, ...]
) -> None:
    steps = plan(connection, sql, 1, 5, *values)
    tables = [step for step in steps if "recipient_group" in step]
    assert tables == [
        "SCAN recipient_group USING COVERING INDEX recipient_group_due",
        "SCAN recipient_group USING COVERING INDEX recipient_group_held",
    ]
    assert [step for step in steps if step.startswith("SEARCH")] == [
        "SEARCH g USING PRIMARY KEY (message=? AND destination=?)",
        "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)",
    ]
