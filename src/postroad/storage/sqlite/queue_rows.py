"""How the queue's nouns stand in its rows: MessagePack in blobs, moments as numbers, ids as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter

import msgspec
from msgspec import structs

from postroad.contracts.queue_store import QueueEntry, QueueFilter, Work
from postroad.storage.sqlite.moments import from_microseconds
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.queue_id import from_number

_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPE = msgspec.msgpack.Decoder(Envelope)
_RECIPIENTS = msgspec.msgpack.Decoder(tuple[Recipient, ...])

recipients_to_bytes = _ENCODER.encode
recipients_from_bytes = _RECIPIENTS.decode
envelope_from_bytes = _ENVELOPE.decode


def envelope_to_bytes(envelope: Envelope) -> bytes:
    """Without its recipients: they stand in the groups, and there once."""
    return _ENCODER.encode(structs.replace(envelope, recipients=()))


WorkRow = tuple[int, str, bytes, int, int, bytes, int, int]
"""message, destination, recipients, attempts, warned, envelope, size_bytes, queued_at"""


def works_of(rows: Iterable[WorkRow], destinations: Mapping[str, Destination], lease: int) -> list[Work]:
    """`destinations` has those of all the rows. What the groups of a message have in common is read once where they
    come one after the other."""
    works: list[Work] = []
    for message, of_message in groupby(rows, itemgetter(0)):
        groups = tuple(of_message)
        queue_id = from_number(message)
        envelope, queued_at = _ENVELOPE.decode(groups[0][5]), from_microseconds(groups[0][7])
        works += [
            Work(
                queue_id=queue_id,
                destination=destinations[destination],
                recipients=_RECIPIENTS.decode(recipients),
                envelope=envelope,
                size_bytes=size_bytes,
                queued_at=queued_at,
                attempts=attempts,
                warned=bool(warned),
                lease=lease,
            )
            for _, destination, recipients, attempts, warned, _, size_bytes, _ in groups
        ]
    return works


EntryRow = tuple[int, str, bytes, bytes, int, int, int, int, str, int, int]
"""message, destination, recipients, envelope, size_bytes, queued_at, due_at, attempts, last, held, warned"""


def entry_of(row: EntryRow) -> QueueEntry:
    message, destination, recipients, envelope, size_bytes, queued_at, due_at, attempts, last, held, _ = row
    reverse_path = _ENVELOPE.decode(envelope).reverse_path
    return QueueEntry(
        queue_id=from_number(message),
        destination=destination,
        reverse_path="" if reverse_path is None else str(reverse_path),
        recipients=tuple(str(recipient.forward_path) for recipient in _RECIPIENTS.decode(recipients)),
        size_bytes=size_bytes,
        queued_at=from_microseconds(queued_at),
        due_at=from_microseconds(due_at),
        attempts=attempts,
        last=last,
        held=bool(held),
    )


def works_of_entries(rows: Iterable[EntryRow], lease: int) -> list[Work]:
    reordered = [
        (message, destination, recipients, attempts, warned, envelope, size_bytes, queued_at)
        for message, destination, recipients, envelope, size_bytes, queued_at, _, attempts, _, _, warned in rows
    ]
    return works_of(reordered, {row[1]: Destination.parse(row[1]) for row in reordered}, lease)


def matches(row: EntryRow, filter: QueueFilter) -> bool:
    """Whether the group fits what SQL was not asked: the recipients' domain and the sender."""
    if filter.domain:
        domain = filter.domain.lower()
        if all(recipient.forward_path.domain != domain for recipient in _RECIPIENTS.decode(row[2])):
            return False
    if filter.sender:
        reverse_path = _ENVELOPE.decode(row[3]).reverse_path
        asked = filter.sender.lower()
        if reverse_path is None:
            return asked == "<>"
        asked = asked.removeprefix("<").removesuffix(">")
        return asked in (reverse_path.domain, str(reverse_path).lower())
    return True
