"""Joining and leaving a list by mail: the list asks back, and the answer with the token does it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from postroad.contracts.mailing_lists import MailingList
from postroad.vocabulary.limits import LIST_ANSWER_APART_S, LIST_TOKEN_DAYS
from tests.services.houses import pass_time
from tests.services.test_list_distribution import found, last_at
from tests.services.towns import ANN, Town, mailbox, play

CAT = mailbox("cat@a.example")
APART_S = LIST_ANSWER_APART_S + 1


def wish(subject: str = "") -> bytes:
    return f"From: cat@a.example\r\nSubject: {subject}\r\nMessage-ID: <w1@a.example>\r\n\r\n".encode()


async def ask(town: Town, duty: str, content: bytes | None = None, sender: str = "cat@a.example") -> bytes:
    """Write to an address of the list; the last that is in cat's mailbox then."""
    before = len(await town.mail_of("cat"))
    await town.send(mailbox(sender), f"friends-{duty}@a.example", content=wish() if content is None else content)
    await town.queue_is_empty()
    mail = await town.mail_of("cat")
    return mail[-1] if len(mail) > before else b""


def confirm_address(question: bytes) -> str:
    """Where an answer to the question goes."""
    match = re.search(rb"\r\nFrom: [^\r\n]*<friends-(confirm\+[a-z2-7]+)@a\.example>\r\n", question)
    assert match is not None, question
    return match[1].decode()


def is_member(town: Town, one: MailingList, address: str = "cat@a.example") -> bool:
    return town.directory.lists.member(one.id, mailbox(address)) is not None


@pytest.mark.parametrize(("duty", "subject"), [("subscribe", ""), ("join", "x"), ("request", "Re: SUBSCRIBE me")])
def test_who_wants_to_join_is_asked_and_joins_by_answering(tmp_path: Path, duty: str, subject: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town)
            question = await ask(town, duty, wish(subject))
            assert b"Return-Path: <>\r\nAuto-Submitted: auto-replied\r\n" in question
            assert b"\r\nIn-Reply-To: <w1@a.example>\r\n" in question
            assert b"\r\nSubject: Please confirm: join friends@a.example\r\n" in question
            assert not is_member(town, one)
            welcome = await ask(town, confirm_address(question), wish("Re: Please confirm"))
            assert b"\r\nSubject: Welcome to friends@a.example\r\n" in welcome
            assert is_member(town, one)
            await pass_time(APART_S)
            again = await ask(town, duty, wish(subject))
            assert b"\r\nSubject: You are a member of friends@a.example\r\n" in again

    play(scene)


@pytest.mark.parametrize(("duty", "subject"), [("unsubscribe", ""), ("request", "unsubscribe")])
def test_who_wants_to_leave_is_asked_and_leaves_by_answering(tmp_path: Path, duty: str, subject: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "cat@a.example")
            question = await ask(town, duty, wish(subject))
            assert b"\r\nSubject: Please confirm: leave friends@a.example\r\n" in question
            assert is_member(town, one)
            farewell = await ask(town, confirm_address(question))
            assert b"\r\nSubject: You have left friends@a.example\r\n" in farewell
            assert not is_member(town, one)
            await pass_time(APART_S)
            again = await ask(town, duty, wish(subject))
            assert b"\r\nSubject: You are not a member of friends@a.example\r\n" in again

    play(scene)


@pytest.mark.parametrize("subject", ["help", "", "what is this?"])
def test_any_other_request_is_answered_with_help(tmp_path: Path, subject: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town)
            answer = await ask(town, "request", wish(subject))
            assert b"\r\nSubject: How to use the list friends@a.example\r\n" in answer
            assert b"friends-unsubscribe@a.example" in answer
            assert b"friends-owner@a.example" in answer
            assert b"\r\nList-Id: <friends.a.example>\r\n" in answer

    play(scene)


def test_nobody_is_answered_again_within_ten_minutes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town)
            assert await ask(town, "request")
            assert await ask(town, "subscribe") == b""
            assert "has been answered just now" in (await last_at(town, "friends-subscribe@a.example")).text
            await pass_time(APART_S)
            assert await ask(town, "subscribe")

    play(scene)


@pytest.mark.parametrize(
    ("sender", "field"),
    [
        (CAT, "Auto-Submitted: auto-generated"),
        (CAT, "Precedence: bulk"),
        (CAT, "List-Id: <other.example>"),
        (None, "X-Nothing: x"),
    ],
)
def test_what_a_program_sent_is_not_answered(tmp_path: Path, sender: None, field: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town)
            await town.send(sender, "friends-subscribe@a.example", content=f"{field}\r\n".encode() + wish())
            await town.queue_is_empty()
            last = await last_at(town, "friends-subscribe@a.example")
            assert (last.fate, last.text) == ("delivered", "Not answered: a program sent it.")
            assert await town.mail_of("cat") == []
            assert not is_member(town, one)

    play(scene)


def test_a_token_is_good_for_its_address_and_for_three_days(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town)
            where = confirm_address(await ask(town, "subscribe"))
            await ask(town, where, sender="ann@a.example")
            assert not is_member(town, one, "ann@a.example")
            (refused,) = await town.mail_of("ann")
            assert b"\r\nSubject: Not confirmed: friends@a.example\r\n" in refused
            await pass_time((LIST_TOKEN_DAYS + 1) * 86_400.0)
            assert b"\r\nSubject: Not confirmed: friends@a.example\r\n" in await ask(town, where)
            assert not is_member(town, one)

    play(scene)


def test_to_join_a_closed_list_is_for_its_owners_to_decide(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, closed=True, owners=(ANN,))
            answer = await ask(town, "subscribe")
            assert b"\r\nSubject: Your wish to join friends@a.example\r\n" in answer
            (told,) = await town.mail_of("ann")
            assert b"\r\nSubject: cat@a.example wants to join friends@a.example\r\n" in told
            assert b"postroad list join friends@a.example cat@a.example" in told
            assert not is_member(town, one)

    play(scene)


def test_a_list_that_is_closed_meanwhile_lets_nobody_in_by_an_old_token(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town)
            where = confirm_address(await ask(town, "subscribe"))
            await town.directory.lists.change(type(one)(id=one.id, address=one.address, closed=True, owners=(ANN,)))
            await ask(town, where)
            assert not is_member(town, one)
            assert len(await town.mail_of("ann")) == 1

    play(scene)


def test_who_was_suspended_joins_again_by_mail(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "cat@a.example")
            cat = town.directory.lists.member(one.id, CAT)
            assert cat is not None
            gone = type(cat)(address=CAT, joined_at=cat.joined_at, bounces=5, suspended=True)
            await town.directory.lists.note_bounces(one.id, (gone,))
            await ask(town, confirm_address(await ask(town, "subscribe")))
            back = town.directory.lists.member(one.id, CAT)
            assert back is not None
            assert (back.suspended, back.bounces) == (False, 0)

    play(scene)


def test_what_is_for_the_owners_goes_to_the_owners(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, owners=(ANN,))
            await town.send(CAT, "friends-owner@a.example", content=wish("hello"))
            await town.queue_is_empty()
            (mail,) = await town.mail_of("ann")
            assert b"Return-Path: <cat@a.example>" in mail

    play(scene)
