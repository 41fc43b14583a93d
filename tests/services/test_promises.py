"""What a sender asked for travels with the message, or the message does not go: REQUIRETLS, BY=, MT-PRIORITY, LIMITS,
and the hour before which nothing goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from postroad.contracts.queue_store import QueueFilter
from postroad.simulation.virtual_handshake import Certificate
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import DeliverBy, Notify, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import RetrySettings, Route, Smarthost, SmarthostTls
from postroad.wire.smtp.server_profile import ServerProfile
from tests.services.towns import ANN, CONTENT, Town, play
from tests.support.peer import Peer

SECRET = CONTENT + b"the secret\r\n"


def profile_of(peer: Peer, **offers: object) -> ServerProfile:
    return ServerProfile(hostname=peer.hostname, tls_available=peer.network is not None, **offers)  # type: ignore[arg-type]


async def outcomes(town: Town) -> list[Outcome]:
    await town.queue_is_empty()
    return [outcome for attempt in await town.attempts() for outcome in attempt.outcomes]


# ---- REQUIRETLS (RFC 8689) ------------------------------------------------------------------------


def test_a_message_that_requires_tls_goes_verified_to_a_host_that_requires_it_onward(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example", "c.example"}
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example", tls=True)
            b.profile = profile_of(b, require_tls=True)
            await town.send(ANN, "bob@b.example", require_tls=True)
            await town.queue_is_empty()
            assert [each.require_tls for each in b.senders] == [True]
            (attempt,) = await town.attempts()
            assert attempt.tls is not None
            assert attempt.tls.verified

    play(scene)


def test_another_host_of_the_domain_may_offer_what_the_first_does_not(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example", "c.example"}
            plain = town.peer("mx1.b.example", "203.0.113.2", domain="b.example", preference=10)
            able = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20, tls=True)
            able.profile = profile_of(able, require_tls=True)
            await town.send(ANN, "bob@b.example", require_tls=True)
            await town.queue_is_empty()
            assert (plain.mail, able.recipients) == ([], ["bob@b.example"])

    play(scene)


@pytest.mark.parametrize("lack", ["STARTTLS", "REQUIRETLS", "a certificate", "a proof of the MX"])
def test_where_no_host_keeps_it_secret_it_comes_back_with_5_7_30(tmp_path: Path, lack: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example", "c.example"}
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example", tls=lack != "STARTTLS")
            b.profile = profile_of(b, require_tls=lack in ("a certificate", "a proof of the MX"))
            if lack == "a proof of the MX":
                town.proved.clear()
            if lack == "a certificate":
                town.hosts["mx.b.example"].certificate = Certificate(("mx.b.example",), valid=False)
            await town.send(ANN, "bob@b.example", require_tls=True, ret="FULL", content=SECRET)
            found = await outcomes(town)
            assert (found[0].fate, str(found[0].status)) == (Fate.FAILED, "5.7.30")
            assert b.mail == []
            (report,) = await town.mail_of("ann")
            assert b"Status: 5.7.30" in report
            assert b"Subject: hello" in report
            assert b"the secret" not in report

    play(scene)


WAYS: dict[str, dict[str, Any]] = {
    "an unmarked route": {"routes": (Route("b.example", "mx.b.example", 25),)},
    "a verified route": {"routes": (Route("*.example", "mx.b.example", 25, SmarthostTls.VERIFIED),)},
    "an unmarked smart host": {"smarthost": Smarthost("mx.b.example", 25)},
    "a verified smart host": {"smarthost": Smarthost("mx.b.example", 25, tls=SmarthostTls.VERIFIED)},
}


@pytest.mark.parametrize("way", WAYS)
def test_over_a_configured_way_it_goes_where_the_administrator_says_that_it_is_safe(tmp_path: Path, way: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, **WAYS[way]) as town:
            b = town.peer("mx.b.example", "203.0.113.2", tls=True)
            b.profile = profile_of(b, require_tls=True)
            await town.send(ANN, "bob@b.example", require_tls=True)
            found = await outcomes(town)
            if "verified" in way:
                assert b.recipients == ["bob@b.example"]
            else:
                assert [(each.fate, str(each.status)) for each in found[:1]] == [(Fate.FAILED, "5.7.30")]
                assert b.connections == 0

    play(scene)


def test_a_verified_route_takes_no_mail_without_a_certificate_for_its_host(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, **WAYS["a verified route"]) as town:
            b = town.peer("mx.b.example", "203.0.113.2", tls=True)
            town.hosts["mx.b.example"].certificate = Certificate(("other.example",))
            await town.send(ANN, "bob@b.example")
            await town.settled(1)
            (attempt,) = await town.attempts()
            assert [each.fate for each in attempt.outcomes] == [Fate.DEFERRED]
            assert b.mail == []
            town.hosts["mx.b.example"].certificate = Certificate(("mx.b.example",))
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]

    play(scene)


def test_a_route_without_tls_is_spoken_to_in_clear(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, routes=(Route("*", "mx.b.example", 25, SmarthostTls.NONE),)) as town:
            town.peer("mx.b.example", "203.0.113.2", tls=True)
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            (attempt,) = await town.attempts()
            assert attempt.tls is None

    play(scene)


def test_a_host_that_cannot_be_reached_just_now_is_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example", "c.example"}
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example", tls=True)
            b.profile = profile_of(b, require_tls=True)
            b.greeting = reply(421, "Busy")
            await town.send(ANN, "bob@b.example", require_tls=True)
            await town.settled(1)
            b.greeting = None
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]

    play(scene)


def test_other_mail_for_the_same_domain_does_not_wait_for_what_it_does_not_need(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example", "c.example"}
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example", require_tls=True)
            await town.send(ANN, "bea@b.example")
            await town.queue_is_empty()
            assert b.recipients == ["bea@b.example"]
            assert {line["destination"] for line in town.delivery.snapshot()} <= {"domain:b.example"}

    play(scene)


def test_the_report_about_it_requires_tls_as_well(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example", "c.example"}
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example", tls=True)
            c.profile = profile_of(c, require_tls=True)
            await town.send(Mailbox("cat", "c.example"), "bob@b.example", require_tls=True)
            await town.queue_is_empty()
            assert [(each.require_tls, each.ret, each.reverse_path) for each in c.senders] == [(True, "", None)]

    play(scene)


@pytest.mark.parametrize("lack", ["STARTTLS", "REQUIRETLS", "a proof of the MX"])
def test_the_report_about_it_is_not_lost_where_the_way_back_promises_nothing(tmp_path: Path, lack: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved |= {"b.example"} if lack == "a proof of the MX" else {"b.example", "c.example"}
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example", tls=lack != "STARTTLS")
            await town.send(Mailbox("cat", "c.example"), "bob@b.example", require_tls=True, content=SECRET)
            await town.queue_is_empty()
            assert [(each.require_tls, each.ret, each.reverse_path) for each in c.senders] == [(False, "", None)]
            assert b"the secret" not in c.mail[0].content

    play(scene)


def test_a_letter_from_somebody_is_never_sent_without_the_promise_it_requires(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.proved.add("b.example")
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example", require_tls=True)
            await town.queue_is_empty()
            assert b.mail == []

    play(scene)


# ---- DELIVERBY (RFC 2852) -------------------------------------------------------------------------


def test_the_next_hop_is_given_the_time_that_is_left(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = profile_of(b, deliver_by_min_s=0)
            answers = iter([reply(451, "Later"), None])
            b.on_recipient = lambda mailbox: next(answers)
            await town.send(ANN, "bob@b.example", deliver_by=DeliverBy(3600, "R", True))
            await town.queue_is_empty()
            first, second = (each.deliver_by for each in b.senders)
            assert first is not None
            assert second is not None
            assert 3590 <= first.seconds <= 3600
            assert 3600 - 330 <= second.seconds <= 3600 - 300
            assert (second.mode, second.trace) == ("R", True)
            (report,) = await town.mail_of("ann")
            assert b"Action: relayed" in report

    play(scene)


@pytest.mark.parametrize("least", [None, 7200])
def test_mode_r_is_not_handed_to_who_will_not_return_it_in_time(tmp_path: Path, least: int | None) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = profile_of(b, deliver_by_min_s=least)
            await town.send(ANN, "bob@b.example", deliver_by=DeliverBy(3600, "R"))
            found = await outcomes(town)
            assert (found[0].fate, str(found[0].status)) == (Fate.FAILED, "5.4.7")
            assert b.mail == []

    play(scene)


def test_mode_r_comes_back_when_the_time_is_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.greeting = reply(421, "Busy")
            began = town.clock.now()
            await town.send(ANN, "bob@b.example", deliver_by=DeliverBy(1000, "R"))
            found = await outcomes(town)
            last = [each for each in found if each.fate is Fate.FAILED]
            assert [str(each.status) for each in last] == ["5.4.7"]
            assert timedelta(seconds=1000) <= town.clock.now() - began < timedelta(seconds=1100)
            (report,) = await town.mail_of("ann")
            assert b"Action: failed" in report
            assert b"Deliver-By-Date: " in report

    play(scene)


def test_mode_n_tells_of_the_delay_in_time_and_tries_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = profile_of(b, deliver_by_min_s=0)
            b.greeting = reply(421, "Busy")
            began = town.clock.now()
            await town.send(ANN, "bob@b.example", deliver_by=DeliverBy(1000, "N"))

            async def told() -> bool:
                return bool(await town.mail_of("ann"))

            await town.until(told)
            assert town.clock.now() - began < timedelta(seconds=1100)
            (report,) = await town.mail_of("ann")
            assert b"Action: delayed" in report
            assert b"Status: 4.4.7" in report
            b.greeting = None
            await town.queue_is_empty()
            assert [each.deliver_by is not None and each.deliver_by.seconds < 0 for each in b.senders] == [True]

    play(scene)


def test_the_sender_hears_when_mode_n_leaves_the_hands_of_those_who_keep_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            bob, mute = Recipient(Mailbox("bob", "b.example")), Recipient(Mailbox("m", "b.example"), (Notify.NEVER,))
            await town.send(ANN, bob, mute, deliver_by=DeliverBy(1000, "N"))
            await town.queue_is_empty()
            assert [each.deliver_by for each in b.senders] == [None]
            (report,) = await town.mail_of("ann")
            assert report.count(b"Action: relayed") == 1

    play(scene)


# ---- FUTURERELEASE (RFC 4865), MT-PRIORITY (RFC 6710), LIMITS (RFC 9422) ---------------------------


def test_nothing_goes_before_its_hour_whatever_is_made_due(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, retry=RetrySettings(give_up_after=timedelta(days=1))) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.greeting = reply(421, "Busy")
            hold = timedelta(days=2)
            release_at = town.clock.now() + hold
            await town.send(ANN, "bob@b.example", after=hold, release_at=release_at)
            await town.queue.make_due(QueueFilter(), town.clock.now())
            town.delivery.wake()
            await town.settled(1)
            assert b.connections == 0
            await town.settled(2)
            assert town.clock.now() >= release_at
            assert b.connections == 1
            # And is not given up at once, though it is two days old.
            assert (await town.attempts())[0].outcomes[0].fate is Fate.DEFERRED
            b.greeting = None
            await town.queue_is_empty()
            assert b.recipients == ["bob@b.example"]

    play(scene)


def test_the_priority_is_passed_on_and_orders_what_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, start=False, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = profile_of(b, mt_priority=True)
            for name, priority in (("low", -4), ("first", 0), ("urgent", 4), ("second", 0), ("flash", 9), ("soon", 4)):
                await town.accept(ANN, f"{name}@b.example", priority=priority)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(town.delivery.run())
                await town.queue_is_empty()
                town.delivery.stop()
            names = [each.partition("@")[0] for each in b.recipients]
            assert names == ["flash", "urgent", "soon", "first", "second", "low"]
            assert [each.priority for each in b.senders] == [9, 4, 4, None, None, -4]

    play(scene)


def test_the_limits_of_the_next_hop_are_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = profile_of(b, limits=True, recipients_max=2, messages_per_session=2)
            await town.send(ANN, *(f"u{n}@b.example" for n in range(6)))
            await town.queue_is_empty()
            assert [len(each.recipients) for each in b.mail] == [2, 2, 2]
            assert [each.connection for each in b.mail] == [1, 1, 2]

    play(scene)
