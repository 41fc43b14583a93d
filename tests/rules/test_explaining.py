"""Replies in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.explaining import explain
from postroad.vocabulary.reply_codes import CODES, DETAILS


def test_a_whole_line_is_explained_by_its_code_and_its_status() -> None:
    code, status = explain("mx.b.example: 550 5.1.1 <bob@b.example>: no such user")
    assert (code.code, code.lasts) == ("550", True)
    assert "does not exist" in code.meaning
    assert (status.code, status.lasts) == ("5.1.1", True)
    assert "no such mailbox" in status.meaning


def test_the_same_status_is_a_passing_trouble_with_a_4() -> None:
    (passing,) = explain("4.2.2")
    (lasting,) = explain("5.2.2")
    assert passing.meaning == lasting.meaning
    assert (passing.lasts, lasting.lasts) == (False, True)


@pytest.mark.parametrize("text", ["", "no code at all", "192.168.0.1", "5501", "12:45:50", "650", "1.2.3", "5.1.1.1"])
def test_what_is_no_code_is_not_taken_for_one(text: str) -> None:
    assert explain(text) == ()


def test_unknown_ones_are_explained_by_their_class_and_subject() -> None:
    (code,) = explain("559")
    assert "lasting failure" in code.meaning
    assert "mail system" in code.meaning
    (status,) = explain("4.7.200")
    assert "may pass" in status.meaning
    assert "security or policy" in status.meaning
    assert "tried again" in status.advice
    (other,) = explain("5.9.1")
    assert other.meaning.startswith("A lasting failure.")


def test_each_is_told_once_in_the_order_of_the_text() -> None:
    assert [one.code for one in explain("421-4.7.0 wait\r\n421 4.7.0 a while (250)")] == ["421", "4.7.0", "250"]


def test_success_is_no_trouble() -> None:
    (code, status) = explain("250 2.1.5 Ok")
    assert (code.lasts, status.lasts) == (None, None)
    assert status.meaning.startswith("Success")


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_table_is_explained(code: int) -> None:
    (one,) = explain(str(code))
    assert one.meaning == CODES[code].meaning


@pytest.mark.parametrize("detail", DETAILS, ids=str)
def test_every_status_of_the_table_is_explained(detail: tuple[int, int]) -> None:
    (one,) = explain(f"5.{detail[0]}.{detail[1]}")
    assert one.meaning == DETAILS[detail].meaning
    assert one.advice


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert len(explain(text)) <= 10
