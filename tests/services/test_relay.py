"""Relaying to other MTAs: which host, what goes wrong on the way, and what the recipients' outcomes are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.resolver import MxRecord
from postroad.simulation.weather import Weather
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import BodyType, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import Route, Smarthost, SmarthostTls
from postroad.wire.smtp.server_profile import ServerProfile
from tests.services.towns import ANN, CONTENT, HOSTNAME, US, Town, play
from tests.support.peer import Temper


async def first_outcome(town: Town) -> Outcome:
    """Of the first attempt, when it was settled."""
    await town.settled(1)
    return (await town.attempts())[0].outcomes[0]


# ---- which host ----------------------------------------------------------------------------------


def test_the_second_mx_is_tried_when_the_first_refuses_the_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            first = town.peer("mx1.b.example", "203.0.113.2", domain="b.example", preference=10)
            second = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20)
            town.network.set_weather("203.0.113.2", Weather(refused=True))
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert (first.connections, second.recipients) == (0, ["bob@b.example"])
            (attempt,) = await town.attempts()
            assert attempt.remote_name == "mx2.b.example"

    play(scene)


@pytest.mark.parametrize("greeting", [reply(554, "No"), reply(421, "Busy"), Temper.CUT, Temper.HANG])
def test_the_second_mx_is_tried_when_the_first_does_not_greet(tmp_path: Path, greeting: object) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            first = town.peer("mx1.b.example", "203.0.113.2", domain="b.example", preference=10)
            second = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20)
            first.greeting = greeting  # type: ignore[assignment]
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert (first.connections, second.recipients) == (1, ["bob@b.example"])

    play(scene)


def test_the_second_mx_is_tried_when_the_first_hangs_up_in_the_middle(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            first = town.peer("mx1.b.example", "203.0.113.2", domain="b.example", preference=10)
            second = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20)
            first.on_recipient = lambda _: Temper.CUT
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert second.recipients == ["bob@b.example"]
            assert asyncio.get_running_loop().time() < 60

    play(scene)


def test_a_null_mx_is_a_failure_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.mx["b.example"] = (MxRecord(0, ""),)
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.1.10")
            await town.queue_is_empty()
            (notification,) = await town.mail_of("ann")
            assert b"\r\nStatus: 5.1.10\r\n" in notification

    play(scene)


@pytest.mark.parametrize("host", [HOSTNAME, "alias-of-us.example"])
def test_mail_never_comes_back_to_us(tmp_path: Path, host: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.mx["b.example"] = (MxRecord(10, host),)
            town.addresses["alias-of-us.example"] = (US,)
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.4.6")

    play(scene)


@pytest.mark.parametrize("domain", ["b.example", "[127.0.0.1]", "[10.0.0.7]"])
def test_dns_and_literals_do_not_lead_into_private_networks(tmp_path: Path, domain: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            inside = town.peer("mx.b.example", "10.0.0.7", domain="b.example")
            await town.send(ANN, f"bob@{domain}")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.4.4")
            assert inside.connections == 0

    play(scene)


def test_a_literal_and_a_route_lead_where_they_say(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, routes=(Route("*.corp", "10.0.0.8", 25),)) as town:
            literal = town.peer("x.example", "203.0.113.7")
            inside = town.peer("gate.corp", "10.0.0.8")
            await town.send(ANN, "bob@[203.0.113.7]", "eve@sales.corp")
            await town.queue_is_empty()
            assert (literal.recipients, inside.recipients) == (["bob@[203.0.113.7]"], ["eve@sales.corp"])

    play(scene)


def test_a_dns_failure_defers_and_a_missing_domain_fails(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.silent.add("b.example")
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.DEFERRED, "4.4.3")
            await town.send(None, "bob@nowhere.example")
            await town.settled(2)
            missing = (await town.attempts())[1].outcomes[0]
            assert (missing.fate, str(missing.status)) == (Fate.FAILED, "5.1.2")

    play(scene)


# ---- the end of the data -------------------------------------------------------------------------


@pytest.mark.parametrize("temper", [Temper.HANG, Temper.CUT])
def test_silence_after_the_dot_defers_and_says_that_it_may_come_twice(tmp_path: Path, temper: Temper) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            first = town.peer("mx1.b.example", "203.0.113.2", domain="b.example", preference=10)
            second = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20)
            answers = iter([temper])
            first.on_content = lambda _: next(answers, None)
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.DEFERRED, "4.4.2")
            assert "may arrive twice" in outcome.text
            # It waited the ten minutes of RFC 5321 section 4.5.3.2.6, and did not try its luck elsewhere at once.
            assert second.connections == 0
            if temper is Temper.HANG:
                assert 600 <= asyncio.get_running_loop().time() < 605
            await town.queue_is_empty()
            assert first.recipients == ["bob@b.example"]

    play(scene)


def test_a_421_after_the_dot_is_an_answer(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            answers = iter([reply(421, "Shutting down")])
            b.on_content = lambda _: next(answers, None)
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, outcome.reply) == (Fate.DEFERRED, "421 Shutting down")
            assert "twice" not in outcome.text

    play(scene)


@pytest.mark.parametrize(("code", "fate"), [(452, Fate.DEFERRED), (554, Fate.FAILED)])
def test_the_answer_to_the_content_is_that_of_all_accepted_recipients(tmp_path: Path, code: int, fate: Fate) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_content = lambda _: reply(code, "Not this")
            await town.send(None, "bob@b.example", "bill@b.example")
            await town.settled(1)
            (attempt,) = await town.attempts()
            assert [outcome.fate for outcome in attempt.outcomes] == [fate, fate]

    play(scene)


# ---- connections that are used again -------------------------------------------------------------


def test_an_idle_connection_that_the_server_has_closed_costs_no_attempt(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            cut_next: list[bool] = []
            b.on_sender = lambda _: Temper.CUT if cut_next and cut_next.pop() else None
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            cut_next.append(True)
            await town.send(ANN, "bill@b.example")
            await town.queue_is_empty()
            assert (b.recipients, b.connections) == (["bob@b.example", "bill@b.example"], 2)
            assert [a.attempt for a in await town.attempts()] == [1, 1]
            assert asyncio.get_running_loop().time() < 10

    play(scene)


def test_an_idle_connection_is_given_up_after_a_while(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, connection_idle_s=5.0, record=True) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert b.open_now == 1
            await asyncio.wait_for(b.left.wait(), 10)
            assert b.open_now == 0
            assert ("C", "QUIT") in [(who, line) for _, who, line in town.lines]

    play(scene)


def test_a_message_under_which_every_connection_breaks_is_deferred_and_others_are_not_held_up(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_recipient = lambda path: Temper.CUT if path.local_part == "poison" else None
            for name in ("one", "poison", "two", "three"):
                await town.send(None, f"{name}@b.example")
            await town.settled(4)
            assert sorted(b.recipients) == ["one@b.example", "three@b.example", "two@b.example"]
            (waiting,) = await town.waiting()
            assert waiting.startswith("domain:b.example 1 ")

    play(scene)


def test_a_failing_resolver_is_reported_and_kills_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.mx["broken.example"] = 5  # type: ignore[assignment]
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@broken.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.DEFERRED, "4.3.0")
            ((where, _),) = town.errors
            assert "broken.example" in where
            town.errors.clear()
            await town.send(ANN, "bob@b.example")
            await town.settled(2)
            assert b.recipients == ["bob@b.example"]

    play(scene)


def test_an_error_of_our_own_in_a_conversation_ends_that_one_and_nothing_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, record=True) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            town.trap = "MAIL FROM:<ann@a.example>"
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert outcome.fate is Fate.DEFERRED
            assert {type(error) for _, error in town.errors} == {RuntimeError}
            town.errors.clear()
            town.trap = ""
            await town.send(ANN, "carl@c.example")
            await town.queue_is_empty()
            assert (b.recipients, c.recipients) == (["bob@b.example"], ["carl@c.example"])

    play(scene)


# ---- many recipients -----------------------------------------------------------------------------


def test_many_recipients_are_split_over_transactions_and_settled_together(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, recipients_per_transaction=100, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            names = [f"bob{n}@b.example" for n in range(250)]
            await town.send(ANN, *names)
            await town.queue_is_empty()
            assert [len(taken.recipients) for taken in b.mail] == [100, 100, 50]
            assert b.recipients == names
            assert len(town.queue.settlements) == 1

    play(scene)


def test_a_server_that_has_enough_recipients_gets_the_rest_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname="mx.b.example", recipients_max=10)
            names = [f"bob{n}@b.example" for n in range(35)]
            await town.send(ANN, *names)
            await town.queue_is_empty()
            assert [len(taken.recipients) for taken in b.mail] == [10, 10, 10, 5]
            assert sorted(b.recipients) == sorted(names)
            assert len(town.queue.settlements) == 1

    play(scene)


# ---- what the next hop can do --------------------------------------------------------------------

UTF8 = "Subject: gr\u00fc\u00df\r\n\r\ngr\u00fc\u00df\r\n".encode()


@pytest.mark.parametrize(
    ("lacking", "content", "envelope", "status"),
    [
        ({"eight_bit_mime": False}, UTF8, {"body": BodyType.EIGHT_BIT_MIME}, "5.6.3"),
        ({"eight_bit_mime": False}, CONTENT, {"body": BodyType.EIGHT_BIT_MIME}, ""),
        ({"smtputf8": False}, UTF8, {"body": BodyType.EIGHT_BIT_MIME, "smtputf8": True}, "5.6.7"),
        ({"smtputf8": False}, CONTENT, {"smtputf8": True}, ""),
        ({"message_bytes": 65_536}, b"X: y\r\n\r\n" + b"x" * 62 * 1024 + b"\r\n" * 2000, {}, "5.3.4"),
    ],
)
def test_what_the_next_hop_cannot_take_is_returned_and_what_it_can_is_sent(
    tmp_path: Path, lacking: dict[str, object], content: bytes, envelope: dict[str, object], status: str
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname="mx.b.example", **lacking)  # type: ignore[arg-type]
            await town.send(None, "bob@b.example", content=content, **envelope)
            outcome = await first_outcome(town)
            if status:
                assert (outcome.fate, str(outcome.status), b.mail) == (Fate.FAILED, status, [])
            else:
                assert (outcome.fate, b.mail[0].content) == (Fate.RELAYED, content)

    play(scene)


def test_an_internationalised_recipient_needs_smtputf8_whatever_the_content(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname="mx.b.example", smtputf8=False)
            await town.send(None, Recipient(Mailbox("j\u00f6rg", "b.example")), smtputf8=True)
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.6.7")

    play(scene)


@pytest.mark.parametrize("hop", [Weather(), Weather(segment_bytes=700, ragged=True)])
def test_large_content_is_streamed_whole(tmp_path: Path, hop: Weather) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            town.network.set_weather("203.0.113.2", hop)
            content = CONTENT + b"".join(b".%06d and a line of text\r\n" % n for n in range(20_000))
            await town.send(ANN, "bob@b.example", "cat@a.example", content=content)
            await town.send(ANN, "bill@b.example")
            await town.queue_is_empty()
            assert next(taken for taken in b.mail if taken.recipients == ("bob@b.example",)).content == content
            assert sorted(b.recipients) == ["bill@b.example", "bob@b.example"]
            (copy,) = await town.mail_of("cat")
            assert copy.endswith(content)

    play(scene)


def test_an_8bit_file_for_a_7bit_server_is_converted_only_where_it_has_to_be(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname="mx.b.example", eight_bit_mime=False)
            plain = CONTENT + b"a line of text\r\n" * 10_000
            await town.send(None, "bob@b.example", content=plain, body=BodyType.EIGHT_BIT_MIME)
            await town.queue_is_empty()
            await town.send(None, "bill@b.example", content=plain + b"\xff\r\n", body=BodyType.EIGHT_BIT_MIME)
            await town.queue_is_empty()
            as_it_was, converted = [taken.content for taken in b.mail]
            assert as_it_was == plain
            assert converted.endswith(b"a line of text\r\n=FF\r\n")
            assert [sender.body for sender in b.senders] == [BodyType.SEVEN_BIT, BodyType.SEVEN_BIT]

    play(scene)


# ---- TLS and the smart host ----------------------------------------------------------------------


def test_tls_is_used_where_it_is_offered_whatever_the_certificate(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example", tls=True)
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            (attempt,) = await town.attempts()
            assert b.recipients == ["bob@b.example"]
            assert attempt.tls is not None
            assert not attempt.tls.verified

    play(scene)


def test_a_broken_handshake_is_followed_by_a_try_in_clear(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.network = town.hosts["mx.b.example"]
            b.tls_breaks = True
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            (attempt,) = await town.attempts()
            assert (b.recipients, b.connections, attempt.tls) == (["bob@b.example"], 2, None)

    play(scene)


def smarthost(tls: SmarthostTls = SmarthostTls.OPPORTUNISTIC, user: str = "", port: int = 25) -> Smarthost:
    return Smarthost("out.example", port, user, "secret" if user else "", tls)


def test_the_smart_host_gets_our_password_inside_verified_tls(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, smarthost=smarthost(user="us"), record=True) as town:
            out = town.peer("out.example", "10.0.0.5", tls=True)
            out.profile = ServerProfile(
                hostname="out.example", tls_available=True, auth_offered=("PLAIN",), mail_requires_auth=True
            )
            await town.send(ANN, "bob@b.example", "carl@c.example")
            await town.queue_is_empty()
            assert [taken.recipients for taken in out.mail] == [("bob@b.example", "carl@c.example")]
            assert out.credentials == [("us", "secret")]
            (attempt,) = await town.attempts()
            assert attempt.tls is not None
            assert attempt.tls.verified
            assert not any("secret" in line or "c2VjcmV0" in line for _, _, line in town.lines)

    play(scene)


@pytest.mark.parametrize("wrong", ["no TLS", "another name"])
def test_without_verified_tls_the_smart_host_gets_neither_password_nor_mail(tmp_path: Path, wrong: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, smarthost=smarthost(user="us"), record=True) as town:
            out = town.peer("other.example", "10.0.0.5", tls=wrong == "another name")
            town.addresses["out.example"] = ("10.0.0.5",)
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, str(outcome.status)) == (Fate.DEFERRED, "4.7.5")
            assert (out.mail, out.credentials) == ([], [])
            assert not any(line.startswith("AUTH") for _, _, line in town.lines)

    play(scene)


def test_a_refused_password_defers_with_the_smart_hosts_words(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, smarthost=smarthost(user="us")) as town:
            out = town.peer("out.example", "10.0.0.5", tls=True)
            out.profile = ServerProfile(hostname="out.example", tls_available=True, auth_offered=("PLAIN",))
            out.on_credentials = lambda name, password: reply(535, "Wrong", status="5.7.8")
            await town.send(ANN, "bob@b.example")
            outcome = await first_outcome(town)
            assert (outcome.fate, outcome.reply) == (Fate.DEFERRED, "535 5.7.8 Wrong")

    play(scene)


def test_the_conversation_can_be_listened_to(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, record=True) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            said = [line for number, who, line in town.lines if (number, who) == (1, "C")]
            assert said[0] == f"EHLO {HOSTNAME}"
            assert any(line.startswith("MAIL FROM:<ann@a.example>") for line in said)
            assert any(line.startswith("220 mx.b.example") for _, who, line in town.lines if who == "S")

    play(scene)
