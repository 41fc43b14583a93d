"""When nothing at all can be reached it is we who are cut off: no attempt is spent, and the return is noticed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.contracts.queue_store import QueueFilter
from postroad.services import in_hand
from postroad.services.offline import OfflineReason
from postroad.simulation.weather import Weather
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.limits import OFFLINE_HOSTS, OFFLINE_PROBE_S
from postroad.vocabulary.settings import RetrySettings
from postroad.vocabulary.story import Acted
from tests.services.houses import pass_time
from tests.services.towns import ANN, Town, play
from tests.support.peer import Peer

MANY = 3 * OFFLINE_HOSTS


def internet(town: Town) -> list[Peer]:
    """As many domains as are needed, each with a host of its own."""
    return [town.peer(f"mx.d{n}.example", f"203.0.113.{n + 1}", domain=f"d{n}.example") for n in range(MANY)]


def storm(town: Town, weather: Weather | None, but: int = -1) -> None:
    for number in range(MANY):
        town.network.set_weather(f"203.0.113.{number + 1}", None if number == but else weather)


@pytest.mark.parametrize("weather", [Weather(black_hole=True), Weather(unreachable=True), None])
def test_while_the_network_is_away_no_attempt_is_spent_and_its_return_is_noticed(
    tmp_path: Path, weather: Weather | None
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peers = internet(town)
            storm(town, weather)
            if weather is None:  # the name server is away
                town.silent.update(f"d{n}.example" for n in range(MANY))
            for number in range(MANY):
                await town.send(ANN, f"bob@d{number}.example", "cat@a.example")
            await pass_time(3 * 3600)
            assert town.delivery.offline.reason is OfflineReason.DETECTED
            spent = [attempt for attempt in await town.attempts() if attempt.destination.startswith("domain:")]
            assert len(spent) < OFFLINE_HOSTS
            assert len(await town.mail_of("cat")) == MANY
            await town.send(ANN, "eve@d0.example")
            began_s = asyncio.get_running_loop().time()
            storm(town, None)
            town.silent.clear()
            await town.queue_is_empty()
            assert asyncio.get_running_loop().time() - began_s < 2 * OFFLINE_PROBE_S
            assert not town.delivery.offline.words
            assert sum(len(peer.recipients) for peer in peers) == MANY + 1

    play(scene)


def test_some_dead_domains_keep_nobody_else_waiting_and_are_given_up_in_time(tmp_path: Path) -> None:
    async def scene() -> None:
        retry = RetrySettings(waits=(timedelta(minutes=5), timedelta(hours=1)), give_up_after=timedelta(days=2))
        async with Town.open(tmp_path, retry=retry) as town:
            internet(town)
            b = town.peer("mx.b.example", "203.0.113.100", domain="b.example")
            storm(town, Weather(black_hole=True))
            await town.send(ANN, *(f"bob@d{number}.example" for number in range(MANY)))
            await pass_time(3600)
            assert town.delivery.offline.reason is OfflineReason.DETECTED  # nobody else was written to
            began_s = asyncio.get_running_loop().time()
            await town.send(ANN, "bob@b.example")
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() - began_s < OFFLINE_PROBE_S
            await town.queue_is_empty()
            assert asyncio.get_running_loop().time() < 4 * 86_400
            failed = [mail for mail in await town.mail_of("ann") if b"Action: failed" in mail]
            assert sum(mail.count(b"\r\nAction: failed\r\n") for mail in failed) == MANY

    play(scene)


def test_where_somebody_answers_the_others_are_dead_and_we_are_not_off_line(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, connection_idle_s=300.0) as town:
            internet(town)
            storm(town, Weather(black_hole=True), but=0)
            for minute in range(10):
                await town.send(ANN, "bob@d0.example")
                await town.send(ANN, f"bob@d{minute + 1}.example")
                await pass_time(20)
            assert town.delivery.offline.reason is None

    play(scene)


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            internet(town)
            storm(town, Weather(refused=True))
            for number in range(MANY):
                await town.send(ANN, f"bob@d{number}.example")
            await town.settled(MANY)
            assert town.delivery.offline.reason is None

    play(scene)


def test_what_waits_in_a_lane_is_taken_back_by_the_order_to_go_off_line(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.network.set_weather("203.0.113.2", Weather(latency_s=5))
            for number in range(100):
                await town.send(ANN, f"bob{number}@b.example")
            await pass_time(1)
            town.delivery.set_offline(True)
            assert town.delivery.offline.reason is OfflineReason.ORDERED
            await pass_time(3600)
            assert b.recipients == []
            assert await town.attempts() == []
            town.delivery.set_offline(False)
            await town.queue_is_empty()
            assert len(b.recipients) == 100

    play(scene)


def test_what_only_waits_can_be_recalled_and_what_is_under_way_stays_in_hand(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.network.set_weather("203.0.113.2", Weather(latency_s=5))
            ids = [await town.send(ANN, f"bob{number}@b.example") for number in range(10)]
            await pass_time(16)  # connected, greeted, EHLO on its way
            destination = Destination(DestinationKind.DOMAIN, "b.example")
            keys = frozenset((queue_id, destination) for queue_id in ids)
            await pass_time(20)
            staying = town.delivery.recall(keys)
            assert 0 < len(staying) < 10
            assert len(town.delivery._in_hand) == len(staying)
            town.delivery.look()
            await town.queue_is_empty()
            assert sorted(b.recipients) == sorted(f"bob{n}@b.example" for n in range(10))

    play(scene)


def test_a_wake_tries_at_once_whether_the_network_is_back(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            internet(town)
            storm(town, Weather(unreachable=True))
            for number in range(MANY):
                await town.send(ANN, f"bob@d{number}.example")
            await pass_time(61)
            assert town.delivery.offline.words
            storm(town, None)
            began_s = asyncio.get_running_loop().time()
            town.delivery.wake()
            await town.settled(MANY - 1)
            assert asyncio.get_running_loop().time() - began_s < 5

    play(scene)


# ---- the end of patience -------------------------------------------------------------------------

DAY_S = 86_400.0
SHORT = RetrySettings(waits=(timedelta(minutes=5), timedelta(hours=4)), give_up_after=timedelta(days=2))


def returned(mail: list[bytes]) -> int:
    return sum(each.count(b"\r\nAction: failed\r\n") for each in mail)


async def all_are_returned_in_time(town: Town, count: int, sent_s: float) -> None:
    """Not a minute early, and not five seconds late."""
    loop = asyncio.get_running_loop()
    await pass_time(sent_s + 2 * DAY_S - 60 - loop.time())
    assert returned(await town.mail_of("ann")) == 0
    await pass_time(65)
    assert returned(await town.mail_of("ann")) == count
    assert await town.waiting() == []


@pytest.mark.parametrize("how", ["ordered", "configured", "detected"])
def test_what_could_not_be_tried_is_returned_when_its_time_is_over_and_not_later(tmp_path: Path, how: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, retry=SHORT, offline=how == "configured") as town:
            internet(town)
            storm(town, Weather(black_hole=True))
            if how == "ordered":
                town.delivery.set_offline(True)
            await pass_time(1000)
            await town.send(ANN, *(f"bob@d{number}.example" for number in range(MANY)))
            if how == "detected":  # as anything that is tried: when the next attempt would be too late
                await pass_time(2 * DAY_S + 5)
                assert await town.waiting() == []
            else:
                await all_are_returned_in_time(town, MANY, 1000)
            assert returned(await town.mail_of("ann")) == MANY
            assert town.delivery.offline.words
            told = b"".join(await town.mail_of("ann")).replace(b"\r\n", b" ").replace(b"  ", b" ")
            assert b"Given up" in told
            if how != "detected":
                assert b"this server was off line" in told
                assert b"Status: 4.4.7" in told

    play(scene)


def test_each_goes_back_at_its_own_time_and_what_is_held_does_not(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, retry=SHORT, offline=True) as town:
            held = await town.send(ANN, "eve@b.example")
            act = Acted(at=town.clock.now(), action="hold", by="")
            await town.queue.hold(QueueFilter(queue_id=held), act, town.delivery.recall)
            for _ in range(5):
                await pass_time(3600)
                await town.send(ANN, "bob@b.example")
            for count in range(1, 6):
                await pass_time(count * 3600 + 2 * DAY_S + 2 - asyncio.get_running_loop().time())
                assert returned(await town.mail_of("ann")) == count
            assert len(await town.waiting()) == 1
            assert not town.errors

    play(scene)


def test_patience_with_what_was_to_wait_begins_when_it_was_released(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, retry=SHORT, offline=True) as town:
            release_at = town.clock.now() + timedelta(days=3)
            await town.send(ANN, "bob@b.example", after=timedelta(days=3), release_at=release_at)
            await all_are_returned_in_time(town, 1, 3 * DAY_S)

    play(scene)


def test_mail_for_a_paused_destination_has_one_attempt_left_when_it_is_let_go(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, retry=SHORT) as town:
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            town.delivery.set_paused(frozenset({Destination(DestinationKind.DOMAIN, "c.example")}))
            await town.send(ANN, "eve@c.example")
            await pass_time(3 * DAY_S)
            assert len(await town.waiting()) == 1
            town.delivery.set_paused(frozenset())
            await town.queue_is_empty()
            assert c.recipients == ["eve@c.example"]

    play(scene)


def test_a_crowd_whose_time_is_over_at_once_is_returned_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_hand, "GROUPS_IN_MEMORY", 20)

    async def scene() -> None:
        async with Town.open(tmp_path, retry=SHORT, offline=True) as town:
            for number in range(150):
                await town.send(ANN, f"bob@d{number}.example")
            await pass_time(2 * DAY_S + 60)
            assert returned(await town.mail_of("ann")) == 150
            assert await town.waiting() == []

    play(scene)
