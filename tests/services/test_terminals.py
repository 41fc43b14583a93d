"""SEND, SOML and SAML: messages to the terminals of users who are there; and what VRFY and EXPN tell of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroad.contracts.directory import Account, Domain
from postroad.contracts.errors import Busy
from postroad.services.terminals import TerminalMessage, Watchers
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import (
    WATCH_ACK_S,
    WATCH_LEASE_S,
    WATCH_MESSAGES,
    WATCHERS,
    WATCHERS_OF_ADDRESS,
)
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import PolicySettings, WhoMayAsk
from postroad.vocabulary.story import Shown
from tests.services.depots import PASSWORD, POLICY, Depot, Internet, calling
from tests.services.houses import Client, pass_time, play

TEXT = b"From: Ann <ann@a.example>\r\nSubject: lunch\r\n\r\nNow?\r\n"
LONG = b"Subject: long\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n" * 1200


@asynccontextmanager
async def house(folder: Path, policy: PolicySettings = POLICY) -> AsyncIterator[Depot]:
    async with Depot.open(Internet(), folder, "p.example", "192.0.2.1", users=("dave", "eve"), policy=policy) as depot:
        yield depot


@asynccontextmanager
async def user(depot: Depot, name: str = "eve") -> AsyncIterator[Client]:
    async with calling(depot, ListenerRole.SUBMISSION, secure=True) as client:
        assert (await client.log_in(f"{name}@p.example", PASSWORD)).startswith("235 ")
        yield client


class Terminal:
    """Somebody who watches, and shows everything at once."""

    def __init__(self, depot: Depot, address: str = "dave@p.example", name: str = "tty1") -> None:
        self.depot = depot
        self.address = address
        self.name = name
        self.messages: list[TerminalMessage] = []
        self.shows = True

    async def watch(self) -> None:
        shown = 0
        while True:
            for number, message in await self.depot.watchers.poll(self.name, self.address, shown):
                if not self.shows:
                    continue
                self.messages.append(message)
                shown = number
            if not self.shows:
                await asyncio.Event().wait()


@asynccontextmanager
async def terminal(depot: Depot, **more: str) -> AsyncIterator[Terminal]:
    watching = Terminal(depot, **more)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watching.watch())
        await asyncio.sleep(0)
        yield watching
        task.cancel()


async def give(client: Client, way: str, recipient: str, content: bytes = TEXT, code: int = 250) -> str:
    await client.say(f"{way} FROM:<eve@p.example>", 250)
    await client.say(f"RCPT TO:<{recipient}>", 250)
    await client.say("DATA", 354)
    client.transport.write(content + b".\r\n")
    return await client.expect(code)


# ---- the three ways ------------------------------------------------------------------------------


def test_send_shows_the_message_and_keeps_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client, terminal(depot) as dave:
            await give(client, "SEND", "dave@p.example")
            (message,) = dave.messages
            assert (message.way, message.envelope_from) == ("SEND", "<eve@p.example>")
            assert (message.from_, message.subject, message.lines) == ("Ann <ann@a.example>", "lunch", ("Now?",))
            assert await depot.letters_of("dave") == []
            assert depot.accepted == []

    play(scene)


def test_send_to_who_is_not_there_is_refused_at_rcpt(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client:
            await client.say("SEND FROM:<eve@p.example>", 250)
            await client.say("RCPT TO:<dave@p.example>", 450, "4.2.1")

    play(scene)


@pytest.mark.parametrize("there", [True, False])
def test_soml_goes_to_the_terminal_or_to_the_mailbox(tmp_path: Path, there: bool) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client:
            address = "dave@p.example" if there else "eve@p.example"
            async with terminal(depot, address=address) as watching:
                await give(client, "SOML", "dave@p.example")
                await depot.is_quiet()
                assert len(watching.messages) == there
                assert len(await depot.letters_of("dave")) == (not there)

    play(scene)


@pytest.mark.parametrize("there", [True, False])
def test_saml_goes_to_the_mailbox_and_to_the_terminal_too(tmp_path: Path, there: bool) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client:
            address = "dave@p.example" if there else "eve@p.example"
            async with terminal(depot, address=address) as watching:
                assert "queued as" in await give(client, "SAML", "dave@p.example")
                await depot.is_quiet()
                assert len(watching.messages) == there
                assert len(await depot.letters_of("dave")) == 1

    play(scene)


def test_a_terminal_that_dies_between_rcpt_and_the_end_of_the_data_has_shown_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client, terminal(depot) as dave:
            dave.shows = False
            await give(client, "SEND", "dave@p.example", code=451)
            dave.messages.clear()
            await client.say("NOOP", 250)
            assert await depot.letters_of("dave") == []

    play(scene)


def test_of_two_recipients_the_one_whose_terminal_died_gets_it_as_mail(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            house(tmp_path) as depot,
            user(depot) as client,
            terminal(depot) as dave,
            terminal(depot, address="eve@p.example", name="tty2") as eve,
        ):
            eve.shows = False
            await client.say("SEND FROM:<eve@p.example>", 250)
            await client.say("RCPT TO:<dave@p.example>", 250)
            await client.say("RCPT TO:<eve@p.example>", 250)
            await client.say("DATA", 354)
            client.transport.write(TEXT + b".\r\n")
            await client.expect(250)
            await depot.is_quiet()
            assert len(dave.messages) == 1
            assert await depot.letters_of("dave") == []
            assert len(await depot.letters_of("eve")) == 1

    play(scene)


@pytest.mark.parametrize(("way", "code", "mailed"), [("SEND", 552, 0), ("SOML", 250, 1), ("SAML", 250, 1)])
def test_what_is_too_much_for_a_terminal_is_for_the_mailbox(tmp_path: Path, way: str, code: int, mailed: int) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client, terminal(depot) as dave:
            await give(client, way, "dave@p.example", LONG, code)
            await depot.is_quiet()
            assert dave.messages == []
            assert len(await depot.letters_of("dave")) == mailed

    play(scene)


@pytest.mark.parametrize("way", ["SEND", "SOML", "SAML"])
def test_terminals_are_here_or_nowhere(tmp_path: Path, way: str) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client:
            await client.say(f"{way} FROM:<eve@p.example>", 250)
            await client.say("RCPT TO:<dan@elsewhere.example>", 551)
            await client.say("RCPT TO:<nobody@p.example>", 550)

    play(scene)


def test_the_ways_end_with_their_transaction(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client, terminal(depot) as dave:
            await give(client, "SEND", "dave@p.example")
            await give(client, "MAIL", "dave@p.example")
            await depot.is_quiet()
            assert len(dave.messages) == 1
            assert len(await depot.letters_of("dave")) == 1

    play(scene)


def test_what_a_terminal_would_obey_never_reaches_it(tmp_path: Path) -> None:
    evil = "Subject: \x1b]0;owned\x07\u202eevil\r\n\r\n\x1b[2Jboo\x9b31m\u2028x\r\n".encode()

    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client, terminal(depot) as dave:
            await give(client, "SEND", "dave@p.example", evil)
            (message,) = dave.messages
            shown = "".join((message.subject, message.from_, *message.lines))
            assert shown.isprintable()
            assert "boo" in shown

    play(scene)


def test_the_story_tells_who_was_shown_what(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, user(depot) as client, terminal(depot):
            await give(client, "SEND", "dave@p.example")
            await depot.ledger.flush()
            entries = await depot.ledger.find("dave@p.example", 10)
            facts = [fact for entry in entries for fact in entry.facts if isinstance(fact, Shown)]
            assert [(fact.way, fact.accounts) for fact in facts] == [("SEND", ("dave@p.example",))]

    play(scene)


# ---- who may -------------------------------------------------------------------------------------


def test_strangers_neither_see_nor_use_the_old_ways(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, calling(depot) as client, terminal(depot):
            ehlo = await client.say("EHLO c.example", 250)
            listed = await client.say("HELP", 214)
            assert not any(way in ehlo or way in listed for way in ("SEND", "SOML", "SAML"))
            for way in ("SEND", "SOML", "SAML"):
                await client.say(f"{way} FROM:<ann@a.example>", 502, "5.5.1")

    play(scene)


@pytest.mark.parametrize(("who", "code"), [(WhoMayAsk.ANYONE, 250), (WhoMayAsk.NEVER, 502)])
def test_the_policy_says_who_may_use_them(tmp_path: Path, who: WhoMayAsk, code: int) -> None:
    async def scene() -> None:
        async with house(tmp_path, PolicySettings(legacy_commands=who)) as depot, calling(depot) as client:
            await client.say("SOML FROM:<ann@p.example>", code)

    play(scene)


# ---- the register of watchers --------------------------------------------------------------------


def message(number: int = 0) -> TerminalMessage:
    return TerminalMessage(
        at="2026-11-23T12:00:00Z", way="SEND", envelope_from="<>", from_="", subject=str(number), lines=()
    )


def test_who_has_not_asked_for_a_while_is_gone() -> None:
    async def scene() -> None:
        watchers = Watchers()
        await watchers.poll("tty", "dave@p.example", 0, 0.01)
        assert await watchers.is_active("dave@p.example")
        await pass_time(WATCH_LEASE_S + 1)
        assert not await watchers.is_active("dave@p.example")
        assert await watchers.show(message(), ("dave@p.example",)) == frozenset()

    play(scene)


def test_a_message_counts_as_shown_when_the_terminal_has_said_so() -> None:
    async def scene() -> None:
        watchers = Watchers()
        loop = asyncio.get_running_loop()
        await watchers.poll("tty", "dave@p.example", 0, 0.01)
        async with asyncio.TaskGroup() as tasks:
            began = loop.time()
            showing = tasks.create_task(watchers.show(message(), ("dave@p.example",)))
            await asyncio.sleep(0)
            ((number, _),) = await watchers.poll("tty", "dave@p.example", 0, 1)
            assert not showing.done()
            await watchers.poll("tty", "dave@p.example", number, 0.01)
            assert await showing == {"dave@p.example"}
            assert loop.time() - began < WATCH_ACK_S

    play(scene)


def test_a_terminal_that_closes_has_shown_what_it_says_and_no_more() -> None:
    async def scene() -> None:
        watchers = Watchers()
        await watchers.poll("tty", "dave@p.example", 0, 0.01)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(watchers.show(message(1), ("dave@p.example",)))
            second = tasks.create_task(watchers.show(message(2), ("dave@p.example",)))
            await asyncio.sleep(0)
            watchers.close("tty", 1)
            watchers.close("tty", 1)
            assert await first == {"dave@p.example"}
            assert await second == frozenset()
        assert watchers.count == 0

    play(scene)


def test_a_terminal_that_shows_nothing_takes_only_so_many() -> None:
    async def scene() -> None:
        watchers = Watchers()
        await watchers.poll("tty", "dave@p.example", 0, 0.01)
        async with asyncio.TaskGroup() as tasks:
            for number in range(WATCH_MESSAGES):
                tasks.create_task(watchers.show(message(number), ("dave@p.example",)))
            await asyncio.sleep(0)
            assert not await watchers.is_active("dave@p.example")

    play(scene)


def test_there_are_only_so_many_watchers_and_those_that_left_make_room() -> None:
    async def scene() -> None:
        watchers = Watchers()
        for number in range(WATCHERS_OF_ADDRESS):
            await watchers.poll(f"d{number}", "dave@p.example", 0, 0.01)
        with pytest.raises(Busy):
            await watchers.poll("one more", "dave@p.example", 0, 0.01)
        for number in range(WATCHERS - WATCHERS_OF_ADDRESS):
            await watchers.poll(f"x{number}", f"u{number}@p.example", 0, 0.01)
        with pytest.raises(Busy):
            await watchers.poll("another", "eve@p.example", 0, 0.01)
        await pass_time(WATCH_LEASE_S + 1)
        await watchers.poll("another", "eve@p.example", 0, 0.01)
        assert watchers.count == 1

    play(scene)


# ---- VRFY and EXPN -------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["VRFY", "EXPN"])
@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("dave@p.example", "250 2.1.5 Dave <dave@p.example>"),
        ("<DAVE@p.example>", "250 2.1.5 Dave <dave@p.example>"),
        ("dave", "250 2.1.5 Dave <dave@p.example>"),
        ("nobody@p.example", "550 5.1.1"),
        ("nobody", "550 5.1.1"),
        ("dan@elsewhere.example", "551 5.1.6"),
    ],
)
def test_users_and_lists_are_told_to_those_who_may_ask(tmp_path: Path, verb: str, argument: str, answer: str) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, calling(depot) as client:
            client.send(f"{verb} {argument}")
            assert (await client.reply()).startswith(answer)

    play(scene)


def test_a_name_in_two_domains_is_ambiguous(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as depot, calling(depot) as client:
            await depot.directory.add_domain(Domain(name="q.example"))
            await depot.directory.add_account(Account(id=0, address=Mailbox("dave", "q.example")))
            answer = await client.say("VRFY dave", 553)
            assert "dave@p.example" in answer
            assert "dave@q.example" in answer

    play(scene)


@pytest.mark.parametrize(
    ("who", "stranger", "known"),
    [(WhoMayAsk.ANYONE, 250, 250), (WhoMayAsk.AUTHENTICATED, 252, 250), (WhoMayAsk.NEVER, 502, 502)],
)
def test_the_policy_says_who_may_expand(tmp_path: Path, who: WhoMayAsk, stranger: int, known: int) -> None:
    async def scene() -> None:
        async with house(tmp_path, PolicySettings(expn=who)) as depot:
            async with calling(depot) as client:
                await client.say("EXPN dave@p.example", stranger)
            async with user(depot) as client:
                await client.say("EXPN dave@p.example", known)

    play(scene)
