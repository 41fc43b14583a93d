"""One shard of the mailboxes: the writes of its accounts, each inside the transaction it finds (`content_shard.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import apsw
import msgspec

from postroad.contracts.errors import StoreDamaged, StoreUnavailable
from postroad.contracts.mailbox_store import Delivery
from postroad.storage.sqlite.commit import Item, Result, Verb
from postroad.storage.sqlite.content_files import last_octets
from postroad.storage.sqlite.content_shard import ContentShard, Removed, sweep
from postroad.storage.sqlite.database import DatabaseKind, sql_folder, translating
from postroad.storage.sqlite.mailbox_aside import ShardState
from postroad.storage.sqlite.many_rows import ManyRows
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.limits import MAILBOX_SHARDS

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
_PUT_CONTENTS = ManyRows("INSERT INTO content (id, head, tail, file, body, surrogate) VALUES ", "(?, ?, ?, ?, ?, ?)")
_PUT_MESSAGES = ManyRows(
    "INSERT INTO message"
    " (account_id, uid, mod_seq, size_bytes, internal_at, queue_id, content_id, surrogate_growth, folder, flags)"
    " VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_PUT_KEYS = ManyRows("INSERT INTO delivered (delivery_key, account_id, uid, delivered_at) VALUES ", "(?, ?, ?, ?)")
_CONTENTS_OF = f"SELECT content_id FROM message WHERE account_id = ? AND uid IN {_GIVEN}"
_REMOVE_MESSAGES = f"DELETE FROM message WHERE account_id = ? AND uid IN {_GIVEN}"
_ALL_UIDS = "SELECT uid FROM message WHERE account_id = ?"
_FILES_OF = f"SELECT file FROM content WHERE id IN {_GIVEN} AND file IS NOT NULL"
_REMOVE_CONTENTS = f"DELETE FROM content WHERE id IN {_GIVEN}"
_CHANGED = "UPDATE mailbox SET mod_seq = mod_seq + 1 WHERE account_id = ?"
_FORGET_KEYS = f"DELETE FROM delivered WHERE delivery_key IN {_GIVEN}"


class MailboxShard(ContentShard):
    """`number` says which."""

    def __init__(self, number: int, folder: Path, vfs: str | None = None) -> None:
        super().__init__(_path(folder, number), folder / "content" / f"{number:02d}", MAILBOXES, vfs)
        self.number = number
        self.state = ShardState(self.path, MAILBOXES, vfs)
        self._inode = 0
        """Of the file that the engine has open, 0 for none."""

    def connect(self) -> apsw.Connection:
        """As ContentShard.connect; it is known then that the file is there. Raises StoreDamaged too."""
        self.state.refuse_a_blank()
        connection = super().connect()
        try:
            self.state.mark()
        except BaseException:
            connection.close()
            raise
        return connection

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        """As ContentShard.commit; a damaged file is set aside, and not written any more."""
        try:
            looks = self.state.look()
        except StoreUnavailable as error:
            results: list[Result] = [type(error)(*error.args) for _ in batch]
        else:
            if self._inode and self._inode != (looks.inode if looks is not None else 0):
                # Another file stands in its place: what is written into this one nobody would find again.
                self.engine.close()
                self._inode = 0
            results = super().commit(batch)
            if not self.engine.is_open:
                self._inode = 0
            elif not self._inode:
                self._inode = self.state.inode()
        damage = next((result for result in results if isinstance(result, StoreDamaged)), None)
        if damage is not None:
            self.engine.close()
            self._inode = 0
            self.state.set_aside(damage)
        return results

    def take_content(self, delivery: Delivery) -> tuple[int, tuple[bytes, bytes, str | None, bytes | None]]:
        """The size of the message, and head, tail, file and body of its row. Raises StoreFull, StoreUnavailable."""
        head = delivery.head
        size_bytes, octets, file = self.keep(delivery.content)
        if file is None:
            end = octets or head
        else:
            with translating(self.files.path(file)):
                end = last_octets(self.files.path(file), len(_CR_LF)) or head
        tail = b"" if end.endswith(_CR_LF) else _CR_LF
        return len(head) + size_bytes + len(tail), (head, tail, file, octets)


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
        now = at if delivery.delivered_at is None else to_microseconds(delivery.delivered_at)
        uid_validity, uid, mod_seq = mailboxes.get(account_id) or _new_mailbox(now)
        mailboxes[account_id] = (uid_validity, uid + 1, mod_seq + 1)
        changed.add(account_id)
        content_id += 1
        size_bytes, content = shard.take_content(delivery)
        surrogate = delivery.surrogate or None
        contents += (content_id, *content, surrogate)
        growth = None if surrogate is None else delivery.surrogate_growth
        messages += (account_id, uid, mod_seq + 1, size_bytes, at, delivery.queue_id, content_id, growth)
        messages += (delivery.folder, delivery.flags)
        keys += (*identity, uid, now)
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


DELIVER: Verb[tuple[MailboxShard, Delivery], int] = Verb(_deliver, _deliver_all)
REMOVE: Verb[tuple[MailboxShard, tuple[int, tuple[int, ...]]], Removed] = Verb(_remove)
REMOVE_MAILBOX: Verb[tuple[MailboxShard, int], Removed] = Verb(_remove_mailbox)
FORGET_KEYS: Verb[tuple[MailboxShard, tuple[str, ...]], None] = Verb(_forget_keys)
SWEEP: Verb[tuple[MailboxShard, tuple[str, ...]], Removed] = Verb(sweep)


def set_aside_in(folder: Path) -> dict[int, str]:
    """What is wrong with the files of `folder`, data/mail, that are set aside, by number. Opens none of them."""
    states = {number: ShardState(_path(folder, number), MAILBOXES) for number in range(MAILBOX_SHARDS)}
    return {number: trouble for number, state in states.items() if (trouble := state.trouble())}


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:02d}.db"
