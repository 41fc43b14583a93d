"""The register of the archive: who looked, what is under legal hold, what retention removed, and the daily heads of all
chains. A chain like the others, in a file that any process may write for an instant.

What is under hold is read from it and stands nowhere else: nobody can lift a hold without a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from postroad.contracts.archive_store import Access, ChainHead, LegalHold
from postroad.storage.sqlite.archive_folder import register_path
from postroad.storage.sqlite.archive_rows import ARCHIVE, BEGINNING, COLUMNS, REGISTER, Draft, Row, digest, head_of, put
from postroad.storage.sqlite.database import close_database, open_database, translating
from postroad.storage.sqlite.moments import to_microseconds

R = TypeVar("R")
Decided = tuple[str, msgspec.Struct, R] | None

ACCESS = "access"
HOLD = "hold"
RELEASE = "release"
REMOVED = "removed"
TIE = "tie"

_OF_KIND = "SELECT envelope FROM record WHERE kind = ? ORDER BY number"
_LAST = "SELECT envelope FROM record WHERE kind IN ('access', 'hold', 'release') ORDER BY number DESC LIMIT ?"
_HOLDS = "SELECT kind, envelope FROM record WHERE kind IN ('hold', 'release') ORDER BY number"
_LAST_TIE = "SELECT recorded_at FROM record WHERE kind = 'tie' ORDER BY number DESC LIMIT 1"
_ALL = f"SELECT {COLUMNS} FROM record WHERE number > ? ORDER BY number LIMIT ?"


class Held(msgspec.Struct, frozen=True):
    """A hold was put on, or released (only its name counts then)."""

    access: Access
    hold: LegalHold


class Removal(msgspec.Struct, frozen=True):
    """Retention removed content and envelopes of these records of a chain; `numbers` are ranges, both ends in them."""

    chain: str
    month: str
    numbers: tuple[tuple[int, int], ...]


class Tie(msgspec.Struct, frozen=True):
    heads: tuple[ChainHead, ...]


class _Seen(msgspec.Struct, frozen=True):
    """What accesses and holds have in common."""

    access: Access


class Register:
    """`folder` is data/archive. Everything blocks. Raises StoreUnavailable."""

    def __init__(self, folder: Path) -> None:
        self._path = register_path(folder)

    def exists(self) -> bool:
        return self._path.exists()

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        with translating(str(self._path)):
            connection = open_database(self._path, ARCHIVE)
            try:
                yield connection
            finally:
                close_database(connection)

    def write(self, at: datetime, decide: Callable[[apsw.Connection], Decided[R]]) -> R | None:
        """Append what `decide` says, seeing everything that was written before and nothing that comes after: the kind,
        what of, and what is returned. None: nothing is to be written."""
        with self.connection() as connection, _transaction(connection):
            decided = decide(connection)
            if decided is None:
                return None
            kind, body, result = decided
            octets = msgspec.json.encode(body)
            moment = to_microseconds(at)
            before = head_of(connection) or BEGINNING
            key = f"{kind}/{before.number + 1}"
            put(connection, REGISTER, before, Draft(kind, key, moment, moment, 0, octets, digest(b""), None, b""))
            return result

    def access(self, access: Access) -> None:
        self.write(access.at, lambda _: (ACCESS, _Seen(access), True))

    def accesses(self, limit: int) -> tuple[Access, ...]:
        if not self.exists():
            return ()
        with self.connection() as connection:
            rows: list[Any] = connection.execute(_LAST, (limit,)).fetchall()
        return tuple(msgspec.json.decode(octets, type=_Seen).access for (octets,) in rows)

    def hold(self, hold: LegalHold, access: Access) -> bool:
        def decide(connection: apsw.Connection) -> Decided[bool]:
            return None if hold.name in holds_in(connection) else (HOLD, Held(access, hold), True)

        return bool(self.write(access.at, decide))

    def release(self, name: str, access: Access) -> bool:
        def decide(connection: apsw.Connection) -> Decided[bool]:
            hold = holds_in(connection).get(name)
            return None if hold is None else (RELEASE, Held(access, hold), True)

        return bool(self.write(access.at, decide))

    def holds(self) -> tuple[LegalHold, ...]:
        if not self.exists():
            return ()
        with self.connection() as connection:
            return tuple(holds_in(connection).values())

    def tie(self, now: datetime, heads: tuple[ChainHead, ...]) -> bool:
        def decide(connection: apsw.Connection) -> Decided[bool]:
            day = to_microseconds(now) // _DAY
            last = connection.execute(_LAST_TIE).fetchone()
            return None if last is not None and last[0] // _DAY >= day else (TIE, Tie(heads), True)

        return bool(self.write(now, decide))

    def ties(self) -> Iterator[Tie]:
        for octets in self._of_kind(TIE):
            yield msgspec.json.decode(octets, type=Tie)

    def removals(self) -> Iterator[Removal]:
        for octets in self._of_kind(REMOVED):
            yield msgspec.json.decode(octets, type=Removal)

    def _of_kind(self, kind: str) -> list[bytes]:
        if not self.exists():
            return []
        with self.connection() as connection:
            return [octets or b"" for (octets,) in connection.execute(_OF_KIND, (kind,))]


_DAY = 86_400 * 1_000_000


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def holds_in(connection: apsw.Connection) -> dict[str, LegalHold]:
    """Those that were put on and not released."""
    holds: dict[str, LegalHold] = {}
    for kind, octets in connection.execute(_HOLDS):
        hold = msgspec.json.decode(octets, type=Held).hold
        if kind == HOLD:
            holds[hold.name] = hold
        else:
            holds.pop(hold.name, None)
    return holds


def rows_after(connection: apsw.Connection, number: int, limit: int) -> list[Row]:
    """Records in order, a page at a time."""
    return [Row(*row) for row in connection.execute(_ALL, (number, limit))]
