"""Lanes: who shares one, what is learned of a host, and that nobody waits for what does not concern him."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.resolver import MxRecord
from postroad.services import dispatcher
from postroad.simulation.weather import Weather
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.limits import CLIENT_CONNECT_S, GROUPS_OF_ONE_MESSAGE
from postroad.vocabulary.reply import reply
from tests.services.houses import pass_time
from tests.services.towns import ANN, Town, play
from tests.support.peer import Peer, Temper


def hosted(town: Town, count: int, host: str = "mx.host.example", address: str = "203.0.113.2") -> Peer:
    """Domains d0.example and so on, all with the same MX."""
    peer = town.peer(host, address)
    for number in range(count):
        town.mx[f"d{number}.example"] = (MxRecord(10, host),)
    return peer


def lines_of(town: Town) -> dict[str, dict[str, str | int]]:
    return {str(line["destination"]): line for line in town.delivery.snapshot()}


def test_domains_with_the_same_mx_share_connections_and_their_limit(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=3) as town:
            peer = hosted(town, 50)
            for number in range(50):
                for _ in range(3):
                    await town.send(ANN, f"bob@d{number}.example")
            await town.queue_is_empty()
            assert (len(peer.recipients), peer.open_most) == (150, 3)
            assert peer.connections <= 5

    play(scene)


def test_of_two_domains_with_the_same_mx_the_one_with_much_mail_keeps_the_other_from_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            peer = hosted(town, 2)
            for number in range(300):
                await town.send(ANN, f"bob{number}@d0.example")
            await town.send(ANN, "ann@d1.example")
            await town.queue_is_empty()
            assert peer.recipients.index("ann@d1.example") < 10

    play(scene)


def test_a_message_with_very_many_recipients_lets_others_in_between_its_transactions(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1, recipients_per_transaction=10) as town:
            peer = hosted(town, 1)
            await town.send(ANN, *(f"bob{n}@d0.example" for n in range(900)))
            await town.send(ANN, "eve@d0.example")
            await town.queue_is_empty()
            assert peer.recipients.index("eve@d0.example") < 50
            assert len(peer.recipients) == 901

    play(scene)


def test_a_message_in_many_transactions_goes_on_over_the_next_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(
            tmp_path, destination_connections=1, recipients_per_transaction=10, messages_per_connection=5
        ) as town:
            peer = hosted(town, 1)
            names = [f"bob{n}@d0.example" for n in range(200)]
            await town.send(ANN, *names)
            await town.queue_is_empty()
            assert sorted(peer.recipients) == sorted(names)
            assert [taken.connection for taken in peer.mail] == [n // 5 + 1 for n in range(20)]
            assert len(town.queue.settlements) == 1

    play(scene)


def test_the_higher_priority_goes_first_whatever_the_domain(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            peer = hosted(town, 3)
            for number in range(30):
                await town.send(ANN, f"bob{number}@d{number % 2}.example")
            await town.send(ANN, "now@d2.example", priority=4)
            await town.queue_is_empty()
            assert peer.recipients.index("now@d2.example") == 0

    play(scene)


def test_hanging_name_servers_take_no_slot_from_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS_AT_ONCE", 2)

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.hanging.update(f"d{number}.example" for number in range(20))
            for number in range(20):
                await town.send(ANN, f"bob@d{number}.example")
            await town.send(ANN, "bob@b.example")
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() < 1
            assert lines_of(town)["domain:d3.example"]["held_back_by"] == "its hosts are being looked up in DNS"
            await town.settled(21)

    play(scene)


def test_dead_sites_and_a_message_to_thousands_of_domains_keep_a_new_letter_waiting_for_one_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS_AT_ONCE", 10)

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.network.set_weather("203.0.113.200", Weather(black_hole=True))
            for number in range(3000):
                town.mx[f"d{number}.example"] = (MxRecord(10, f"mx.d{number}.example"),)
                town.addresses[f"mx.d{number}.example"] = ("203.0.113.200",)
            await town.send(ANN, *(f"bob@d{number}.example" for number in range(3000)))
            assert len(town.delivery._in_hand) == GROUPS_OF_ONE_MESSAGE
            await pass_time(1)
            await town.send(ANN, "bob@b.example")
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() <= CLIENT_CONNECT_S + 2

    play(scene)


def test_a_lane_that_serves_ever_new_domains_remembers_only_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "WAYS_REMEMBERED", 10)

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = hosted(town, 100)
            for number in range(100):
                await town.send(ANN, f"bob@d{number}.example")
                assert len(town.delivery._outlets.lanes._names) <= 10
            await town.queue_is_empty()
            assert len(peer.recipients) == 100

    play(scene)


# ---- learning ------------------------------------------------------------------------------------


def test_connections_begin_few_and_become_more_while_all_goes_well(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = hosted(town, 1)
            open_then: list[int] = []
            peer.on_content = lambda _: open_then.append(peer.open_now)
            for number in range(600):
                await town.send(ANN, f"bob{number}@d0.example")
            await town.queue_is_empty()
            assert max(open_then[:2]) <= 2
            assert peer.open_most == 20

    play(scene)


def test_a_server_that_says_421_to_the_fourth_connection_is_not_asked_for_it_again_and_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, messages_per_connection=1000, port=2525) as town:
            peer = hosted(town, 1)
            welcome = peer.connection
            turned_away = 0

            def connection() -> asyncio.Protocol:
                nonlocal turned_away
                peer.greeting = reply(421, "Too many connections", status="4.7.0") if peer.open_now >= 3 else None
                turned_away += peer.greeting is not None
                return welcome()

            town.hosts["mx.host.example"].listen(2525, connection)
            for number in range(600):
                await town.send(ANN, f"bob{number}@d0.example")
            await town.queue_is_empty()
            assert len(peer.recipients) == 600
            assert 0 < turned_away < 40
            assert lines_of(town)["domain:d0.example"]["limit"] in (1, 2, 3, 4)

    play(scene)


def test_a_site_that_defers_everything_is_asked_over_one_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = hosted(town, 1)
            for number in range(100):
                await town.send(ANN, f"bob{number}@d0.example")
            await town.queue_is_empty()
            assert peer.open_most > 5
            peer.on_sender = lambda _: reply(451, "Not today", status="4.3.0")
            await pass_time(60)
            for number in range(100):
                await town.send(ANN, f"eve{number}@d0.example")
            await town.settled(150)
            assert peer.open_now == 1

    play(scene)


def test_a_dead_host_is_left_alone_for_a_while_and_mail_for_it_has_its_verdict_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            hosted(town, 2)
            town.network.set_weather("203.0.113.2", Weather(black_hole=True))
            await town.send(ANN, "bob@d0.example")
            await town.settled(1)
            began_s = asyncio.get_running_loop().time()
            await town.send(ANN, "bob@d1.example")  # the same hosts, another name
            await town.settled(2)
            assert asyncio.get_running_loop().time() - began_s < 1
            assert "Not tried again now" in (await town.attempts())[1].outcomes[0].text
            assert town.delivery.held_back(Destination(DestinationKind.DOMAIN, "d0.example")).startswith("left alone")
            town.network.set_weather("203.0.113.2", None)
            await town.queue_is_empty()
            assert asyncio.get_running_loop().time() < 400

    play(scene)


def test_an_administrators_wake_tries_the_dead_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = hosted(town, 1)
            town.network.set_weather("203.0.113.2", Weather(refused=True))
            await town.send(ANN, "bob@d0.example")
            await town.settled(1)
            town.network.set_weather("203.0.113.2", None)
            town.delivery.wake()
            await town.send(ANN, "eve@d0.example")
            await peer.arrived.wait()
            assert asyncio.get_running_loop().time() < 5

    play(scene)


def test_one_domains_refusals_do_not_make_the_shared_host_dead_for_others(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = hosted(town, 2)
            peer.on_recipient = lambda path: (
                reply(451, "Over quota", status="4.2.2") if path.domain == "d0.example" else None
            )
            for number in range(100):
                await town.send(ANN, f"bob{number}@d0.example")
            await town.settled(50)
            await town.send(ANN, "bob@d1.example")
            await peer.arrived.wait()
            assert peer.recipients == ["bob@d1.example"]
            assert asyncio.get_running_loop().time() < 10

    play(scene)


def test_a_dead_first_mx_does_not_cost_its_time_out_for_every_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, messages_per_connection=1, destination_connections=1) as town:
            town.peer("mx1.b.example", "203.0.113.2", domain="b.example", preference=10)
            second = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20)
            town.network.set_weather("203.0.113.2", Weather(black_hole=True))
            for number in range(5):
                await town.send(ANN, f"bob{number}@b.example")
            await town.queue_is_empty()
            assert len(second.recipients) == 5
            assert asyncio.get_running_loop().time() < 2 * CLIENT_CONNECT_S

    play(scene)


def test_a_server_that_hangs_after_the_dot_holds_up_nobody_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            hangs = town.peer("mx.h.example", "203.0.113.3", domain="h.example")
            hangs.on_content = lambda _: Temper.HANG
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for _ in range(50):
                await town.send(ANN, "bob@h.example")
            await town.send(ANN, "bob@b.example")
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() < 1
            assert hangs.open_most <= 2

    play(scene)
