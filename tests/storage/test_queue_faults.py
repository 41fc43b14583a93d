"""The queue when the disk is full, when a sync fails, and when the process is killed: no promise is broken."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.contracts.queue_store import NewMessage, QueueFilter, Settlement
from postroad.storage.sqlite.database import open_database
from postroad.storage.sqlite.queue_store import QUEUE, SqliteQueueStore
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import FILE_THREADS, READ_BYTES
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.story import from_bytes
from tests.contract.queue_mail import (
    BOB,
    CID,
    DEADLINE_S,
    LARGE,
    T0,
    B,
    C,
    a_message,
    accepted,
    an_outcome,
    due,
    spooled,
    whole,
)
from tests.storage.another_process import another_process, kill, lines_of
from tests.storage.failing_disk import FailingDisk, failing_disk


@asynccontextmanager
async def opened(folder: Path, vfs: str | None = None) -> AsyncIterator[SqliteQueueStore]:
    store = await SqliteQueueStore.open(folder, 3, clock_now=lambda: T0, vfs=vfs)
    try:
        yield store
    finally:
        await store.close()


async def accepted_again(store: SqliteQueueStore) -> NewMessage:
    """Offer a message until the store takes it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await accepted(store)
            except StoreUnavailable:
                await asyncio.sleep(0)


def limit_size(store: SqliteQueueStore, pages: int) -> None:
    """The shard's file can grow to so many pages: what a full disk looks like from inside."""
    store._engine.connection.pragma("max_page_count", pages)


def test_a_full_disk_refuses_mail_and_takes_it_again_when_there_is_room(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            kept = await accepted(store)
            limit_size(store, 60)
            futures = [store.accept(a_message(store, content=b"x" * 60_000)) for _ in range(30)]
            await asyncio.wait(futures)
            refused = [future for future in futures if future.exception() is not None]
            assert len(refused) >= 25
            assert {type(future.exception()) for future in refused} == {StoreFull}
            assert len(await due(store)) == 1 + len(futures) - len(refused)
            # What is there can still leave, and makes room.
            await store.settle(an_outcome(kept, store))
            limit_size(store, 10_000)
            await accepted(store, content=b"x" * 60_000)

    asyncio.run(scene())


def test_a_failed_sync_fails_all_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        async with opened(tmp_path, disk.name) as store:
            first = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)))
            told = await store.outbox(10)
            disk.syncs_to_fail = 1
            futures = [store.accept(a_message(store)) for _ in range(10)]
            futures.append(store.settle(an_outcome(first, store, enqueue=(a_message(store),))))
            await asyncio.wait(futures)
            assert {type(future.exception()) for future in futures} == {StoreUnavailable}
            second = await accepted_again(store)
            assert {(work.queue_id, work.destination) for work in await due(store)} == {
                (first.queue_id, B),
                (first.queue_id, C),
                (second.queue_id, B),
            }
            assert len(await store.outbox(10)) == len(told) + 1
            # The lease is good still: the owner is the same.
            await store.settle(an_outcome(first, store))
        async with opened(tmp_path) as store:
            assert [work.queue_id for work in await due(store)] == [first.queue_id, second.queue_id]

    with failing_disk("failing queue") as disk:
        asyncio.run(scene(disk))


def test_the_file_of_mail_that_a_failed_sync_refused_goes_only_after_the_next_commit(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        async with opened(tmp_path, disk.name) as store:
            queue_id = store.new_id(T0)
            content = await spooled(store, queue_id)
            await accepted(store)
            disk.syncs_to_fail, disk.opens_to_fail = 1, 1
            with pytest.raises(StoreUnavailable):
                await store.accept(a_message(store, queue_id=queue_id, content=content))
            assert (tmp_path / "3" / queue_id).exists()
            await accepted_again(store)
        assert not (tmp_path / "3" / queue_id).exists()

    with failing_disk("failing large") as disk:
        asyncio.run(scene(disk))


def test_the_file_of_refused_mail_goes_although_the_next_commit_fails_too(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        store = await SqliteQueueStore.open(tmp_path, 3, clock_now=lambda: T0, direct=True, vfs=disk.name)
        queue_id = store.new_id(T0)
        content = await spooled(store, queue_id)
        for refused in (a_message(store, queue_id=queue_id, content=content), a_message(store)):
            disk.syncs_to_fail = 1
            with pytest.raises(StoreUnavailable):
                await store.accept(refused)
            store._engine.open()
            await asyncio.sleep(0)  # whoever was refused is told in the next turn
        assert (tmp_path / "3" / queue_id).exists()
        await accepted(store)
        assert not (tmp_path / "3" / queue_id).exists()
        await store.close()

    with failing_disk("failing twice") as disk:
        asyncio.run(scene(disk))


def test_mail_whose_last_outcome_was_not_written_keeps_its_file(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        async with opened(tmp_path, disk.name) as store:
            queue_id = store.new_id(T0)
            message = await accepted(store, queue_id=queue_id, content=await spooled(store, queue_id))
            disk.syncs_to_fail = 1
            with pytest.raises(StoreUnavailable):
                await store.settle(an_outcome(message, store))
            await accepted_again(store)
        async with opened(tmp_path) as store:
            assert await whole(await store.content(queue_id)) == LARGE

    with failing_disk("failing outcome") as disk:
        asyncio.run(scene(disk))


def test_files_that_a_killed_process_left_are_swept(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            kept = store.new_id(T0)
            await accepted(store, queue_id=kept, content=await spooled(store, kept))
            small = await accepted(store)
        for name in (f"{kept}.part", store.new_id(T0) + ".part", store.new_id(T0), small.queue_id, "README"):
            (tmp_path / "3" / name).write_bytes(b"left behind")
        async with opened(tmp_path) as store:
            assert [path.name for path in (tmp_path / "3").iterdir()] == [kept]
            assert await whole(await store.content(kept)) == LARGE

    asyncio.run(scene())


def test_content_whose_file_was_taken_away_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            queue_id = store.new_id(T0)
            await accepted(store, queue_id=queue_id, content=await spooled(store, queue_id))
            (tmp_path / "3" / queue_id).unlink()
            with pytest.raises(StoreUnavailable):
                await whole(await store.content(queue_id))

    asyncio.run(scene())


def test_content_whose_file_was_cut_short_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            queue_id = store.new_id(T0)
            await accepted(store, queue_id=queue_id, content=await spooled(store, queue_id))
            os.truncate(tmp_path / "3" / queue_id, len(LARGE) - 1)
            with pytest.raises(StoreUnavailable):
                await whole(await store.content(queue_id))

    asyncio.run(scene())


def test_a_spool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            queue_id = store.new_id(T0)
            (tmp_path / "3" / f"{queue_id}.part").write_bytes(b"in the way")
            spool = store.spool(queue_id)
            spool.write(LARGE)
            with pytest.raises(StoreUnavailable):
                await spool.seal()
            assert spool.write(LARGE) is False
            with pytest.raises(StoreUnavailable):
                await spool.drained()
            spool.discard()

    asyncio.run(scene())


def test_whoever_waits_for_a_slow_disk_is_set_free_when_the_letter_is_given_up(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            disk_moves = threading.Event()
            for _ in range(FILE_THREADS):
                store._threads.call(disk_moves.wait)
            spool = store.spool(store.new_id(T0))
            while spool.write(b"x" * READ_BYTES):
                pass
            async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
                group.create_task(spool.drained())
                await asyncio.sleep(0)
                spool.discard()
                disk_moves.set()
        assert list((tmp_path / "3").iterdir()) == []

    asyncio.run(scene())


def test_a_spool_given_up_while_it_is_sealed_leaves_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as store:
            spool = store.spool(store.new_id(T0))
            spool.write(LARGE)
            async with asyncio.TaskGroup() as group:
                sealing = group.create_task(spool.seal())
                await asyncio.sleep(0)
                sealing.cancel()
            spool.discard()
        assert list((tmp_path / "3").iterdir()) == []

    asyncio.run(scene())


def test_a_writer_in_the_way_is_waited_for(tmp_path: Path) -> None:
    """An administrator's tool holds the write lock for a moment."""

    async def scene() -> None:
        async with opened(tmp_path) as store:
            other = open_database(tmp_path / "3.db", QUEUE)
            other.execute("BEGIN IMMEDIATE")
            future = store.accept(a_message(store))
            # Reading goes on meanwhile.
            assert await store.entries(QueueFilter(), 10) == ()
            assert not future.done()
            other.execute("COMMIT")
            other.close()
            async with asyncio.timeout(DEADLINE_S):
                await future

    asyncio.run(scene())


ACCEPT_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from tests.storage import test_queue_faults as t
asyncio.run(t.accept_until_killed(Path(sys.argv[1])))
"""


async def accept_until_killed(folder: Path) -> None:
    """In another process: 20 peers hand mail in, some of it large, and every fifth is delivered at once."""
    store = await SqliteQueueStore.open(folder, 3, clock_now=lambda: datetime.now(UTC))

    async def peer(number: int) -> None:
        for n in range(1_000_000):
            queue_id = store.new_id(datetime.now(UTC))
            content = await spooled(store, queue_id, LARGE[:100_000]) if number == 0 else b"x" * 4096
            message = await accepted(store, Group(B, (BOB,)), Group(C, (CID,)), queue_id=queue_id, content=content)
            print("accepted", queue_id, flush=True)
            if n % 5 == 4:
                await store.settle(an_outcome(message, store))
                print("settled", queue_id, flush=True)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(peer(number))


@pytest.mark.parametrize("after", [30, 700, 2000])
def test_a_killed_process_keeps_all_that_it_promised(tmp_path: Path, after: int) -> None:
    promised: set[str] = set()
    settled: set[str] = set()
    with another_process(ACCEPT_UNTIL_KILLED, tmp_path) as process:
        for count, line in enumerate(lines_of(process)):
            if count == after:
                kill(process)
            # What it had written to the pipe before it died is read to the end: all of that was promised too.
            verb, _, queue_id = line.partition(" ")
            if len(queue_id) == 12:
                (promised if verb == "accepted" else settled).add(queue_id)
        assert process.returncode == -signal.SIGKILL

    async def scene() -> None:
        async with opened(tmp_path) as store:
            entries = await store.entries(QueueFilter(), 1_000_000)
            groups = {(entry.queue_id, entry.destination) for entry in entries}
            assert {(queue_id, str(C)) for queue_id in promised} <= groups
            assert groups.isdisjoint({(queue_id, str(B)) for queue_id in settled})
            # Wholly or not at all: whoever has a group has content, and the ledger's part.
            told = {entry.queue_id for _, blob in await store.outbox(1_000_000) for entry in from_bytes(blob)}
            for queue_id in {entry.queue_id for entry in entries}:
                assert len(await whole(await store.content(queue_id))) in (4096, 100_000)
                assert queue_id in told
            for entry in entries:
                destination = Destination.parse(entry.destination)
                await store.settle(Settlement(queue_id=entry.queue_id, destination=destination, lease=store.epoch))
        assert list((tmp_path / "3").iterdir()) == []

    asyncio.run(scene())
