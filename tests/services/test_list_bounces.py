"""What comes back from the members of a list: counted, and who is gone for days is suspended."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.contracts.mailing_lists import MailingList, Member
from postroad.rules.verp import digest_of
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import LIST_BOUNCES_MAX
from postroad.vocabulary.reply import reply
from postroad.vocabulary.story import ListAnswered
from tests.services.houses import pass_time
from tests.services.test_list_distribution import found, last_at
from tests.services.towns import ANN, Town, mailbox, play

DAY_S = 86_400.0 + 60
LONG = "a" * 60 + "@b.example"


def report(*recipients: str, action: str = "failed", status: str = "5.1.1") -> bytes:
    """A notification as RFC 3464 has it."""
    blocks = "".join(
        f"\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        for recipient in recipients
    )
    return (
        "From: MAILER-DAEMON@mx.b.example\r\nTo: friends-bounces@a.example\r\nAuto-Submitted: auto-replied\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.b.example\r\n{blocks}\r\n--b--\r\n"
    ).encode()


def member(town: Town, one: MailingList, address: str) -> Member:
    there = town.directory.lists.member(one.id, mailbox(address))
    assert there is not None
    return there


@pytest.mark.parametrize(
    ("came_to", "content"),
    [
        ("friends-bounces+bob=b.example@a.example", report("somebody@else.example")),
        ("friends-bounces+BOB=B.Example@a.example", report("bob@b.example")),
        ("friends-bounces@a.example", report("bob@b.example", "stranger@b.example")),
        ("friends-bounces+bob=b.example@a.example", b"Subject: failure notice\r\n\r\nIt did not work.\r\n"),
    ],
    ids=["by its tag", "whatever the case", "by the report", "no report at all"],
)
def test_a_bounce_is_counted_for_the_member_it_is_about(tmp_path: Path, came_to: str, content: bytes) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "bob@b.example", "ben@b.example")
            await town.send(None, came_to, content=content)
            await town.queue_is_empty()
            assert member(town, one, "bob@b.example").bounces == 1
            assert member(town, one, "ben@b.example").bounces == 0
            assert (await last_at(town, "friends-bounces@a.example")).text == "Counted for bob@b.example."

    play(scene)


@pytest.mark.parametrize(
    ("sender", "content"),
    [
        (None, report("bob@b.example", action="delayed", status="4.4.1")),
        (None, report("bob@b.example", action="delivered", status="2.0.0")),
        (None, report("bob@b.example", status="5.3.4")),
        (None, b"Subject: Away\r\nAuto-Submitted: auto-replied\r\n\r\nI am on holiday.\r\n"),
        (ANN, report("bob@b.example")),
    ],
    ids=["late", "delivered", "too large", "away", "from a person"],
)
def test_what_says_nothing_against_the_address_is_not_counted(
    tmp_path: Path, sender: Mailbox | None, content: bytes
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "bob@b.example")
            await town.send(sender, "friends-bounces+bob=b.example@a.example", content=content)
            await town.queue_is_empty()
            assert member(town, one, "bob@b.example").bounces == 0
            assert (await last_at(town, "friends-bounces@a.example")).fate == "delivered"
            assert await town.mail_of("ann") == []

    play(scene)


def test_a_long_address_is_known_by_its_digest(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "ben@b.example", LONG)
            tag = digest_of(mailbox(LONG))
            await town.send(None, f"friends-bounces+{tag}@a.example", content=report("x@y.example"))
            await town.queue_is_empty()
            assert [each.bounces for each in town.directory.lists.members(one.id, "", 10)] == [1, 0]

    play(scene)


def test_a_member_who_is_refused_for_days_is_suspended_and_the_owners_hear_it_once(tmp_path: Path) -> None:
    """The whole way: our own reports about members go to the list, and are counted there."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            peer.on_recipient = lambda to: None if to.local_part == "good" else reply(550, "Unknown", status="5.1.1")
            one = await found(town, "bad@b.example", "good@b.example", owners=(mailbox("cat@a.example"),))
            for day in range(LIST_BOUNCES_MAX + 2):
                # A day of many messages is one bad day.
                for _ in range(2):
                    await town.send(ANN, "friends@a.example")
                    await town.queue_is_empty()
                expected = min(day + 1, LIST_BOUNCES_MAX)
                assert member(town, one, "bad@b.example").bounces == expected
                assert member(town, one, "bad@b.example").suspended == (day + 1 >= LIST_BOUNCES_MAX)
                await pass_time(DAY_S)
            (told,) = await town.mail_of("cat")
            assert b"Subject: bad@b.example suspended from friends@a.example\r\n" in told
            assert b"Auto-Submitted: auto-generated\r\n" in told
            assert b"Return-Path: <>" in told
            assert b"postroad list join friends@a.example ADDRESS" in told
            assert len(peer.recipients) == 2 * (LIST_BOUNCES_MAX + 2)
            (fact,) = [fact for fact in await town.facts() if isinstance(fact, ListAnswered)]
            assert (fact.list_, fact.to) == ("friends@a.example", "cat@a.example")
            assert member(town, one, "good@b.example").bounces == 0

    play(scene)


def test_without_owners_the_postmaster_hears_of_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "bob@b.example")
            for _ in range(LIST_BOUNCES_MAX):
                await town.send(None, "friends-bounces+bob=b.example@a.example", content=report("bob@b.example"))
                await town.queue_is_empty()
                await pass_time(DAY_S)
            assert member(town, one, "bob@b.example").suspended
            (told,) = await town.mail_of("ann")  # the first account is the postmaster
            assert b"\r\nTo: postmaster@a.example\r\n" in told

    play(scene)


def test_a_pause_of_two_weeks_begins_the_run_anew(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = await found(town, "bob@b.example")
            for pause_s in (DAY_S, 15 * DAY_S, 0.0):
                await town.send(None, "friends-bounces+bob=b.example@a.example", content=report("bob@b.example"))
                await town.queue_is_empty()
                await pass_time(pause_s)
            assert member(town, one, "bob@b.example").bounces == 1

    play(scene)
