"""Statements for many rows at once.

Each statement that SQLite runs gives the interpreter's lock away and must get it back; under load the getting
back is what costs. So a batch says with one statement what it could say with one for each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

_SIZES = (64, 16, 4, 1)
"""Rows of one statement; few sizes, so that all statements stay prepared."""


class ManyRows:
    """`before` + `row` repeated with commas + `after`, for any number of rows. Up to `exact` of them have a statement
    of their own: worth its memory (20 KB for 32 rows) where every batch of a busy connection has other ones."""

    def __init__(self, before: str, row: str, after: str = "", *, exact: int = 0) -> None:
        self._columns = row.count("?")
        sizes = sorted({*_SIZES, *range(1, exact + 1)}, reverse=True)
        self._statements = tuple((size, before + ",".join([row] * size) + after) for size in sizes)
        self._exact = {size * self._columns: statement for size, statement in self._statements}

    def run(self, connection: apsw.Connection, values: Sequence[Any]) -> int:
        """Run it for the rows whose values stand one after the other in `values`. Returns how many rows changed.
        Raises apsw.Error; what was run until then stays."""
        before = connection.total_changes()
        for statement, part in self._parts(values):
            connection.execute(statement, part)
        return connection.total_changes() - before

    def fetch(self, connection: apsw.Connection, values: Sequence[Any]) -> list[Any]:
        """The same with a query: the rows that it finds, in the order of `values`. Raises apsw.Error."""
        found: list[Any] = []
        for statement, part in self._parts(values):
            found += connection.execute(statement, part)
        return found

    def _parts(self, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
        whole = self._exact.get(len(values))
        if whole is not None:
            yield whole, values
            return
        start, end = 0, len(values)
        for size, statement in self._statements:
            step = size * self._columns
            while end - start >= step:
                yield statement, values[start : start + step]
                start += step
