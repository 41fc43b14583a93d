"""The index of the archive, archive/index.db: full text, senders, recipients, times. It is brought up to date before a
search, and can be made anew from the records at any time. Everything blocks and raises StoreUnavailable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from postroad.contracts.archive_store import ArchiveQuery, JournalEnvelope, Unindexed, Words
from postroad.storage.sqlite.archive_folder import ChainFile, chain_files, index_path
from postroad.storage.sqlite.archive_rows import ARCHIVE, EXPANSION_SUFFIX
from postroad.storage.sqlite.database import DatabaseKind, close_database, open_database, sql_folder, translating
from postroad.storage.sqlite.moments import from_microseconds, to_microseconds
from postroad.vocabulary.limits import ARCHIVE_INDEXED_BYTES
from postroad.vocabulary.queue_id import QueueId

INDEX = DatabaseKind("index of the archive", application_id=0x50524149, sql=sql_folder("archive_index"))

_INDEXED = "SELECT coalesce(max(number), 0) FROM entry WHERE chain = ? AND month = ?"
_NEW = f"""
    SELECT number, key, accepted_at, envelope, substr(content, 1, {ARCHIVE_INDEXED_BYTES}), file,
           (SELECT e.envelope FROM record AS e WHERE e.key = r.key || '{EXPANSION_SUFFIX}')
    FROM record AS r
    WHERE number > ? AND kind = 'message' AND envelope IS NOT NULL ORDER BY number LIMIT ?"""
_PUT = "INSERT OR IGNORE INTO entry (chain, month, number, key, accepted_at, subject) VALUES (?,?,?,?,?,?) RETURNING id"
_PUT_PARTY = "INSERT OR IGNORE INTO party (address, sends, entry) VALUES (?,?,?)"
_PUT_WORDS = "INSERT INTO words (rowid, text) VALUES (?, ?)"
_WORD = re.compile(r"\w+")


class ArchiveIndex:
    """`folder` is data/archive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def _connection(self) -> Iterator[apsw.Connection]:
        path = index_path(self._folder)
        with translating(str(path)):
            connection = open_database(path, INDEX)
            try:
                yield connection
            finally:
                close_database(connection)

    def unindexed(self, limit: int) -> tuple[Unindexed, ...]:
        found: list[Unindexed] = []
        with self._connection() as index:
            for file in chain_files(self._folder):
                after = index.execute(_INDEXED, (file.chain, file.month)).get
                found += _new_in(file, after, limit - len(found))
                if len(found) >= limit:
                    break
        return tuple(found)

    def add(self, words: tuple[Words, ...]) -> None:
        with self._connection() as index, _transaction(index):
            for each in words:
                of = each.of
                row = index.execute(
                    _PUT,
                    (of.chain, of.month, of.number, of.queue_id, to_microseconds(of.accepted_at), each.subject),
                ).fetchone()
                if row is None:  # another command was first
                    continue
                envelope = of.envelope
                recipients = (*envelope.recipients, *envelope.leads_to)
                index.executemany(_PUT_PARTY, [(name, 1, row[0]) for name in _names((envelope.reverse_path,))])
                index.executemany(_PUT_PARTY, [(name, 0, row[0]) for name in _names(recipients)])
                index.execute(_PUT_WORDS, (row[0], f"{each.subject}\n{each.text}"))

    def forget(self) -> None:
        with self._connection() as index, _transaction(index):
            index.execute("DELETE FROM entry; DELETE FROM party; INSERT INTO words (words) VALUES ('delete-all')")

    def forget_removed(self, before: int) -> None:
        """Nothing is to be found of what is no more. `before` is when it was accepted at the latest."""
        if not index_path(self._folder).exists():
            return
        gone: list[int] = []
        with self._connection() as index:
            for file in chain_files(self._folder):
                entries: list[Any] = index.execute(
                    "SELECT id, number FROM entry WHERE chain = ? AND month = ? AND accepted_at < ?",
                    (file.chain, file.month, before),
                ).fetchall()
                if entries:
                    there = _there(file)
                    gone += [entry for entry, number in entries if number not in there]
            index.pragma("secure_delete", 1)
            with _transaction(index):
                for entry in gone:
                    # The row stays, without what was in it: it marks how far its file is indexed.
                    index.execute("UPDATE entry SET subject = '' WHERE id = ?", (entry,))
                    index.execute("DELETE FROM party WHERE entry = ?", (entry,))
                    index.execute("DELETE FROM words WHERE rowid = ?", (entry,))

    def find(self, query: ArchiveQuery, limit: int) -> list[tuple[str, str, QueueId, str]]:
        """Chain, month, queue id and subject of those that fit, the latest first."""
        conditions, values = ["1"], list[Any]()
        words = _WORD.findall(query.words)
        if query.words and not words:
            return []
        if words:
            conditions.append("id IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(" ".join(f'"{word}"' for word in words))
        for address, sends in ((query.sender, 1), (query.recipient, 0)):
            if address:
                conditions.append("id IN (SELECT entry FROM party WHERE address = ? AND sends = ?)")
                values += (address.lower(), sends)
        if query.after is not None:
            conditions.append("accepted_at >= ?")
            values.append(to_microseconds(query.after))
        if query.before is not None:
            conditions.append("accepted_at < ?")
            values.append(to_microseconds(query.before))
        sql = (
            f"SELECT chain, month, key, subject FROM entry WHERE {' AND '.join(conditions)}"
            " ORDER BY accepted_at DESC LIMIT ?"
        )
        with self._connection() as index:
            rows: list[Any] = index.execute(sql, (*values, limit)).fetchall()
        return [(chain, month, QueueId(key), subject) for chain, month, key, subject in rows]


def _names(addresses: Iterable[str]) -> set[str]:
    lower = {address.lower() for address in addresses}
    return lower | {f"@{address.rpartition('@')[2]}" for address in lower if "@" in address}


def _there(file: ChainFile) -> set[int]:
    connection = open_database(file.path, ARCHIVE)
    try:
        return {number for (number,) in connection.execute("SELECT number FROM record WHERE envelope IS NOT NULL")}
    finally:
        close_database(connection)


def _new_in(file: ChainFile, after: int, limit: int) -> list[Unindexed]:
    connection = open_database(file.path, ARCHIVE)
    found = []
    try:
        for number, key, accepted_at, envelope, content, name, expansion in connection.execute(_NEW, (after, limit)):
            found.append(
                Unindexed(
                    chain=file.chain,
                    month=file.month,
                    number=number,
                    queue_id=QueueId(key),
                    envelope=msgspec.json.decode(expansion or envelope, type=JournalEnvelope),
                    accepted_at=from_microseconds(accepted_at),
                    octets=content or _beginning(file, name),
                )
            )
    finally:
        close_database(connection)
    return found


def _beginning(file: ChainFile, name: str | None) -> bytes:
    if name is None:
        return b""
    try:
        with open(file.content / name, "rb") as content:
            return content.read(ARCHIVE_INDEXED_BYTES)
    except FileNotFoundError:  # retention was quicker; or `verify` will say so
        return b""


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
