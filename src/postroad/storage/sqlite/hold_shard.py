"""One hold: the writes of one domain's file, each inside the transaction it finds (`content_shard.py`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from postroad.contracts.hold_store import HoldDelivery, HoldSettlement
from postroad.storage.sqlite.commit import Verb
from postroad.storage.sqlite.content_shard import ContentShard, Removed, sweep
from postroad.storage.sqlite.database import DatabaseKind, sql_folder
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.queue_rows import envelope_to_bytes, recipients_from_bytes, recipients_to_bytes
from postroad.vocabulary import story
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.queue_id import QueueId

HOLD = DatabaseKind("hold", application_id=0x50524844, sql=sql_folder("hold"), cache_kib=512)

_GIVEN = "(SELECT value FROM json_each(?))"
_NAME_HOLD = "INSERT OR IGNORE INTO hold (only, domain) VALUES (1, ?)"
_KEYS_KNOWN = f"SELECT delivery_key FROM delivered WHERE delivery_key IN {_GIVEN}"
_PUT_MESSAGE = """
    INSERT INTO message (queue_id, envelope, recipients, waits, size_bytes, queued_at, held_at, deadline_at)
    VALUES (?, ?, ?, 1, ?, ?, ?, ?)
"""
_PUT_CONTENT = "INSERT INTO content (message, file, octets) VALUES (?, ?, ?)"
_PUT_KEY = "INSERT INTO delivered (delivery_key, delivered_at) VALUES (?, ?)"
_WAITING = "SELECT recipients FROM message WHERE number = ? AND waits = 1"
_SERVED = "UPDATE message SET recipients = ?, waits = ?, attempts = attempts + 1 WHERE number = ?"
_NO_DEADLINE = "UPDATE message SET deadline_at = NULL WHERE number = ?"
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

_ENCODER = msgspec.msgpack.Encoder()


class HoldShard(ContentShard):
    """`lock_path` is for whoever empties the hold."""

    def __init__(self, domain: str, folder: Path, vfs: str | None = None) -> None:
        name = hold_name(domain)
        super().__init__(folder / f"{name}.db", folder / "content" / name, HOLD, vfs)
        self.domain = domain
        self.lock_path = folder / f"{name}.lock"


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
    size_bytes, octets, file = hold.keep(delivery.content)
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
            None if delivery.deadline_at is None else to_microseconds(delivery.deadline_at),
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
    if settlement.deadline_passed:
        connection.execute(_NO_DEADLINE, (number,))
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
    return Removed(1, tuple(file for (file,) in connection.execute(_REMOVE_CONTENT, (number,)) if file is not None))


def _clear_outbox(connection: apsw.Connection, item: tuple[HoldShard, int]) -> None:
    connection.execute(_CLEAR_OUTBOX, (item[1],))


def _forget_keys(connection: apsw.Connection, item: tuple[HoldShard, tuple[str, ...]]) -> None:
    connection.execute(_FORGET_KEYS, _json(item[1]))


DELIVER: Verb[tuple[HoldShard, HoldDelivery], None] = Verb(_deliver)
SETTLE: Verb[tuple[HoldShard, HoldSettlement], Removed] = Verb(_settle)
REPORTED: Verb[tuple[HoldShard, tuple[int, story.Entry | None]], Removed] = Verb(_reported)
CLEAR_OUTBOX: Verb[tuple[HoldShard, int], None] = Verb(_clear_outbox)
FORGET_KEYS: Verb[tuple[HoldShard, tuple[str, ...]], None] = Verb(_forget_keys)
SWEEP: Verb[tuple[HoldShard, tuple[str, ...]], Removed] = Verb(sweep)
