"""Suppressed addresses: data/suppressions.db. Implements contracts/suppressions.py.

A file of its own: only commands ask for it, and looking at what became of a letter makes no worker forget what it
remembers of the directory. What is over is swept when something is added.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.suppressions import Awaited, Suppression
from postroad.storage.sqlite.commit import CommitEngine, Verb
from postroad.storage.sqlite.database import DatabaseKind, open_database, sql_folder
from postroad.storage.sqlite.moments import from_microseconds, to_microseconds
from postroad.storage.sqlite.writer import ReadingConnection, make_writer
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import MERGE_AWAITED_MAX, SUPPRESSIONS_MAX

_COLUMNS = "local_part, domain, since, expires_at, reason, given_by, bounce"
_IS_UNDONE = "SELECT 1 FROM suppression_undone WHERE bounce = ?"
_SWEEP = "DELETE FROM suppression WHERE expires_at <= ?"
_COUNT = "SELECT count(*) FROM suppression"
_PRESENT = "SELECT expires_at FROM suppression WHERE address_key = ?"
_PUT = f"INSERT OR REPLACE INTO suppression (address_key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_BOUNCE_OF = "SELECT bounce FROM suppression WHERE address_key = ?"
_REMOVE = "DELETE FROM suppression WHERE address_key = ?"
_UNDO = "INSERT OR IGNORE INTO suppression_undone (bounce) VALUES (?)"
_FIND = f"SELECT {_COLUMNS} FROM suppression WHERE address_key = ? AND (expires_at IS NULL OR expires_at > ?)"
_NEWEST = f"""
    SELECT {_COLUMNS} FROM suppression WHERE expires_at IS NULL OR expires_at > ? ORDER BY since DESC LIMIT ?
"""

_AWAIT = "INSERT OR IGNORE INTO awaited (queue_id, local_part, domain, since) VALUES (?, ?, ?, ?)"
_AWAITED_COUNT = "SELECT count(*) FROM awaited"
_AWAITED = "SELECT queue_id, local_part, domain, since FROM awaited WHERE queue_id > ? ORDER BY queue_id LIMIT ?"
_DROP_AWAITED = "DELETE FROM awaited WHERE queue_id = ?"

SUPPRESSIONS = DatabaseKind("suppressions", application_id=0x50525350, sql=sql_folder("suppressions"), cache_kib=1024)

A = TypeVar("A")
R = TypeVar("R")


class _Asked(NamedTuple):
    addresses: tuple[Mailbox, ...]
    now: datetime


class SqliteSuppressions:
    """To be made on the loop; `direct` for a loop with virtual time. Raises StoreFull, StoreUnavailable."""

    def __init__(self, path: Path, *, direct: bool = False) -> None:
        def connect() -> apsw.Connection:
            return open_database(path, SUPPRESSIONS)

        engine = CommitEngine(connect)
        engine.open()
        self._writer = make_writer(engine, direct=direct, name="suppressions writer")
        self._reading = ReadingConnection(connect)
        self._is_closed = False

    async def add(self, suppressions: tuple[Suppression, ...]) -> int:
        return await self._writer.submit(_ADD, suppressions)

    async def remove(self, address: Mailbox) -> bool:
        return await self._writer.submit(_REMOVE_ONE, address)

    async def among(self, addresses: tuple[Mailbox, ...], now: datetime) -> tuple[Suppression, ...]:
        return self._read(_among, _Asked(addresses, now))

    async def newest(self, now: datetime, limit: int) -> tuple[Suppression, ...]:
        return self._read(_newest, (now, limit))

    async def expect(self, letters: tuple[Awaited, ...]) -> None:
        await self._writer.submit(_EXPECT, letters)

    async def awaited(self, after: str, limit: int) -> tuple[Awaited, ...]:
        return self._read(_awaited, (after, limit))

    async def drop_awaited(self, queue_ids: tuple[str, ...]) -> None:
        await self._writer.submit(_DROP, queue_ids)

    async def close(self) -> None:
        self._is_closed = True
        self._reading.close()
        await self._writer.close()

    def _read(self, query: Callable[[apsw.Connection, A], R], argument: A) -> R:
        if self._is_closed:
            raise StoreUnavailable("The suppressions are closed.")
        return self._reading.run(query, argument)


# ---- reading -------------------------------------------------------------------------------------


def _among(connection: apsw.Connection, asked: _Asked) -> tuple[Suppression, ...]:
    now = to_microseconds(asked.now)
    keys = (address.key() for address in asked.addresses)
    rows = [row for key in keys for row in connection.execute(_FIND, (key, now)).fetchall()]
    return tuple(_suppression(row) for row in rows)


def _newest(connection: apsw.Connection, asked: tuple[datetime, int]) -> tuple[Suppression, ...]:
    now, limit = asked
    return tuple(_suppression(row) for row in connection.execute(_NEWEST, (to_microseconds(now), limit)).fetchall())


def _suppression(row: tuple[Any, ...]) -> Suppression:
    local_part, domain, since, expires_at, reason, by, bounce = row
    return Suppression(
        address=Mailbox(local_part, domain),
        since=from_microseconds(since),
        expires_at=None if expires_at is None else from_microseconds(expires_at),
        reason=reason,
        by=by,
        bounce=bounce,
    )


def _awaited(connection: apsw.Connection, asked: tuple[str, int]) -> tuple[Awaited, ...]:
    rows: list[tuple[Any, ...]] = connection.execute(_AWAITED, asked).fetchall()
    return tuple(
        Awaited(queue_id=queue_id, address=Mailbox(local_part, domain), since=from_microseconds(since))
        for queue_id, local_part, domain, since in rows
    )


# ---- changing ------------------------------------------------------------------------------------


def _add(connection: apsw.Connection, suppressions: tuple[Suppression, ...]) -> int:
    came = 0
    for each in suppressions:
        if each.bounce and connection.execute(_IS_UNDONE, (each.bounce,)).get is not None:
            continue
        connection.execute(_SWEEP, (to_microseconds(each.since),))
        present = connection.execute(_PRESENT, (each.address.key(),)).fetchone()
        if present is None and connection.execute(_COUNT).get >= SUPPRESSIONS_MAX:
            raise ValueError(f"{SUPPRESSIONS_MAX} addresses are suppressed already; remove some.")
        expires_at = None if each.expires_at is None else to_microseconds(each.expires_at)
        if present is not None and _ends_no_later(expires_at, present[0]):
            continue
        row = (each.address.local_part, each.address.domain, to_microseconds(each.since), expires_at)
        connection.execute(_PUT, (each.address.key(), *row, each.reason, each.by, each.bounce))
        came += present is None
    return came


def _ends_no_later(one: int | None, other: int | None) -> bool:
    return other is None or (one is not None and one <= other)


def _remove(connection: apsw.Connection, address: Mailbox) -> bool:
    bounce = connection.execute(_BOUNCE_OF, (address.key(),)).get
    if bounce is None:
        return False
    if bounce:
        connection.execute(_UNDO, (bounce,))
    connection.execute(_REMOVE, (address.key(),))
    return True


def _expect(connection: apsw.Connection, letters: tuple[Awaited, ...]) -> None:
    room = max(0, MERGE_AWAITED_MAX - connection.execute(_AWAITED_COUNT).get)
    for each in letters[:room]:
        row = (each.queue_id, each.address.local_part, each.address.domain, to_microseconds(each.since))
        connection.execute(_AWAIT, row)


def _drop_awaited(connection: apsw.Connection, queue_ids: tuple[str, ...]) -> None:
    connection.executemany(_DROP_AWAITED, [(queue_id,) for queue_id in queue_ids])


_EXPECT: Verb[tuple[Awaited, ...], None] = Verb(_expect)
_DROP: Verb[tuple[str, ...], None] = Verb(_drop_awaited)
_ADD: Verb[tuple[Suppression, ...], int] = Verb(_add)
_REMOVE_ONE: Verb[Mailbox, bool] = Verb(_remove)
