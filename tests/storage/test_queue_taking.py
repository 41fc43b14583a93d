"""Taking work while outcomes are being written: what is settled or accepted meanwhile does not come out of the look.

The look happens in another thread. These tests hold it, or the writer, at the moment that matters.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import apsw

from postroad.storage.sqlite.commit import Verb
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.destination import SMARTHOST, Destination
from postroad.vocabulary.limits import GROUPS_IN_MEMORY
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from tests.contract.queue_mail import (
    BEA,
    BOB,
    CID,
    DEADLINE_S,
    T0,
    B,
    C,
    a_message,
    accepted,
    an_outcome,
    due,
    nobody,
)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteQueueStore]:
    store = await SqliteQueueStore.open(folder, 3, clock_now=lambda: T0)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield store
    finally:
        await store.close()


@contextmanager
def writer_held(store: SqliteQueueStore) -> Iterator[None]:
    """The writer's thread writes nothing until the end of the `with`."""
    go_on = threading.Event()

    def hold(connection: apsw.Connection, _: None) -> None:
        assert go_on.wait(DEADLINE_S)

    store._writer.submit(Verb(hold), None)
    try:
        yield
    finally:
        go_on.set()


class HeldLook:
    """A `taken` that lets the look go on only when the test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go_on = threading.Event()

    def go_on(self) -> None:
        self._go_on.set()

    def __call__(self, queue_id: QueueId, destination: Destination) -> bool:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self._go_on.wait(DEADLINE_S)
        return False


def test_a_group_settled_during_the_look_does_not_come_out(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store, asyncio.TaskGroup() as group:
            message, other = await accepted(store), await accepted(store)
            look = HeldLook()
            taking = group.create_task(store.take_due(T0, 10, look))
            await look.begun.wait()
            await store.settle(an_outcome(message, store, remaining=(BOB,), due_at=T0))
            look.go_on()
            assert [work.queue_id for work in await taking] == [other.queue_id]
            # It is due at a moment that was looked at already; it will be looked for again.
            assert await store.next_due_at() == T0
            assert [work.queue_id for work in await due(store)] == [message.queue_id, other.queue_id]

    asyncio.run(scene())


def test_a_group_whose_outcome_is_on_its_way_does_not_come_out(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store, asyncio.TaskGroup() as group:
            message = await accepted(store)
            settled = threading.Event()

            def taken(queue_id: QueueId, destination: Destination) -> bool:
                """In hand until its outcome is written, as a scheduler has it."""
                assert settled.wait(DEADLINE_S)
                return False

            with writer_held(store):
                outcome = store.settle(an_outcome(message, store))
                outcome.add_done_callback(lambda _: settled.set())
                taking = group.create_task(store.take_due(T0, 10, taken))
                for _ in range(1000):  # were the look to begin before the outcome is written, it would now
                    await asyncio.sleep(0)
            assert await taking == ()

    asyncio.run(scene())


def test_a_message_accepted_during_the_look_is_its_acceptors(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store, asyncio.TaskGroup() as group:
            with writer_held(store):
                taking = group.create_task(store.take_due(T0, 10, nobody))
                await asyncio.sleep(0)
                accepting = store.accept(a_message(store))
            assert await taking == ()
            await accepting
            assert len(await due(store)) == 1

    asyncio.run(scene())


def test_recipients_moved_into_a_group_during_the_look_are_not_lost(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store, asyncio.TaskGroup() as group:
            message = await accepted(store, Group(B, (BOB, BEA)), Group(C, (CID,)))
            look = HeldLook()
            taking = group.create_task(store.take_due(T0, 10, look))
            await look.begun.wait()
            await store.settle(an_outcome(message, store, moved=(Group(C, (BOB,)), Group(SMARTHOST, (BEA,)))))
            look.go_on()
            assert await taking == ()
            found = {work.destination: set(work.recipients) for work in await due(store)}
            assert found == {C: {BOB, CID}, SMARTHOST: {BEA}}

    asyncio.run(scene())


def test_a_look_that_fails_is_made_up_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            await accepted(store)

            def broken(queue_id: QueueId, destination: Destination) -> bool:
                raise LookupError("a mistake of the scheduler's")

            try:
                await store.take_due(T0, 10, broken)
            except LookupError:
                assert await store.next_due_at() == T0
            else:
                raise AssertionError("it should have been told")

    asyncio.run(scene())


def test_a_long_queue_in_hand_is_passed_over_quickly(tmp_path: Path) -> None:
    """Only the index is read for what is in hand: the look stays fit for use however much of it there is."""

    async def scene() -> None:
        async with opened(tmp_path) as store:
            futures = [store.accept(a_message(store)) for _ in range(GROUPS_IN_MEMORY // 2)]
            await asyncio.wait(futures)
            in_hand = {(work.queue_id, work.destination) for work in await due(store, limit=len(futures))}
            last = await accepted(store)
            loop = asyncio.get_running_loop()
            began = loop.time()
            work = await store.take_due(T0, 10, lambda *key: key in in_hand)
            assert [w.queue_id for w in work] == [last.queue_id]
            assert loop.time() - began < 2.0

    asyncio.run(scene())
