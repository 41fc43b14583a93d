"""Reading mailboxes: queries of one shard, and the connections they run on, opened as they are needed.

Every query fetches what it needs and ends: an open one would keep the log from being carried over. A shard
that has no file yet is empty, and asking it makes none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw
import msgspec

from postroad.contracts.errors import StoreDamaged
from postroad.contracts.mailbox_store import MailboxStatus, StoredMessage
from postroad.storage.sqlite.content_shard import unknown_files
from postroad.storage.sqlite.mailbox_shard import MailboxShard
from postroad.storage.sqlite.moments import from_microseconds
from postroad.storage.sqlite.writer import ReadingConnection
from postroad.vocabulary.limits import MAILBOX_PAGE, MAILDROP_MESSAGES
from postroad.vocabulary.queue_id import QueueId

A = TypeVar("A")
R = TypeVar("R")

_UID_VALIDITY = "SELECT uid_validity FROM mailbox WHERE account_id = ?"
_MESSAGES = """
    SELECT uid, size_bytes, queue_id, internal_at, mod_seq, flags, surrogate_growth
    FROM message WHERE account_id = ? AND folder = 'INBOX' ORDER BY uid LIMIT ?
"""
_ALL_MESSAGES = """
    SELECT uid, size_bytes, queue_id, internal_at, mod_seq, flags, surrogate_growth, folder
    FROM message WHERE account_id = ? AND uid > ? ORDER BY uid LIMIT ?
"""
_STATUS = "SELECT uid_validity, uid_next, mod_seq FROM mailbox WHERE account_id = ?"
_TOTALS = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM message WHERE account_id = ?"
_SURROGATE = """
    SELECT coalesce(content.surrogate, x'') FROM message JOIN content ON content.id = message.content_id
    WHERE message.account_id = ? AND message.uid = ?
"""
_CONTENT = """
    SELECT content.head, content.tail, content.file, content.body, message.size_bytes
    FROM message JOIN content ON content.id = message.content_id
    WHERE message.account_id = ? AND message.uid = ?
"""
_DELIVERED = "SELECT uid FROM delivered WHERE account_id = ? AND delivery_key = ?"
_KEYS = """
    SELECT DISTINCT delivery_key FROM delivered
    WHERE delivery_key > ? AND delivered_at < ? ORDER BY delivery_key LIMIT ?
"""


class Listing(msgspec.Struct, frozen=True):
    """`uid_validity` is 0 for a mailbox to which nothing was ever delivered."""

    uid_validity: int
    messages: tuple[StoredMessage, ...]


ContentRow = tuple[bytes, bytes, str | None, bytes | None, int]
"""Head, tail, file, body, and the size of all together."""


class MailboxReads:
    """For one thread at a time. All methods block and raise StoreUnavailable."""

    def __init__(self, shards: Sequence[MailboxShard]) -> None:
        self._shards = shards
        self._connections: dict[int, tuple[int, ReadingConnection]] = {}
        """With the inode of the file that each was opened for."""

    def listing(self, account_id: int) -> Listing:
        """At most MAILDROP_MESSAGES messages, by UID."""
        return self._run(self._shard_of(account_id), _listing, account_id, Listing(0, ()))

    def page(self, asked: tuple[int, int]) -> tuple[StoredMessage, ...]:
        """Of (account id, UID): those of all folders above it, at most MAILBOX_PAGE, by UID."""
        return self._run(self._shard_of(asked[0]), _page, asked, ())

    def content(self, message: tuple[int, int]) -> ContentRow | None:
        """Of (account id, UID); None when there is no such message."""
        return self._run(self._shard_of(message[0]), _content, message, None)

    def status(self, account_id: int) -> MailboxStatus:
        return self._run(self._shard_of(account_id), _status, account_id, _NEVER_USED)

    def surrogate(self, message: tuple[int, int]) -> bytes | None:
        """Of (account id, UID); None when there is no such message."""
        return self._run(self._shard_of(message[0]), _surrogate, message, None)

    def delivered(self, asked: tuple[int, str]) -> int | None:
        """Of (account id, key): the UID, None when nothing was delivered with it."""
        return self._run(self._shard_of(asked[0]), _delivered, asked, None)

    def keys(self, asked: tuple[MailboxShard, str, int, int]) -> list[str]:
        """Of one shard: at most so many keys after the one given, delivered before the moment."""
        shard, after, before, limit = asked
        return self._run(shard, _keys, (after, before, limit), [])

    def unknown_files(self, shard: MailboxShard) -> tuple[str, ...]:
        """Names in the shard's folder that no row knows at this moment: orphans, or on their way to a row.
        At most ORPHANS_PER_ROUND."""
        return self._run(shard, unknown_files, shard, ())

    def close(self) -> None:
        for _, connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _shard_of(self, account_id: int) -> MailboxShard:
        return self._shards[account_id % len(self._shards)]

    def _run(self, shard: MailboxShard, query: Callable[[apsw.Connection, A], R], argument: A, empty: R) -> R:
        try:
            looks = shard.state.look()
            if looks is None:
                return empty
            inode, connection = self._connections.get(shard.number, (0, None))
            if connection is None or inode != looks.inode:
                self._drop(shard)
                connection = ReadingConnection(shard.connect)
                self._connections[shard.number] = (looks.inode, connection)
            return connection.run(query, argument)
        except StoreDamaged as damage:
            self._drop(shard)
            shard.state.set_aside(damage)
            raise

    def _drop(self, shard: MailboxShard) -> None:
        _, connection = self._connections.pop(shard.number, (0, None))
        if connection is not None:
            connection.close()


def _listing(connection: apsw.Connection, account_id: int) -> Listing:
    messages = tuple(
        StoredMessage(
            uid=uid,
            size_bytes=size_bytes,
            queue_id=QueueId(queue_id),
            received_at=from_microseconds(internal_at),
            mod_seq=mod_seq,
            flags=flags,
            surrogate_growth=growth,
        )
        for uid, size_bytes, queue_id, internal_at, mod_seq, flags, growth in connection.execute(
            _MESSAGES, (account_id, MAILDROP_MESSAGES)
        )
    )
    return Listing(connection.execute(_UID_VALIDITY, (account_id,)).get or 0, messages)


def _page(connection: apsw.Connection, asked: tuple[int, int]) -> tuple[StoredMessage, ...]:
    return tuple(
        StoredMessage(
            uid=uid,
            size_bytes=size_bytes,
            queue_id=QueueId(queue_id),
            received_at=from_microseconds(internal_at),
            mod_seq=mod_seq,
            flags=flags,
            folder=folder,
            surrogate_growth=growth,
        )
        for uid, size_bytes, queue_id, internal_at, mod_seq, flags, growth, folder in connection.execute(
            _ALL_MESSAGES, (*asked, MAILBOX_PAGE)
        )
    )


_NEVER_USED = MailboxStatus(uid_validity=0, uid_next=1, mod_seq=0, messages=0, size_bytes=0)


def _status(connection: apsw.Connection, account_id: int) -> MailboxStatus:
    row: tuple[int, int, int] | None = connection.execute(_STATUS, (account_id,)).get
    if row is None:
        return _NEVER_USED
    totals: tuple[int, int] = connection.execute(_TOTALS, (account_id,)).get
    return MailboxStatus(uid_validity=row[0], uid_next=row[1], mod_seq=row[2], messages=totals[0], size_bytes=totals[1])


def _surrogate(connection: apsw.Connection, message: tuple[int, int]) -> bytes | None:
    edits: bytes | None = connection.execute(_SURROGATE, message).get
    return edits


def _delivered(connection: apsw.Connection, asked: tuple[int, str]) -> int | None:
    uid: int | None = connection.execute(_DELIVERED, asked).get
    return uid


def _content(connection: apsw.Connection, message: tuple[int, int]) -> ContentRow | None:
    row: ContentRow | None = connection.execute(_CONTENT, message).get
    return row


def _keys(connection: apsw.Connection, asked: tuple[str, int, int]) -> list[str]:
    return [row[0] for row in connection.execute(_KEYS, asked)]
