"""An administrator's orders while delivery is at work, on a virtual internet."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroad.services.operations.charge import Charge
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.queue_orders import QueueOrders, Returning
from postroad.services.operations.queue_summary import QueueSummaryOperations
from postroad.services.operations.schedulers import Schedulers
from postroad.services.operations.summary_lines import merged
from postroad.simulation.weather import Weather
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.settings import RetrySettings
from postroad.vocabulary.story import Acted
from tests.services.houses import pass_time
from tests.services.towns import ANN, HOSTNAME, Town, play
from tests.support.peer import Temper

EVERYTHING = {"all": True, "by": "root"}


def orders(town: Town) -> Verbs:
    return QueueOrders(
        queues=(town.queue,),
        clock=town.clock,
        schedulers=Schedulers([town.delivery]),
        returning=Returning(hostname=HOSTNAME, retry=RetrySettings(), routing=town.delivery.routing),
    ).verbs()


async def ordered(town: Town, verb: str, **more: object) -> tuple[int, int]:
    """How many groups it was done to, and how many were left because they are being tried."""
    (answer,) = await orders(town)[f"queue.{verb}"]({**EVERYTHING, **more})
    assert answer["is_complete"]
    return answer["groups"], answer["in_hand"]


def test_mail_that_waits_in_memory_is_held_until_it_is_released(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.delivery.hand_over(await town.accept(ANN, "bob@b.example"))
            assert await ordered(town, "hold") == (1, 0)
            await pass_time(10 * 86_400)
            assert b.connections == 0
            assert await ordered(town, "release") == (1, 0)
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]

    play(scene)


def test_mail_that_waits_in_memory_is_deleted_and_never_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.delivery.hand_over(await town.accept(ANN, "bob@b.example"))
            assert await ordered(town, "delete") == (1, 0)
            await pass_time(10 * 86_400)
            assert b.connections == 0
            assert await town.waiting() == []
            assert await town.mail_of("ann") == []
            (act,) = [fact for fact in await town.facts() if isinstance(fact, Acted)]
            assert (act.action, act.by, act.recipients) == ("delete", "root", ("bob@b.example",))

    play(scene)


def test_mail_is_returned_with_one_notification_that_says_why(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.delivery.hand_over(await town.accept(ANN, "bob@b.example", "bea@b.example"))
            assert await ordered(town, "bounce", reason="They have moved.") == (1, 0)
            await town.queue_is_empty()
            assert b.connections == 0
            (letter,) = await town.mail_of("ann")
            assert b"They have moved." in letter.replace(b"\r\n", b" ").replace(b"  ", b" ")
            assert letter.count(b"Status: 5.3.0") == 2
            (act,) = [fact for fact in await town.facts() if isinstance(fact, Acted)]
            assert act.action == "bounce"
            assert act.notification

    play(scene)


def test_a_notification_that_is_returned_makes_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.delivery.hand_over(await town.accept(None, "bob@b.example"))
            assert await ordered(town, "bounce") == (1, 0)
            assert await town.waiting() == []

    play(scene)


@pytest.mark.parametrize("verb", ["bounce", "delete"])
def test_what_is_being_tried_is_left_alone_and_counted(tmp_path: Path, verb: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_content = lambda _: Temper.HANG
            await town.send(ANN, "bob@b.example")
            await pass_time(60)
            assert b.connections == 1
            assert await ordered(town, verb) == (0, 1)
            b.on_content = lambda _: None
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]
            assert await town.mail_of("ann") == []

    play(scene)


def test_an_order_without_a_choice_does_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await town.accept(ANN, "bob@b.example")
            for verb in orders(town).values():
                with pytest.raises(OperationFailed, match="which mail"):
                    await verb({})
            with pytest.raises(OperationFailed, match="longer than"):
                await ordered(town, "bounce", reason="x" * 1000)
            assert len(await town.waiting()) == 1

    play(scene)


def test_the_summaries_of_several_workers_are_added_up() -> None:
    def line(destination: str, groups: int, **more: object) -> PlainObject:
        empty: PlainObject = {
            "held": 0,
            "due": 0,
            "in_flight": 0,
            "connections": 0,
            "limit": 0,
            "last": "",
            "held_back_by": "",
        }
        return {"destination": destination, "groups": groups, "oldest": "", "next_attempt": "", **empty, **more}

    totals: PlainObject = {"totals": True, "destinations": 2, "groups": 5, "held": 0, "due": 1}
    one: list[PlainObject] = [line("domain:b.example", 2, oldest="2026-11-23T12:00:00Z", last="451 later"), totals]
    two: list[PlainObject] = [
        line("domain:c.example", 3),
        line("domain:b.example", 2, oldest="2026-11-22T12:00:00Z", held_back_by="offline"),
        totals,
    ]
    b, added = merged([one, two], 1)
    assert b == line("domain:b.example", 4, oldest="2026-11-22T12:00:00Z", last="451 later", held_back_by="offline")
    assert added == {"totals": True, "destinations": 4, "groups": 10, "held": 0, "due": 2}


def test_the_summary_says_when_a_dead_host_is_tried_again_and_why_not_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.network.set_weather("203.0.113.2", Weather(black_hole=True))
            await town.send(ANN, "bob@b.example")
            await town.settled(1)
            await town.send(ANN, "eve@b.example")
            await town.settled(2)
            await town.accept(ANN, "bea@b.example", after=timedelta(seconds=1))  # due before the host is tried
            asking = QueueSummaryOperations(
                Charge(
                    queues=(town.queue,),
                    directory=town.directory,
                    clock=town.clock,
                    schedulers=Schedulers([town.delivery]),
                    configured_offline=False,
                )
            ).verbs()["queue.summary"]
            (line, _) = await asking({})
            tried_at = datetime.fromisoformat(line["next_attempt"])
            assert timedelta(seconds=60) < tried_at - town.clock.now() < timedelta(minutes=5)
            assert line["held_back_by"].startswith("left alone until")
            (known,) = town.delivery.snapshot([Destination(DestinationKind.DOMAIN, "b.example")])
            assert known["next_attempt_at"] == line["next_attempt"]

    play(scene)
