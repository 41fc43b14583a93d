"""Queues that an earlier Postroad wrote are opened by this one with all that is in them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from shutil import copyfile

import pytest

from postroad.contracts.errors import AcceptedBefore
from postroad.contracts.queue_store import QueueFilter
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.story import Acted
from tests.contract.queue_mail import BEA, CID, SMALL, T0, B, C, a_message, due

OLDER = Path(__file__).parent / "older"
HOUR = timedelta(hours=1)


def test_a_queue_of_the_second_version_is_taken_over_with_all_it_holds(tmp_path: Path) -> None:
    """older/queue-0002.db was written by the version that knew the migrations up to 0002."""

    async def scene() -> None:
        tmp_path.chmod(0o700)
        copyfile(OLDER / "queue-0002.db", tmp_path / "3.db")
        store = await SqliteQueueStore.open(tmp_path, 3, clock_now=lambda: T0)
        try:
            assert await store.counts(T0) == {
                "messages": 2,
                "groups": 3,
                "due": 1,
                "held": 0,
                "bytes": 2 * len(SMALL),
            }
            one = await due(store, T0)
            assert [(work.queue_id, work.destination, work.recipients) for work in one] == [("1HF7JDAZ0003", C, (CID,))]
            retried = (await due(store, T0 + HOUR))[-1]
            assert (retried.destination, retried.recipients, retried.attempts, retried.warned) == (B, (BEA,), 2, True)
            assert (await store.entries(QueueFilter(), 1))[0].last == "mx.b.example: 451 later"
            assert (await store.content(retried.queue_id)).in_memory() == SMALL
            with pytest.raises(AcceptedBefore):
                await store.accept(a_message(store, key="pickup/1"))
            assert store.new_id(T0) > "1HF7JVMQE003"
            assert await store.hold(QueueFilter(), Acted(at=T0, action="hold", by="ann"), lambda keys: frozenset()) == 3
            assert await due(store, T0 + 2 * HOUR) == ()
        finally:
            await store.close()

    asyncio.run(scene())
