"""Who is told that a user is away, and who is not (RFC 3834 section 2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.absence import is_over, subject_of_answer, why_no_answer
from postroad.vocabulary.address import Mailbox

ANN = Mailbox("ann", "here.example")
EVE = Mailbox("eve", "away.example")
TO_ANN = b"From: eve@away.example\r\nTo: Ann <Ann@here.example>\r\n"
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def test_a_letter_to_the_user_is_answered() -> None:
    assert why_no_answer(EVE, TO_ANN, (ANN,)) == ""
    assert why_no_answer(EVE, b"Cc: bob@x.example,\r\n <ann@HERE.example>\r\n", (ANN,)) == ""
    assert why_no_answer(EVE, TO_ANN + b"Auto-Submitted: no\r\nPrecedence: first-class\r\n", (ANN,)) == ""


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied",
        b"auto-submitted: Auto-Generated; type=x",
        b"Precedence: bulk",
        b"Precedence: List",
        b"Precedence: junk",
        b"List-Id: <l.example>",
        b"List-Unsubscribe: <mailto:x@l.example>",
        b"X-Auto-Response-Suppress: DR, OOF",
        b"X-Auto-Response-Suppress: All",
    ],
)
def test_machines_and_lists_are_not_answered(field: bytes) -> None:
    assert why_no_answer(EVE, TO_ANN + field + b"\r\n", (ANN,))


@pytest.mark.parametrize("name", ["MAILER-DAEMON", "owner-l", "l-request", "l-owner", "l-bounces", "noreply"])
def test_names_of_programs_are_not_answered(name: str) -> None:
    assert why_no_answer(Mailbox(name, "away.example"), TO_ANN, (ANN,))


def test_a_bounce_and_the_user_itself_are_not_answered() -> None:
    assert why_no_answer(None, TO_ANN, (ANN,))
    assert why_no_answer(Mailbox("ANN", "here.example"), TO_ANN, (ANN,))


@pytest.mark.parametrize("to", ["", "joann@here.example", "ann@here.example.net", "x.ann@here.example", "ann"])
def test_who_is_not_named_does_not_answer(to: str) -> None:
    """RFC 3834 section 2: a blind copy, or a list without the marks of one."""
    assert why_no_answer(EVE, f"To: {to}\r\nSubject: ann@here.example\r\n".encode(), (ANN,))


def test_an_alias_counts_as_the_users_name() -> None:
    to_sales = b"To: sales@here.example\r\n"
    assert why_no_answer(EVE, to_sales, (ANN,))
    assert why_no_answer(EVE, to_sales, (ANN, Mailbox("sales", "here.example"))) == ""


def test_the_subject_is_that_of_the_message_unless_one_was_given() -> None:
    assert subject_of_answer("", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n") == "Auto: Grüße"
    assert subject_of_answer("Away", b"Subject: x\r\n") == "Away"
    assert subject_of_answer("", b"To: x\r\n") == "Auto:"
    assert len(subject_of_answer("", b"Subject: " + b"x" * 5000)) < 300


def test_an_absence_ends() -> None:
    assert not is_over(None, NOON)
    assert not is_over(NOON + timedelta(seconds=1), NOON)
    assert is_over(NOON, NOON)


@given(st.binary(max_size=300), st.sampled_from([TO_ANN, b""]))
def test_no_header_makes_it_fail(octets: bytes, before: bytes) -> None:
    assert isinstance(why_no_answer(EVE, before + octets, (ANN,)), str)
    assert subject_of_answer("", before + octets).isprintable()
