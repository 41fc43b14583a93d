"""ETRN, ATRN, TURN and XCLIENT: mail that is fetched, and a connection that is passed on."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.reply import reply
from postroad.wire.session import Wait
from postroad.wire.smtp.events import ClientReplaced, QueueRunAsked, TransactionDropped, TurnAsked
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.transitions import Phase
from tests.wire.smtp.conversation import FULL, MX, ODMR, SUBMISSION, TLS, Conversation, ready
from tests.wire.smtp.secrets import cram_answer


def customer() -> Conversation:
    """Authenticated on the ODMR listener, in clear."""
    conversation = Conversation(ODMR)
    conversation.lines("EHLO client.example")
    challenge = conversation.lines("AUTH CRAM-MD5")
    assert challenge.startswith("334 ")
    assert conversation.lines(cram_answer(challenge, "ann", "secret")).startswith("235")
    return conversation


@pytest.mark.parametrize(
    ("line", "asked", "answer"),
    [
        ("ETRN A.example", "a.example", "250 2.0.0"),
        ("etrn @a.example ", "@a.example", "250 2.0.0"),
        ("ETRN #bulk", "#bulk", "459 4.7.1"),
        ("ETRN later.example", "later.example", "458 4.3.0"),
    ],
)
def test_a_queue_is_asked_to_run(line: str, asked: str, answer: str) -> None:
    """RFC 1985"""
    conversation = ready(FULL)
    assert conversation.lines(line).startswith(answer)
    assert conversation.asked(QueueRunAsked) == [QueueRunAsked(asked)]
    assert conversation.session.state.phase is Phase.READY


def test_users_ask_for_a_queue_run_after_auth() -> None:
    conversation = ready(msgspec.structs.replace(SUBMISSION, etrn=True))
    assert conversation.lines("ETRN a.example").startswith("530 5.7.0 Send STARTTLS")


@pytest.mark.parametrize(
    ("line", "domains"),
    [
        ("ATRN", ()),
        ("ATRN a.example", ("a.example",)),
        ("atrn A.example,c.EXAMPLE,a.example ", ("a.example", "c.example")),
    ],
)
def test_the_roles_are_changed(line: str, domains: tuple[str, ...]) -> None:
    """RFC 2645 section 5.2.1"""
    conversation = customer()
    assert conversation.lines(line) == "250 2.0.0 OK, now changing roles\r\n"
    assert conversation.asked(TurnAsked) == [TurnAsked("ATRN", domains)]
    assert conversation.wait is Wait.TURNED
    assert conversation.settle() == b""
    assert conversation.wait is Wait.TURNED


def test_a_customer_without_mail_is_told_so() -> None:
    conversation = customer()
    assert conversation.lines("ATRN b.example").startswith("453 ")
    assert conversation.session.state.phase is Phase.READY
    assert conversation.lines("ATRN a.example").startswith("250")


@pytest.mark.parametrize(
    "argument", ["a..b", "a b", ",", "a,", "[192.0.2.1]", ",".join("abcdefgh.example" for _ in range(101)), "é.example"]
)
def test_domains_that_are_none(argument: str) -> None:
    conversation = customer()
    assert conversation.lines(f"ATRN {argument}").startswith("501 5.5.4")
    assert conversation.asked(TurnAsked) == []


def test_a_stranger_cannot_turn() -> None:
    conversation = Conversation(ODMR)
    assert conversation.lines("ATRN").startswith("503 5.5.1")
    assert conversation.lines("EHLO x", "ATRN").startswith("530 5.7.0 Authentication required")
    conversation = ready(FULL)
    assert conversation.lines("TURN").startswith("530 5.7.0 Send STARTTLS first")
    assert conversation.lines("ATRN").startswith("502 5.5.1")


def known() -> Conversation:
    conversation = Conversation(FULL, tls=TLS)
    conversation.lines("EHLO x", "AUTH PLAIN AGFubgBzZWNyZXQ=")
    return conversation


def test_turn_of_old() -> None:
    """RFC 821 section 3.8, for those who are known."""
    conversation = known()
    assert conversation.lines("TURN now").startswith("501 5.5.4")
    assert conversation.lines("MAIL FROM:<a@b>", "TURN").startswith("503 5.5.1")
    assert conversation.lines("RSET", "TURN").startswith("250")
    assert conversation.asked(TurnAsked) == [TurnAsked("TURN")]
    assert conversation.wait is Wait.TURNED


def test_who_speaks_on_is_not_turned_to() -> None:
    conversation = known()
    said = conversation.say(b"TURN\r\n220 early.example\r\n")
    assert said.startswith(b"503 5.5.1")
    assert conversation.closed


def test_a_turned_session_is_over() -> None:
    conversation = known()
    conversation.lines("TURN")
    session = conversation.session
    session.shut_down(reply(421, "Going down", status="4.3.2"))
    session.timed_out()
    assert conversation.settle() == b""
    with pytest.raises(AssertionError):
        session.answer(None)


def test_who_was_the_client_greets() -> None:
    """RFC 2645 section 5.3: a server session over a connection that exists sends the 220."""
    session = ServerSession(MX, TLS)
    assert session.data_to_send() == b"220 mx.example.org ESMTP Postroad\r\n"
    session.receive_data(b"EHLO provider.example\r\n")
    session.next_event()
    session.answer(None)
    assert b"STARTTLS" not in session.data_to_send()


# ---- XCLIENT -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "replaced"),
    [
        ("ADDR=192.0.2.1", ClientReplaced(address="192.0.2.1")),
        ("addr=IPV6:2001:DB8::1 PORT=25", ClientReplaced(address="2001:db8::1", port=25)),
        ("ADDR=::ffff:192.0.2.1", ClientReplaced(address="192.0.2.1")),
        ("NAME=[UNAVAILABLE] ADDR=[unavailable]", ClientReplaced(name="", address="")),
        ("NAME=[TEMPUNAVAIL]", ClientReplaced(name="", name_later=True)),
        (
            "NAME=client.example HELO=he+2Blo LOGIN=ann PROTO=esmtp",
            ClientReplaced(name="client.example", helo="he+lo", login="ann", protocol="ESMTP"),
        ),
        ("PORT=[UNAVAILABLE] LOGIN=[UNAVAILABLE]", ClientReplaced(port=0, login="")),
        (
            "DESTADDR=198.51.100.1 DESTPORT=587",
            ClientReplaced(destination_address="198.51.100.1", destination_port=587),
        ),
    ],
)
def test_a_front_end_tells_whose_connection_it_is(arguments: str, replaced: ClientReplaced) -> None:
    conversation = ready(FULL)
    assert conversation.lines(f"XCLIENT {arguments}").startswith("220 mx.example.org")
    assert conversation.asked(ClientReplaced) == [replaced]


@pytest.mark.parametrize(
    "arguments",
    [
        *("ADDR", "ADDR=", "ADDR=here", "ADDR=fe80::1%25lo", "PORT=0", "PORT=65536", "PORT=x", "PROTO=LMTP", "FOO=1"),
        *("ADDR=1.2.3.4 ADDR=1.2.3.4", "HELO=a+0D+0Ab", "HELO=a+20b", "NAME=" + "x" * 256, "NAME=é"),
    ],
)
def test_a_front_end_that_stammers(arguments: str) -> None:
    conversation = ready(FULL)
    assert conversation.lines(f"XCLIENT {arguments}").startswith("501 5.5.4")
    assert conversation.asked(ClientReplaced) == []


def test_after_it_the_session_begins_anew() -> None:
    conversation = known()
    assert conversation.session.state.identity
    assert conversation.lines("MAIL FROM:<a@b>", "XCLIENT ADDR=192.0.2.1").startswith("503 5.5.1")
    assert conversation.lines("RSET", "XCLIENT ADDR=192.0.2.1 LOGIN=[UNAVAILABLE]").startswith("220")
    assert conversation.session.state.identity == ""
    assert conversation.session.state.greeted is None
    assert conversation.lines("MAIL FROM:<a@b>").startswith("503 5.5.1 Send EHLO")
    assert conversation.lines("XCLIENT LOGIN=bob@example.org").startswith("220")
    assert conversation.session.state.identity == "bob@example.org"
    assert conversation.asked(TransactionDropped) == [TransactionDropped("RSET")]


def test_a_client_that_may_not_call_is_refused_through_its_front_end() -> None:
    conversation = ready(FULL)
    assert conversation.lines("XCLIENT ADDR=192.0.2.66").startswith("554 5.7.1")
    assert conversation.session.state.greeted is not None


def test_others_have_no_such_command() -> None:
    assert ready(MX).lines("XCLIENT ADDR=192.0.2.1").startswith("502 5.5.1")


@given(st.sampled_from(["ETRN", "ATRN", "XCLIENT", "EXPN", "HELP"]), st.binary(max_size=80))
def test_any_argument_is_answered(verb: str, argument: bytes) -> None:
    for profile in (FULL, ODMR):
        conversation = Conversation(profile)
        conversation.lines("EHLO x")
        said = conversation.say(verb.encode() + b" " + argument.replace(b"\r\n", b"") + b"\r\n")
        assert said[:3].isdigit()
