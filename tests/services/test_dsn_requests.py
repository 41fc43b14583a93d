"""What a sender asked to be told (RFC 3461): passed on as it came to who knows of it, and kept by us elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Notify, Recipient
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.smtp.events import RecipientGiven
from postroad.wire.smtp.server_profile import ServerProfile
from tests.services.towns import ANN, Town, play

ASKS: dict[str, tuple[Notify, ...]] = {
    "silent": (),
    "never": (Notify.NEVER,),
    "success": (Notify.SUCCESS,),
    "failure": (Notify.FAILURE,),
    "delay": (Notify.DELAY,),
    "both": (Notify.SUCCESS, Notify.FAILURE),
}
"""What is asked for a recipient, by its name."""
NO = reply(550, "No such user", status="5.1.1")


def everybody(domain: str) -> list[Recipient]:
    return [Recipient(Mailbox(name, domain), notify) for name, notify in ASKS.items()]


async def told(town: Town) -> dict[str, str]:
    """What ann is told of each recipient, by its name; each is told of once."""
    found: dict[str, str] = {}
    for report in await town.mail_of("ann"):
        for group in report.decode().split("\r\nFinal-Recipient: rfc822; ")[1:]:
            name, action = group.partition("@")[0], re.search(r"\r\nAction: (\w+)\r\n", group)
            assert action is not None
            assert name not in found
            found[name] = action[1]
    return found


def named(names: Collection[str], action: str) -> dict[str, str]:
    return dict.fromkeys(names, action)


def test_what_was_asked_goes_on_as_it_came_and_nothing_is_added(tmp_path: Path) -> None:
    """RFC 3461 section 5.2.1"""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            asked = Recipient(Mailbox("bob", "b.example"), (Notify.DELAY, Notify.SUCCESS), "rfc822;Bob+2Bold@B.example")
            await town.send(ANN, asked, "bill@b.example", ret="FULL", envid="Order+2B42")
            await town.send(ANN, "bea@b.example")
            await town.queue_is_empty()
            assert b.asked == [
                RecipientGiven(asked.forward_path, asked.notify, asked.original),
                RecipientGiven(Mailbox("bill", "b.example")),
                RecipientGiven(Mailbox("bea", "b.example")),
            ]
            assert [(each.ret, each.envid) for each in b.senders] == [("FULL", "Order+2B42"), ("", "")]
            assert await told(town) == {}

    play(scene)


@pytest.mark.parametrize("knows", [True, False])
def test_success_at_the_next_hop_is_told_by_who_knows_how(tmp_path: Path, knows: bool) -> None:
    """RFC 3461 section 5.2.2 b, d, e: "relayed", by us, where the next hop cannot; for nobody else."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname=b.hostname, dsn=knows)
            await town.send(ANN, *everybody("b.example"), ret="FULL", envid="x")
            await town.queue_is_empty()
            assert len(b.asked) == len(ASKS)
            assert await told(town) == ({} if knows else named(("success", "both"), "relayed"))
            if not knows:
                assert {(each.notify, each.original) for each in b.asked} == {((), "")}
                assert [(each.ret, each.envid) for each in b.senders] == [("", "")]

    play(scene)


@pytest.mark.parametrize("knows", [True, False])
def test_a_refused_recipient_is_told_of_where_failures_are_to_be(tmp_path: Path, knows: bool) -> None:
    """RFC 3461 sections 5.2.2 c, d, f and 5.2.6; section 5.2.8: a report tells of nobody else."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname=b.hostname, dsn=knows)

            def refuse(mailbox: Mailbox) -> Reply | None:
                return NO

            b.on_recipient = refuse
            await town.send(ANN, *everybody("b.example"))
            await town.queue_is_empty()
            assert await told(town) == named(("silent", "failure", "both"), "failed")

    play(scene)


def test_success_in_a_mailbox_here_is_told_to_who_asked(tmp_path: Path) -> None:
    """RFC 3461 section 5.2.3"""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            cat = Mailbox("cat", "a.example")
            for notify in ASKS.values():
                await town.send(ANN, Recipient(cat, notify))
            await town.queue_is_empty()
            reports = await town.mail_of("ann")
            assert len(await town.mail_of("cat")) == len(ASKS)
            assert [b"\r\nAction: delivered\r\n" in each for each in reports] == [True, True]

    play(scene)


def test_a_report_asks_for_no_report(tmp_path: Path) -> None:
    """RFC 3461 section 6.1: from <>, NOTIFY=NEVER or nothing, and no RET."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            b.on_recipient = lambda mailbox: NO
            await town.send(Mailbox("carl", "c.example"), "bob@b.example", ret="FULL", envid="x")
            await town.queue_is_empty()
            assert [(each.reverse_path, each.ret) for each in c.senders] == [(None, "")]
            assert [(str(each.forward_path), each.notify) for each in c.asked] == [("carl@c.example", (Notify.NEVER,))]
            assert b"\r\nOriginal-Envelope-Id: x\r\n" in c.mail[0].content

    play(scene)
