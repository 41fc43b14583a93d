"""Relaying to servers that mean no good: whatever they say, or leave unsaid, costs bounded time and memory."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from pathlib import Path

import pytest

from postroad.contracts.resolver import MxRecord
from postroad.simulation.weather import Weather
from postroad.vocabulary.limits import (
    ADDRESSES_PER_ATTEMPT,
    CLIENT_COMMAND_S,
    CLIENT_CONNECT_S,
    CLIENT_END_OF_DATA_S,
    CLIENT_GREETING_S,
    CUTS_PER_ATTEMPT,
    SWEEP_S,
)
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import Reply, printable, reply
from tests.services.towns import ANN, CONTENT, Town, play
from tests.support.peer import Temper

ADDRESS = "203.0.113.2"
GREETED = (b"220 b\r\n", b"250-b\r\n250 PIPELINING\r\n")
ANSWERED = (*GREETED, b"250 ok\r\n250 ok\r\n354 go on\r\n")


class Scripted(asyncio.Protocol):
    """Says one part of its script each time that it is spoken to; then reads no more, goes on for ever, or hangs up."""

    def __init__(self, script: tuple[bytes, ...], then: str = "") -> None:
        self._script = list(script)
        self._then = then

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        if self._script:
            self._transport.write(self._script.pop(0))
        if not self._script and self._then:
            getattr(self, self._then)()

    def reads_no_more(self) -> None:
        self._transport.pause_reading()

    def hangs_up_unread(self) -> None:
        self._transport.pause_reading()
        self._transport.write_eof()

    def dribbles(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"250-and another thing\r\n")
            asyncio.get_running_loop().call_later(20, self.dribbles)


async def first_outcome(town: Town, script: tuple[bytes, ...], then: str = "", content: bytes = CONTENT) -> Outcome:
    """Of one letter to a server that follows the script on every connection."""
    host = town.network.host(ADDRESS)
    host.listen(25, lambda: Scripted(script, then))
    town.mx["b.example"] = (MxRecord(10, "mx.b.example"),)
    town.addresses["mx.b.example"] = (ADDRESS,)
    await town.send(ANN, "bob@b.example", content=content)
    await town.settled(1)
    return (await town.attempts())[0].outcomes[0]


@pytest.mark.parametrize("then", ["reads_no_more", "hangs_up_unread"])
def test_a_server_that_stops_reading_does_not_keep_our_connection_for_ever(tmp_path: Path, then: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            large = CONTENT + b"a line of text\r\n" * 60_000
            script = (b"220 b\r\n", b"250 b\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n")
            assert (await first_outcome(town, script, then, large)).fate is Fate.DEFERRED
            assert list(town.us.ends) == []

    play(scene)


@pytest.mark.parametrize("before", [(), GREETED[:1], GREETED, ANSWERED], ids=["greeting", "EHLO", "MAIL", "content"])
def test_a_reply_without_end_has_one_for_us(tmp_path: Path, before: tuple[bytes, ...]) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            script = (*before[:-1], before[-1] + b"250-so\r\n") if before else (b"220-so\r\n",)
            assert (await first_outcome(town, script, "dribbles")).fate is Fate.DEFERRED
            assert list(town.us.ends) == []
            longest_s = max(CLIENT_GREETING_S, CLIENT_COMMAND_S, CLIENT_END_OF_DATA_S)
            assert asyncio.get_running_loop().time() < (1 + CUTS_PER_ATTEMPT) * (longest_s + 2 * SWEEP_S)

    play(scene)


@pytest.mark.parametrize("stage", range(3))
@pytest.mark.parametrize(
    "rubbish",
    [
        b"250 " + b"x" * 1_000_000,
        b"250-more\r\n" * 50_000,
        b"\0\xff\r\n",
        b"\r\n" * 100,
        b"250 ok\r\n" * 1000,
        b"999 no\r\n",
    ],
    ids=["long line", "many lines", "octets", "empty lines", "answers to nothing", "no code"],
)
def test_rubbish_at_any_stage_defers_and_is_over_at_once(tmp_path: Path, stage: int, rubbish: bytes) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            outcome = await first_outcome(town, (*ANSWERED[:stage], rubbish))
            assert outcome.fate is Fate.DEFERRED
            assert outcome.text == printable(outcome.text)
            assert list(town.us.ends) == []
            assert asyncio.get_running_loop().time() < 10

    play(scene)


def test_silence_after_the_dot_defers_and_says_that_it_may_arrive_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", ADDRESS, domain="b.example")
            b.on_content = lambda _: Temper.HANG
            await town.send(ANN, "bob@b.example")
            await town.settled(1)
            (attempt,) = await town.attempts()
            assert attempt.outcomes[0].fate is Fate.DEFERRED
            assert "twice" in attempt.outcomes[0].text
            assert asyncio.get_running_loop().time() < CLIENT_END_OF_DATA_S + 5
            assert b.connections == 1

    play(scene)


def test_what_a_server_says_reaches_nobody_with_control_characters_in_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            evil = b"550-5.1.1 \x1b[2J\x07\xc3\xa9\xff\r\n550 5.1.1 <\x1b]0;owned\x07>\x9b31m\r\n"
            await first_outcome(town, (*GREETED, b"250 ok\r\n" + evil + b"503 no\r\n"))
            await town.queue_is_empty()
            (notification,) = await town.mail_of("ann")
            assert all(32 <= octet < 127 or octet in b"\r\n\t" for octet in notification)
            for attempt in await town.attempts():
                for outcome in attempt.outcomes:
                    assert outcome.reply == printable(outcome.reply)
            assert all(each.last == printable(each.last) for each in town.queue.settlements)

    play(scene)


@pytest.mark.parametrize("stage", ["on_sender", "on_recipient", "on_content"])
@pytest.mark.parametrize(
    "answer", [reply(421, "Too much mail from you", status="4.7.28"), Temper.CUT], ids=["421", "cut"]
)
def test_a_server_that_ends_every_conversation_is_not_hammered_for_all_that_waits(
    tmp_path: Path, stage: str, answer: Reply | Temper
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=2) as town:
            b = town.peer("mx.b.example", ADDRESS, domain="b.example")
            setattr(b, stage, lambda _: answer)
            for number in range(100):
                await town.send(ANN, f"bob{number}@b.example")
            settlements = await town.settled(100)
            assert {each.attempts for each in settlements} == {1}
            assert b.connections < 20
            setattr(b, stage, lambda _: None)
            await town.queue_is_empty()
            assert sorted(b.recipients) == sorted(f"bob{n}@b.example" for n in range(100))

    play(scene)


def test_ten_thousand_mx_that_do_not_answer_cost_one_bounded_attempt(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            names = [f"mx{n}.b.example" for n in range(10_000)]
            town.mx["b.example"] = tuple(MxRecord(n % 7, name) for n, name in enumerate(names))
            addresses = [f"203.0.113.{n}" for n in range(1, 51)]
            for address in addresses:
                town.network.host(address)
                town.network.set_weather(address, Weather(black_hole=True))
            town.addresses.update(
                zip(names, chain.from_iterable(repeat([(each,) for each in addresses])), strict=False)
            )
            await town.send(ANN, "bob@b.example")
            await town.settled(1)
            assert asyncio.get_running_loop().time() < ADDRESSES_PER_ATTEMPT * (CLIENT_CONNECT_S + 1)
            (attempt,) = await town.attempts()
            assert attempt.outcomes[0].fate is Fate.DEFERRED

    play(scene)
