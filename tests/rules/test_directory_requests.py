"""What is told of our users, and to whom: VRFY and EXPN."""

from __future__ import annotations

import pytest

from postroad.rules.acceptance import AccountState
from postroad.rules.directory_requests import Asked, Listed, judge_expand, judge_verify
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import REPLY_LINES

ANN = Mailbox("ann", "here.example")
THERE, DISABLED = AccountState.THERE, AccountState.DISABLED
OF_ANN = Asked((Listed(ANN, "Ann Author", THERE),))


def said(asked: Asked, *, may_ask: bool = True, expand: bool = False) -> str:
    ruling = (judge_expand if expand else judge_verify)(asked, may_ask=may_ask)
    return str(ruling.reply)


@pytest.mark.parametrize("expand", [False, True])
def test_who_may_not_ask_gets_one_answer_for_all(expand: bool) -> None:
    questions = (
        OF_ANN,
        Asked(),
        Asked(understood=False),
        Asked(here=False),
        Asked(here=False, may_relay=True),
        Asked((Listed(ANN, "", DISABLED),)),
    )
    answers = {said(asked, may_ask=False, expand=expand) for asked in questions}
    assert len(answers) == 1
    assert answers.pop().startswith("252 ")


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize(
    ("asked", "begins"),
    [
        (OF_ANN, "250 2.1.5 Ann Author <ann@here.example>"),
        (Asked((Listed(ANN, "", THERE),)), "250 2.1.5 <ann@here.example>"),
        (Asked(), "550 5.1.1 "),
        (Asked((Listed(ANN, "Ann", DISABLED),)), "550 5.2.1 "),
        (Asked(here=False, may_relay=True), "252 2.1.5 "),
        (Asked(here=False), "551 5.1.6 "),
        (Asked(understood=False), "501 5.5.4 "),
    ],
)
def test_each_finding_has_its_reply(expand: bool, asked: Asked, begins: str) -> None:
    assert said(asked, expand=expand).startswith(begins)


def test_a_name_that_fits_several_users_is_answered_with_all_of_them() -> None:
    others = tuple(Listed(Mailbox("ann", f"{n}.example"), "", THERE) for n in range(3))
    ruling = judge_verify(Asked(others), may_ask=True)
    assert ruling.reply is not None
    assert ruling.reply.code == 553
    assert ruling.reply.lines[1:] == ("<ann@0.example>", "<ann@1.example>", "<ann@2.example>")


def test_the_reply_to_a_name_of_ten_thousand_users_is_bounded() -> None:
    others = tuple(Listed(Mailbox("ann", f"{n}.example"), "", THERE) for n in range(10_000))
    ruling = judge_expand(Asked(others), may_ask=True)
    assert ruling.reply is not None
    assert len(ruling.reply.lines) <= REPLY_LINES


def test_a_name_that_is_not_ascii_does_not_break_the_reply() -> None:
    assert said(Asked((Listed(ANN, "Ännchen\r\n", THERE),))) == "250 2.1.5 ?nnchen?? <ann@here.example>"
