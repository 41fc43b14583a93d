"""Who may send to whom, as pure rules; and what holds whatever the facts are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.acceptance import (
    AccountState,
    Place,
    judge_blocked_sender,
    judge_connection,
    judge_recipient,
    judge_submission_sender,
    judge_unix_sender,
    open_sender,
)
from postroad.rules.networks import NameSet
from postroad.vocabulary.address import Mailbox

ANN = Mailbox("ann", "here.example")


@given(st.text(min_size=1, max_size=64), st.sampled_from(Place), st.sampled_from(AccountState), st.booleans())
def test_a_refusal_of_a_recipient_is_final_and_tells_its_rule(
    local_part: str, place: Place, account: AccountState, may_relay: bool
) -> None:
    ruling = judge_recipient(local_part, place, account, may_relay)
    assert ruling.verdict.reason
    if ruling.reply is None:
        assert ruling.verdict.result == "pass"
    else:
        assert ruling.reply.code == 550
        assert ruling.reply.status is not None
        assert ruling.verdict.result == "reject"


@given(st.text(min_size=1, max_size=64), st.sampled_from(AccountState))
def test_a_stranger_never_relays(local_part: str, account: AccountState) -> None:
    ruling = judge_recipient(local_part, Place.ELSEWHERE, account, may_relay=False)
    assert str(ruling.reply).startswith("550 5.7.1")


@given(st.text(min_size=1, max_size=64), st.sampled_from(["%", "!", "@"]), st.sampled_from([Place.HERE, Place.RELAY]))
def test_a_route_inside_the_local_part_is_never_followed(local_part: str, sign: str, place: Place) -> None:
    ruling = judge_recipient(f"{local_part}{sign}other", place, AccountState.UNKNOWN, may_relay=False)
    assert str(ruling.reply).startswith("550 5.7.1")


def test_an_account_whose_name_has_a_percent_sign_gets_its_mail() -> None:
    assert judge_recipient("a%b", Place.HERE, AccountState.THERE, may_relay=False).reply is None


@pytest.mark.parametrize("may_relay", [True, False])
@pytest.mark.parametrize(("account", "status"), [(AccountState.UNKNOWN, "5.1.1"), (AccountState.DISABLED, "5.2.1")])
def test_mail_for_nobody_here_is_refused_whoever_sends_it(account: AccountState, status: str, may_relay: bool) -> None:
    ruling = judge_recipient("x", Place.HERE, account, may_relay)
    assert ruling.reply is not None
    assert str(ruling.reply.status) == status


def test_only_postmaster_is_reachable_without_a_domain() -> None:
    assert judge_recipient("Postmaster", Place.OUR_ADDRESS, AccountState.THERE, may_relay=False).reply is None
    assert judge_recipient("ann", Place.OUR_ADDRESS, AccountState.THERE, may_relay=True).reply is not None


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_user_never_sends_as_somebody_else(local_part: str, domain: str) -> None:
    path = Mailbox(local_part, domain)
    ruling = judge_submission_sender(path, str(ANN), {ANN.key()})
    assert (ruling.reply is None) == (path.key() == ANN.key())
    if ruling.reply is not None:
        assert str(ruling.reply).startswith("553 5.7.1")


def test_nobody_sends_without_an_identity_on_a_submission_port() -> None:
    for path in (None, ANN):
        assert str(judge_submission_sender(path, "", {ANN.key()}).reply).startswith("530 5.7.0")


def test_the_null_reverse_path_is_open_to_all() -> None:
    assert judge_submission_sender(None, "ann@here.example", ()).reply is None
    assert judge_unix_sender(None, "ann", False, "mx.here.example", (), False).reply is None
    assert open_sender(None).reply is None


def test_a_trusted_unix_user_may_use_local_domains_and_no_others() -> None:
    def root(path: Mailbox, local: bool) -> bool:
        return judge_unix_sender(path, "root", True, "mx.here.example", (), local).reply is None

    assert root(ANN, True)
    assert root(Mailbox("cron", "mx.here.example"), False)
    assert not root(Mailbox("ann", "elsewhere.example"), False)


def test_blocked_senders_are_addresses_domains_and_subdomains() -> None:
    addresses, domains = frozenset({"spam@a.example"}), NameSet(("b.example", ".c.example"))

    def blocked(text: str) -> bool:
        local_part, _, domain = text.partition("@")
        return judge_blocked_sender(Mailbox(local_part, domain), addresses, domains) is not None

    assert [blocked(each) for each in ("Spam@a.example", "x@b.example", "x@d.c.example")] == [True, True, True]
    assert [blocked(each) for each in ("ham@a.example", "x@a.b.example", "x@c.example")] == [False, False, False]
    assert judge_blocked_sender(None, addresses, domains) is None


@given(st.integers(0, 10), st.integers(0, 10), st.booleans())
def test_no_more_sessions_are_admitted_than_allowed(sessions: int, of_client: int, exempt: bool) -> None:
    ruling = judge_connection(sessions=sessions, sessions_max=5, of_client=of_client, of_client_max=3, exempt=exempt)
    assert (ruling is None) == (sessions < 5 and (exempt or of_client < 3))
    if ruling is not None:
        assert ruling.reply is not None
        assert ruling.reply.code == 421
