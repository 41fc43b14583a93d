"""One shard of the mailboxes: the writes of its accounts, each inside the transaction it finds, and its files.

The verbs take `(shard, argument)`, so that one writer serves all shards. They may run twice for one item
(`commit.py`): a file linked by a run that was rolled back is noticed after the commit and removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import apsw
import msgspec

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailbox_store import Delivery
from postroad.storage.sqlite.commit import CommitEngine, Done, Item, Result, Verb
from postroad.storage.sqlite.content_files import ContentFiles, last_octets
from postroad.storage.sqlite.database import DatabaseKind, open_database, sql_folder, translating
from postroad.storage.sqlite.many_rows import ManyRows
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES

MAILBOXES = DatabaseKind("mailbox file", application_id=0x50524D42, sql=sql_folder("mailbox"), cache_kib=512)

_CR_LF = b"\r\n"

# A list goes in as one JSON array: one statement for a batch (`many_rows.py` says why).
_GIVEN = "(SELECT value FROM json_each(?))"
_KEYS_KNOWN = f"SELECT delivery_key, account_id, uid FROM delivered WHERE delivery_key IN {_GIVEN}"
_MAILBOXES = f"SELECT account_id, uid_validity, uid_next, mod_seq FROM mailbox WHERE account_id IN {_GIVEN}"
_PUT_MAILBOXES = ManyRows(
    "INSERT OR REPLACE INTO mailbox (account_id, uid_validity, uid_next, mod_seq) VALUES ", "(?, ?, ?, ?)"
)
_LAST_CONTENT = "SELECT coalesce(max(id), 0) FROM content"
_PUT_CONTENTS = ManyRows("INSERT INTO content (id, head, tail, file, body) VALUES ", "(?, ?, ?, ?, ?)")
_PUT_MESSAGES = ManyRows(
    "INSERT INTO message (account_id, uid, mod_seq, size_bytes, internal_at, queue_id, content_id) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
)
_PUT_KEYS = ManyRows("INSERT INTO delivered (delivery_key, account_id, uid, delivered_at) VALUES ", "(?, ?, ?, ?)")
_CONTENTS_OF = f"SELECT content_id FROM message WHERE account_id = ? AND uid IN {_GIVEN}"
_REMOVE_MESSAGES = f"DELETE FROM message WHERE account_id = ? AND uid IN {_GIVEN}"
_ALL_UIDS = "SELECT uid FROM message WHERE account_id = ?"
_FILES_OF = f"SELECT file FROM content WHERE id IN {_GIVEN} AND file IS NOT NULL"
_REMOVE_CONTENTS = f"DELETE FROM content WHERE id IN {_GIVEN}"
_CHANGED = "UPDATE mailbox SET mod_seq = mod_seq + 1 WHERE account_id = ?"
_FORGET_KEYS = f"DELETE FROM delivered WHERE delivery_key IN {_GIVEN}"
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
    keys_given = _json([delivery.key for _, delivery in items])
    known: dict[tuple[str, int], int] = {
        (key, account_id): uid for key, account_id, uid in connection.execute(_KEYS_KNOWN, keys_given)
    }
    accounts_given = _json(list({delivery.account_id for _, delivery in items}))
    mailboxes: dict[int, tuple[int, int, int]] = {
        account_id: mailbox for account_id, *mailbox in connection.execute(_MAILBOXES, accounts_given)
    }
    changed: set[int] = set()
    content_id = connection.execute(_LAST_CONTENT).get
    contents: list[Any] = []
    messages: list[Any] = []
    keys: list[Any] = []
    for identity, (shard, delivery) in zip(identities, items, strict=True):
        if identity in known:
            continue
        account_id = delivery.account_id
        at = to_microseconds(delivery.received_at)
        uid_validity, uid, mod_seq = mailboxes.get(account_id) or _new_mailbox(at)
        mailboxes[account_id] = (uid_validity, uid + 1, mod_seq + 1)
        changed.add(account_id)
        content_id += 1
        size_bytes, content = shard.take_content(delivery)
        contents += (content_id, *content)
        messages += (account_id, uid, mod_seq + 1, size_bytes, at, delivery.queue_id, content_id)
        keys += (*identity, uid, at)
        known[identity] = uid
    _PUT_CONTENTS.run(connection, contents)
    _PUT_MESSAGES.run(connection, messages)
    _PUT_KEYS.run(connection, keys)
    rows = ((account_id, *mailboxes[account_id]) for account_id in changed)
    _PUT_MAILBOXES.run(connection, [*chain.from_iterable(rows)])
    return [known[identity] for identity in identities]


def _new_mailbox(at: int) -> tuple[int, int, int]:
    """UIDVALIDITY, next UID and mod-sequence. UIDVALIDITY is the second of the first delivery
    (RFC 9051 section 2.3.1.1: 32 bits, not zero)."""
    return (max(1, at // 1_000_000 & 0xFFFF_FFFF), 1, 0)


def _json(values: Sequence[int | str]) -> tuple[str]:
    return (msgspec.json.encode(values).decode(),)


def _deliver(connection: apsw.Connection, item: tuple[MailboxShard, Delivery]) -> int:
    return _deliver_all(connection, [item])[0]


def _remove(connection: apsw.Connection, item: tuple[MailboxShard, tuple[int, tuple[int, ...]]]) -> Removed:
    _, (account_id, uids) = item
    messages = (account_id, *_json(uids))
    content_ids = _json([content_id for (content_id,) in connection.execute(_CONTENTS_OF, messages)])
    files = tuple(file for (file,) in connection.execute(_FILES_OF, content_ids))
    before = connection.total_changes()
    connection.execute(_REMOVE_MESSAGES, messages)
    removed = connection.total_changes() - before
    connection.execute(_REMOVE_CONTENTS, content_ids)
    if removed:
        connection.execute(_CHANGED, (account_id,))
    return Removed(removed, files)


def _remove_mailbox(connection: apsw.Connection, item: tuple[MailboxShard, int]) -> Removed:
    """The mailbox's own row stays: should a delivery on its way make it anew, no UID comes back."""
    shard, account_id = item
    uids = tuple(uid for (uid,) in connection.execute(_ALL_UIDS, (account_id,)))
    return _remove(connection, (shard, (account_id, uids)))


def _forget_keys(connection: apsw.Connection, item: tuple[MailboxShard, tuple[str, ...]]) -> None:
    connection.execute(_FORGET_KEYS, _json(item[1]))


def _sweep(connection: apsw.Connection, item: tuple[MailboxShard, tuple[str, ...]]) -> Removed:
    """Those of the names that, seen from inside a write transaction, are in no row."""
    unknown = tuple(name for name in item[1] if connection.execute(FILE_KNOWN, (name,)).get is None)
    return Removed(0, unknown)


DELIVER: Verb[tuple[MailboxShard, Delivery], int] = Verb(_deliver, _deliver_all)
REMOVE: Verb[tuple[MailboxShard, tuple[int, tuple[int, ...]]], Removed] = Verb(_remove)
REMOVE_MAILBOX: Verb[tuple[MailboxShard, int], Removed] = Verb(_remove_mailbox)
FORGET_KEYS: Verb[tuple[MailboxShard, tuple[str, ...]], None] = Verb(_forget_keys)
SWEEP: Verb[tuple[MailboxShard, tuple[str, ...]], Removed] = Verb(_sweep)
