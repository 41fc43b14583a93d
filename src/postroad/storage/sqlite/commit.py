"""Group commit without threads: one batch of items in, one result for each out, one sync between.

A batch is one transaction. It is first run without savepoints, and items of the same verb together where the
verb has a form for many. Should anything fail, all is rolled back and run again with a savepoint around every
single item, so that an item's error is its own. That is right because items are pure writes: running one twice
leaves what running it once does. The rare failing batch pays for it; the others save two statements an item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import apsw

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.database import close_database, is_suspect, translated
from postroad.vocabulary.limits import CHECKPOINT_PAGES

A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class Verb(Generic[A, R]):
    """One kind of item.

    `one` writes one argument inside the transaction it finds; it may run twice (see above) and may raise: its item
    then fails alone. It begins and ends no transaction. `many`, where there is one, does the same for several with
    fewer statements: fewer statements are fewer hand-overs of the interpreter's lock. Verbs with `many` go first,
    so no item may depend on another of which it is not yet known that it is done.
    """

    one: Callable[[apsw.Connection, A], R]
    many: Callable[[apsw.Connection, Sequence[A]], Sequence[R]] | None = None


Item = tuple[Verb[Any, Any], Any]
Done = tuple[Verb[Any, Any], Any, Any]
"""Verb, argument, result of an item that succeeded."""
Result = Any
"""What the verb returned, or the exception that the item failed with."""


def _no_beginning(connection: apsw.Connection) -> None:
    """The hook of stores that need not know when a batch begins."""


def _nothing(connection: apsw.Connection, done: Sequence[Done]) -> None:
    """The hook of stores that have nothing to add to a batch."""


def _nothing_after(done: Sequence[Done]) -> None:
    """The hook of stores that have nothing to do after a commit."""


class CommitEngine:
    """The writing connection of one database, and a second one for checkpoints. For one thread at a time.

    connect        opens a connection; called again after a failure of the disk. Raises StoreUnavailable
    begin_batch    is called first in the transaction of a batch, and once more when the batch is run again
    finish_batch   adds to the transaction of a batch, before its commit, what all its items share
    after_commit   is told what was done; must not raise
    """

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        finish_batch: Callable[[apsw.Connection, Sequence[Done]], None] = _nothing,
        after_commit: Callable[[Sequence[Done]], None] = _nothing_after,
        begin_batch: Callable[[apsw.Connection], None] = _no_beginning,
    ) -> None:
        self._connect = connect
        self._begin_batch = begin_batch
        self._finish_batch = finish_batch
        self._after_commit = after_commit
        self._name = ""
        self._connection: apsw.Connection | None = None
        self._checkpointer: apsw.Connection | None = None
        self._wal_pages = 0
        self._next_checkpoint = CHECKPOINT_PAGES
        self.checkpoint_failures = 0

    def open(self) -> None:
        """Open both connections and prove with a small commit that the disk takes writes. Blocks.

        After a failed commit the log holds pages that its index does not count. The checkpoint connection has kept
        that index alive, and the small commit overwrites those pages: what was reported as not written cannot come
        back at the next start. Raises StoreFull, StoreUnavailable.
        """
        connection = self._connect()
        self._name = connection.filename
        try:
            version = connection.pragma("user_version")
            connection.execute(f"BEGIN IMMEDIATE; PRAGMA user_version = {version}; COMMIT")
            checkpointer = self._connect()
        except apsw.Error as error:
            unavailable = translated(error, self._name, connection.system_errno)
            close_database(connection)
            raise unavailable from error
        except StoreUnavailable:
            close_database(connection)
            raise
        connection.set_wal_hook(self._count_wal_pages)
        if self._checkpointer is not None:
            close_database(self._checkpointer)
        self._connection, self._checkpointer = connection, checkpointer
        self._wal_pages, self._next_checkpoint = 0, CHECKPOINT_PAGES

    @property
    def is_open(self) -> bool:
        """False after the disk failed, until `open` succeeds."""
        return self._connection is not None

    @property
    def connection(self) -> apsw.Connection:
        """The writing connection, for what the owner does before it accepts items. Raises StoreUnavailable."""
        if self._connection is None:
            raise StoreUnavailable(f"{self._name}: closed after a failure of the disk.")
        return self._connection

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        """The results of the items, in their order; durable. Blocks. Does not raise.

        When the commit as a whole fails every result is a StoreUnavailable (StoreFull where the disk is full) and
        nothing was written; if the disk is to blame, `is_open` is False then.
        """
        try:
            connection = self.connection
        except StoreUnavailable as error:
            return _all_failed(batch, error)
        try:
            results = self._write(connection, batch)
        except (apsw.Error, StoreUnavailable) as error:
            return _all_failed(batch, self._abandon(connection, error))
        except Exception as error:  # a defect in a hook: no item may be left without an answer
            self._abandon(connection, error)
            return _all_failed(batch, StoreUnavailable(f"{self._name}: {error!r}"))
        return results

    def _write(self, connection: apsw.Connection, batch: Sequence[Item]) -> list[Result]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._begin_batch(connection)
            results = _together(connection, batch)
        except Exception as error:
            if isinstance(error, apsw.Error) and is_suspect(error):
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            self._begin_batch(connection)
            results = _one_by_one(connection, batch)
        done = [
            (verb, argument, result)
            for (verb, argument), result in zip(batch, results, strict=True)
            if not isinstance(result, Exception)
        ]
        if done:
            self._finish_batch(connection, done)
        connection.execute("COMMIT")
        if done:
            self._after_commit(done)
        return results

    def _abandon(self, connection: apsw.Connection, error: Exception) -> StoreUnavailable:
        """Roll back, and give the connection up if the disk is to blame; returns what the callers get."""
        unavailable = error if isinstance(error, StoreUnavailable) else StoreUnavailable(f"{self._name}: {error}")
        suspect = False
        if isinstance(error, apsw.Error):
            unavailable = translated(error, self._name, connection.system_errno)
            suspect = is_suspect(error)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            suspect = True
        if suspect:
            close_database(connection)
            self._connection = None
        return unavailable

    def _count_wal_pages(self, connection: apsw.Connection, schema: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def checkpoint_if_due(self) -> None:
        """Carry the log over into the file when it has grown by CHECKPOINT_PAGES. Blocks. Does not raise:
        the log keeps what could not be carried over, and it is tried again when it has grown as much again."""
        if self._wal_pages >= self._next_checkpoint:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._next_checkpoint = self._wal_pages + CHECKPOINT_PAGES
        elif self._wal_pages < self._next_checkpoint - CHECKPOINT_PAGES:  # the log began anew
            self._next_checkpoint = CHECKPOINT_PAGES

    def _checkpoint(self, mode: int) -> None:
        if self._checkpointer is None:
            return
        try:
            self._checkpointer.wal_checkpoint(mode=mode)
        except apsw.Error as error:
            self.checkpoint_failures += 1
            if is_suspect(error):
                close_database(self._checkpointer)
                self._checkpointer = None
                self._replace_checkpointer()

    def _replace_checkpointer(self) -> None:
        try:
            self._checkpointer = self._connect()
        except StoreUnavailable:
            # Without one the log only grows; the next commit meets the same disk and re-opens both.
            self.checkpoint_failures += 1

    def close(self) -> None:
        """Carry the whole log over, empty it and close. Blocks. Does not raise."""
        if self._connection is not None:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        for connection in (self._connection, self._checkpointer):
            if connection is not None:
                close_database(connection)
        self._connection = self._checkpointer = None


def _together(connection: apsw.Connection, batch: Sequence[Item]) -> list[Result]:
    """All items without savepoints; raises when any of them fails."""
    results: list[Result] = [None] * len(batch)
    same: dict[Verb[Any, Any], list[int]] = {}
    for position, (verb, _) in enumerate(batch):
        if verb.many is not None:
            same.setdefault(verb, []).append(position)
    for verb, positions in same.items():
        assert verb.many is not None
        for position, result in zip(positions, verb.many(connection, [batch[n][1] for n in positions]), strict=True):
            results[position] = result
    for position, (verb, argument) in enumerate(batch):
        if verb.many is None:
            results[position] = verb.one(connection, argument)
    return results


def _one_by_one(connection: apsw.Connection, batch: Sequence[Item]) -> list[Result]:
    """Every item in a savepoint of its own. Raises only what concerns the whole batch."""
    results: list[Result] = []
    for verb, argument in batch:
        connection.execute("SAVEPOINT item")
        try:
            result = verb.one(connection, argument)
        except Exception as error:
            if isinstance(error, apsw.Error) and (is_suspect(error) or not connection.in_transaction):
                raise
            connection.execute("ROLLBACK TO item")
            result = translated(error, connection.filename) if isinstance(error, apsw.Error) else error
        connection.execute("RELEASE item")
        results.append(result)
    return results


def _all_failed(batch: Sequence[Item], error: StoreUnavailable) -> list[Result]:
    """An exception each: one object raised in many places would gather all their tracebacks."""
    return [type(error)(*error.args) for _ in batch]
