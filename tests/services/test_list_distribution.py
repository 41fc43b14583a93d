"""A message to a mailing list goes out to its members: once to each, under the list's own name."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.contracts.directory import Alias
from postroad.contracts.errors import StoreFull
from postroad.contracts.mailing_lists import MailingList, WhoPosts
from postroad.message.header import split_header
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import BodyType, DeliverBy, Notify, Recipient
from postroad.vocabulary.reply import reply
from postroad.vocabulary.story import Distributed, Expanded
from tests.services.towns import ANN, CONTENT, Town, mailbox, play

LIST = Mailbox("friends", "a.example")
FIELDS = (
    b"List-Id: Our friends <friends.a.example>\r\n"
    b"List-Post: <mailto:friends@a.example>\r\n"
    b"List-Help: <mailto:friends-request@a.example?subject=help>\r\n"
    b"List-Subscribe: <mailto:friends-subscribe@a.example>\r\n"
    b"List-Unsubscribe: <mailto:friends-unsubscribe@a.example>\r\n"
    b"List-Owner: <mailto:friends-owner@a.example>\r\n"
    b"Precedence: list\r\n"
    b"X-Loop: friends@a.example\r\n"
)


async def found(town: Town, *members: str, address: Mailbox = LIST, **more: object) -> MailingList:
    """Make the list."""
    made = MailingList(id=0, address=address, description="Our friends", **{"posters": WhoPosts.ANYONE, **more})  # type: ignore[arg-type]
    one = await town.directory.lists.create(made)
    await town.directory.lists.join(one.id, tuple(map(mailbox, members)), town.clock.now())
    return one


@dataclass
class Last:
    """What the last attempt for an address of the list came to."""

    fate: str
    status: str
    text: str


async def last_at(town: Town, destination: str) -> Last:
    attempts = [each for each in await town.attempts() if each.destination == f"list:{destination}"]
    outcome = attempts[-1].outcomes[0]
    return Last(outcome.fate.value, str(outcome.status), outcome.text)


def test_each_member_gets_one_copy_with_the_fields_of_the_list_and_a_reverse_path_of_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            c = town.peer("mx.c.example", "203.0.113.3", domain="c.example")
            await found(town, "bob@b.example", "ben@b.example", "col@c.example", "cat@a.example")
            queue_id = await town.send(ANN, "friends@a.example", "Friends+spare@a.example")
            await town.queue_is_empty()
            header, rest = split_header(CONTENT)
            whole = FIELDS + header + rest
            for peer, names in ((b, {"bob", "ben"}), (c, {"col"})):
                assert {taken.content for taken in peer.mail} == {whole}
                assert sorted(to.partition("@")[0] for taken in peer.mail for to in taken.recipients) == sorted(names)
                for taken in peer.mail:
                    (to,) = taken.recipients
                    assert str(taken.reverse_path) == f"friends-bounces+{to.replace('@', '=')}@a.example"
            head = b"Return-Path: <friends-bounces+cat=a.example@a.example>\r\n"
            assert await town.mail_of("cat") == [head + whole]
            facts = await town.facts()
            (expanded,) = [fact for fact in facts if isinstance(fact, Expanded)]
            (distributed,) = [fact for fact in facts if isinstance(fact, Distributed)]
            assert (expanded.address, expanded.members, len(expanded.to)) == ("friends@a.example", 4, 1)
            assert (distributed.about, len(distributed.recipients)) == (queue_id, 4)
            assert distributed.message_id == "<1@a.example>"
            assert await last_at(town, "friends@a.example") == Last("delivered", "2.0.0", "Passed on to 4 members.")

    play(scene)


def test_without_verp_members_share_transactions_under_one_reverse_path(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await found(town, "bob@b.example", "ben@b.example", verp=False)
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            (taken,) = peer.mail
            assert taken.recipients == ("ben@b.example", "bob@b.example")
            assert str(taken.reverse_path) == "friends-bounces@a.example"

    play(scene)


def test_nobody_gets_it_twice_by_an_alias_and_suspended_members_get_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.directory.add_targets(Alias(Mailbox("staff", "a.example"), tuple(map(mailbox, STAFF))))
            one = await found(town, "staff@a.example", "cat@a.example", "bob@b.example", "gone@b.example")
            gone = town.directory.lists.member(one.id, mailbox("gone@b.example"))
            assert gone is not None
            suspended = type(gone)(address=gone.address, joined_at=gone.joined_at, bounces=5, suspended=True)
            await town.directory.lists.note_bounces(one.id, (suspended,))
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            assert sorted(peer.recipients) == ["bob@b.example", "eve@b.example"]
            paths = {taken.recipients[0]: str(taken.reverse_path) for taken in peer.mail}
            # It is the alias that is the member: a bounce is counted for it.
            assert paths["eve@b.example"] == "friends-bounces+staff=a.example@a.example"
            assert len(await town.mail_of("cat")) == 1

    play(scene)


STAFF = ("cat@a.example", "bob@b.example", "eve@b.example")


def test_nothing_that_the_author_asked_of_reports_and_times_goes_on_but_safety_does(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, "cat@a.example")
            author = Recipient(LIST, (Notify.SUCCESS, Notify.DELAY), "rfc822;friends@a.example")
            await town.send(
                ANN,
                author,
                body=BodyType.EIGHT_BIT_MIME,
                ret="FULL",
                envid="X1",
                require_tls=True,
                priority=3,
                deliver_by=DeliverBy(600, "N"),
            )
            (settled, *_) = await town.settled(1)
            child, report = settled.enqueue
            assert child.envelope.recipients == (Recipient(mailbox("cat@a.example"), (Notify.FAILURE,)),)
            assert (child.envelope.ret, child.envelope.envid, child.envelope.deliver_by) == ("", "", None)
            assert (child.envelope.require_tls, child.envelope.priority) == (True, 3)
            assert (child.envelope.body, child.envelope.about) == (BodyType.EIGHT_BIT_MIME, settled.queue_id)
            # RFC 3461 section 5.2.7.1: for the author the list is the end.
            assert isinstance(report.content, bytes)
            assert b"Action: delivered" in report.content
            await town.queue_is_empty()

    play(scene)


@pytest.mark.parametrize(
    ("posters", "sender", "passes"),
    [
        (WhoPosts.MEMBERS, "bob@b.example", True),
        (WhoPosts.MEMBERS, "bob+news@b.example", True),
        (WhoPosts.MEMBERS, "boss@b.example", True),
        (WhoPosts.MEMBERS, "eve@b.example", False),
        (WhoPosts.OWNERS, "boss@b.example", True),
        (WhoPosts.OWNERS, "bob@b.example", False),
        (WhoPosts.ANYONE, "eve@b.example", True),
    ],
)
def test_who_comes_by_way_of_an_alias_is_judged_when_it_is_passed_on(
    tmp_path: Path, posters: WhoPosts, sender: str, passes: bool
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await found(town, "bob@b.example", posters=posters, owners=(mailbox("boss@b.example"),))
            await town.directory.add_targets(Alias(Mailbox("all", "a.example"), (LIST,)))
            await town.send(mailbox(sender), "all@a.example")
            await town.queue_is_empty()
            last = await last_at(town, "friends@a.example")
            if passes:
                assert last.fate == "delivered"
                assert peer.recipients == ["bob@b.example"]
            else:
                assert (last.fate, last.status) == ("failed", "5.7.2")
                assert "friends-owner@a.example" in last.text
                (report,) = peer.mail
                assert (report.reverse_path, report.recipients) == (None, (sender,))

    play(scene)


def test_a_notification_and_an_automatic_answer_end_at_the_list_and_nobody_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, "cat@a.example")
            await town.send(None, "friends@a.example")
            await town.queue_is_empty()
            assert (await last_at(town, "friends@a.example")).status == "5.7.2"
            away = b"From: ann@a.example\r\nAuto-Submitted: auto-replied (vacation)\r\n\r\nAway.\r\n"
            await town.send(ANN, "friends@a.example", content=away)
            await town.queue_is_empty()
            last = await last_at(town, "friends@a.example")
            assert (last.fate, last.text[:14]) == ("delivered", "Not passed on.")
            assert (await town.mail_of("cat"), await town.mail_of("ann")) == ([], [])
            written = b"From: ann@a.example\r\nAuto-Submitted: auto-generated\r\n\r\nThe backup ran.\r\n"
            await town.send(ANN, "friends@a.example", content=written)
            await town.queue_is_empty()
            assert len(await town.mail_of("cat")) == 1

    play(scene)


def test_lists_that_are_members_of_each_other_and_of_themselves_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            other = Mailbox("others", "a.example")
            one = await found(town, "friends@a.example", "friends+x@a.example", "others@a.example", "ann@a.example")
            two = await found(town, "friends@a.example", "others@a.example", "cat@a.example", address=other)
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            (to_cat,) = await town.mail_of("cat")
            (to_ann,) = await town.mail_of("ann")
            assert to_cat.count(b"X-Loop: ") == 2
            assert to_cat.count(b"List-Id: ") == 1
            assert b"Return-Path: <others-bounces+cat=a.example@a.example>" in to_cat
            assert to_ann.count(b"X-Loop: ") == 1
            for each in (one, two):
                counted = town.directory.lists.members(each.id, "", 10)
                assert all(member.bounces == 0 for member in counted)

    play(scene)


def test_a_list_may_write_to_a_list_that_it_is_a_member_of(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, "all@a.example")
            of_all = Mailbox("all", "a.example")
            await found(town, "friends@a.example", "cat@a.example", address=of_all, posters=WhoPosts.MEMBERS)
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            assert len(await town.mail_of("cat")) == 1

    play(scene)


def test_an_author_whose_domain_forbids_it_stands_in_reply_to(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.texts["_dmarc.strict.example"] = (b"something else", b"v=DMARC1; p=reject; sp=none")
            town.texts["_dmarc.mild.example"] = (b"v=DMARC1; p=none",)
            town.silent.add("_dmarc.mute.example")
            await found(town, "cat@a.example", from_rewrite=True)
            shown = {}
            for domain in ("strict.example", "sub.strict.example", "mild.example", "mute.example", "b.example"):
                content = f"From: Bob Ray <bob@{domain}>\r\nSubject: {domain}\r\n\r\nHello.\r\n".encode()
                await town.send(mailbox(f"bob@{domain}"), "friends@a.example", content=content)
                await town.queue_is_empty()
                shown[domain] = (await town.mail_of("cat"))[-1]
            for domain, content in shown.items():
                rewritten = b"\r\nFrom: Bob Ray via Our friends <friends@a.example>\r\n" in content
                assert rewritten == (domain in ("strict.example", "mute.example"))
                reply_to = f"\r\nReply-To: Bob Ray <bob@{domain}>\r\n".encode()
                assert (reply_to in content) == rewritten
                assert content.endswith(b"\r\n\r\nHello.\r\n")

    play(scene)


def test_members_who_are_not_us_ascii_do_not_keep_the_others_waiting_for_smtputf8(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, "cat@a.example", "jürgen@b.example")
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "friends@a.example")
            (settled, *_) = await town.settled(1)
            assert [child.envelope.smtputf8 for child in settled.enqueue] == [False, True]
            await town.queue_is_empty()

    play(scene)


def test_large_content_is_written_once_and_every_portion_has_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroad.services.list_distribution.LIST_PORTION", 2)

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            content = CONTENT + (b"x" * 70 + b"\r\n") * 9000
            members = ["cat@a.example", *(f"u{number}@b.example" for number in range(5))]
            await found(town, *members)
            await town.send(ANN, "friends@a.example", content=content)
            (settled, *_) = await town.settled(1)
            assert len(settled.enqueue) == 3
            await town.queue_is_empty()
            header, rest = split_header(content)
            whole = FIELDS + header + rest
            assert sorted(peer.recipients) == sorted(members[1:])
            assert all(taken.content == whole for taken in peer.mail)
            assert (await town.mail_of("cat"))[0].endswith(whole)
            assert list((tmp_path / "queue" / "0").iterdir()) == []

    play(scene)


def test_a_list_without_members_takes_mail_and_passes_nothing_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town)
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            assert (await last_at(town, "friends@a.example")).fate == "delivered"

    play(scene)


def test_a_list_that_is_removed_while_mail_waits_for_it_is_unknown(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, "cat@a.example")
            await town.send(ANN, "friends@a.example", after=timedelta(hours=1))
            await town.directory.lists.delete(LIST)
            await town.queue_is_empty()
            (report,) = await town.mail_of("ann")
            assert b"Status: 5.1.1" in report
            assert await town.mail_of("cat") == []

    play(scene)


def test_what_cannot_be_written_is_written_later_and_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, "cat@a.example", "ann@a.example")
            town.queue.refusals.extend([StoreFull("no room"), StoreFull("no room")])
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            assert (len(await town.mail_of("cat")), len(await town.mail_of("ann"))) == (1, 1)
            expansions = [fact for fact in await town.facts() if isinstance(fact, Expanded)]
            assert len(expansions) == 1

    play(scene)


def test_a_letter_to_the_place_of_ten_thousand_members_does_not_wait_for_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await found(town, *(f"u{number}@b.example" for number in range(10_000)))
            await town.send(ANN, "friends@a.example")
            while len(peer.mail) < 500:
                peer.arrived.clear()
                await peer.arrived.wait()
            before = len(peer.recipients)
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert len(set(peer.recipients)) == len(peer.recipients) == 10_001
            assert peer.recipients.index("bob@b.example") < before + 50
            held = max(len(attempt.outcomes) for attempt in await town.attempts())
            assert held <= 1000

    play(scene)


def test_what_one_member_refuses_goes_back_to_the_list_and_not_to_the_author(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            peer.on_recipient = lambda to: None if to.local_part == "good" else reply(550, "Unknown", status="5.1.1")
            await found(town, "bad@b.example", "good@b.example")
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            assert peer.recipients == ["good@b.example"]
            assert await town.mail_of("ann") == []
            last = await last_at(town, "friends-bounces@a.example")
            assert last.text == "Counted for bad@b.example."

    play(scene)


def test_ten_thousand_members_and_a_large_message_fit_into_little_memory(tmp_path: Path) -> None:
    """Each portion has its recipients in memory until it is written, and nobody has the content."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await found(town, *(f"u{number}@d{number % 50}.example" for number in range(10_000)))
            town.delivery.set_offline(True)
            content = CONTENT + (b"x" * 70 + b"\r\n") * 150_000
            message = await town.accept(ANN, "friends@a.example", content=content)
            tracemalloc.start()
            try:
                town.delivery.hand_over(message)
                (settled, *_) = await town.settled(1)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert len(settled.enqueue) == 10
            assert peak < 12 * 2**20
            files = list((tmp_path / "queue" / "0").iterdir())
            assert {path.stat().st_ino for path in files} == {files[0].stat().st_ino}

    play(scene)
