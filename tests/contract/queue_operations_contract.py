"""What every queue store owes to administrators and to the ledger."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from postroad.contracts.queue_store import (
    QueueEntry,
    QueueFilter,
)
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import MAILBOX
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import from_bytes
from tests.contract.queue_mail import (
    BEA,
    BOB,
    CID,
    DAN,
    MINUTE,
    SMALL,
    T0,
    B,
    C,
    Check,
    Shard,
    a_message,
    accepted,
    an_outcome,
    due,
    listed,
)

# ---- outbox ----


async def check_the_outbox_holds_one_blob_for_each_commit(shard: Shard) -> None:
    async with shard.open() as store:
        messages = [a_message(store) for _ in range(30)]
        await asyncio.wait([store.accept(message) for message in messages])
        notice = a_message(store, Group(MAILBOX, (DAN,)))
        await store.settle(an_outcome(messages[0], store, enqueue=(notice,)))
        blobs = await store.outbox(100)
        told = [entry.queue_id for _, blob in blobs for entry in from_bytes(blob)]
        assert told == [*(message.queue_id for message in messages), messages[0].queue_id, notice.queue_id]
        numbers = [number for number, _ in blobs]
        assert numbers == sorted(set(numbers))
        assert len(from_bytes(blobs[-1][1])) == 2
        assert await store.outbox(1) == blobs[:1]
    async with shard.open() as store:
        assert await store.outbox(100) == blobs
        await store.clear_outbox(numbers[-2])
        assert await store.outbox(100) == blobs[-1:]
        await store.clear_outbox(numbers[-1])
        await accepted(store)
        ((number, _),) = await store.outbox(100)
        assert number > numbers[-1]


async def check_what_failed_is_not_told_in_the_outbox(shard: Shard) -> None:
    async with shard.open() as store:
        there = await accepted(store)
        await store.clear_outbox(100)
        good, clash = a_message(store), a_message(store, queue_id=there.queue_id)
        await asyncio.wait([store.accept(good), bad := store.accept(clash)])
        assert bad.exception() is not None
        told = [entry.queue_id for _, blob in await store.outbox(100) for entry in from_bytes(blob)]
        assert told == [good.queue_id]


# ---- administrators ----


async def check_an_administrator_finds_mail_by_what_is_known_of_it(shard: Shard) -> None:
    async with shard.open() as store:
        one = await accepted(store, Group(B, (BOB, BEA)), Group(C, (CID,)))
        two = await accepted(store, sender=Mailbox("Eve", "e.example"), now=T0 + MINUTE)
        three = await accepted(store, Group(C, (CID,)), sender=None, now=T0 + 2 * MINUTE)
        b, c = "domain:b.example", "domain:c.example"
        everything = [(one.queue_id, b), (one.queue_id, c), (two.queue_id, b), (three.queue_id, c)]
        assert await listed(store) == everything
        assert await listed(store, queue_id=one.queue_id.lower()) == everything[:2]
        assert await listed(store, queue_id="nonsense") == []
        assert await listed(store, domain="C.example") == [everything[1], everything[3]]
        assert await listed(store, sender="eve@e.example") == [everything[2]]
        assert await listed(store, sender="E.EXAMPLE") == [everything[2]]
        assert await listed(store, sender="<>") == [everything[3]]
        assert await listed(store, before=T0 + MINUTE) == everything[:2]
        assert await listed(store, before=T0 + 9 * MINUTE, domain="b.example", sender="a.example") == everything[:1]
        assert len(await store.entries(QueueFilter(), 3)) == 3
        assert (await store.entries(QueueFilter(), 1))[0] == QueueEntry(
            queue_id=one.queue_id,
            destination=b,
            reverse_path="ann@a.example",
            recipients=("bob@b.example", "bea@b.example"),
            size_bytes=len(SMALL),
            queued_at=T0,
            due_at=T0,
            attempts=0,
            last="",
        )
        assert await store.known((one.queue_id, QueueId("000000000003"))) == {one.queue_id}


async def check_an_administrator_makes_mail_due(shard: Shard) -> None:
    async with shard.open() as store:
        far = T0 + timedelta(days=1)
        one = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)), due_at=far)
        await accepted(store, due_at=far)
        assert await store.counts(T0) == {"messages": 2, "groups": 3, "due": 0, "held": 0, "bytes": 2 * len(SMALL)}
        assert await store.make_due(QueueFilter(domain="c.example"), T0) == 1
        assert [(work.queue_id, work.destination) for work in await due(store)] == [(one.queue_id, C)]
        assert await store.make_due(QueueFilter(), T0) == 3
        assert (await store.counts(T0))["due"] == 3


async def check_a_long_queue_is_listed_and_made_due_wholly(shard: Shard) -> None:
    async with shard.open() as store:
        far = T0 + timedelta(days=1)
        futures = [store.accept(a_message(store, Group(B, (BOB,)), Group(C, (CID,)), due_at=far)) for _ in range(600)]
        await asyncio.wait(futures)
        assert len(await store.entries(QueueFilter(domain="c.example"), 10_000)) == 600
        assert len(await store.entries(QueueFilter(), 550)) == 550
        assert await store.make_due(QueueFilter(domain="b.example"), T0) == 600
        assert len(await due(store, limit=10_000)) == 600


CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))
