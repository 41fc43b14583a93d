"""Mail to members of a list, each with a reverse-path of its own: over the wire, and into mailboxes here."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.contracts.directory import Account
from postroad.message.surrogate import rewriter
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.reply import reply
from tests.services.towns import CONTENT, Town, play

BOUNCES = Mailbox("friends-bounces", "a.example")


def test_each_member_elsewhere_has_a_transaction_of_its_own_over_one_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            members = [f"u{number}@b.example" for number in range(50)]
            await town.send(BOUNCES, *members, verp=True)
            await town.queue_is_empty()
            assert {taken.recipients for taken in peer.mail} == {(member,) for member in members}
            for taken in peer.mail:
                (member,) = taken.recipients
                assert str(taken.reverse_path) == f"friends-bounces+{member.replace('@', '=')}@a.example"
            assert (len(peer.mail), peer.connections) == (50, 1)

    play(scene)


def test_without_the_mark_members_share_a_transaction(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(BOUNCES, "u1@b.example", "u2@b.example")
            await town.queue_is_empty()
            (taken,) = peer.mail
            assert (taken.reverse_path, taken.recipients) == (BOUNCES, ("u1@b.example", "u2@b.example"))

    play(scene)


def test_another_letter_to_the_same_place_does_not_wait_for_all_members(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(BOUNCES, *(f"u{number}@b.example" for number in range(500)), verp=True)
            await town.send(Mailbox("ann", "a.example"), "bob@b.example")
            await town.queue_is_empty()
            assert len(peer.recipients) == 501
            assert peer.recipients.index("bob@b.example") < 10

    play(scene)


def test_members_who_are_refused_are_reported_to_the_bounce_address_alone(tmp_path: Path) -> None:
    """The one for all: the report says whom it is about, and a report for each would be a thousand of them."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            peer.on_recipient = lambda to: None if to.local_part == "good" else reply(550, "Unknown", status="5.1.1")
            await town.directory.add_account(Account(id=0, address=BOUNCES))
            await town.send(BOUNCES, "bad1@b.example", "good@b.example", "bad2@b.example", verp=True)
            await town.queue_is_empty()
            assert peer.recipients == ["good@b.example"]
            (report,) = await town.mail_of("friends-bounces")
            assert report.count(b"\r\nFinal-Recipient: rfc822; bad") == 2
            assert await town.mail_of("ann") == []

    play(scene)


@pytest.mark.parametrize("filling", [0, 3000], ids=["small", "large"])
def test_each_member_here_has_a_return_path_of_its_own_and_a_surrogate_that_fits(tmp_path: Path, filling: int) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            content = "From: ann@a.example\r\nSubject: Grüße\r\n\r\nHello.\r\n".encode() + b"x" * 70 * filling
            content += b"\r\n" if filling else b""
            await town.send(BOUNCES, "ann@a.example", "cat@a.example", content=content, smtputf8=True, verp=True)
            await town.queue_is_empty()
            for name in ("ann", "cat"):
                whole = f"Return-Path: <friends-bounces+{name}=a.example@a.example>\r\n".encode() + content
                assert await town.mail_of(name) == [whole]
                account = town.directory.account(Mailbox(name, "a.example"))
                assert account is not None
                async with town.mailboxes.open_maildrop(account.id) as maildrop:
                    (message,) = maildrop.messages
                    edits = await maildrop.surrogate(message.uid)
                made = rewriter(edits)
                shown = made.feed(whole) + made.end()
                assert shown == whole.replace("Subject: Grüße".encode(), b"Subject: =?utf-8?b?R3LDvMOfZQ==?=")

    play(scene)


def test_plain_content_has_no_surrogate_whoever_gets_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await town.send(BOUNCES, "ann@a.example", "cat@a.example", verp=True)
            await town.queue_is_empty()
            head = b"Return-Path: <friends-bounces+cat=a.example@a.example>\r\n"
            assert await town.mail_of("cat") == [head + CONTENT]

    play(scene)
