"""The scheduler, with real stores on a virtual internet."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from postroad.contracts.errors import LeaseLost, StoreFull, StoreUnavailable
from postroad.simulation.weather import Weather
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.envelope import Notify, Recipient
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import Route
from postroad.wire.smtp.server_profile import ServerProfile
from tests.services.houses import pass_time
from tests.services.towns import ANN, CONTENT, Town, play


def test_a_message_reaches_the_mx_of_its_domain_as_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            (taken,) = b.mail
            assert (taken.reverse_path, taken.recipients, taken.content) == (ANN, ("bob@b.example",), CONTENT)
            (attempt,) = await town.attempts()
            (outcome,) = attempt.outcomes
            assert (outcome.fate, outcome.reply) == (Fate.RELAYED, "250 2.0.0 taken")
            assert (attempt.remote_name, str(attempt.remote)) == ("mx.b.example", "203.0.113.2:25")

    play(scene)


def test_mail_that_a_crash_left_behind_goes_out_when_delivery_starts(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            await town.accept(ANN, "bob@b.example", "cat@a.example")

    async def after() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]
            assert len(await town.mail_of("cat")) == 1

    play(before)
    play(after)


def test_a_message_to_many_domains_goes_out_in_parallel_and_each_is_settled_by_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peers = [town.peer(f"mx.d{n}.example", f"203.0.113.{n}", domain=f"d{n}.example") for n in range(10, 30)]
            slow = town.peer("mx.slow.example", "203.0.113.99", domain="slow.example")
            slow.on_content = lambda _: reply(451, "Not now")
            names = [f"bob@d{n}.example" for n in range(10, 30)]
            await town.send(ANN, "bob@slow.example", *names)
            await town.settled(21)
            assert [peer.recipients for peer in peers] == [[name] for name in names]
            assert await town.waiting() == ["domain:slow.example 1 mx.slow.example: 451 Not now"]
            assert asyncio.get_running_loop().time() < 1.0

    play(scene)


def test_five_days_of_retries_end_in_a_notification_in_the_senders_mailbox(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example").on_recipient = lambda _: reply(
                451, "Mailbox busy", status="4.2.1"
            )
            queue_id = await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            age = timedelta(seconds=asyncio.get_running_loop().time())
            assert timedelta(days=4, hours=19) < age < timedelta(days=5)
            attempts = [a for a in await town.attempts() if a.destination == "domain:b.example"]
            assert len(attempts) > 30
            assert [a.attempt for a in attempts] == list(range(1, len(attempts) + 1))
            warning, failure = await town.mail_of("ann")
            assert b"\r\nAction: delayed\r\n" in warning
            assert b"\r\nAction: failed\r\n" in failure
            assert b"\r\nStatus: 4.2.1\r\n" in failure
            assert b"451 4.2.1 Mailbox busy" in failure
            assert b"Subject: hello" in failure
            assert queue_id.encode() in failure
            assert failure.startswith(b"Return-Path: <>\r\n")

    play(scene)


def test_greylisting_is_waited_for_and_then_succeeds(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            answers = iter([reply(451, "Greylisted, come back", status="4.7.1")])
            b.on_recipient = lambda _: next(answers, None)
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]
            first, second = await town.attempts()
            assert first.next_attempt_at is not None
            assert timedelta() <= second.at - first.next_attempt_at < timedelta(seconds=1)
            assert await town.mail_of("ann") == []

    play(scene)


def test_each_recipient_of_a_transaction_has_a_fate_of_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            words = {"dan": reply(550, "No such user", status="5.1.1"), "eve": reply(450, "Busy", status="4.2.1")}
            b.on_recipient = lambda path: words.get(path.local_part)
            await town.send(ANN, "bob@b.example", "dan@b.example", "eve@b.example")
            await town.settled(2)  # the group, and the notification into ann's mailbox
            assert b.recipients == ["bob@b.example"]
            assert await town.waiting() == ["domain:b.example 1 mx.b.example: 450 4.2.1 Busy"]
            (notification,) = await town.mail_of("ann")
            assert b"dan@b.example" in notification
            assert b"eve@b.example" not in notification
            assert b"bob@b.example" not in notification

    play(scene)


def test_those_who_failed_together_are_told_of_in_one_notification(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_recipient = lambda _: reply(550, "No such user", status="5.1.1")
            await town.send(ANN, "dan@b.example", "eve@b.example")
            await town.queue_is_empty()
            (notification,) = await town.mail_of("ann")
            assert notification.count(b"\r\nAction: failed\r\n") == 2

    play(scene)


def test_nobody_is_notified_about_a_notification(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_recipient = lambda _: reply(550, "No such user", status="5.1.1")
            await town.send(None, "dan@b.example")
            await town.queue_is_empty()
            assert len(town.queue.settlements) == 1
            assert await town.mail_of("ann") == []

    play(scene)


def test_success_is_reported_where_it_was_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            plain = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            plain.profile = ServerProfile(hostname=plain.hostname, dsn=False)
            knowing = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            asked = [
                Recipient(Mailbox("bob", "b.example"), (Notify.SUCCESS,)),
                Recipient(Mailbox("carl", "c.example"), (Notify.SUCCESS,)),
                Recipient(Mailbox("cat", "a.example"), (Notify.SUCCESS,)),
            ]
            await town.send(ANN, *asked)
            await town.queue_is_empty()
            mail = await town.mail_of("ann")
            actions = sorted(line for each in mail for line in each.split(b"\r\n") if line.startswith(b"Action:"))
            assert actions == [b"Action: delivered", b"Action: relayed"]
            assert knowing.asked[0].notify == (Notify.SUCCESS,)

    play(scene)


def test_an_outcome_is_kept_until_the_store_can_write_it_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.queue.refusals.extend([StoreUnavailable("disk"), StoreFull("disk"), StoreUnavailable("disk")] * 3)
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]
            assert asyncio.get_running_loop().time() > 60

    play(scene)


def test_a_failure_is_told_although_the_original_cannot_be_read_any_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_recipient = lambda _: reply(550, "No such user", status="5.1.1")
            message = await town.accept(ANN, "bob@b.example", content=CONTENT + b"a line of text\r\n" * 10_000)
            (tmp_path / "queue" / "0" / message.queue_id).unlink()
            town.delivery.hand_over(message)
            await town.queue_is_empty()
            (notification,) = await town.mail_of("ann")
            assert b"\r\nAction: failed\r\n" in notification
            assert message.queue_id.encode() in notification
            assert asyncio.get_running_loop().time() < 60
            # Whoever runs the server hears of it, once.
            assert [type(error) for _, error in town.errors] == [StoreUnavailable]
            town.errors.clear()

    play(scene)


def test_an_outcome_that_could_not_be_written_before_the_stop_is_not_tried_for_ever(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.queue.refusals.extend([StoreUnavailable("disk")] * 100)
            await town.send(ANN, "cat@a.example")
            town.delivery.stop()
            await town.running
            left = len(town.queue.refusals)
            await pass_time(3600)
            assert len(town.queue.refusals) >= left - 1  # the one that was under way

    play(scene)


def test_under_a_lost_lease_the_outcome_is_dropped(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.queue.refusals.append(LeaseLost("another owner"))
            await town.send(ANN, "bob@b.example")
            await b.arrived.wait()
            later = await town.send(ANN, "bill@b.example")
            await town.settled(1)
            assert [each.queue_id for each in town.queue.settlements] == [later]
            assert town.delivery.snapshot()[0]["in_flight"] == 0

    play(scene)


def test_a_message_for_later_waits_for_its_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example", after=timedelta(hours=3))
            await town.send(ANN, "bill@b.example")
            await town.settled(1)
            assert b.recipients == ["bill@b.example"]
            await town.queue_is_empty()
            assert b.recipients == ["bill@b.example", "bob@b.example"]
            assert 3 * 3600 <= asyncio.get_running_loop().time() < 3 * 3600 + 5

    play(scene)


def test_offline_only_mailboxes_are_served_and_online_everything(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, offline=True) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example", "cat@a.example")
            await town.settled(1)
            assert len(await town.mail_of("cat")) == 1
            assert b.connections == 0
            town.delivery.set_offline(False)
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]

    play(scene)


def test_a_changed_configuration_sends_waiting_mail_the_new_way(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            await town.accept(ANN, "bob@b.example", "dan@b.example")

    async def after() -> None:
        async with Town.open(tmp_path, routes=(Route("b.example", "gate.example", 25),)) as town:
            old = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            gate = town.peer("gate.example", "10.0.0.2")
            await town.queue_is_empty()
            assert (old.recipients, gate.recipients) == ([], ["bob@b.example", "dan@b.example"])

    play(before)
    play(after)


def test_one_connection_serves_many_messages_and_is_kept_for_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for number in range(20):
                await town.send(ANN, f"bob{number}@b.example")
            await town.queue_is_empty()
            await town.send(ANN, "late@b.example")
            await town.queue_is_empty()
            assert b.recipients == [*(f"bob{n}@b.example" for n in range(20)), "late@b.example"]
            assert b.connections == 1

    play(scene)


def test_a_connection_carries_so_many_messages_and_not_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1, messages_per_connection=5) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for number in range(20):
                await town.send(ANN, f"bob{number}@b.example")
            await town.queue_is_empty()
            assert [taken.connection for taken in b.mail] == [n // 5 + 1 for n in range(20)]

    play(scene)


def test_a_destination_gets_no_more_connections_than_are_allowed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=3) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for number in range(100):
                await town.send(ANN, f"bob{number}@b.example")
            await town.queue_is_empty()
            assert b.open_most == 3
            assert sorted(b.recipients) == sorted(f"bob{n}@b.example" for n in range(100))

    play(scene)


def test_a_dead_destination_is_tried_once_for_all_that_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.network.set_weather("203.0.113.2", Weather(black_hole=True))
            for number in range(50):
                await town.send(ANN, f"bob{number}@b.example")
            settlements = await town.settled(50)
            assert all(each.due_at is not None for each in settlements)
            assert asyncio.get_running_loop().time() < 40
            assert b.connections == 0
            town.network.set_weather("203.0.113.2", None)
            await town.queue_is_empty()
            assert len(b.recipients) == 50

    play(scene)


def test_stopping_lets_what_is_under_way_end_and_leaves_the_rest_due(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for number in range(10):
                await town.send(ANN, f"bob{number}@b.example")
            await b.arrived.wait()
            town.delivery.stop()
            await town.running
            sent.extend(b.recipients)

    async def after() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.queue_is_empty()
            assert sorted([*sent, *b.recipients]) == sorted(f"bob{n}@b.example" for n in range(10))
            assert 0 < len(sent) < 10

    sent: list[str] = []
    play(before)
    play(after)


def test_a_paused_destination_waits_until_it_is_resumed_and_nobody_else_does(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            town.delivery.set_paused(frozenset({Destination(DestinationKind.DOMAIN, "b.example")}))
            await town.send(ANN, "bob@b.example", "carl@c.example", "cat@a.example")
            await town.settled(2)
            await pass_time(3600)
            assert (b.connections, c.recipients) == (0, ["carl@c.example"])
            (line,) = [each for each in town.delivery.snapshot() if each["destination"] == "domain:b.example"]
            assert line["held_back_by"] == "paused by an administrator"
            town.delivery.set_paused(frozenset())
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]

    play(scene)
