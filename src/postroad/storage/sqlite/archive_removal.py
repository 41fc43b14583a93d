"""Retention: content and envelopes that are old enough go, their hashes stay, and what is under legal hold is left.

First the register says what is removed, in the same transaction that asks what is under hold; then it is removed. A
crash between leaves records that are there although they may go, and the next round removes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec

from postroad.contracts.archive_store import JournalEnvelope
from postroad.storage.sqlite.archive_folder import ChainFile, chain_files
from postroad.storage.sqlite.archive_register import REMOVED, Register, Removal, holds_in
from postroad.storage.sqlite.archive_rows import ARCHIVE, EXPANSION_SUFFIX
from postroad.storage.sqlite.content_files import ContentFiles
from postroad.storage.sqlite.database import close_database, open_database, translating
from postroad.storage.sqlite.moments import from_microseconds, to_microseconds
from postroad.vocabulary.limits import ARCHIVE_REMOVED_AT_ONCE

# An expansion says more of the same envelope; both are kept or removed together.
_OLD = f"""
    SELECT r.number, r.accepted_at, r.envelope, r.file,
           (SELECT e.envelope FROM record AS e WHERE e.key = r.key || '{EXPANSION_SUFFIX}')
    FROM record AS r
    WHERE r.number > ? AND r.accepted_at < ?
          AND (r.envelope IS NOT NULL OR r.content IS NOT NULL OR r.file IS NOT NULL)
    ORDER BY r.number LIMIT ?"""
_TAKE = "UPDATE record SET envelope = NULL, content = NULL, file = NULL WHERE number BETWEEN ? AND ?"

_Old = tuple[int, int, bytes | None, str | None, bytes | None]


def remove_before(folder: Path, accepted_before: datetime, now: datetime) -> int:
    """How many records lost content and envelope. Blocks. Raises StoreUnavailable; what was removed stays removed."""
    removed = 0
    register = Register(folder)
    for file in chain_files(folder):
        with translating(str(file.path)):
            connection = open_database(file.path, ARCHIVE)
            try:
                # What is removed is to be gone from the disk, too.
                connection.pragma("secure_delete", 1)
                removed += _remove(connection, file, register, to_microseconds(accepted_before), now)
            finally:
                close_database(connection)
    return removed


def _remove(connection: apsw.Connection, file: ChainFile, register: Register, before: int, now: datetime) -> int:
    removed, after = 0, 0
    while page := _page(connection, after, before):
        after = page[-1][0]
        going = register.write(now, partial(_decide, file=file, page=page))
        if not going:
            continue
        ranges = _ranges(number for number, *_ in going)
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(_TAKE, ranges)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        files = ContentFiles(file.content)
        for _, _, _, name, _ in going:
            if name is not None:
                files.remove(name)
        removed += len(going)
    return removed


def _page(connection: apsw.Connection, after: int, before: int) -> list[_Old]:
    rows: Iterable[Any] = connection.execute(_OLD, (after, before, ARCHIVE_REMOVED_AT_ONCE))
    return list(rows)


def _decide(register: apsw.Connection, file: ChainFile, page: list[_Old]) -> tuple[str, Removal, list[_Old]] | None:
    """Those of the page that no hold keeps."""
    holds = tuple(holds_in(register).values())
    going = []
    for row in page:
        number, accepted_at, own, name, of_expansion = row
        octets = of_expansion or own
        if octets is not None and holds:
            envelope = msgspec.json.decode(octets, type=JournalEnvelope)
            if any(hold.fits(envelope, from_microseconds(accepted_at)) for hold in holds):
                continue
        going.append((number, accepted_at, own, name, of_expansion))
    if not going:
        return None
    numbers = tuple(_ranges(number for number, *_ in going))
    return REMOVED, Removal(file.chain, file.month, numbers), going


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Rising numbers as ranges with both ends in them."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ranges
