"""A mailing list with members on Postfix, on another Postroad and here, found by MX through NSD; another list there.

What is looked at is what the servers have in their mailboxes: one copy each, the reverse-path that each got it under,
the fields of the list; what Postfix sends back about a member it does not know; and that two lists end that are members
of each other.
"""

from __future__ import annotations

import asyncio
import os
import re
import smtplib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from msgspec import structs

from postroad.contracts.mailing_lists import MailingList, MailingLists, Member, WhoPosts
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.vocabulary.address import Mailbox
from tests.support.nsd import running_nsd
from tests.support.ports import free_port, pause
from tests.support.postfix import Postfix, running_postfix
from tests.support.server import PASSWORD, Server, running_server

# Port 53 and the MX's own port leave no choice of ports, so each run takes addresses of its own.
NET = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"
DNS, OURS, THEIRS, AWAY = f"{NET}.63", f"{NET}.12", f"{NET}.13", f"{NET}.14"
FRIENDS, CIRCLE = Mailbox("friends", "here.example"), Mailbox("circle", "away.example")
R = TypeVar("R")

pytestmark = [
    pytest.mark.peer("postfix", "nsd", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and port 53 need root"),
    pytest.mark.xdist_group("postfix"),
]


@dataclass(frozen=True)
class Internet:
    """here.example has the list friends, away.example the list circle; there.example is Postfix's."""

    here: Server
    away: Server
    theirs: Postfix

    def post(self, subject: str, to: str = str(FRIENDS)) -> None:
        """By ann; returns when nothing is on its way any more."""
        self.say(subject, to)
        self.is_quiet()

    def say(self, subject: str, to: str) -> None:
        with smtplib.SMTP(self.here.address, self.here.ports["submission"]) as client:
            client.starttls()
            client.login("ann@here.example", PASSWORD)
            content = f"From: Ann <ann@here.example>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello.\r\n"
            client.sendmail("ann@here.example", [to], content.encode())

    def is_quiet(self) -> None:
        """Nobody has mail to deliver, three times in a row: it may be between two of them at any moment."""
        calm = 0
        for _ in range(600):
            calm = 0 if self.here.queued() or self.away.queued() or self.theirs.queued() else calm + 1
            if calm == 3:
                return
            pause(0.05)
        raise AssertionError(self.here.run("queue", "list").stdout.decode() + self.theirs.log())


def directory_of(server: Server, ask: Callable[[MailingLists], Awaitable[R]]) -> R:
    """The server notices within a second what changes here; the caller waits for what follows from it."""

    async def asked() -> R:
        directory = SqliteDirectory(server.folder / "data" / "directory.db")
        try:
            return await ask(directory.lists)
        finally:
            await directory.close()

    return asyncio.run(asked())


def found(server: Server, address: Mailbox, *members: str, verp: bool = True) -> MailingList:
    async def make(lists: MailingLists) -> MailingList:
        one = await lists.create(MailingList(id=0, address=address, posters=WhoPosts.ANYONE, verp=verp))
        await lists.join(one.id, tuple(Mailbox(*member.split("@")) for member in members), datetime.now(UTC))
        return one

    return directory_of(server, make)


def members(server: Server, one: MailingList) -> dict[str, Member]:
    async def look(lists: MailingLists) -> tuple[Member, ...]:
        return lists.members(one.id, "", 100)

    return {str(each.address): each for each in directory_of(server, look)}


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    port = free_port(THEIRS)
    zones = {
        "here.example": f"@ MX 10 mx\nmx A {OURS}",
        "there.example": f"@ MX 10 mx\nmx A {THEIRS}",
        "away.example": f"@ MX 10 mx\nmx A {AWAY}",
        "strict.example": f'@ MX 10 mx\nmx A {THEIRS}\n_dmarc TXT "v=DMARC1; p=reject"',
    }

    def sections(address: str) -> str:
        return f"""\
[dns]
servers = ["{DNS}:53"]
[delivery]
port = {port}
private_destinations = "allow"
bind = ["{address}"]
[queue]
retry = ["1s", "2s"]
"""

    with (
        running_nsd(DNS, 53, zones),
        running_postfix(
            address=THEIRS,
            port=port,
            hostname="mx.there.example",
            domains=("there.example",),
            users=("cat", "dan", "zoe"),
            nameserver=DNS,
            settings={
                "smtp_tcp_port": str(port),
                "minimal_backoff_time": "1s",
                # It takes mail for whoever is not there, and sends it back.
                "smtpd_reject_unlisted_recipient": "no",
            },
        ) as theirs,
        running_server(
            tmp_path_factory.mktemp("away"),
            hostname="mx.away.example",
            domain="away.example",
            users=("eve",),
            address=AWAY,
            port_of={"smtp": port},
            sections=sections(AWAY),
        ) as away,
        running_server(
            tmp_path_factory.mktemp("here"), address=OURS, port_of={"smtp": port}, sections=sections(OURS)
        ) as here,
    ):
        yield Internet(here, away, theirs)


@pytest.fixture(scope="module")
def friends(internet: Internet) -> MailingList:
    everybody = ("bob@here.example", "cat@there.example", "dan@there.example", "gone@there.example", "eve@away.example")
    return found(internet.here, FRIENDS, *everybody)


def about(mail: list[bytes], subject: str) -> list[bytes]:
    return [each for each in mail if f"\r\nSubject: {subject}\r\n".encode() in each]


def test_every_member_gets_one_copy_whatever_server_it_is_on(internet: Internet, friends: MailingList) -> None:
    internet.post("to all")
    copies = {
        "bob@here.example": about(internet.here.mailbox("bob"), "to all"),
        "eve@away.example": about(internet.away.mailbox("eve"), "to all"),
        "cat@there.example": about(internet.theirs.messages("cat"), "to all"),
        "dan@there.example": about(internet.theirs.messages("dan"), "to all"),
    }
    for member, mail in copies.items():
        (copy,) = mail
        path = f"Return-Path: <friends-bounces+{member.replace('@', '=')}@here.example>".encode()
        assert path in copy
        assert b"\r\nList-Id: <friends.here.example>\r\n" in copy
        assert b"\r\nList-Unsubscribe: <mailto:friends-unsubscribe@here.example>\r\n" in copy
        assert b"\r\nPrecedence: list\r\n" in copy
        assert b"\r\nFrom: Ann <ann@here.example>\r\nTo: friends@here.example\r\n" in copy
        assert copy.endswith(b"\r\n\r\nHello.\r\n")
    # The author hears nothing of the member who is not there.
    assert not [each for each in internet.here.mailbox("ann") if b"gone@there.example" in each]


def test_what_postfix_sends_back_is_counted_for_the_member_it_is_about(
    internet: Internet, friends: MailingList
) -> None:
    internet.post("to all again")
    counted = {address: each.bounces for address, each in members(internet.here, friends).items()}
    assert counted == dict.fromkeys(counted, 0) | {"gone@there.example": 1}
    assert "to=<friends-bounces+gone=there.example@here.example>" in internet.theirs.log()


def test_somebody_on_postfix_joins_by_mail(internet: Internet, friends: MailingList) -> None:
    """The question goes to Postfix; the answer comes from there."""

    def from_zoe(to: str) -> None:
        with smtplib.SMTP(internet.theirs.address, internet.theirs.port) as client:
            client.sendmail("zoe@there.example", [to], b"From: zoe@there.example\r\nSubject: Re: x\r\n\r\nyes\r\n")
        internet.is_quiet()

    postfix = internet.theirs
    assert "zoe@there.example" not in members(internet.here, friends)
    from_zoe("friends-subscribe@here.example")
    (question,) = postfix.messages("zoe")
    where = re.search(rb"<(friends-confirm\+[a-z2-7]+@here\.example)>", question)
    assert where is not None
    assert b"\r\nAuto-Submitted: auto-replied\r\n" in question
    from_zoe(where[1].decode())
    assert "zoe@there.example" in members(internet.here, friends)
    assert b"\r\nSubject: Welcome to friends@here.example\r\n" in b"".join(postfix.messages("zoe"))


def test_an_author_whose_domain_forbids_it_in_dns_stands_in_reply_to(internet: Internet) -> None:
    strict = Mailbox("strict", "here.example")
    one = found(internet.here, strict, "dan@there.example")

    async def rewrite(lists: MailingLists) -> None:
        await lists.change(structs.replace(one, from_rewrite=True))

    directory_of(internet.here, rewrite)
    for domain in ("strict.example", "there.example"):
        with smtplib.SMTP(internet.here.address, internet.here.ports["smtp"]) as client:
            content = f"From: Cat <cat@{domain}>\r\nSubject: from {domain}\r\n\r\nHello.\r\n"
            client.sendmail(f"cat@{domain}", [str(strict)], content)
    internet.is_quiet()
    (forbidden,) = about(internet.theirs.messages("dan"), "from strict.example")
    assert b"\r\nFrom: Cat via strict <strict@here.example>\r\nReply-To: Cat <cat@strict.example>\r\n" in forbidden
    (allowed,) = about(internet.theirs.messages("dan"), "from there.example")
    assert b"\r\nFrom: Cat <cat@there.example>\r\n" in allowed


def test_two_lists_on_two_servers_that_are_members_of_each_other_end(internet: Internet, friends: MailingList) -> None:
    circle = found(internet.away, CIRCLE, str(FRIENDS), "eve@away.example", verp=False)

    async def join(lists: MailingLists) -> None:
        await lists.join(friends.id, (CIRCLE,), datetime.now(UTC))

    directory_of(internet.here, join)
    internet.post("round and round")
    (at_cat,) = about(internet.theirs.messages("cat"), "round and round")
    assert at_cat.count(b"\r\nX-Loop: ") == 1
    # She is on both lists: one copy by each.
    by_friends, by_circle = sorted(about(internet.away.mailbox("eve"), "round and round"), key=len)
    assert b"\r\nReturn-Path: <friends-bounces+eve=away.example@here.example>\r\n" in b"\r\n" + by_friends
    assert b"\r\nReturn-Path: <circle-bounces@away.example>\r\n" in b"\r\n" + by_circle
    assert by_circle.count(b"\r\nX-Loop: ") == 2
    assert by_circle.count(b"\r\nList-Id: ") == 1
    assert members(internet.here, friends)[str(CIRCLE)].bounces == 0
    assert members(internet.away, circle)[str(FRIENDS)].bounces == 0
