"""What a list does with what comes to it (rules/lists)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.contracts.mailing_lists import MailingList, Member, WhoPosts
from postroad.message.list_fields import ListHeader
from postroad.rules.lists import (
    Wish,
    after_bounce,
    confirmed,
    is_from_a_person,
    judge_content,
    judge_poster,
    names_of_poster,
    policy_forbids,
    policy_names,
    token,
    wish_of,
)
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import LIST_BOUNCES_MAX, LIST_POLICY_LOOKS, LIST_TOKEN_DAYS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOB, EVE, BOSS = Mailbox("bob", "b.example"), Mailbox("eve", "b.example"), Mailbox("Boss", "b.example")
FRIENDS = Mailbox("friends", "a.example")
KEY = b"k" * 32


@pytest.mark.parametrize(
    ("posters", "sender", "passes"),
    [
        (WhoPosts.ANYONE, EVE, True),
        (WhoPosts.MEMBERS, BOB, True),
        (WhoPosts.MEMBERS, Mailbox("boss", "b.example"), True),
        (WhoPosts.MEMBERS, EVE, False),
        (WhoPosts.OWNERS, BOB, False),
        (WhoPosts.OWNERS, BOSS, True),
        (WhoPosts.ANYONE, None, False),
    ],
)
def test_who_may_post(posters: WhoPosts, sender: Mailbox | None, passes: bool) -> None:
    to = MailingList(id=1, address=FRIENDS, posters=posters, owners=(BOSS,))
    ruling = judge_poster(to, sender, lambda who: who == BOB)
    assert (ruling.reply is None) == passes
    if ruling.reply is not None:
        assert str(ruling.reply).startswith("550 5.7.2 ")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("bob", ["bob"]),
        ("bob+news", ["bob+news", "bob"]),
        ("all-bounces", ["all-bounces", "all"]),
        ("all-Bounces+bob=b.example", ["all-Bounces+bob=b.example", "all-Bounces", "all"]),
        ("-bounces", ["-bounces"]),
        ("+x", ["+x"]),
    ],
)
def test_a_poster_is_known_without_a_tag_and_as_the_list_that_takes_its_bounces(path: str, names: list[str]) -> None:
    assert [name.local_part for name in names_of_poster(Mailbox(path, "b.example"))] == names


def test_what_went_over_the_list_before_and_automatic_answers_are_not_passed_on() -> None:
    assert judge_content(FRIENDS, ListHeader()) is None
    assert judge_content(FRIENDS, ListHeader(auto_submitted="auto-generated", is_bulk=True)) is None
    assert judge_content(FRIENDS, ListHeader(passed=frozenset({"others@a.example"}))) is None
    assert judge_content(FRIENDS, ListHeader(passed=frozenset({"friends@a.example", "x@y"}))) is not None
    assert judge_content(FRIENDS, ListHeader(auto_submitted="auto-replied")) is not None


def test_a_member_is_suspended_after_a_run_of_bad_days() -> None:
    member = Member(address=BOB, joined_at=NOW)
    for day in range(1, LIST_BOUNCES_MAX + 1):
        at = NOW + timedelta(days=day)
        run = after_bounce(member, at)
        assert run is not None
        assert (run.bounces, run.suspended) == (day, day == LIST_BOUNCES_MAX)
        member = Member(address=BOB, joined_at=NOW, bounces=run.bounces, bounced_at=at, suspended=run.suspended)
        assert after_bounce(member, at + timedelta(hours=23)) is None
    assert after_bounce(member, NOW + timedelta(days=30)) is None


def test_a_run_ends_after_two_quiet_weeks() -> None:
    member = Member(address=BOB, joined_at=NOW, bounces=4, bounced_at=NOW)
    within = after_bounce(member, NOW + timedelta(days=14))
    after = after_bounce(member, NOW + timedelta(days=14, seconds=1))
    assert within is not None
    assert after is not None
    assert (within.bounces, after.bounces) == (5, 1)


def test_a_policy_is_looked_for_up_the_tree_and_not_at_the_top() -> None:
    assert policy_names("b.example") == ("_dmarc.b.example",)
    assert policy_names("x.y.b.example") == ("_dmarc.x.y.b.example", "_dmarc.y.b.example", "_dmarc.b.example")
    assert policy_names("example") == ("_dmarc.example",)
    assert len(policy_names("a." * 60 + "example")) == LIST_POLICY_LOOKS


@pytest.mark.parametrize(
    ("record", "own", "above"),
    [
        (b"v=DMARC1; p=reject", True, True),
        (b"v=DMARC1;p=QUARANTINE;sp=none", True, False),
        (b" V = dmarc1 ; p=none; sp=reject", False, True),
        (b"v=DMARC1", False, False),
        (b"v=spf1 -all", None, None),
        (b"", None, None),
        (b"\xff;=;p", None, None),
    ],
)
def test_what_a_policy_forbids(record: bytes, own: bool | None, above: bool | None) -> None:
    assert policy_forbids(record, is_own=True) is own
    assert policy_forbids(record, is_own=False) is above


@given(record=st.binary(max_size=100))
def test_no_record_makes_it_fail(record: bytes) -> None:
    assert policy_forbids(record, is_own=True) in (True, False, None)


@pytest.mark.parametrize(
    ("subject", "wish"),
    [
        ("subscribe", Wish.JOIN),
        ("Re: RE: Join please", Wish.JOIN),
        ("unsubscribe friends", Wish.LEAVE),
        ("signoff", Wish.LEAVE),
        ("how do I unsubscribe?", Wish.HELP),
        ("", Wish.HELP),
        ("re:", Wish.HELP),
    ],
)
def test_the_first_word_of_the_subject_is_the_wish(subject: str, wish: Wish) -> None:
    assert wish_of(subject) is wish


@pytest.mark.parametrize(
    ("header", "person"),
    [
        (ListHeader(), True),
        (ListHeader(auto_submitted="no"), True),
        (ListHeader(auto_submitted="auto-notified"), False),
        (ListHeader(is_bulk=True), False),
        (ListHeader(passed=frozenset({"x@y"})), False),
    ],
)
def test_only_people_are_answered(header: ListHeader, person: bool) -> None:
    assert is_from_a_person(header) == person


def test_a_token_is_for_one_wish_of_one_address_about_one_list_and_for_some_days() -> None:
    tag = token(KEY, 7, Wish.JOIN, BOB, NOW)
    assert confirmed(KEY, 7, tag.upper(), Mailbox("BOB", "b.example"), NOW) is Wish.JOIN
    assert confirmed(KEY, 7, token(KEY, 7, Wish.LEAVE, BOB, NOW), BOB, NOW) is Wish.LEAVE
    assert confirmed(KEY, 7, tag, BOB, NOW + timedelta(days=LIST_TOKEN_DAYS)) is Wish.JOIN
    assert confirmed(KEY, 7, tag, BOB, NOW + timedelta(days=LIST_TOKEN_DAYS + 1)) is None
    assert confirmed(KEY, 7, tag, EVE, NOW) is None
    assert confirmed(KEY, 8, tag, BOB, NOW) is None
    assert confirmed(b"another" * 5, 7, tag, BOB, NOW) is None


@given(tag=st.text(max_size=40))
def test_a_tag_that_somebody_made_up_confirms_nothing(tag: str) -> None:
    assert confirmed(KEY, 7, tag, BOB, NOW) is None
