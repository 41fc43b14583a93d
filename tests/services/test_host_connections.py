"""Connections to the same hosts: one limit for all lanes, shards and workers; who alone has mail may use all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from postroad.contracts.queue_store import NewMessage
from postroad.rules.lending import Lender, Lent, Recall
from postroad.services.delivery import Delivery
from postroad.services.host_connections import HostConnections
from postroad.services.paces import Paces
from postroad.services.portions import Portions
from postroad.simulation.weather import Weather
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.limits import BUDGET_SHARE_S
from postroad.vocabulary.story import Entry
from tests.services.houses import pass_time
from tests.services.towns import ANN, CONTENT, Town, mailbox, play
from tests.support.peer import Peer

LIMIT = 6
WORKERS = ("t0", "t1")


class Crew:
    """A supervisor and workers whose words arrive soon."""

    def __init__(self) -> None:
        self.lender = Lender(WORKERS)
        self.portions = {name: self._begin(name) for name in WORKERS}

    def _begin(self, name: str) -> Portions:
        loop = asyncio.get_running_loop()

        def send(word: list[Any]) -> bool:
            loop.call_later(0.001, self._hear, name, word)
            return True

        return Portions(workers=len(WORKERS), send=send, at_first=self.lender.born(name))

    def _hear(self, name: str, word: list[Any]) -> None:
        match word:
            case ["ask", key, want, most, urgent, used]:
                said = self.lender.ask(name, key, want, most, urgent=urgent, used=used)
            case ["give", key, count, used]:
                said = self.lender.give_back(name, key, count, used)
            case ["recalled", key, count]:
                said = self.lender.recalled(name, key, count)
            case _:
                raise AssertionError(word)
        for each in said:
            asyncio.get_running_loop().call_later(0.001, self._tell, each)

    def _tell(self, word: Lent | Recall) -> None:
        portions = self.portions[word.worker]
        if isinstance(word, Lent):
            portions.lent(word.key, word.count, word.standing, is_answer=word.is_answer)
        else:
            portions.recall(word.key, word.standing, is_wanted=word.is_wanted)


class Shard:
    """Another shard, with a scheduler of its own, beside that of the town."""

    def __init__(self, queue: SqliteQueueStore, delivery: Delivery, town: Town) -> None:
        self.queue = queue
        self.delivery = delivery
        self._town = town

    async def send(self, *recipients: str) -> None:
        now = self._town.clock.now()
        queue_id = self.queue.new_id(now)
        those = tuple(Recipient(mailbox(each)) for each in recipients)
        groups = self.delivery.routing(those)
        entry = Entry(queue_id, (queue_id,), ())
        message = NewMessage(queue_id, Envelope(ANN, those), CONTENT, groups, now, entry)
        await self.queue.accept(message)
        self.delivery.hand_over(message)


@asynccontextmanager
async def two_shards(
    folder: Path, one: HostConnections | None, other: HostConnections | None, *, paces: Paces | None = None
) -> AsyncIterator[tuple[Town, Shard]]:
    async with Town.open(
        folder, budget=one, paces=paces, destination_connections=LIMIT, messages_per_connection=20
    ) as town:
        queue = await SqliteQueueStore.open(folder / "queue", 1, clock_now=town.clock.now, direct=True)
        delivery = Delivery(
            replace(town.world, queue=queue),
            town.plan,
            errors=lambda where, error: town.errors.append((where, error)),
            budget=other,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(delivery.run())
            await asyncio.sleep(0)
            yield town, Shard(queue, delivery, town)
            delivery.stop()
        await queue.close()


def slow_peer(town: Town, domain: str = "b.example") -> Peer:
    peer = town.peer(f"mx.{domain}", "203.0.113.2", domain=domain)
    town.network.set_weather("203.0.113.2", Weather(latency_s=0.05))
    return peer


async def arrived(peer: Peer, count: int) -> None:
    while len(peer.recipients) < count:
        await pass_time(0.1)


def test_the_shards_of_one_worker_have_one_limit_together_and_an_idle_one_leaves_it_to_the_other(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        connections = HostConnections(LIMIT, None)
        async with two_shards(tmp_path, connections, connections) as (town, shard):
            peer = slow_peer(town)
            for number in range(80):
                await town.send(ANN, f"bob{number}@b.example")
            await arrived(peer, 80)
            assert peer.open_most == LIMIT, "all of it, as nobody else wants any"
            for number in range(200):
                await town.send(ANN, f"ann{number}@b.example")
            await arrived(peer, 100)
            for number in range(30):
                await shard.send(f"eve{number}@b.example")
            await arrived(peer, 310)
            assert peer.open_most == LIMIT
            last = max(n for n, each in enumerate(peer.recipients) if each.startswith("eve"))
            assert last < 280, "the other shard did not wait for the end of the backlog"
            await pass_time(10 * BUDGET_SHARE_S)
            assert len(connections) == 0

    play(scene)


def test_two_workers_share_the_limit_and_one_has_all_of_it_while_the_other_has_no_mail(tmp_path: Path) -> None:
    async def scene() -> None:
        crew = Crew()
        one, other = (HostConnections(LIMIT, crew.portions[name]) for name in WORKERS)
        async with two_shards(tmp_path, one, other) as (town, shard):
            peer = slow_peer(town)
            for number in range(80):
                await shard.send(f"bob{number}@b.example")
            await arrived(peer, 80)
            assert peer.open_most == LIMIT, "the worker without mail has lent its part"
            for number in range(200):
                await shard.send(f"ann{number}@b.example")
            await arrived(peer, 100)
            for number in range(30):
                await town.send(ANN, f"eve{number}@b.example")
            await arrived(peer, 310)
            assert peer.open_most == LIMIT
            last = max(n for n, each in enumerate(peer.recipients) if each.startswith("eve"))
            assert last < 280, "the other worker did not wait for the end of the backlog"
            await pass_time(10 * BUDGET_SHARE_S)
            assert len(one) == len(other) == 0
            assert len(crew.lender) == 0

    play(scene)


@pytest.mark.parametrize("workers", [1, 2])
def test_of_one_connection_the_shards_have_their_turns(tmp_path: Path, workers: int) -> None:
    async def scene() -> None:
        crew = Crew()
        if workers == 2:
            one, other = (HostConnections(1, crew.portions[name]) for name in WORKERS)
        else:
            one = other = HostConnections(1, None)
        async with two_shards(tmp_path, one, other) as (town, shard):
            peer = slow_peer(town)
            for number in range(60):
                await town.send(ANN, f"bob{number}@b.example")
                await shard.send(f"eve{number}@b.example")
            await arrived(peer, 60)
            firsts = {each[:3] for each in peer.recipients[:60]}
            assert firsts == {"bob", "eve"}
            await arrived(peer, 120)
            assert peer.open_most == 1

    play(scene)


def test_mail_that_requires_tls_and_other_mail_for_the_same_hosts_have_one_limit(tmp_path: Path) -> None:
    async def scene() -> None:
        connections = HostConnections(2, None)
        async with Town.open(tmp_path, budget=connections) as town:
            peer = slow_peer(town)
            town.proved.add("b.example")
            for number in range(50):
                await town.send(ANN, f"bob{number}@b.example")
            await town.send(ANN, "eve@b.example", require_tls=True)
            await arrived(peer, 50)
            await town.settled(51)
            assert peer.open_most <= 2

    play(scene)
