"""Mail to try a queue store with: the people, the messages, and the place where a store is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from postroad.contracts.queue_store import (
    NewMessage,
    QueueFilter,
    QueueStore,
    Settlement,
    StoredContent,
    Work,
)
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.envelope import BodyType, Envelope, Notify, Recipient
from postroad.vocabulary.limits import READ_BYTES
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DEADLINE_S = 30.0
SMALL = b"Subject: a note\r\n\r\nHello.\r\n"
LARGE = b"Subject: a picture\r\n\r\n" + bytes(range(256)) * 4000

B = Destination(DestinationKind.DOMAIN, "b.example")
C = Destination(DestinationKind.DOMAIN, "c.example")
BOB = Recipient(Mailbox("bob", "b.example"), (Notify.FAILURE, Notify.DELAY), "rfc822;bob@b.example")
BEA = Recipient(Mailbox("bea", "b.example"))
CID = Recipient(Mailbox("cid", "c.example"))
DAN = Recipient(Mailbox("Dan O'Hara", "d.example"))
ANN = Mailbox("ann", "a.example")


class Shard(Protocol):
    """One shard's place. `now` is the clock's time there; a check may set it."""

    now: datetime

    def open(self) -> AbstractAsyncContextManager[QueueStore]:
        """Take the shard; it is closed at the end of the `async with`."""
        ...

    def drop_lock(self, store: QueueStore) -> None:
        """Let somebody else take the shard although this owner lives on, as after a long sleep."""
        ...

    def content_files(self) -> list[Path]:
        """The files of large content that are there."""
        ...


def nobody(queue_id: QueueId, destination: Destination) -> bool:
    """Nothing is in hand."""
    return False


def a_message(
    store: QueueStore,
    *groups: Group,
    now: datetime = T0,
    queue_id: QueueId | None = None,
    sender: Mailbox | None = ANN,
    content: bytes | StoredContent = SMALL,
    due_at: datetime | None = None,
    key: str = "",
) -> NewMessage:
    queue_id = queue_id or store.new_id(now)
    groups = groups or (Group(B, (BOB,)),)
    everybody = tuple(recipient for group in groups for recipient in group.recipients)
    return NewMessage(
        queue_id,
        Envelope(sender, everybody, BodyType.EIGHT_BIT_MIME, True, "HDRS", "QQ314159"),
        content,
        groups,
        now,
        Entry(queue_id, (queue_id,), ()),
        due_at,
        key,
    )


def an_outcome(message: NewMessage | Work, store: QueueStore, **fields: object) -> Settlement:
    """How the attempt for the message's first group ended; delivered if nothing else is said."""
    destination = message.destination if isinstance(message, Work) else message.groups[0].destination
    values: dict[str, object] = {
        "queue_id": message.queue_id,
        "destination": destination,
        "lease": store.epoch,
        "story": Entry(message.queue_id, (message.queue_id,), ()),
    }
    return Settlement(**(values | fields))  # type: ignore[arg-type]


async def accepted(store: QueueStore, *groups: Group, **fields: object) -> NewMessage:
    message = a_message(store, *groups, **fields)  # type: ignore[arg-type]
    await store.accept(message)
    return message


async def spooled(store: QueueStore, queue_id: QueueId, octets: bytes = LARGE) -> StoredContent:
    spool = store.spool(queue_id)
    for start in range(0, len(octets), READ_BYTES):
        if not spool.write(octets[start : start + READ_BYTES]):
            await spool.drained()
    return await spool.seal()


async def whole(content: StoredContent) -> bytes:
    return b"".join([chunk async for chunk in content.chunks()])


async def due(store: QueueStore, now: datetime = T0, limit: int = 100) -> tuple[Work, ...]:
    return await store.take_due(now, limit, nobody)


async def listed(store: QueueStore, **conditions: object) -> list[tuple[str, str]]:
    entries = await store.entries(QueueFilter(**conditions), 100)  # type: ignore[arg-type]
    return [(entry.queue_id, entry.destination) for entry in entries]


Check = Callable[[Shard], Awaitable[None]]


async def play(check: Check, shard: Shard) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await check(shard)
