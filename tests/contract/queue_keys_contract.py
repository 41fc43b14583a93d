"""What every queue store owes to messages that come out of another store, and may come twice."""

from __future__ import annotations

import asyncio

import pytest

from postroad.contracts.errors import AcceptedBefore
from postroad.vocabulary.outcome import Group
from tests.contract.queue_mail import (
    BOB,
    LARGE,
    B,
    Check,
    Shard,
    a_message,
    accepted,
    an_outcome,
    due,
    listed,
    spooled,
)


async def check_a_key_lets_one_message_in(shard: Shard) -> None:
    async with shard.open() as store:
        first = await accepted(store, key="hold/d.example/1")
        with pytest.raises(AcceptedBefore):
            await accepted(store, key="hold/d.example/1")
        assert await listed(store) == [(first.queue_id, str(B))]
    async with shard.open() as store:
        with pytest.raises(AcceptedBefore):
            await accepted(store, key="hold/d.example/1")
        assert await listed(store) == [(first.queue_id, str(B))]


async def check_a_key_outlives_its_message(shard: Shard) -> None:
    async with shard.open() as store:
        first = await accepted(store, key="hold/d.example/1")
        await store.settle(an_outcome(first, store))
        with pytest.raises(AcceptedBefore):
            await accepted(store, key="hold/d.example/1")
        assert await due(store) == ()


async def check_of_one_batch_only_the_repeat_is_turned_away(shard: Shard) -> None:
    async with shard.open() as store:
        messages = [a_message(store, key=key) for key in ("", "k1", "k2", "k1", "")]
        results = await asyncio.gather(*map(store.accept, messages), return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 3 + [AcceptedBefore, type(None)]
        assert {queue_id for queue_id, _ in await listed(store)} == {
            message.queue_id for number, message in enumerate(messages) if number != 3
        }


async def check_the_file_of_a_message_turned_away_goes(shard: Shard) -> None:
    async with shard.open() as store:
        await accepted(store, key="k")
        queue_id = store.new_id(shard.now)
        content = await spooled(store, queue_id, LARGE)
        with pytest.raises(AcceptedBefore):
            await store.accept(a_message(store, queue_id=queue_id, content=content, key="k"))
        await accepted(store)  # files go after the next commit
    assert shard.content_files() == []


async def check_keys_are_listed_by_their_beginning_and_forgotten(shard: Shard) -> None:
    async with shard.open() as store:
        for key in ("pop3/b/1", "pop3/a/2", "pop3/a/1", "pop3/a/ü", "pop3/aa/1"):
            await accepted(store, Group(B, (BOB,)), key=key)
        assert await store.keys("pop3/a/", "", 10) == ("pop3/a/1", "pop3/a/2", "pop3/a/ü")
        assert await store.keys("pop3/a/", "pop3/a/1", 1) == ("pop3/a/2",)
        await store.forget_keys(("pop3/a/1", "pop3/b/1"))
        assert await store.keys("pop3/", "", 10) == ("pop3/a/2", "pop3/a/ü", "pop3/aa/1")
        await accepted(store, key="pop3/a/1")


CHECKS: tuple[Check, ...] = tuple(check for name, check in sorted(globals().items()) if name.startswith("check_"))
