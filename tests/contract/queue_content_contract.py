"""What every queue store owes to large content: streamed in, streamed out, and gone when nobody needs it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, READ_BYTES, SPOOL_AHEAD_BYTES
from postroad.vocabulary.outcome import Group
from tests.contract.queue_mail import (
    BEA,
    BOB,
    CID,
    DEADLINE_S,
    LARGE,
    T0,
    B,
    C,
    Check,
    Shard,
    a_message,
    accepted,
    an_outcome,
    due,
    spooled,
    whole,
)


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


CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))
