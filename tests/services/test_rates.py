"""So many messages a minute to one destination, in virtual time, and that nobody else waits for it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from postroad.contracts.resolver import MxRecord
from postroad.services import paces
from postroad.services.paces import Paces
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.settings import DeliverySettings, Route
from tests.services.houses import pass_time
from tests.services.test_host_connections import arrived, two_shards
from tests.services.towns import ANN, HOSTNAME, Town, play
from tests.support.peer import Peer


def noted(peer: Peer) -> list[float]:
    """When each message arrives, by the loop's time."""
    times: list[float] = []
    peer.on_content = lambda _: times.append(asyncio.get_running_loop().time())
    return times


def most_in_a_minute(times: list[float]) -> int:
    return max(sum(began <= each < began + 60 for each in times) for began in times)


def test_messages_go_at_the_rate_evenly_after_a_small_burst(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_rate=30) as town:
            times = noted(town.peer("mx.b.example", "203.0.113.2", domain="b.example"))
            other = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            for number in range(100):
                await town.send(ANN, f"bob{number}@b.example")
            await town.send(ANN, "bob@c.example")
            await other.arrived.wait()
            assert asyncio.get_running_loop().time() < 1
            await town.queue_is_empty()
            assert len(times) == 100
            assert most_in_a_minute(times) <= 30 + 3
            assert times[-1] == pytest.approx((100 - 3) * 2, abs=3)
            assert max(after - before for before, after in pairwise(times)) < 2.5

    play(scene)


def test_a_rate_below_the_patience_of_a_connection_opens_one_for_each(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_rate=2) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            times = noted(peer)
            for number in range(5):
                await town.send(ANN, f"bob{number}@b.example")
            await town.queue_is_empty()
            assert most_in_a_minute(times) <= 3
            assert times[-1] == pytest.approx(120, abs=2)
            assert peer.connections == 5
            assert peer.open_most == 1

    play(scene)


def test_all_domains_with_the_same_hosts_have_one_rate_and_their_turns(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_rate=60) as town:
            peer = town.peer("mx.host.example", "203.0.113.2")
            times = noted(peer)
            for number in range(3):
                town.mx[f"d{number}.example"] = (MxRecord(10, "mx.host.example"),)
                for each in range(30):
                    await town.send(ANN, f"bob{each}@d{number}.example")
            await town.queue_is_empty()
            assert most_in_a_minute(times) <= 66
            assert {each.partition("@")[2] for each in peer.recipients[:9]} == {f"d{n}.example" for n in range(3)}

    play(scene)


def test_a_letter_to_more_than_one_transaction_holds_counts_for_each(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_rate=10, recipients_per_transaction=10) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            times = noted(peer)
            await town.send(ANN, *(f"bob{number}@b.example" for number in range(50)))
            await town.send(ANN, "eve@b.example")
            await town.queue_is_empty()
            assert len(times) == 6
            assert times[-1] == pytest.approx(30, abs=1)

    play(scene)


def test_a_route_has_a_rate_of_its_own_or_none(tmp_path: Path) -> None:
    routes = (Route("fast.example", "203.0.113.2", 2525, rate=0), Route("slow.example", "203.0.113.3", 25, rate=6))

    async def scene() -> None:
        async with Town.open(tmp_path, destination_rate=60, routes=routes) as town:
            fast, slow = Peer("mx.fast.example"), Peer("mx.slow.example")
            town.network.host("203.0.113.2").listen(2525, fast.connection)
            town.network.host("203.0.113.3").listen(25, slow.connection)
            for number in range(20):
                await town.send(ANN, f"bob{number}@fast.example", f"bob{number}@slow.example")
            await arrived(fast, 20)
            assert asyncio.get_running_loop().time() < 2
            await town.queue_is_empty()
            assert len(slow.recipients) == 20
            assert asyncio.get_running_loop().time() == pytest.approx(190, abs=2)

    play(scene)


def test_it_is_told_what_holds_the_mail_back_and_when_the_next_goes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_rate=1) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for number in range(3):
                await town.send(ANN, f"bob{number}@b.example")
            await arrived(peer, 1)
            await pass_time(10)
            (line,) = town.delivery.snapshot()
            assert line["held_back_by"] == "held back by its rate, 1 messages a minute; the next goes at 09:01:00 UTC"
            assert line["next_attempt_at"] == "2026-01-05T09:01:00Z"
            assert (line["waiting"], line["in_flight"]) == (2, 0)
            await town.queue_is_empty()
            assert {str(line["held_back_by"]) for line in town.delivery.snapshot()} == {""}

    play(scene)


def test_the_shards_of_a_worker_have_one_rate_and_take_turns(tmp_path: Path) -> None:
    async def scene() -> None:
        shared = Paces(DeliverySettings(hostname=HOSTNAME, destination_rate=30))
        async with two_shards(tmp_path, None, None, paces=shared) as (town, shard):
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            times = noted(peer)
            for number in range(40):
                await town.send(ANN, f"bob{number}@b.example")
                await shard.send(f"eve{number}@b.example")
            await arrived(peer, 80)
            assert most_in_a_minute(times) <= 33
            middle = [each[:3] for each in peer.recipients[20:40]]
            assert 7 <= middle.count("eve") <= 13

    play(scene)


def test_only_so_many_rates_are_remembered_and_those_that_rest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "PACES_REMEMBERED", 10)

    async def scene() -> None:
        kept = Paces(DeliverySettings(hostname=HOSTNAME, destination_rate=1))
        busy = kept.of("busy", Destination(DestinationKind.DOMAIN, "busy.example"))
        assert busy is not None
        busy.take(0.0, 1000, None)
        for number in range(30):
            kept.of(number, Destination(DestinationKind.DOMAIN, f"d{number}.example"))
            assert len(kept) <= 10
        assert kept.of("busy", Destination(DestinationKind.DOMAIN, "busy.example")) is busy

    play(scene)
