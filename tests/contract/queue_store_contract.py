"""What every queue store owes to the mail in it: checks that take a shard and are run on every implementation.

A `Shard` is a place that can be opened again and again; `play` gives one, fresh, to a check and names the check
a failure. `tests/storage` has what is peculiar to SQLite: full disks, failing syncs, killed processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from postroad.contracts.errors import LeaseLost, StoreUnavailable
from postroad.contracts.queue_store import (
    NewMessage,
    QueueEntry,
    QueueFilter,
    QueueStore,
    Settlement,
    StoredContent,
    Work,
)
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import MAILBOX, SMARTHOST, Destination, DestinationKind
from postroad.vocabulary.envelope import BodyType, Envelope, Notify, Recipient
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, READ_BYTES, SPOOL_AHEAD_BYTES
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId, shard_of
from postroad.vocabulary.story import Entry, from_bytes

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
        assert await store.counts(T0) == {"messages": 0, "groups": 0, "due": 0, "bytes": 0}
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


# ---- large content ----


async def check_large_content_streams_and_survives(shard: Shard) -> None:
    async with shard.open() as store:
        queue_id = store.new_id(T0)
        sealed = await spooled(store, queue_id)
        assert (sealed.size_bytes, sealed.in_memory()) == (len(LARGE), None)
        await accepted(store, queue_id=queue_id, content=sealed)
        store.spool(queue_id).discard()
    async with shard.open() as store:
        (work,) = await due(store)
        assert work.size_bytes == len(LARGE)
        content = await store.content(queue_id)
        chunks = [chunk async for chunk in content.chunks()]
        assert b"".join(chunks) == LARGE
        assert max(map(len, chunks)) <= READ_BYTES
        path = content.file_path()
        assert path is not None
        assert Path(path).read_bytes() == LARGE
        assert shard.content_files() == [Path(path)]


async def check_content_goes_with_the_last_group(shard: Shard) -> None:
    async with shard.open() as store:
        queue_id = store.new_id(T0)
        content = await spooled(store, queue_id)
        small = await accepted(store)
        large = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)), queue_id=queue_id, content=content)
        await asyncio.wait([store.settle(an_outcome(small, store)), store.settle(an_outcome(large, store))])
        assert await whole(await store.content(queue_id)) == LARGE
        await store.settle(an_outcome(large, store, destination=C))
    assert shard.content_files() == []


async def check_content_that_was_never_accepted_is_swept(shard: Shard) -> None:
    async with shard.open() as store:
        await spooled(store, store.new_id(T0))
        kept = store.new_id(T0)
        await accepted(store, queue_id=kept, content=await spooled(store, kept))
    assert len(shard.content_files()) == 2
    async with shard.open() as store:
        assert [path.name for path in shard.content_files()] == [kept]
        assert await whole(await store.content(kept)) == LARGE


async def check_a_discarded_spool_leaves_nothing(shard: Shard) -> None:
    async with shard.open() as store:
        unsealed, sealed, unused = (store.spool(store.new_id(T0)) for _ in range(3))
        unsealed.write(LARGE)
        unsealed.discard()
        assert unsealed.write(LARGE) is False
        sealed.write(LARGE)
        await sealed.seal()
        sealed.discard()
        unused.discard()
    assert shard.content_files() == []


async def check_discard_after_accept_harms_nothing(shard: Shard) -> None:
    async with shard.open() as store:
        queue_id = store.new_id(T0)
        spool = store.spool(queue_id)
        spool.write(LARGE)
        future = store.accept(a_message(store, queue_id=queue_id, content=await spool.seal()))
        spool.discard()
        await future
        spool.discard()
        assert await whole(await store.content(queue_id)) == LARGE


async def check_the_file_of_a_refused_message_goes(shard: Shard) -> None:
    async with shard.open() as store:
        queue_id = store.new_id(T0)
        twice_the_same = (Group(B, (BOB,)), Group(B, (BEA,)))
        message = a_message(store, *twice_the_same, queue_id=queue_id, content=await spooled(store, queue_id))
        with pytest.raises(StoreUnavailable):
            await store.accept(message)
        await accepted(store)
    assert shard.content_files() == []


async def check_a_message_accepted_twice_keeps_its_file(shard: Shard) -> None:
    async with shard.open() as store:
        queue_id = store.new_id(T0)
        message = a_message(store, queue_id=queue_id, content=await spooled(store, queue_id))
        await store.accept(message)
        with pytest.raises(StoreUnavailable):
            await store.accept(message)
        await accepted(store)
    async with shard.open() as store:
        assert await whole(await store.content(queue_id)) == LARGE


async def check_a_notification_may_share_the_content_of_its_message(shard: Shard) -> None:
    async with shard.open() as store:
        queue_id = store.new_id(T0)
        parent = await accepted(store, queue_id=queue_id, content=await spooled(store, queue_id))
        child = a_message(store, Group(C, (CID,)), content=await store.content(queue_id))
        await store.settle(an_outcome(parent, store, enqueue=(child,)))
        with pytest.raises(KeyError):
            await store.content(queue_id)
        assert await whole(await store.content(child.queue_id)) == LARGE


async def check_a_spool_says_when_the_peer_must_wait(shard: Shard) -> None:
    async with shard.open() as store:
        spool = store.spool(store.new_id(T0))
        octets = b"x" * READ_BYTES
        pieces = 4 * SPOOL_AHEAD_BYTES // READ_BYTES
        ahead = [spool.write(octets) for _ in range(pieces)]
        assert ahead[0] is True
        assert ahead[-1] is False
        async with asyncio.timeout(DEADLINE_S):
            await spool.drained()
        assert spool.write(octets) is True
        assert (await spool.seal()).size_bytes == (pieces + 1) * READ_BYTES


async def check_octets_beyond_the_row_limit_are_kept_too(shard: Shard) -> None:
    """A notification is made in memory and may come out a little larger than content that came as a stream."""
    octets = b"y" * (CONTENT_IN_ROW_BYTES + 10_000)
    async with shard.open() as store:
        message = await accepted(store, content=octets)
        content = await store.content(message.queue_id)
        assert await whole(content) == octets
        assert max([len(chunk) async for chunk in content.chunks()]) <= READ_BYTES


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
        assert await store.counts(T0) == {"messages": 2, "groups": 3, "due": 0, "bytes": 2 * len(SMALL)}
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


Check = Callable[[Shard], Awaitable[None]]

CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))


async def play(check: Check, shard: Shard) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await check(shard)
