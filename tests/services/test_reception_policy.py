"""The rules of `[policy]`: what the DNS says of a client, and what is done about it."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from postroad.contracts.resolver import MxRecord
from postroad.vocabulary.limits import CLIENT_FACTS_S, INPUT_TEXT, POLICY_LOOKUP_S, VERDICT_INPUTS
from postroad.vocabulary.settings import PolicySettings, Severity
from postroad.vocabulary.story import Received
from tests.services.dns import Zone
from tests.services.houses import ALL_OFF, CLIENT, HERE, HOSTNAME, Client, House, pass_time, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"
KNOWN = Zone(
    mx={"c.example": (MxRecord(10, "mx.c.example"),), "null.example": (MxRecord(0, ""),)},
    addresses={"mx.c.example": (CLIENT,), "only-a.example": ("192.0.2.9",), "liar.example": ("192.0.2.8",)},
    names={CLIENT: ("mx.c.example",), "203.0.113.1": ("liar.example",)},
    silent=frozenset({"silent.example", "203.0.113.3"}),
)


def only(rule: str, how: Severity) -> PolicySettings:
    return msgspec.structs.replace(ALL_OFF, **{rule: how})


async def _rcpt(client: Client, helo: str = "mx.c.example", sender: str = "cat@c.example") -> str:
    await client.say(f"EHLO {helo}", 250)
    await client.say(f"MAIL FROM:<{sender}>", 250)
    client.send(f"RCPT TO:<ann@{HERE}>")
    return await client.reply()


@pytest.mark.parametrize(
    ("rule", "how", "address", "helo", "sender", "answer"),
    [
        ("reverse_dns", Severity.REJECT, CLIENT, "x.example", "cat@c.example", "250"),
        ("reverse_dns", Severity.REJECT, "203.0.113.1", "x.example", "cat@c.example", "550 5.7.25"),
        ("reverse_dns", Severity.REJECT, "203.0.113.2", "x.example", "cat@c.example", "550 5.7.25"),
        ("reverse_dns", Severity.DEFER, "203.0.113.2", "x.example", "cat@c.example", "450 4.7.25"),
        ("reverse_dns", Severity.REJECT, "203.0.113.3", "x.example", "cat@c.example", "451 4.4.3"),
        ("reverse_dns", Severity.TAG, "203.0.113.3", "x.example", "cat@c.example", "250"),
        ("helo", Severity.REJECT, CLIENT, "mx.c.example", "cat@c.example", "250"),
        ("helo", Severity.REJECT, CLIENT, f"[{CLIENT}]", "cat@c.example", "250"),
        ("helo", Severity.REJECT, CLIENT, "[192.0.2.200]", "cat@c.example", "550 5.7.1"),
        ("helo", Severity.REJECT, CLIENT, HOSTNAME, "cat@c.example", "550 5.7.1"),
        ("helo", Severity.REJECT, CLIENT, "no.such.example", "cat@c.example", "550 5.7.1"),
        ("helo", Severity.DEFER, CLIENT, "silent.example", "cat@c.example", "451 4.4.3"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", "cat@c.example", "250"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", "x@only-a.example", "250"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", "x@null.example", "550 5.7.27"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", "x@no.such.example", "550 5.1.8"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", "x@silent.example", "451 4.4.3"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", f"x@{HERE}", "250"),
        ("sender_domain", Severity.REJECT, CLIENT, "x.example", "", "250"),
        ("sender_host", Severity.REJECT, CLIENT, "x.example", "cat@c.example", "250"),
        ("sender_host", Severity.REJECT, CLIENT, "mx.c.example", "x@only-a.example", "250"),
        ("sender_host", Severity.REJECT, "203.0.113.1", "x.example", "cat@c.example", "550 5.7.1"),
        ("sender_host", Severity.REJECT, CLIENT, "x.example", "x@silent.example", "451 4.4.3"),
        ("own_sender", Severity.REJECT, CLIENT, "x.example", f"ann@{HERE}", "550 5.7.1"),
        ("own_sender", Severity.REJECT, CLIENT, "x.example", "cat@c.example", "250"),
        ("own_sender", Severity.REJECT, CLIENT, "x.example", "", "250"),
    ],
)
def test_a_rule_decides_about(
    tmp_path: Path, rule: str, how: Severity, address: str, helo: str, sender: str, answer: str
) -> None:
    async def scene() -> None:
        policy = only(rule, how)
        async with (
            House.open(tmp_path) as house,
            house.reception(policy=policy, dns=KNOWN),
            house.client(address=address) as client,
        ):
            reply = await _rcpt(client, helo, sender)
            assert reply.startswith(answer)
            refusals = house.ledger.refusals()
            assert [each.verdicts[0].rule for each in refusals] == ([] if answer == "250" else [rule])

    play(scene)


def test_a_rule_that_tags_writes_a_field_in_our_name_and_refuses_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        every = PolicySettings(
            reverse_dns=Severity.TAG, helo=Severity.TAG, sender_domain=Severity.TAG, own_sender=Severity.TAG
        )
        async with House.open(tmp_path) as house, house.reception(policy=every, dns=KNOWN):
            async with house.client(address="203.0.113.1") as client:
                await client.say(f"EHLO {HOSTNAME}", 250)
                await client.give(LETTER, sender="x@null.example")
            content = await house.content()
            assert content.startswith(
                b"Authentication-Results: mx.here.example;\r\n"
                b"\tiprev=fail (liar.example does not lead back to 203.0.113.1) policy.iprev=203.0.113.1;\r\n"
                b"\tx-helo=fail (our own name) smtp.helo=mx.here.example;\r\n"
                b"\tx-own-sender=pass (not one of our domains) smtp.mailfrom=null.example;\r\n"
                b"\tx-sender-domain=fail (the domain takes no mail  null MX ) smtp.mailfrom=null.example\r\n"
                b"Received: from "
            )
            (fact,) = house.accepted[0].story.facts
            assert isinstance(fact, Received)
            assert {(v.rule, v.result) for v in fact.verdicts} >= {
                ("reverse_dns", "tag"), ("helo", "tag"), ("sender_domain", "tag"), ("own_sender", "pass")
            }  # fmt: skip

    play(scene)


def test_a_confirmed_name_stands_in_received(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = only("reverse_dns", Severity.TAG)
        async with House.open(tmp_path) as house, house.reception(policy=policy, dns=KNOWN), house.client() as client:
            await client.say("EHLO mx.c.example", 250)
            await client.give(LETTER)
            assert f"from mx.c.example (mx.c.example [{CLIENT}])".encode() in await house.content()

    play(scene)


class Deaf(Zone):
    """Answers nothing, ever."""

    async def names(self, address: str) -> tuple[str, ...]:
        await asyncio.get_running_loop().create_future()
        return ()


@pytest.mark.parametrize(
    ("how", "answer", "wait_s"), [(Severity.REJECT, "451 4.4.3", POLICY_LOOKUP_S), (Severity.TAG, "250", 0.1)]
)
def test_a_name_server_that_never_answers_is_waited_for_only_by_a_rule_that_refuses(
    tmp_path: Path, how: Severity, answer: str, wait_s: float
) -> None:
    async def scene() -> None:
        policy = only("reverse_dns", how)
        async with House.open(tmp_path) as house, house.reception(policy=policy, dns=Deaf()), house.client() as client:
            began = house.clock.now()
            assert (await _rcpt(client)).startswith(answer)
            assert (house.clock.now() - began).total_seconds() <= wait_s + 0.1
            if how is Severity.TAG:
                await client.say("DATA", 354)
                client.transport.write(LETTER + b".\r\n")
                await client.expect(250)
                assert b"iprev=temperror (no answer in time)" in await house.content()

    play(scene)


def test_the_same_question_is_asked_once_for_many_connections(tmp_path: Path) -> None:
    async def scene() -> None:
        zone = Zone(names={CLIENT: ("mx.c.example",)}, addresses={"mx.c.example": (CLIENT,)})
        policy = only("reverse_dns", Severity.REJECT)
        async with House.open(tmp_path) as house, house.reception(policy=policy, dns=zone):
            for _ in range(5):
                async with house.client() as client:
                    assert (await _rcpt(client)).startswith("250")
            assert zone.asked == [CLIENT, "mx.c.example"]
            await pass_time(CLIENT_FACTS_S)
            async with house.client() as client:
                assert (await _rcpt(client)).startswith("250")
            assert len(zone.asked) == 4

    play(scene)


def test_rules_that_are_off_ask_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        zone = Zone()
        async with House.open(tmp_path) as house, house.reception(policy=ALL_OFF, dns=zone):
            async with house.client() as client:
                await client.say("EHLO c.example", 250)
                await client.give(LETTER)
            assert zone.asked == []
            assert (await house.content()).startswith(b"Received: ")

    play(scene)


def test_a_resolver_that_breaks_is_no_verdict_on_the_client_and_is_reported(tmp_path: Path) -> None:
    class Broken(Zone):
        async def names(self, address: str) -> tuple[str, ...]:
            raise RuntimeError("a bug")

    async def scene() -> None:
        policy = only("reverse_dns", Severity.REJECT)
        dns = Broken()
        async with House.open(tmp_path) as house, house.reception(policy=policy, dns=dns), house.client() as client:
            assert (await _rcpt(client)).startswith("451 4.4.3")

    with pytest.raises(BaseExceptionGroup) as raised:
        play(scene)
    assert raised.group_contains(RuntimeError, match="a bug")


def test_a_verdict_stands_in_the_story_with_what_the_dns_said(tmp_path: Path) -> None:
    async def scene() -> None:
        every = PolicySettings(
            reverse_dns=Severity.TAG, helo=Severity.TAG, sender_domain=Severity.REJECT, sender_host=Severity.TAG,
            own_sender=Severity.TAG,
        )  # fmt: skip
        async with House.open(tmp_path) as house, house.reception(policy=every, dns=KNOWN):
            async with house.client(address="203.0.113.1") as client:
                await client.say("EHLO silent.example", 250)
                await client.give(LETTER)
                await client.say("MAIL FROM:<x@null.example>", 250)
                await client.say(f"RCPT TO:<ann@{HERE}>", 550, "5.7.27")
            (fact,) = house.accepted[0].story.facts
            assert isinstance(fact, Received)
            inputs = {verdict.rule: verdict.inputs for verdict in fact.verdicts}
            assert inputs["reverse_dns"] == (
                "203.0.113.1", "PTR 203.0.113.1: liar.example", "A, AAAA liar.example: 192.0.2.8"
            )  # fmt: skip
            assert inputs["helo"] == ("silent.example", "A, AAAA silent.example: no answer")
            assert inputs["sender_domain"] == ("c.example", "MX c.example: mx.c.example")
            assert inputs["own_sender"] == ("c.example",)
            assert "A, AAAA c.example: none" in inputs["sender_host"]
            (refusal,) = house.ledger.refusals()
            assert refusal.verdicts[0].inputs == ("null.example", "MX null.example: .")

    play(scene)


def test_a_thousand_answers_do_not_fill_the_ledger(tmp_path: Path) -> None:
    async def scene() -> None:
        many = Zone(
            names={CLIENT: tuple(f"n{n}.{'x' * 60}.example" for n in range(1000))},
        )
        async with (
            House.open(tmp_path) as house,
            house.reception(policy=only("reverse_dns", Severity.TAG), dns=many),
            house.client() as client,
        ):
            await client.say("EHLO c.example", 250)
            await client.give(LETTER)
            (fact,) = house.accepted[0].story.facts
            assert isinstance(fact, Received)
            (verdict,) = (each for each in fact.verdicts if each.rule == "reverse_dns")
            assert len(verdict.inputs) == 1 + VERDICT_INPUTS
            assert max(map(len, verdict.inputs)) <= INPUT_TEXT

    play(scene)
