"""Aliases and forwarding are followed: nobody is lost, nobody is served twice, and every circle ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.expansion import Lead, LeadOf, expand, where_it_leads
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Notify, Recipient
from postroad.vocabulary.limits import ALIAS_RECIPIENTS

Leads = dict[str, tuple[tuple[str, ...], bool]]
"""By name: the names it leads to, and whether it keeps a copy."""


def box(name: str) -> Mailbox:
    return Mailbox(name, "a.example")


def leads(world: Leads) -> LeadOf:
    def lead_of(address: Mailbox) -> Lead | None:
        found = world.get(address.local_part)
        return None if found is None else Lead(address, tuple(map(box, found[0])), found[1])

    return lead_of


def names(recipients: tuple[Recipient, ...]) -> list[str]:
    return [each.forward_path.local_part for each in recipients]


def test_who_leads_nowhere_else_stays_as_given() -> None:
    given_ones = (Recipient(box("ann"), (Notify.NEVER,)), Recipient(box("bob")))
    assert expand(given_ones, leads({})).recipients is given_ones


def test_an_alias_gives_way_to_those_behind_it_each_once() -> None:
    world: Leads = {"team": (("ann", "bob", "more"), False), "more": (("bob", "cat", "team"), False)}
    expansion = expand((Recipient(box("bob")), Recipient(box("team"))), leads(world))
    assert names(expansion.recipients) == ["bob", "ann", "cat"]
    (followed,) = expansion.followed
    assert followed.address == box("team")
    assert [end.local_part for end in followed.to] == ["ann", "bob", "cat"]


def test_who_was_given_keeps_what_was_asked_for_him() -> None:
    world: Leads = {"team": (("ann", "bob"), False)}
    expansion = expand((Recipient(box("team"), (Notify.NEVER,)), Recipient(box("ann"), (Notify.DELAY,))), leads(world))
    assert expansion.recipients[0] == Recipient(box("ann"), (Notify.DELAY,))


def test_an_alias_for_one_hands_on_what_was_asked_for() -> None:
    """RFC 3461 section 5.2.7.2."""
    asked = Recipient(box("info"), (Notify.SUCCESS, Notify.DELAY))
    (only,) = expand((asked,), leads({"info": (("ann",), False)})).recipients
    assert only == Recipient(box("ann"), (Notify.SUCCESS, Notify.DELAY), "rfc822;info@a.example")


def test_an_alias_for_several_reports_that_it_was_expanded_and_no_single_success() -> None:
    """RFC 3461 section 5.2.7.3."""
    asked = Recipient(box("team"), (Notify.SUCCESS, Notify.FAILURE), "rfc822;the+2Bteam@x.example")
    ann, bob, team = expand((asked,), leads({"team": (("ann", "bob"), False)})).recipients
    assert ann == Recipient(box("ann"), (Notify.FAILURE,), "rfc822;the+2Bteam@x.example")
    assert bob.notify == (Notify.FAILURE,)
    assert team == Recipient(box("team"), (Notify.SUCCESS,), "rfc822;the+2Bteam@x.example", expanded=True)


def test_of_success_alone_nothing_is_left_for_those_behind_an_alias() -> None:
    ann, _, _ = expand((Recipient(box("t"), (Notify.SUCCESS,)),), leads({"t": (("ann", "bob"), False)})).recipients
    assert ann.notify == (Notify.NEVER,)


def test_an_account_that_forwards_and_keeps_a_copy_reports_its_own_delivery() -> None:
    asked = Recipient(box("ann"), (Notify.SUCCESS,))
    ann, bob = expand((asked,), leads({"ann": (("bob",), True)})).recipients
    assert ann == Recipient(box("ann"), (Notify.SUCCESS,), expanded=True)
    assert bob == Recipient(box("bob"), (Notify.NEVER,), "rfc822;ann@a.example")


def test_a_strange_name_is_spelled_in_xtext() -> None:
    """RFC 3461 section 4: plus, equals sign and space have to be written as numbers."""
    strange = Mailbox("a+b=c d", "a.example")
    (only,) = expand((Recipient(strange),), lambda a: Lead(strange, (box("ann"),)) if a == strange else None).recipients
    assert only.original == 'rfc822;"a+2Bb+3Dc+20d"@a.example'


def test_too_many_are_refused_as_a_whole() -> None:
    crowd = tuple(f"u{number}" for number in range(ALIAS_RECIPIENTS + 1))
    assert where_it_leads(box("all"), leads({"all": (crowd, False)})) == ()
    assert len(where_it_leads(box("all"), leads({"all": (crowd[1:], False)}))) == ALIAS_RECIPIENTS
    given_ones = (Recipient(box("all")),)
    assert expand(given_ones, leads({"all": (crowd, False)})).recipients == given_ones


_NAMES = st.sampled_from([f"n{number}" for number in range(12)])
_WORLDS: st.SearchStrategy[Leads] = st.dictionaries(
    _NAMES, st.tuples(st.lists(_NAMES, max_size=5, unique=True).map(tuple), st.booleans()), max_size=12
)
_NOTIFY = st.sampled_from([(), (Notify.NEVER,), (Notify.SUCCESS,), (Notify.SUCCESS, Notify.FAILURE)])
_RECIPIENTS = st.dictionaries(_NAMES, _NOTIFY, min_size=1, max_size=6).map(
    lambda given_ones: tuple(Recipient(box(name), notify) for name, notify in given_ones.items())
)


def reachable(world: Leads, name: str) -> set[str]:
    """Who ought to have a copy, by the plainest way of finding it out."""
    ends, seen, waiting = set(), set(), [name]
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if here not in world:
            ends.add(here)
        else:
            waiting += world[here][0]
            if world[here][1]:
                ends.add(here)
    return ends


@given(_WORLDS, _RECIPIENTS)
def test_whoever_is_reached_gets_one_copy_and_nobody_is_lost(world: Leads, recipients: tuple[Recipient, ...]) -> None:
    expansion = expand(recipients, leads(world))
    reports = {
        each.forward_path.local_part
        for each in expansion.recipients
        if each.expanded and not world[each.forward_path.local_part][1]
    }
    got = [name for name in names(expansion.recipients) if name not in reports]
    assert len(got) == len(set(got))
    wanted: set[str] = set()
    for recipient in recipients:
        name = recipient.forward_path.local_part
        # Who leads to nobody stays, to fail where he is to be delivered.
        wanted |= reachable(world, name) or {name}
    assert set(got) == wanted


@given(_WORLDS, _RECIPIENTS)
def test_what_was_expanded_is_not_expanded_again(world: Leads, recipients: tuple[Recipient, ...]) -> None:
    once = expand(recipients, leads(world)).recipients
    assert expand(once, leads(world)).recipients == once
