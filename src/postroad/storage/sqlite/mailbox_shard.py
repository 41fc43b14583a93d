"""One shard of the mailboxes: the writes of its accounts, each inside the transaction it finds, and its files.

The verbs take `(shard, argument)`, so that one writer serves all shards. They may run twice for one item
(`commit.py`): a file linked by a run that was rolled back is noticed after the commit and removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailbox_store import Delivery
from postroad.storage.sqlite.commit import CommitEngine, Done, Item, Result, Verb
from postroad.storage.sqlite.content_files import ContentFiles, last_octets
from postroad.storage.sqlite.database import DatabaseKind, open_database, sql_folder, translating
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES

MAILBOXES = DatabaseKind("mailbox file", application_id=0x50524D42, sql=sql_folder("mailbox"), cache_kib=1024)

_CR_LF = b"\r\n"

_KEYS_KNOWN = "SELECT delivery_key, account_id, uid FROM delivered WHERE delivery_key = ? AND account_id = ?"
_MAILBOX = "SELECT uid_validity, uid_next, mod_seq FROM mailbox WHERE account_id = ?"
_PUT_MAILBOX = "INSERT OR REPLACE INTO mailbox (account_id, uid_validity, uid_next, mod_seq) VALUES (?, ?, ?, ?)"
_LAST_CONTENT = "SELECT coalesce(max(id), 0) FROM content"
_PUT_CONTENT = "INSERT INTO content (id, head, tail, file, body) VALUES (?, ?, ?, ?, ?)"
_PUT_MESSAGE = """
    INSERT INTO message (account_id, uid, mod_seq, size_bytes, internal_at, queue_id, content_id)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_PUT_KEY = "INSERT INTO delivered (delivery_key, account_id, uid, delivered_at) VALUES (?, ?, ?, ?)"
_REMOVE_MESSAGE = "DELETE FROM message WHERE account_id = ? AND uid = ? RETURNING content_id"
_REMOVE_ALL = "DELETE FROM message WHERE account_id = ? RETURNING content_id"
_REMOVE_CONTENT = "DELETE FROM content WHERE id = ? RETURNING file"
_CHANGED = "UPDATE mailbox SET mod_seq = mod_seq + 1 WHERE account_id = ?"
_FORGET_KEY = "DELETE FROM delivered WHERE delivery_key = ?"
FILE_KNOWN = "SELECT 1 FROM content WHERE file = ?"


class Removed(msgspec.Struct, frozen=True):
    """How many messages went, and the files that go with them after the commit."""

    messages: int
    files: tuple[str, ...]


class MailboxShard:
    """`engine` is opened by the first batch. For the writer's thread, but for `connect` and `files.names`."""

    def __init__(self, number: int, folder: Path, vfs: str | None = None) -> None:
        self.number = number
        self.path = folder / f"{number:02d}.db"
        self.files = ContentFiles(folder / "content" / f"{number:02d}")
        self._vfs = vfs
        self._linked: list[str] = []
        self.engine = CommitEngine(self.connect, self._sync_names, self._remove_files)
        self.file_failures = 0
        """Files that could not be removed when they should have been; the sweep tries again."""

    def connect(self) -> apsw.Connection:
        """Open the shard's database; made when it is missing. Raises StoreFull, StoreUnavailable."""
        return open_database(self.path, MAILBOXES, vfs=self._vfs)

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        """One transaction for the batch, as CommitEngine.commit."""
        if not self.engine.is_open:
            try:
                self.engine.open()
            except StoreUnavailable as error:
                return [type(error)(*error.args) for _ in batch]
        return self.engine.commit(batch)

    def checkpoint_if_due(self) -> None:
        self.engine.checkpoint_if_due()

    def close(self) -> None:
        self.engine.close()

    def take_content(self, delivery: Delivery) -> tuple[int, tuple[bytes, bytes, str | None, bytes | None]]:
        """The size of the message, and head, tail, file and body of its row; large content gets its file.
        Raises StoreFull, StoreUnavailable."""
        head, content = delivery.head, delivery.content
        if isinstance(content, bytes):
            octets: bytes | None = content
        else:
            octets = content.in_memory()
        if octets is not None and len(octets) <= CONTENT_IN_ROW_BYTES:
            tail = b"" if (octets or head).endswith(_CR_LF) else _CR_LF
            return len(head) + len(octets) + len(tail), (head, tail, None, octets)
        with translating(self.files.path("")):
            if octets is not None:
                size, end = len(octets), octets[-2:]
                name = self.files.write(octets)
            else:
                assert not isinstance(content, bytes)
                source = content.file_path()
                assert source is not None, "content is in memory or in a file"
                size, end = content.size_bytes, last_octets(source, 2)
                name = self.files.link(source)
        self._linked.append(name)
        tail = b"" if (end or head).endswith(_CR_LF) else _CR_LF
        return len(head) + size + len(tail), (head, tail, name, None)

    def _sync_names(self, connection: apsw.Connection, done: Sequence[Done]) -> None:
        """Before the commit: the rows must not be durable before the names they speak of."""
        if self._linked:
            with translating(self.files.path("")):
                self.files.sync()

    def _remove_files(self, done: Sequence[Done]) -> None:
        """After the commit: files of removed messages, and those that a rolled-back run left."""
        names = [name for _, _, result in done if isinstance(result, Removed) for name in result.files]
        linked, self._linked = self._linked, []
        try:
            names += [name for name in linked if self.engine.connection.execute(FILE_KNOWN, (name,)).get is None]
        except apsw.Error:
            self.file_failures += 1
        for name in names:
            try:
                self.files.remove(name)
            except OSError:
                self.file_failures += 1


def _deliver_all(connection: apsw.Connection, items: Sequence[tuple[MailboxShard, Delivery]]) -> list[int]:
    """Deliver in the order given; the UIDs. A key that is known already gets the UID it had."""
    identities = [(delivery.key, delivery.account_id) for _, delivery in items]
    known: dict[tuple[str, int], int] = {
        (key, account_id): uid for key, account_id, uid in connection.executemany(_KEYS_KNOWN, identities)
    }
    mailboxes: dict[int, tuple[int, int, int]] = {}
    content_id = connection.execute(_LAST_CONTENT).get
    contents: list[tuple[Any, ...]] = []
    messages: list[tuple[Any, ...]] = []
    keys: list[tuple[Any, ...]] = []
    for identity, (shard, delivery) in zip(identities, items, strict=True):
        if identity in known:
            continue
        account_id = delivery.account_id
        at = to_microseconds(delivery.received_at)
        mailbox = mailboxes.get(account_id) or _mailbox(connection, account_id, at)
        uid_validity, uid, mod_seq = mailbox
        mailboxes[account_id] = (uid_validity, uid + 1, mod_seq + 1)
        content_id += 1
        size_bytes, content = shard.take_content(delivery)
        contents.append((content_id, *content))
        messages.append((account_id, uid, mod_seq + 1, size_bytes, at, delivery.queue_id, content_id))
        keys.append((*identity, uid, at))
        known[identity] = uid
    connection.executemany(_PUT_CONTENT, contents)
    connection.executemany(_PUT_MESSAGE, messages)
    connection.executemany(_PUT_KEY, keys)
    connection.executemany(_PUT_MAILBOX, [(account_id, *mailbox) for account_id, mailbox in mailboxes.items()])
    return [known[identity] for identity in identities]


def _mailbox(connection: apsw.Connection, account_id: int, at: int) -> tuple[int, int, int]:
    """UIDVALIDITY, next UID and mod-sequence. A new mailbox takes the second of its first delivery as its
    UIDVALIDITY (RFC 9051 section 2.3.1.1: 32 bits, not zero)."""
    row = connection.execute(_MAILBOX, (account_id,)).get
    return row or (max(1, at // 1_000_000 & 0xFFFF_FFFF), 1, 0)


def _deliver(connection: apsw.Connection, item: tuple[MailboxShard, Delivery]) -> int:
    return _deliver_all(connection, [item])[0]


def _remove(connection: apsw.Connection, item: tuple[MailboxShard, tuple[int, tuple[int, ...]]]) -> Removed:
    _, (account_id, uids) = item
    rows = connection.executemany(_REMOVE_MESSAGE, [(account_id, uid) for uid in uids])
    return _remove_contents(connection, account_id, [row[0] for row in rows])


def _remove_mailbox(connection: apsw.Connection, item: tuple[MailboxShard, int]) -> Removed:
    """The mailbox's own row stays: should a delivery on its way make it anew, no UID comes back."""
    _, account_id = item
    rows = connection.execute(_REMOVE_ALL, (account_id,))
    return _remove_contents(connection, account_id, [row[0] for row in rows])


def _remove_contents(connection: apsw.Connection, account_id: int, content_ids: list[int]) -> Removed:
    rows = connection.executemany(_REMOVE_CONTENT, [(content_id,) for content_id in content_ids])
    files = tuple(file for (file,) in rows if file is not None)
    if content_ids:
        connection.execute(_CHANGED, (account_id,))
    return Removed(len(content_ids), files)


def _forget_keys(connection: apsw.Connection, item: tuple[MailboxShard, tuple[str, ...]]) -> None:
    connection.executemany(_FORGET_KEY, [(key,) for key in item[1]])


def _sweep(connection: apsw.Connection, item: tuple[MailboxShard, tuple[str, ...]]) -> Removed:
    """Those of the names that, seen from inside a write transaction, are in no row."""
    unknown = tuple(name for name in item[1] if connection.execute(FILE_KNOWN, (name,)).get is None)
    return Removed(0, unknown)


DELIVER: Verb[tuple[MailboxShard, Delivery], int] = Verb(_deliver, _deliver_all)
REMOVE: Verb[tuple[MailboxShard, tuple[int, tuple[int, ...]]], Removed] = Verb(_remove)
REMOVE_MAILBOX: Verb[tuple[MailboxShard, int], Removed] = Verb(_remove_mailbox)
FORGET_KEYS: Verb[tuple[MailboxShard, tuple[str, ...]], None] = Verb(_forget_keys)
SWEEP: Verb[tuple[MailboxShard, tuple[str, ...]], Removed] = Verb(_sweep)
