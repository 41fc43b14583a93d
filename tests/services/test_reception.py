"""Mail comes in by SMTP: what is taken, what is kept, what is told."""

from pathlib import Path

import pytest

from postroad.simulation.weather import Weather
from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.settings import LimitSettings
from postroad.vocabulary.story import Received
from tests.services.houses import CLIENT, HERE, HOSTNAME, House, play

LETTER = b"From: cat@c.example\r\nTo: ann@here.example\r\nMessage-ID: <1@c.example>\r\nSubject: hi\r\n\r\nHello\r\n"


def test_a_letter_is_in_the_queue_when_the_client_hears_250(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            await client.say("EHLO c.example", 250)
            reply = await client.give(LETTER)
            message = house.accepted[0]
            assert reply == f"250 2.0.0 Ok: queued as {message.queue_id}"
            content = await house.content()
            assert content == message.content
            assert content.endswith(LETTER)
            trace = content.removesuffix(LETTER).decode()
            assert trace.startswith(f"Received: from c.example ([{CLIENT}])\r\n\tby {HOSTNAME} with ESMTP")
            assert f"id {message.queue_id}" in trace
            assert f"for <ann@{HERE}>" in trace
            assert await house.queued() == 1
            assert reception.messages == 1
            await client.say("QUIT", 221)

    play(scene)


def test_the_story_of_a_letter_begins_with_its_reception(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.give(LETTER, f"ann@{HERE}", "dan@b.example")
            entry = house.accepted[0].story
            assert set(entry.keys) == {
                entry.queue_id, f"ann@{HERE}", "dan@b.example", "cat@c.example", "<1@c.example>"
            }  # fmt: skip
            (fact,) = entry.facts
            assert isinstance(fact, Received)
            assert fact.listener == "smtp"
            assert fact.peer.remote.address == CLIENT
            assert fact.peer.helo == "c.example"
            assert fact.reverse_path == "<cat@c.example>"
            assert fact.recipients == (f"ann@{HERE}", "dan@b.example")
            assert [(v.rule, v.result) for v in fact.verdicts] == [
                ("sender", "pass"), ("recipient", "pass"), ("relay", "pass")
            ]  # fmt: skip
            assert [str(each.destination) for each in house.accepted[0].groups] == ["mailbox", "domain:b.example"]

    play(scene)


@pytest.mark.parametrize("segment_bytes", [1, 7, 100])
def test_the_size_of_the_segments_makes_no_difference(tmp_path: Path, segment_bytes: int) -> None:
    async def scene() -> None:
        weather = Weather(segment_bytes=segment_bytes)
        async with House.open(tmp_path, weather) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.give(LETTER)
            assert (await house.content()).endswith(LETTER)

    play(scene)


def test_all_replies_to_a_pipelined_group_leave_in_one_write(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            before = client.segments
            client.send("MAIL FROM:<>", f"RCPT TO:<ann@{HERE}>", f"RCPT TO:<nobody@{HERE}>", "DATA")
            await client.expect(250, "2.1.0")
            await client.expect(250, "2.1.5")
            await client.expect(550, "5.1.1")
            await client.expect(354)
            assert client.segments == before + 1

    play(scene)


def test_octets_over_127_make_it_8bitmime(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.give(LETTER)
            await client.give(LETTER + "naïve\r\n".encode())
            assert [each.envelope.body for each in house.accepted] == [BodyType.SEVEN_BIT, BodyType.EIGHT_BIT_MIME]

    play(scene)


def test_one_recipient_named_a_thousand_times_is_one_delivery(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            names = [f"ann@{HERE}", f"ANN@{HERE}", f'"ann"@{HERE}', f"Ann@{HERE.upper()}"] * 250
            await client.give(LETTER, *names)
            assert len(house.accepted[0].envelope.recipients) == 1

    play(scene)


def test_more_recipients_than_the_limit_are_put_off_to_another_transaction(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(recipients=100)
        async with House.open(tmp_path) as house, house.reception(limits=limits), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            for n in range(100):
                await client.say(f"RCPT TO:<u{n}@b.example>", 250)
            await client.say("RCPT TO:<u100@b.example>", 452, "4.5.3")
            await client.say("DATA", 354)
            client.transport.write(LETTER + b".\r\n")
            await client.expect(250)
            assert len(house.accepted[0].envelope.recipients) == 100

    play(scene)
