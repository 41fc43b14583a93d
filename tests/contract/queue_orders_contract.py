"""What every queue store owes to an administrator who holds mail back, claims it or asks what waits where."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec import structs

from postroad.contracts.errors import LeaseLost
from postroad.contracts.queue_store import START, DestinationSummary, GroupKeys, QueueFilter, QueueStore, QueueSummary
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import SMARTHOST, Destination, DestinationKind
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import QUEUE_PAGE_GROUPS, SUMMARY_BLOCK_GROUPS, SUMMARY_DESTINATIONS
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.story import Acted, from_bytes
from tests.contract.queue_mail import (
    BEA,
    BOB,
    CID,
    DAN,
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
)

HOUR = timedelta(hours=1)
HOLD = Acted(at=T0, action="hold", by="ann")
RELEASE = Acted(at=T0 + MINUTE, action="release", by="bob")
EVERYTHING = QueueFilter()


def nothing_kept(keys: GroupKeys) -> GroupKeys:
    """Nobody has any of it in hand, or all was let go of."""
    return frozenset()


async def held(store: QueueStore, **conditions: object) -> int:
    return await store.hold(QueueFilter(**conditions), HOLD, nothing_kept)  # type: ignore[arg-type]


async def destinations_due(store: QueueStore) -> list[tuple[str, Destination]]:
    return [(work.queue_id, work.destination) for work in await due(store, T0 + HOUR)]


async def told(store: QueueStore) -> list[tuple[str, object]]:
    """Who did what to which message, of what is in the outbox."""
    blobs = await store.outbox(1000)
    entries = [entry for _, blob in blobs for entry in from_bytes(blob)]
    return [(entry.queue_id, fact) for entry in entries for fact in entry.facts]


# ---- held ----


async def check_what_is_held_is_not_due_until_it_is_released(shard: Shard) -> None:
    async with shard.open() as store:
        one = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        two = await accepted(store)
        assert await held(store, queue_id=one.queue_id, domain="b.example") == 1
        assert await held(store, queue_id=one.queue_id, domain="b.example") == 0, "it is held already"
        assert await destinations_due(store) == [(one.queue_id, C), (two.queue_id, B)]
        assert (await store.counts(T0))["held"] == 1
        assert [entry.held for entry in await store.entries(EVERYTHING, 10)] == [True, False, False]
        assert len(await store.entries(QueueFilter(held=True), 10)) == 1
        assert len(await store.entries(QueueFilter(held=False), 10)) == 2
    async with shard.open() as store:
        assert await destinations_due(store) == [(one.queue_id, C), (two.queue_id, B)]
        assert await store.release(EVERYTHING, RELEASE) == 1
        assert len(await destinations_due(store)) == 3
        assert await store.release(EVERYTHING, RELEASE) == 0
        assert await told(store) == [(one.queue_id, HOLD), (one.queue_id, RELEASE)]


async def check_the_next_due_time_is_of_what_is_not_held(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store, due_at=T0 + MINUTE)
        await accepted(store, Group(C, (CID,)), due_at=T0 + 2 * MINUTE)
        await held(store, domain="b.example")
        assert await due(store) == ()
        assert await store.next_due_at() == T0 + 2 * MINUTE
        await store.release(EVERYTHING, RELEASE)
        assert await store.next_due_at() == T0 + MINUTE


async def check_what_is_made_due_stays_held(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store, due_at=T0 + HOUR)
        await held(store)
        assert await store.make_due(EVERYTHING, T0) == 0
        assert await due(store, T0 + 2 * HOUR) == ()


async def check_an_attempt_under_way_ends_and_what_remains_is_held(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store, Group(B, (BOB, BEA)))
        (work,) = await due(store)
        assert await held(store) == 1
        await store.settle(an_outcome(work, store, remaining=(BEA,), due_at=T0 + MINUTE, attempts=1))
        assert await destinations_due(store) == []
        (entry,) = await store.entries(EVERYTHING, 10)
        assert (entry.held, entry.recipients, entry.attempts) == (True, ("bea@b.example",), 1)
        await store.release(EVERYTHING, RELEASE)
        assert await destinations_due(store) == [(message.queue_id, B)]


async def check_recipients_that_move_away_from_a_held_group_stay_held(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store, Group(B, (BOB, BEA)), Group(C, (CID,)))
        (work, _) = await due(store)
        await held(store, domain="b.example")
        moved = (Group(SMARTHOST, (BOB,)), Group(C, (BEA,)))
        await store.settle(an_outcome(work, store, moved=moved))
        assert await destinations_due(store) == []
        assert await store.release(EVERYTHING, RELEASE) == 2
        assert len(await destinations_due(store)) == 2


async def check_who_has_a_group_in_hand_is_asked_to_let_go_of_it_when_it_is_held(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        asked: list[GroupKeys] = []

        def recall(keys: GroupKeys) -> GroupKeys:
            asked.append(keys)
            return keys

        assert await store.hold(QueueFilter(domain="c.example"), HOLD, recall) == 1
        assert asked == [{(message.queue_id, C)}]


async def check_a_long_queue_is_held_and_released_wholly(shard: Shard) -> None:
    async with shard.open() as store:
        many = QUEUE_PAGE_GROUPS + 100
        await asyncio.wait([store.accept(a_message(store)) for _ in range(many)])
        assert await held(store, domain="b.example") == many
        assert await due(store) == ()
        assert await store.release(QueueFilter(domain="b.example"), RELEASE) == many
        assert len(await due(store, limit=10_000)) == many


# ---- claims ----


async def check_what_is_claimed_is_given_to_nobody_else(shard: Shard) -> None:
    async with shard.open() as store:
        one = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        async with store.claim(QueueFilter(domain="b.example"), START, nothing_kept) as claim:
            (work,) = claim.works
            assert (work.queue_id, work.destination, work.recipients) == (one.queue_id, B, (BOB,))
            assert (work.lease, claim.in_hand, claim.after) == (store.epoch, 0, None)
            assert await destinations_due(store) == [(one.queue_id, C)]
            async with store.claim(EVERYTHING, START, nothing_kept) as another:
                assert [each.destination for each in another.works] == [C]
                assert another.in_hand == 1
        assert await store.next_due_at() == T0
        assert len(await destinations_due(store)) == 2, "what was not settled is due as before"


async def check_what_was_claimed_is_settled_as_any_other_work(shard: Shard) -> None:
    async with shard.open() as store:
        one = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        (before, _) = await due(store)
        notice = a_message(store, Group(SMARTHOST, (DAN,)))
        async with store.claim(QueueFilter(domain="b.example"), START, nothing_kept) as claim:
            await store.settle(an_outcome(claim.works[0], store, enqueue=(notice,)))
        assert await destinations_due(store) == [(one.queue_id, C), (notice.queue_id, SMARTHOST)]
        with pytest.raises(LeaseLost):
            await store.settle(an_outcome(before, store))


async def check_what_somebody_has_in_hand_is_counted_and_left(shard: Shard) -> None:
    async with shard.open() as store:
        one = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))

        def recall(keys: GroupKeys) -> GroupKeys:
            return keys & {(one.queue_id, B)}

        async with store.claim(EVERYTHING, START, recall) as claim:
            assert [work.destination for work in claim.works] == [C]
            assert claim.in_hand == 1


async def check_a_long_queue_is_claimed_page_by_page(shard: Shard) -> None:
    async with shard.open() as store:
        many = QUEUE_PAGE_GROUPS + 100
        await asyncio.wait([store.accept(a_message(store)) for _ in range(many)])
        await accepted(store, Group(C, (CID,)))
        found: list[str] = []
        place = START
        while True:
            async with store.claim(QueueFilter(domain="b.example"), place, nothing_kept) as claim:
                found += [work.queue_id for work in claim.works]
                await asyncio.wait([store.settle(an_outcome(work, store)) for work in claim.works])
            if claim.after is None:
                break
            place = claim.after
        assert len(set(found)) == len(found) == many
        assert (await store.counts(T0))["groups"] == 1


async def check_what_is_held_can_be_claimed(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store)
        await held(store)
        async with store.claim(EVERYTHING, START, nothing_kept) as claim:
            await store.settle(an_outcome(claim.works[0], store))
        assert (await store.counts(T0))["messages"] == 0


# ---- what waits where ----


async def check_the_summary_tells_what_waits_for_each_destination(shard: Shard) -> None:
    async with shard.open() as store:
        assert await store.summary(T0, 10) == await store.summary(T0, 10, "domain:b.example")
        assert (await store.summary(T0, 10)).destinations == ()
        one = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        await accepted(store, now=T0 + MINUTE, due_at=T0 + HOUR)
        await accepted(store, now=T0 + 2 * MINUTE, sender=None)
        other = Destination(DestinationKind.ROUTE, "mx.d.example:25")
        await accepted(store, Group(other, (DAN,)))
        await store.settle(
            an_outcome(one, store, remaining=(BOB,), due_at=T0 + 5 * MINUTE, attempts=1, last="mx.b.example: 451 no")
        )
        await store.hold(QueueFilter(domain="d.example"), HOLD, nothing_kept)
        await store.hold(QueueFilter(sender="<>"), HOLD, nothing_kept)
        summary = await store.summary(T0 + 3 * MINUTE, 10)
        b = DestinationSummary(
            destination="domain:b.example",
            groups=3,
            held=1,
            due=0,
            oldest_at=T0,
            next_attempt_at=T0 + 5 * MINUTE,
            last="mx.b.example: 451 no",
        )
        assert summary.destinations == (
            b,
            DestinationSummary(
                destination="domain:c.example", groups=1, held=0, due=1, oldest_at=T0, next_attempt_at=T0, last=""
            ),
            DestinationSummary(
                destination=str(other), groups=1, held=1, due=0, oldest_at=T0, next_attempt_at=None, last=""
            ),
        )
        assert (summary.destinations_in_all, summary.groups, summary.held, summary.due) == (3, 5, 2, 1)
        shorter = await store.summary(T0 + 3 * MINUTE, 1)
        assert (shorter.destinations, shorter.destinations_in_all, shorter.groups) == ((b,), 3, 5)
        assert (await store.summary(T0 + 3 * MINUTE, 10, "domain:b.example")).destinations == (b,)


async def check_the_summary_of_a_long_queue_is_the_same_whether_few_destinations_or_all_are_asked_for(
    shard: Shard,
) -> None:
    async with shard.open() as store:
        # All due at one moment, so that the count's blocks end in the middle of it, and of a message.
        domains = [f"d{n:05}.example" for n in range(SUMMARY_BLOCK_GROUPS + 10)]
        for reach in (len(domains), SUMMARY_BLOCK_GROUPS // 2 + 1, 3):
            groups = (
                Group(Destination(DestinationKind.DOMAIN, name), (Recipient(Mailbox("bob", name)),))
                for name in domains[:reach]
            )
            await accepted(store, *groups, due_at=T0 + HOUR)
        await held(store, domain=domains[1])
        await held(store, domain=domains[-1])
        whole = await store.summary(T0 + HOUR, SUMMARY_DESTINATIONS)
        assert (whole.destinations_in_all, whole.groups) == (len(domains), len(domains) + SUMMARY_BLOCK_GROUPS // 2 + 4)
        assert (whole.held, whole.due) == (4, whole.groups - 4)
        assert [(each.groups, each.held) for each in whole.destinations[:4]] == [(3, 0), (3, 3), (3, 0), (2, 0)]
        few = await store.summary(T0 + HOUR, 4)
        assert few == QueueSummary(whole.destinations[:4], *structs.astuple(whole)[1:])


CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))
