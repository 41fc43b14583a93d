"""One hold: the writes of one domain's file, each inside the transaction it finds, and its content files.

The verbs take `(hold, argument)`, so that one writer serves all holds. They may run twice for one item
(`commit.py`): a file linked by a run that was rolled back is noticed after the commit and removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.hold_store import HoldDelivery, HoldSettlement
from postroad.contracts.queue_store import StoredContent
from postroad.storage.sqlite.commit import CommitEngine, Done, Item, Result, Verb
from postroad.storage.sqlite.content_files import ContentFiles
from postroad.storage.sqlite.database import DatabaseKind, open_database, sql_folder, translating
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.queue_rows import envelope_to_bytes, recipients_from_bytes, recipients_to_bytes
from postroad.vocabulary import story
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.vocabulary.queue_id import QueueId

HOLD = DatabaseKind("hold", application_id=0x50524844, sql=sql_folder("hold"), cache_kib=512)

_GIVEN = "(SELECT value FROM json_each(?))"
_NAME_HOLD = "INSERT OR IGNORE INTO hold (only, domain) VALUES (1, ?)"
_KEYS_KNOWN = f"SELECT delivery_key FROM delivered WHERE delivery_key IN {_GIVEN}"
_PUT_MESSAGE = """
    INSERT INTO message (queue_id, envelope, recipients, waits, size_bytes, queued_at, held_at)
    VALUES (?, ?, ?, 1, ?, ?, ?)
"""
_PUT_CONTENT = "INSERT INTO content (message, file, octets) VALUES (?, ?, ?)"
_PUT_KEY = "INSERT INTO delivered (delivery_key, delivered_at) VALUES (?, ?)"
_WAITING = "SELECT recipients FROM message WHERE number = ? AND waits = 1"
_SERVED = "UPDATE message SET recipients = ?, waits = ?, attempts = attempts + 1 WHERE number = ?"
_PUT_REPORT = "INSERT INTO report (message, outcomes) VALUES (?, ?)"
_REPORT = "SELECT message FROM report WHERE number = ?"
_REMOVE_REPORT = "DELETE FROM report WHERE number = ?"
_PUT_STORY = "INSERT INTO outbox (entries) VALUES (?)"
_CLEAR_OUTBOX = "DELETE FROM outbox WHERE number <= ?"
_OVER = """
    DELETE FROM message WHERE number = ? AND waits = 0 AND NOT EXISTS (SELECT 1 FROM report WHERE report.message = ?)
"""
_REMOVE_CONTENT = "DELETE FROM content WHERE message = ? RETURNING file"
_FORGET_KEYS = f"DELETE FROM delivered WHERE delivery_key IN {_GIVEN}"
FILE_KNOWN = "SELECT 1 FROM content WHERE file = ?"

_ENCODER = msgspec.msgpack.Encoder()


class Removed(msgspec.Struct, frozen=True):
    """The files that go after the commit."""

    files: tuple[str, ...] = ()


class HoldShard:
    """`engine` is opened by the first batch. For the writer's thread, but for `connect`, `path` and `files.names`."""

    def __init__(self, domain: str, folder: Path, vfs: str | None = None) -> None:
        name = hold_name(domain)
        self.domain = domain
        self.path = folder / f"{name}.db"
        self.lock_path = folder / f"{name}.lock"
        self.files = ContentFiles(folder / "content" / name)
        self._vfs = vfs
        self._linked: list[str] = []
        self.engine = CommitEngine(self.connect, self._sync_names, self._remove_files)
        self.file_failures = 0
        """Files that could not be removed when they should have been; the sweep tries again."""

    def connect(self) -> apsw.Connection:
        """Open the database; made when it is missing. Raises StoreFull, StoreUnavailable."""
        return open_database(self.path, HOLD, vfs=self._vfs)

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        """One transaction for the batch, as CommitEngine.commit."""
        if not self.engine.is_open:
            try:
                self.engine.open()
            except StoreUnavailable as error:
                return [type(error)(*error.args) for _ in batch]
        return self.engine.commit(batch)

    def take_content(self, content: bytes | StoredContent) -> tuple[int, str | None, bytes | None]:
        """Its size, and file or octets of its row; large content gets its file. Raises StoreFull, StoreUnavailable."""
        octets = content if isinstance(content, bytes) else content.in_memory()
        if octets is not None and len(octets) <= CONTENT_IN_ROW_BYTES:
            return len(octets), None, octets
        with translating(self.files.path("")):
            if octets is not None:
                size_bytes, name = len(octets), self.files.write(octets)
            else:
                assert not isinstance(content, bytes)
                source = content.file_path()
                assert source is not None, "content is in memory or in a file"
                size_bytes, name = content.size_bytes, self.files.link(source)
        self._linked.append(name)
        return size_bytes, name, None

    def _sync_names(self, connection: apsw.Connection, done: Sequence[Done]) -> None:
        """Before the commit: the rows must not be durable before the names they speak of."""
        if self._linked:
            with translating(self.files.path("")):
                self.files.sync()

    def _remove_files(self, done: Sequence[Done]) -> None:
        """After the commit: files of messages that are over, and those that a rolled-back run left."""
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


def hold_name(domain: str) -> str:
    """A domain may be longer than a file name: 128 bits of its hash stand for it."""
    return hashlib.sha256(domain.encode()).hexdigest()[:32]


def delivery_key(queue_id: QueueId, recipient: Recipient) -> str:
    """A local part elsewhere may tell upper from lower case (RFC 5321 section 2.4), so the key does."""
    return f"{queue_id}/{recipient.forward_path}"


def _json(values: Sequence[str]) -> tuple[str]:
    return (msgspec.json.encode(values).decode(),)


def _deliver(connection: apsw.Connection, item: tuple[HoldShard, HoldDelivery]) -> None:
    hold, delivery = item
    keys = {delivery_key(delivery.queue_id, each): each for each in delivery.envelope.recipients}
    known = {key for (key,) in connection.execute(_KEYS_KNOWN, _json(list(keys)))}
    fresh = {key: recipient for key, recipient in keys.items() if key not in known}
    if not fresh:
        return
    size_bytes, file, octets = hold.take_content(delivery.content)
    held_at = to_microseconds(delivery.held_at)
    connection.execute(_NAME_HOLD, (delivery.domain,))
    connection.execute(
        _PUT_MESSAGE,
        (
            delivery.queue_id,
            envelope_to_bytes(delivery.envelope),
            recipients_to_bytes(tuple(fresh.values())),
            size_bytes,
            to_microseconds(delivery.queued_at),
            held_at,
        ),
    )
    connection.execute(_PUT_CONTENT, (connection.last_insert_rowid(), file, octets))
    connection.executemany(_PUT_KEY, ((key, held_at) for key in fresh))


def _settle(connection: apsw.Connection, item: tuple[HoldShard, HoldSettlement]) -> Removed:
    settlement = item[1]
    number = settlement.number
    waiting = connection.execute(_WAITING, (number,)).get
    if waiting is None:
        raise KeyError(number)
    assert set(settlement.remaining) <= set(recipients_from_bytes(waiting)), "nobody begins to wait by a settlement"
    connection.execute(_SERVED, (recipients_to_bytes(settlement.remaining), bool(settlement.remaining), number))
    if settlement.to_report:
        connection.execute(_PUT_REPORT, (number, _ENCODER.encode(settlement.to_report)))
    _tell(connection, settlement.story)
    return _drop_if_over(connection, number)


def _reported(connection: apsw.Connection, item: tuple[HoldShard, tuple[int, story.Entry | None]]) -> Removed:
    number, entry = item[1]
    message = connection.execute(_REPORT, (number,)).get
    if message is None:
        return Removed()
    connection.execute(_REMOVE_REPORT, (number,))
    _tell(connection, entry)
    return _drop_if_over(connection, message)


def _tell(connection: apsw.Connection, entry: story.Entry | None) -> None:
    if entry is not None:
        connection.execute(_PUT_STORY, (story.to_bytes((entry,)),))


def _drop_if_over(connection: apsw.Connection, number: int) -> Removed:
    before = connection.total_changes()
    connection.execute(_OVER, (number, number))
    if connection.total_changes() == before:
        return Removed()
    return Removed(tuple(file for (file,) in connection.execute(_REMOVE_CONTENT, (number,)) if file is not None))


def _clear_outbox(connection: apsw.Connection, item: tuple[HoldShard, int]) -> None:
    connection.execute(_CLEAR_OUTBOX, (item[1],))


def _forget_keys(connection: apsw.Connection, item: tuple[HoldShard, tuple[str, ...]]) -> None:
    connection.execute(_FORGET_KEYS, _json(item[1]))


def _sweep(connection: apsw.Connection, item: tuple[HoldShard, tuple[str, ...]]) -> Removed:
    """Those of the names that, seen from inside a write transaction, are in no row."""
    return Removed(tuple(name for name in item[1] if connection.execute(FILE_KNOWN, (name,)).get is None))


DELIVER: Verb[tuple[HoldShard, HoldDelivery], None] = Verb(_deliver)
SETTLE: Verb[tuple[HoldShard, HoldSettlement], Removed] = Verb(_settle)
REPORTED: Verb[tuple[HoldShard, tuple[int, story.Entry | None]], Removed] = Verb(_reported)
CLEAR_OUTBOX: Verb[tuple[HoldShard, int], None] = Verb(_clear_outbox)
FORGET_KEYS: Verb[tuple[HoldShard, tuple[str, ...]], None] = Verb(_forget_keys)
SWEEP: Verb[tuple[HoldShard, tuple[str, ...]], Removed] = Verb(_sweep)
