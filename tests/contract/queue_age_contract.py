"""What every queue store owes to those who look by age: what has waited too long, and what is due impossibly late."""

from __future__ import annotations

from datetime import timedelta

from msgspec import structs

from postroad.contracts.queue_store import START, Cursor, QueueFilter, QueueStore
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import QUEUE_PAGE_GROUPS
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Acted
from tests.contract.queue_mail import (
    BOB,
    CID,
    MINUTE,
    T0,
    B,
    C,
    Check,
    Shard,
    a_message,
    accepted,
    an_outcome,
    due,
    nobody,
)

DAY = timedelta(days=1)


async def old(store: QueueStore, before: timedelta) -> list[str]:
    found = await store.take_old(T0, T0 - before, nobody, START)
    assert found.after is None
    return [work.queue_id for work in found.works]


async def check_the_oldest_come_first_and_the_next_is_named(shard: Shard) -> None:
    async with shard.open() as store:
        ages = (3, 5, 1, 4, 2)
        # In the order in which they come, as ids are never out of order.
        ids = {days: (await accepted(store, now=T0 - days * DAY)).queue_id for days in sorted(ages, reverse=True)}
        assert await old(store, 3 * DAY) == [ids[5], ids[4], ids[3]]
        found = await store.take_old(T0, T0 - 3 * DAY, nobody, START)
        assert found.next_queued_at == T0 - 2 * DAY
        assert (await store.take_old(T0, T0, nobody, START)).next_queued_at is None
        assert await old(store, 6 * DAY) == []
        assert len(await due(store)) == 5, "nothing was taken by it"


async def check_what_is_held_or_in_hand_or_not_due_yet_is_not_old_work(shard: Shard) -> None:
    async with shard.open() as store:
        held = await accepted(store, now=T0 - 3 * DAY)
        in_hand = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)), now=T0 - 3 * DAY + MINUTE)
        waits = await accepted(store, now=T0 - 3 * DAY + 2 * MINUTE, due_at=T0 + MINUTE)
        await store.hold(QueueFilter(queue_id=held.queue_id), Acted(at=T0, action="hold", by=""), frozenset)

        def taken(queue_id: QueueId, destination: Destination) -> bool:
            return (queue_id, destination) == (in_hand.queue_id, B)

        found = await store.take_old(T0, T0, taken, START)
        assert [(work.queue_id, work.destination) for work in found.works] == [(in_hand.queue_id, C)]
        found = await store.take_old(T0 + MINUTE, T0, taken, START)
        assert [work.queue_id for work in found.works] == [in_hand.queue_id, waits.queue_id]


async def check_many_that_are_old_come_in_pages(shard: Shard) -> None:
    async with shard.open() as store:
        count = QUEUE_PAGE_GROUPS + 10
        ids = [(await accepted(store, now=T0 - DAY)).queue_id for _ in range(count)]
        pages: list[list[str]] = []
        place: Cursor | None = START
        while place is not None:
            found = await store.take_old(T0, T0, nobody, place)
            pages.append([work.queue_id for work in found.works])
            place = found.after
        assert [len(page) for page in pages] == [QUEUE_PAGE_GROUPS, 10]
        assert [queue_id for page in pages for queue_id in page] == ids


async def check_what_is_due_impossibly_late_is_brought_forward_but_not_what_its_sender_wants_later(
    shard: Shard,
) -> None:
    async with shard.open() as store:
        soon = await accepted(store, due_at=T0 + MINUTE)
        late = await accepted(store)
        await store.settle(an_outcome(late, store, remaining=(BOB,), due_at=T0 + 30 * DAY, attempts=1))
        wanted = a_message(store, due_at=T0 + 20 * DAY)
        wanted = structs.replace(wanted, envelope=structs.replace(wanted.envelope, release_at=T0 + 20 * DAY))
        await store.accept(wanted)
        assert await store.bring_forward(T0 + 31 * DAY) == 0
        assert await store.bring_forward(T0 + DAY) == 1
        assert [work.queue_id for work in await due(store, T0 + MINUTE)] == [soon.queue_id]
        assert await store.next_due_at() == T0 + DAY
        assert [work.queue_id for work in await due(store, T0 + DAY)] == [soon.queue_id, late.queue_id]
        assert await store.next_due_at() == T0 + 20 * DAY
        assert await store.bring_forward(T0 + DAY) == 0


CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))
