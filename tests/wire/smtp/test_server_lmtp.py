"""LMTP: a reply for each accepted recipient (RFC 2033)."""

from __future__ import annotations

import pytest

from postroad.vocabulary.reply import Reply, reply
from postroad.wire.session import Wait
from postroad.wire.smtp.events import ContentEnded, TransactionDropped
from postroad.wire.smtp.server import ServerSession
from tests.wire.smtp.conversation import BEGAN_AT, LMTP, MX, QUEUED, Conversation

FULL_BOX = reply(452, "Mailbox full", status="4.2.2")
GOING = reply(421, "Going down", status="4.3.2")


def with_two() -> Conversation:
    conversation = Conversation(LMTP)
    conversation.lines("LHLO x", "MAIL FROM:<a@b>", "RCPT TO:<b@b>", "RCPT TO:<nobody@b>", "RCPT TO:<c@b>")
    return conversation


def test_one_answer_is_said_for_each_accepted_recipient() -> None:
    conversation = with_two()
    assert conversation.lines("DATA").startswith("354")
    assert conversation.say(b"x\r\n.\r\nNOOP\r\n") == QUEUED.wire * 2 + b"250 2.0.0 OK\r\n"
    assert conversation.session.transaction is None


def test_the_last_chunk_is_answered_like_the_dot() -> None:
    conversation = with_two()
    assert conversation.say(b"BDAT 1\r\nx") == b"250 2.0.0 1 octets received\r\n"
    assert conversation.say(b"BDAT 0 LAST\r\n") == QUEUED.wire * 2


@pytest.mark.parametrize(
    ("octets", "code"),
    [(b"DATA\r\nx\ny\r\n.\r\n", b"550"), (b"BDAT 3 LAST\r\nx\ny", b"550"), (b"DATA\r\n\0\r\n.\r\n", b"550")],
)
def test_a_fault_of_the_content_is_told_to_each(octets: bytes, code: bytes) -> None:
    conversation = with_two()
    said = conversation.say(octets).splitlines()
    assert [line[:3] for line in said[-2:]] == [code] * 2
    assert len(said) == 2 + octets.startswith(b"DATA")
    assert len(conversation.asked(TransactionDropped)) == 1


def test_a_fault_of_a_chunk_before_the_last_is_told_once() -> None:
    conversation = with_two()
    assert conversation.say(b"BDAT 3\r\nx\ny").count(b"550") == 1


def at_the_end() -> ServerSession:
    session = ServerSession(LMTP, began_at=BEGAN_AT)
    session.receive_data(b"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\nRCPT TO:<c@b>\r\nDATA\r\n")
    while session.next_event() is not Wait.NEED_DATA:
        session.answer(None)
    session.receive_data(b".\r\nNOOP\r\n")
    assert session.next_event() == ContentEnded(0)
    session.data_to_send()
    return session


@pytest.mark.parametrize("given", [(QUEUED, FULL_BOX), (FULL_BOX, QUEUED), (FULL_BOX, FULL_BOX)])
def test_each_recipient_has_an_answer_of_its_own(given: tuple[Reply, ...]) -> None:
    session = at_the_end()
    session.answer_each(given)
    assert session.next_event() is Wait.NEED_DATA
    assert session.data_to_send() == b"".join(each.wire for each in given) + b"250 2.0.0 OK\r\n"
    assert session.transaction is None


def test_a_421_for_one_of_them_ends_the_session() -> None:
    session = at_the_end()
    session.answer_each((QUEUED, GOING))
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send() == QUEUED.wire + GOING.wire


def test_the_number_of_answers_is_that_of_the_recipients() -> None:
    with pytest.raises(AssertionError):
        at_the_end().answer_each((QUEUED,))
    session = Conversation(MX).session
    with pytest.raises(AssertionError):
        session.answer_each((QUEUED,))


def test_content_for_nobody_is_503() -> None:
    """RFC 2033 section 4.2"""
    conversation = Conversation(LMTP)
    assert conversation.lines("LHLO x", "MAIL FROM:<a@b>", "RCPT TO:<nobody@b>", "DATA").startswith("503 5.5.1")
