"""What every queue store owes to the mail in it: acceptance, work, outcomes.

The checks take a shard, a place that can be opened again and again, and are run on every implementation.
`queue_content_contract.py` and `queue_operations_contract.py` have the rest; `tests/storage` has what is peculiar
to SQLite: full disks, failing syncs, killed processes.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from postroad.contracts.errors import LeaseLost, StoreUnavailable
from postroad.contracts.queue_store import (
    NewMessage,
    QueueFilter,
    Work,
)
from postroad.vocabulary.destination import MAILBOX, SMARTHOST, Destination
from postroad.vocabulary.envelope import BodyType, Envelope
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId, shard_of
from tests.contract.queue_mail import (
    ANN,
    BEA,
    BOB,
    CID,
    DAN,
    DEADLINE_S,
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
    nobody,
    whole,
)

# ---- accept ----


async def check_what_was_accepted_is_there_after_opening_again(shard: Shard) -> None:
    async with shard.open() as store:
        assert store.shard == 3
        message = await accepted(store, Group(B, (BOB, BEA)), Group(MAILBOX, (CID,)))
        assert shard_of(message.queue_id) == 3
    async with shard.open() as store:
        first, second = await due(store)
        assert [first.destination, second.destination] == [B, MAILBOX]
        assert first.recipients == (BOB, BEA)
        assert second.recipients == (CID,)
        assert first.envelope == Envelope(ANN, (), BodyType.EIGHT_BIT_MIME, True, "HDRS", "QQ314159")
        assert (first.queue_id, first.queued_at, first.size_bytes) == (message.queue_id, T0, len(SMALL))
        assert (first.attempts, first.warned, first.lease) == (0, False, store.epoch)
        content = await store.content(message.queue_id)
        assert (content.in_memory(), content.size_bytes, content.file_path()) == (SMALL, len(SMALL), None)
        assert await whole(content) == SMALL


async def check_a_message_without_sender_keeps_its_null_reverse_path(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store, sender=None)
        assert [work.envelope.reverse_path for work in await due(store)] == [None]
        assert [entry.reverse_path for entry in await store.entries(QueueFilter(), 10)] == [""]


async def check_an_item_that_fails_fails_alone(shard: Shard) -> None:
    async with shard.open() as store:
        there = await accepted(store)
        messages = [a_message(store) for _ in range(20)]
        messages[7] = a_message(store, Group(C, (CID,)), queue_id=there.queue_id)
        futures = [store.accept(message) for message in messages]
        await asyncio.wait(futures)
        assert [n for n, future in enumerate(futures) if future.exception()] == [7]
        assert isinstance(futures[7].exception(), StoreUnavailable)
        ids = {message.queue_id for message in messages}
        assert {(work.queue_id, work.destination) for work in await due(store)} == {(id, B) for id in ids}


async def check_a_caller_that_gives_up_takes_nothing_back(shard: Shard) -> None:
    async with shard.open() as store:
        first, second = a_message(store), a_message(store)
        store.accept(first).cancel()
        await store.accept(second)
        assert [work.queue_id for work in await due(store)] == [first.queue_id, second.queue_id]


async def check_a_message_without_recipients_is_a_mistake(shard: Shard) -> None:
    async with shard.open() as store:
        message = a_message(store)
        with pytest.raises(ValueError):
            store.accept(NewMessage(message.queue_id, message.envelope, SMALL, (), T0, message.story))


async def check_ids_never_return_even_if_the_clock_does(shard: Shard) -> None:
    ids: list[QueueId] = []
    for day in (5, 1, 3):
        shard.now = T0 + timedelta(days=day)
        async with shard.open() as store:
            ids += [store.new_id(shard.now) for _ in range(100)]
            await accepted(store, now=shard.now)
    assert ids == sorted(set(ids))


async def check_ids_that_were_never_used_do_not_return_after_a_crash(shard: Shard) -> None:
    async with shard.open() as first:
        await accepted(first)
        ids = [first.new_id(T0 + timedelta(seconds=second)) for second in range(10)]
        shard.drop_lock(first)
        async with shard.open() as second:
            assert second.new_id(T0 - timedelta(hours=1)) > max(ids)


async def check_closing_finishes_what_was_handed_in(shard: Shard) -> None:
    async with shard.open() as store:
        futures = [store.accept(a_message(store)) for _ in range(50)]
        await store.close()
        assert all(future.done() and future.exception() is None for future in futures)
        with pytest.raises(StoreUnavailable):
            store.accept(a_message(store))
        await store.close()
    async with shard.open() as store:
        assert len(await due(store)) == 50


# ---- due ----


async def check_the_longest_due_comes_first(shard: Shard) -> None:
    async with shard.open() as store:
        waits = (30, -5, 0, -60, 10)
        messages = {wait: await accepted(store, due_at=T0 + wait * MINUTE) for wait in waits}
        assert [work.queue_id for work in await due(store)] == [messages[wait].queue_id for wait in (-60, -5, 0)]
        assert [work.queue_id for work in await due(store, limit=1)] == [messages[-60].queue_id]
        assert await store.next_due_at() == T0 + 10 * MINUTE
        assert len(await due(store, T0 + 10 * MINUTE)) == 4
        assert await store.next_due_at() == T0 + 30 * MINUTE
        assert len(await due(store, T0 + 30 * MINUTE)) == 5
        assert await store.next_due_at() is None


async def check_destinations_that_are_not_wanted_now_are_passed_over(shard: Shard) -> None:
    async with shard.open() as store:
        for _ in range(3):
            await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        work = await store.take_due(T0, 3, nobody, frozenset({B}))
        assert [each.destination for each in work] == [C] * 3
        # They are as due as before.
        assert len(await due(store)) == 6


async def check_a_group_in_hand_is_not_given_twice(shard: Shard) -> None:
    async with shard.open() as store:
        messages = [await accepted(store, Group(B, (BOB,)), Group(C, (CID,))) for _ in range(10)]
        in_hand = {(message.queue_id, B) for message in messages[:8]}
        work = await store.take_due(T0, 100, lambda *key: key in in_hand)
        assert {(w.queue_id, w.destination) for w in work}.isdisjoint(in_hand)
        assert len(work) == 12
        # The limit counts what is given, not what was passed over.
        assert len(await store.take_due(T0, 12, lambda *key: key in in_hand)) == 12


async def check_what_is_settled_while_we_look_does_not_come_out(shard: Shard) -> None:
    """A worker takes and settles all the time; nobody is served twice."""
    async with shard.open() as store:
        messages = [await accepted(store) for _ in range(40)]
        in_hand: set[tuple[QueueId, Destination]] = set()
        served: list[QueueId] = []

        async def serve(work: Work) -> None:
            await asyncio.sleep(0)
            await store.settle(an_outcome(work, store))
            served.append(work.queue_id)
            in_hand.remove((work.queue_id, work.destination))

        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            while len(served) < len(messages):
                for work in await store.take_due(T0, 3, lambda *key: key in in_hand):
                    in_hand.add((work.queue_id, work.destination))
                    group.create_task(serve(work))
                await asyncio.sleep(0)
        assert sorted(served) == sorted(message.queue_id for message in messages)


async def check_what_becomes_due_in_the_past_is_looked_for_again(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store)
        (work,) = await due(store, T0 + 10 * MINUTE)
        assert await store.next_due_at() is None
        await store.settle(an_outcome(work, store, remaining=(BOB,), due_at=T0 + 5 * MINUTE))
        assert await store.next_due_at() == T0 + 5 * MINUTE
        await store.take_due(T0 + 10 * MINUTE, 1, nobody)
        assert await store.next_due_at() is None
        assert await store.make_due(QueueFilter(queue_id=message.queue_id), T0 + 2 * MINUTE) == 1
        assert await store.next_due_at() == T0 + 2 * MINUTE


# ---- settle ----


async def check_the_last_outcome_takes_message_and_content_away(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        await store.settle(an_outcome(message, store))
        assert await listed(store) == [(message.queue_id, "domain:c.example")]
        assert (await store.content(message.queue_id)).in_memory() == SMALL
        await store.settle(an_outcome(message, store, destination=C))
        assert await store.counts(T0) == {"messages": 0, "groups": 0, "due": 0, "held": 0, "bytes": 0}
        with pytest.raises(KeyError):
            await store.content(message.queue_id)
        assert await store.known((message.queue_id,)) == frozenset()


async def check_who_was_deferred_stays_until_the_next_attempt(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store, Group(B, (BOB, BEA)))
        later = T0 + 15 * MINUTE
        words = "451 4.7.1 Greylisted, come back later"
        await store.settle(
            an_outcome(message, store, remaining=(BEA,), due_at=later, attempts=3, warned=True, last=words)
        )
        assert await due(store) == ()
        assert await store.next_due_at() == later
    async with shard.open() as store:
        (work,) = await due(store, later)
        assert (work.recipients, work.attempts, work.warned) == ((BEA,), 3, True)
        (entry,) = await store.entries(QueueFilter(), 10)
        assert (entry.last, entry.due_at, entry.attempts) == (words, later, 3)


async def check_an_outcome_and_its_notification_are_written_together(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store)
        notice = a_message(store, Group(MAILBOX, (DAN,)), sender=None, content=b"Subject: failed\r\n\r\n")
        later = a_message(store, Group(C, (CID,)), sender=None, due_at=T0 + MINUTE)
        await store.settle(an_outcome(message, store, enqueue=(notice, later)))
    async with shard.open() as store:
        assert await listed(store) == [(notice.queue_id, "mailbox"), (later.queue_id, "domain:c.example")]
        (work,) = await due(store)
        assert (work.queue_id, work.recipients, work.queued_at) == (notice.queue_id, (DAN,), T0)
        assert await whole(await store.content(notice.queue_id)) == b"Subject: failed\r\n\r\n"


async def check_an_outcome_that_cannot_be_written_wholly_is_not_written(shard: Shard) -> None:
    async with shard.open() as store:
        message, other = await accepted(store), await accepted(store)
        await store.clear_outbox(100)
        good = a_message(store, Group(MAILBOX, (DAN,)))
        clash = a_message(store, Group(MAILBOX, (DAN,)), queue_id=other.queue_id)
        outcome = an_outcome(
            message,
            store,
            remaining=(BOB,),
            due_at=T0 + MINUTE,
            attempts=1,
            moved=(Group(SMARTHOST, (BEA,)),),
            enqueue=(good, clash),
        )
        with pytest.raises(StoreUnavailable):
            await store.settle(outcome)
        assert await listed(store) == [(message.queue_id, "domain:b.example"), (other.queue_id, "domain:b.example")]
        assert [work.attempts for work in await due(store)] == [0, 0]
        assert await store.outbox(10) == ()


async def check_a_group_is_settled_once(shard: Shard) -> None:
    async with shard.open() as store:
        messages = [await accepted(store) for _ in range(5)]
        await store.settle(an_outcome(messages[2], store))
        notice = a_message(store, Group(MAILBOX, (DAN,)))
        futures = [store.settle(an_outcome(message, store, enqueue=())) for message in messages[:4]]
        futures.append(store.settle(an_outcome(messages[2], store, enqueue=(notice,))))
        await asyncio.wait(futures)
        assert [type(future.exception()) for future in futures] == [
            type(None),
            type(None),
            LeaseLost,
            type(None),
            LeaseLost,
        ]
        assert await listed(store) == [(messages[4].queue_id, "domain:b.example")]


async def check_a_stale_lease_writes_nothing(shard: Shard) -> None:
    async with shard.open() as first:
        message = await accepted(first)
        (stale,) = await due(first)
        shard.drop_lock(first)
        async with shard.open() as second:
            assert second.epoch > first.epoch
            notice = a_message(first, Group(MAILBOX, (DAN,)))
            with pytest.raises(LeaseLost):
                await first.settle(an_outcome(stale, first, enqueue=(notice,)))
            with pytest.raises(LeaseLost):
                await second.settle(an_outcome(stale, first))
            with pytest.raises(StoreUnavailable):
                await first.accept(a_message(first))
            assert await listed(second) == [(message.queue_id, "domain:b.example")]
            (work,) = await due(second)
            await second.settle(an_outcome(work, second))
            assert await listed(second) == []


async def check_a_shard_has_one_owner(shard: Shard) -> None:
    async with shard.open():
        with pytest.raises(StoreUnavailable):
            async with shard.open():
                pass
    async with shard.open() as store:
        assert await due(store) == ()


# ---- recipients whose way changed ----


async def check_moved_recipients_go_their_new_way_at_once(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store, Group(B, (BOB, BEA)))
        await due(store)
        shard.now = T0 + MINUTE
        await store.settle(
            an_outcome(message, store, remaining=(BOB,), due_at=T0 + 9 * MINUTE, moved=(Group(SMARTHOST, (BEA,)),))
        )
        assert await store.next_due_at() == T0 + MINUTE
        (work,) = await due(store, T0 + MINUTE)
        assert (work.destination, work.recipients, work.attempts) == (SMARTHOST, (BEA,), 0)
        await store.settle(an_outcome(work, store))
        assert await listed(store) == [(message.queue_id, "domain:b.example")]


async def check_recipients_moved_into_a_group_in_hand_outlive_its_outcome(shard: Shard) -> None:
    async with shard.open() as store:
        message = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        in_hand = {work.destination: work for work in await due(store)}
        await store.settle(an_outcome(in_hand[B], store, moved=(Group(C, (BOB, CID)),)))
        assert await store.take_due(T0, 10, lambda _, destination: destination == C) == ()
        await store.settle(an_outcome(in_hand[C], store))
        # Cid was served, but he also came again; Bob was not served at all.
        (work,) = await due(store)
        assert (work.queue_id, work.destination) == (message.queue_id, C)
        assert set(work.recipients) >= {BOB}
        await store.settle(an_outcome(work, store))
        assert await listed(store) == []


async def check_recipients_moved_into_a_waiting_group_are_tried_with_it(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
        first, second = await due(store)
        await store.settle(an_outcome(second, store, remaining=(CID,), due_at=T0 + 60 * MINUTE, attempts=2))
        await store.settle(an_outcome(first, store, moved=(Group(C, (BOB,)),)))
        (work,) = await due(store)
        assert (set(work.recipients), work.attempts) == ({BOB, CID}, 2)
        await store.settle(an_outcome(work, store))
        assert await listed(store) == []


CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))
