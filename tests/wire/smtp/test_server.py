"""The SMTP server session, command by command: replies, order, limits, and what is asked of the world."""

import msgspec
import pytest

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import BodyType, Notify
from postroad.vocabulary.limits import COMMAND_LINE_BYTES, DISCARD_BYTES, SERVER_CONTENT_S
from postroad.vocabulary.reply import reply
from postroad.wire.session import Wait
from postroad.wire.smtp import replies
from postroad.wire.smtp.events import (
    CommandRefused,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    RecipientGiven,
    SenderGiven,
    TransactionDropped,
    VerifyAsked,
)
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.transitions import Phase
from tests.wire.smtp.conversation import LOCAL, MX, SUBMISSION, TLS, Conversation, in_content, ready

ANN = Mailbox("ann", "a.example")
BOB = Mailbox("bob", "b.example")


def test_the_server_speaks_first() -> None:
    assert Conversation().greeting == b"220 mx.example.org ESMTP Postroad\r\n"


def test_ehlo_is_answered_by_what_can_be_done_here() -> None:
    answer = Conversation().say(b"ehlo client.example\r\n").decode().splitlines()
    assert answer[0] == "250-mx.example.org"
    assert {line[4:] for line in answer[1:]} == {
        "PIPELINING",
        "SIZE 10000",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
    }


def test_helo_is_answered_in_one_line() -> None:
    assert Conversation().lines("HELO client.example") == "250 mx.example.org\r\n"


def test_a_refused_greeting_leaves_the_client_unknown() -> None:
    session = ServerSession(MX)
    session.receive_data(b"EHLO liar.example\r\n")
    session.next_event()
    session.answer(reply(550, "Not with that name", status="5.7.1"))
    assert session.state.greeted is None
    assert session.state.phase is Phase.CONNECTED


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("MAIL FROM:<ann@a.example>", SenderGiven(ANN)),
        ("mail from:<ann@a.example>  ", SenderGiven(ANN)),
        ("MAIL FROM: <ann@a.example>", SenderGiven(ANN)),
        ("MAIL FROM:<>", SenderGiven(None)),
        ("MAIL FROM:<ann@a.example> SIZE=10000", SenderGiven(ANN, size=10_000)),
        ("MAIL FROM:<ann@a.example> BODY=8bitmime", SenderGiven(ANN, body=BodyType.EIGHT_BIT_MIME)),
        ("MAIL FROM:<ann@a.example> BODY=7BIT", SenderGiven(ANN)),
        ("MAIL FROM:<ann@a.example> RET=hdrs ENVID=QQ+2B1", SenderGiven(ANN, ret="HDRS", envid="QQ+2B1")),
        ("MAIL FROM:<ann@a.example> AUTH=<>", SenderGiven(ANN, auth="")),
        ("MAIL FROM:<ann@a.example> AUTH=e+3Dmc2@x", SenderGiven(ANN, auth="e=mc2@x")),
        ("MAIL FROM:<é@b> SMTPUTF8", SenderGiven(Mailbox("é", "b"), smtputf8=True)),
    ],
)
def test_mail_asks_about_the_sender(line: str, event: SenderGiven) -> None:
    conversation = ready()
    assert conversation.lines(line).startswith("250 2.1.0 ")
    assert conversation.asked(SenderGiven) == [event]
    transaction = conversation.session.transaction
    assert transaction is not None
    assert transaction.sender == event


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("MAIL", "501 5.5.4"),
        ("MAIL FROM", "501 5.5.4"),
        ("MAIL TO:<a@b>", "501 5.5.4"),
        ("MAIL FROM:a@b", "501 5.1.7"),
        ("MAIL FROM:<a@b", "501 5.1.7"),
        ("MAIL FROM:<a@b>c", "501 5.5.4"),
        ("MAIL FROM:<a@@b>", "501 5.1.7"),
        ("MAIL FROM:<ann>", "501 5.1.7"),
        ("MAIL FROM:<é@b>", "550 5.6.7"),
        ("MAIL FROM:<a\u202e@b> SMTPUTF8", "501 5.1.7"),
        ("MAIL FROM:<a@b> SMTPUTF8=1", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=10001", "552 5.3.4"),
        ("MAIL FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4"),
        ("MAIL FROM:<a@b> SIZE=999999999999999999999", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=-1", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=1K", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=٣", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", "501 5.5.4"),
        ("MAIL FROM:<a@b> RET=ALL", "501 5.5.4"),
        ("MAIL FROM:<a@b> ENVID=a+00", "501 5.5.4"),
        ("MAIL FROM:<a@b> ENVID=a+0d", "501 5.5.4"),
        ("MAIL FROM:<a@b> ENVID=" + "x" * 101, "501 5.5.4"),
        ("MAIL FROM:<a@b> ENVID=a ENVID=a", "501 5.5.4"),
        ("MAIL FROM:<a@b> RET=FULL RET=HDRS", "501 5.5.4"),
        ("MAIL FROM:<a@b> ENVID=", "501 5.5.4"),
        ("MAIL FROM:<a@b> RET", "501 5.5.4"),
        ("MAIL FROM:<a@b> AUTH=a+0D", "501 5.5.4"),
        ("MAIL FROM:<a@b> AUTH=a+09", "501 5.5.4"),
        ("MAIL FROM:<a@b> FOO=1", "555 5.5.4"),
        ("MAIL FROM:<a@b> FOO", "555 5.5.4"),
        ("MAIL FROM:<a@b> REQUIRETLS", "555 5.5.4"),
        ("MAIL FROM:<a@b> NOTIFY=NEVER", "555 5.5.4"),
        ("MAIL FROM:<a@b> =1", "501 5.5.4"),
        ("MAIL FROM:<a@b> " + " ".join(f"X{n}" for n in range(30)), "501 5.5.4"),
    ],
)
def test_a_malformed_mail_is_refused_and_asks_nothing(line: str, answer: str) -> None:
    conversation = ready()
    assert conversation.lines(line).startswith(answer)
    assert conversation.asked(SenderGiven) == []
    assert conversation.session.state.phase is Phase.READY


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("RCPT TO:<bob@b.example>", RecipientGiven(BOB)),
        ("rcpt to: <bob@b.example>", RecipientGiven(BOB)),
        ("RCPT TO:<Postmaster>", RecipientGiven(Mailbox("postmaster", ""))),
        ("RCPT TO:<bob@b.example> NOTIFY=SUCCESS,delay", RecipientGiven(BOB, (Notify.SUCCESS, Notify.DELAY))),
        ("RCPT TO:<bob@b.example> NOTIFY=never", RecipientGiven(BOB, (Notify.NEVER,))),
        ("RCPT TO:<bob@b.example> NOTIFY=DELAY,FAILURE,DELAY", RecipientGiven(BOB, (Notify.DELAY, Notify.FAILURE))),
        ("RCPT TO:<bob@b.example> ORCPT=rfc822;bob+2B1@b", RecipientGiven(BOB, (), "rfc822;bob+2B1@b")),
        ("RCPT TO:<bob@b.example> ORCPT=X400;Ann+20+09B", RecipientGiven(BOB, (), "X400;Ann+20+09B")),
        ("RCPT TO:<@x.example,@y.example:bob@b.example>", RecipientGiven(BOB)),
    ],
)
def test_rcpt_asks_about_the_recipient(line: str, event: RecipientGiven) -> None:
    conversation = ready()
    assert conversation.lines("MAIL FROM:<ann@a.example>", line).startswith("250 2.1.5 ")
    assert conversation.asked(RecipientGiven) == [event]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("RCPT", "501 5.5.4"),
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:<bob>", "501 5.1.3"),
        ("RCPT TO:<é@b>", "553 5.6.7"),
        ("RCPT TO:<bob@b> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("RCPT TO:<bob@b> NOTIFY=NEVER,NEVER", "501 5.5.4"),
        ("RCPT TO:<bob@b> NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4"),
        ("RCPT TO:<bob@b> NOTIFY", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=rfc822;a@b ORCPT=rfc822;a@b", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=rfc822;a+E9@b", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=rfc822;a+2b1@b", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=rfc822;" + "x" * 501, "501 5.5.4"),
        ("RCPT TO:<bob@b> NOTIFY=", "501 5.5.4"),
        ("RCPT TO:<bob@b> NOTIFY=SOMETIMES", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=rfc822;a+0D+0ABcc:x", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=rfc822", "501 5.5.4"),
        ("RCPT TO:<bob@b> ORCPT=;bob", "501 5.5.4"),
        ("RCPT TO:<bob@b> SIZE=1", "555 5.5.4"),
    ],
)
def test_a_malformed_rcpt_is_refused_and_asks_nothing(line: str, answer: str) -> None:
    conversation = ready()
    assert conversation.lines("MAIL FROM:<ann@a.example>", line).startswith(answer)
    assert conversation.asked(RecipientGiven) == []


def test_parameters_of_notifications_may_be_as_long_as_the_standard_says() -> None:
    """RFC 3461 section 5.4; section 5.1: what is valid never changes the answer."""
    conversation = ready()
    envid, original = "e" * 100, "rfc822;" + "+2B" * 163 + "xyz"
    assert len("ORCPT=") + len(original) >= 500
    assert conversation.lines(f"MAIL FROM:<ann@a.example> RET=FULL ENVID={envid}") == replies.SENDER_OK.wire.decode()
    path = "<" + "b" * 64 + "@" + ".".join(["c" * 59] * 3) + ".example>"
    line = f"RCPT TO:{path} NOTIFY=SUCCESS,FAILURE,DELAY ORCPT={original}"
    assert conversation.lines(line) == replies.RECIPIENT_OK.wire.decode()
    assert conversation.lines(f"RCPT TO:<nobody@b.example> NOTIFY=NEVER ORCPT={original}").startswith("550 5.1.1")
    transaction = conversation.session.transaction
    assert transaction is not None
    assert (transaction.sender.ret, transaction.sender.envid) == ("FULL", envid)
    assert transaction.recipients == 1
    taken = conversation.asked(RecipientGiven)[0]
    assert isinstance(taken, RecipientGiven)
    assert taken.original == original
    assert conversation.lines("RCPT TO:<c@b> ORCPT=rfc822;" + "x" * 2100) == replies.LINE_TOO_LONG.wire.decode()


def test_without_dsn_its_parameters_are_unknown() -> None:
    conversation = ready(msgspec.structs.replace(MX, dsn=False))
    assert "DSN" not in conversation.lines("EHLO client.example")
    assert conversation.lines("MAIL FROM:<a@b> RET=FULL").startswith("555 5.5.4")
    assert conversation.lines("MAIL FROM:<a@b>", "RCPT TO:<b@c> NOTIFY=NEVER").startswith("555 5.5.4")


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["MAIL FROM:<a@b>"], "503 5.5.1 Send EHLO"),
        (["RCPT TO:<a@b>"], "503 5.5.1"),
        (["DATA"], "503 5.5.1"),
        (["STARTTLS"], "503 5.5.1"),
        (["EHLO x", "RCPT TO:<a@b>"], "503 5.5.1"),
        (["EHLO x", "DATA"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "DATA"], "554 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<nobody@b>", "DATA"], "554 5.5.1"),
        (["EHLO x", "MAIL FROM:<refused@b>", "RCPT TO:<a@b>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "EHLO x", "RCPT TO:<a@b>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "HELO x", "RCPT TO:<a@b>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "EHLO", "RCPT TO:<a@b>"], "250 2.1.5"),
        (["EHLO x", "MAIL FROM:<a@b>", "RSET", "DATA"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b>", "RSET", "MAIL FROM:<a@b>"], "250 2.1.0"),
        (["EHLO x", "DATA now"], "503 5.5.1"),
        (["RSET now"], "501 5.5.4"),
        (["QUIT now"], "501 5.5.4"),
        (["EHLO x", "STARTTLS now"], "501 5.5.4"),
        (["EHLO"], "501 5.5.4"),
        (["EHLO a b"], "501 5.5.4"),
        (["EHLO é"], "501 5.5.4"),
        (["NOOP anything"], "250 2.0.0"),
        (["RSET"], "250 2.0.0"),
        (["HELP"], "214-2.0.0"),
        (["HELP MAIL"], "214-2.0.0"),
        (["VRFY"], "501 5.5.4"),
        (["VRFY ann"], "252 2.1.5"),
        (["EXPN list"], "502 5.5.1"),
        (["TURN"], "502 5.5.1"),
        (["BDAT 3 LAST"], "502 5.5.1"),
        (["AUTH PLAIN"], "502 5.5.1"),
        (["EHLO x", "AUTH PLAIN"], "502 5.5.1"),
        (["HELLO x"], "500 5.5.2"),
        ([""], "500 5.5.2"),
        (["DATA."], "500 5.5.2"),
        (["QUIT"], "221 2.0.0"),
    ],
)
def test_an_answer_after_some_lines(lines: list[str], answer: str) -> None:
    assert Conversation().lines(*lines).startswith(answer)


def test_a_message_arrives_as_it_was_meant() -> None:
    conversation = in_content()
    assert conversation.say(b"Subject: x\r\n\r\n..dot\r\n.\r\n") == b"250 2.0.0 Queued\r\n"
    assert conversation.messages == [b"Subject: x\r\n\r\n.dot\r\n"]
    assert conversation.session.transaction is None


def test_a_pipelined_group_is_answered_in_one_write() -> None:
    """RFC 2920 section 3.2."""
    conversation = ready()
    said = conversation.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<nobody@b>\r\nRCPT TO:<b@b>\r\nDATA\r\n")
    assert [line[:3] for line in said.decode().splitlines()] == ["250", "550", "250", "354"]
    said = conversation.say(b"x\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n")
    assert [line[:3] for line in said.decode().splitlines()] == ["250", "250", "221"]
    assert conversation.closed


def test_a_group_may_hold_any_commands_and_each_is_answered_in_its_turn() -> None:
    """RFC 2920 section 3.2: also those that a client should only put at the end of a group."""
    conversation = Conversation()
    said = conversation.say(
        b"EHLO x\r\nVRFY ann\r\nMAIL FROM:<refused@b>\r\nRCPT TO:<b@b>\r\nDATA\r\nNOOP\r\nMAIL FROM:<a@b>\r\n"
        b"NOOP\r\nRCPT TO:<b@b>\r\nRSET\r\nRCPT TO:<b@b>\r\nXYZ\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\nDATA\r\n"
        b"x\r\n.\r\nRSET\r\nEHLO y\r\nQUIT\r\nNOOP\r\n"
    )
    finals = [line[:3] for line in said.decode().splitlines() if line[3] == " "]
    first, second, third = "250 252 550 503 503 250 250", "250 250 250 503 500 250 250 354", "250 250 250 221"
    assert " ".join(finals) == f"{first} {second} {third}"
    assert conversation.messages == [b"x\r\n"]


def test_nothing_is_parsed_while_an_answer_is_owed() -> None:
    session = ServerSession(MX)
    session.receive_data(b"EHLO x\r\nMAIL FROM:<a@b>\r\n")
    session.next_event()
    assert session.next_event() is Wait.NEED_ANSWER
    session.receive_data(b"RCPT TO:<b@b>\r\n")
    assert session.next_event() is Wait.NEED_ANSWER
    assert session.buffered_bytes == len(b"MAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\n")
    session.answer(None)
    assert session.next_event() == SenderGiven(Mailbox("a", "b"))


def test_to_answer_what_was_not_asked_is_our_mistake() -> None:
    session = ServerSession(MX)
    with pytest.raises(AssertionError):
        session.answer(None)
    with pytest.raises(AssertionError):
        session.authenticated("ann@example.org")
    with pytest.raises(AssertionError):
        session.tls_started(TLS)


# ---- TLS and AUTH --------------------------------------------------------------------------------

PLAIN = "AUTH PLAIN AGFubgBzZWNyZXQ="


def test_after_the_handshake_the_client_is_a_stranger_again() -> None:
    conversation = ready()
    assert conversation.lines("MAIL FROM:<a@b>", "STARTTLS").startswith("220 2.0.0")
    assert conversation.wait is Wait.NEED_TLS
    conversation.start_tls()
    assert conversation.asked(TransactionDropped) == [TransactionDropped("STARTTLS")]
    assert conversation.lines("MAIL FROM:<a@b>").startswith("503 5.5.1 Send EHLO")
    answer = conversation.lines("EHLO client.example")
    assert "STARTTLS" not in answer
    assert conversation.lines("STARTTLS").startswith("503 5.5.1")


def test_starttls_without_a_certificate_is_not_implemented() -> None:
    profile = msgspec.structs.replace(MX, tls_available=False)
    conversation = Conversation(profile)
    assert "STARTTLS" not in conversation.lines("EHLO x")
    assert conversation.lines("STARTTLS").startswith("502 5.5.1")


def test_our_users_begin_by_tls_then_auth() -> None:
    conversation = Conversation(SUBMISSION)
    assert "AUTH" not in conversation.lines("EHLO x")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("530 5.7.0")
    assert conversation.lines(PLAIN).startswith("504 5.5.4")
    conversation.lines("STARTTLS")
    conversation.start_tls()
    assert "250-AUTH PLAIN LOGIN\r\n" in conversation.lines("EHLO x").replace("250 AUTH", "250-AUTH")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("530 5.7.0 Authentication")
    assert conversation.lines(PLAIN).startswith("235 2.7.0")
    assert conversation.session.state.identity == "ann@example.org"
    assert conversation.lines(PLAIN).startswith("503 5.5.1")
    assert "AUTH" not in conversation.lines("EHLO x")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("250")
    assert conversation.lines(PLAIN).startswith("503 5.5.1")


def in_tls() -> Conversation:
    conversation = Conversation(SUBMISSION, tls=TLS)
    conversation.lines("EHLO x")
    return conversation


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([PLAIN], "235 2.7.0"),
        (["AUTH plain AGFubgBzZWNyZXQ="], "235 2.7.0"),
        (["AUTH PLAIN", "AGFubgBzZWNyZXQ="], "235 2.7.0"),
        (["AUTH LOGIN", "YW5u", "c2VjcmV0"], "235 2.7.0"),
        (["AUTH LOGIN YW5u", "c2VjcmV0"], "235 2.7.0"),
        (["AUTH PLAIN"], "334 \r\n"),
        (["AUTH LOGIN"], "334 VXNlcm5hbWU6\r\n"),
        (["AUTH LOGIN", "YW5u"], "334 UGFzc3dvcmQ6\r\n"),
        (["AUTH PLAIN", "*"], "501 5.7.0"),
        (["AUTH LOGIN", "YW5u", "*"], "501 5.7.0"),
        (["AUTH PLAIN", "AGFubg"], "501 5.5.2"),
        (["AUTH PLAIN", "YW5u YW5u"], "501 5.5.2"),
        (["AUTH PLAIN ="], "535 5.7.8"),
        (["AUTH PLAIN YW5u"], "535 5.7.8"),
        (["AUTH PLAIN AGFubgBzZWNyZXQA"], "535 5.7.8"),
        (["AUTH PLAIN AGEKYgBjAA=="], "535 5.7.8"),
        (["AUTH PLAIN AP8AYQ=="], "535 5.7.8"),
        (["AUTH LOGIN", "YQBi"], "535 5.7.8"),
        (["AUTH PLAIN AGFubgBmYWxzZQ=="], "535 5.7.8"),
        (["AUTH CRAM-MD5"], "504 5.5.4"),
        (["AUTH"], "501 5.5.4"),
        (["AUTH PLAIN a b"], "501 5.5.4"),
        (["MAIL FROM:<a@b>", PLAIN], "235"),
    ],
)
def test_an_authentication(lines: list[str], answer: str) -> None:
    assert in_tls().lines(*lines).startswith(answer)


def test_an_authentication_line_has_its_bound() -> None:
    """RFC 4954 section 4: 12,288 octets."""
    conversation = in_tls()
    conversation.lines("AUTH PLAIN")
    assert conversation.say(b"A" * 12_284 + b"\r\n").startswith(b"535 5.7.8")
    conversation.lines("AUTH PLAIN")
    assert conversation.say(b"A" * 12_290 + b"\r\n").startswith(b"500 5.5.6")
    assert conversation.lines("NOOP").startswith("250")


def test_wrong_passwords_are_counted() -> None:
    conversation = in_tls()
    answers = [conversation.lines("AUTH PLAIN AGFubgBmYWxzZQ==") for _ in range(11)]
    assert [answer[:3] for answer in answers] == ["535"] * 11
    assert answers[-1].endswith("421 4.7.0 Too many errors, closing\r\n")
    assert conversation.closed


def test_a_password_never_reaches_the_ledger() -> None:
    conversation = in_tls()
    conversation.lines("AUTH PLAIN AGFubgBzZWNyZXQ= x", PLAIN, PLAIN, "MAIL FROM:<a@b>", PLAIN)
    noted = [event for event in conversation.events if not isinstance(event, CredentialsGiven)]
    assert len(conversation.asked(CommandRefused)) == 3
    assert "AGFubgBzZWNyZXQ" not in repr(noted)


def test_who_comes_by_the_local_socket_is_known_already() -> None:
    conversation = ready(LOCAL)
    assert conversation.lines("MAIL FROM:<ann@example.org>").startswith("250")


# ---- limits --------------------------------------------------------------------------------------


def test_the_101st_recipient_is_for_another_transaction() -> None:
    """RFC 5321 section 4.5.3.1.10: 452, and the hundred stay."""
    conversation = ready()
    conversation.lines("MAIL FROM:<a@b>")
    answers = [conversation.lines(f"RCPT TO:<u{n}@b>")[:9] for n in range(102)]
    assert answers == ["250 2.1.5"] * 100 + ["452 4.5.3"] * 2
    assert conversation.lines("DATA").startswith("354")


def test_bad_commands_end_in_a_421() -> None:
    conversation = ready()
    answers = [conversation.lines("BOO") for _ in range(11)]
    assert [answer[:9] for answer in answers] == ["500 5.5.2"] * 10 + ["421 4.7.0"]
    assert conversation.closed


def test_an_accepted_message_forgives_bad_commands() -> None:
    conversation = in_content()
    conversation.say(b".\r\n")
    for _ in range(3):
        for _ in range(9):
            conversation.lines("BOO")
        conversation.lines("MAIL FROM:<a@b>", "RCPT TO:<b@b>", "DATA")
        assert conversation.say(b".\r\n").startswith(b"250")


def test_a_session_has_an_end_of_messages() -> None:
    conversation = ready(msgspec.structs.replace(MX, messages_per_session=2))
    for _ in range(2):
        conversation.lines("MAIL FROM:<a@b>", "RCPT TO:<b@b>", "DATA", ".")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("421 4.7.0")
    assert conversation.closed


def test_the_longest_command_line_passes_and_one_more_does_not() -> None:
    conversation = Conversation()
    longest = b"NOOP " + b"x" * (COMMAND_LINE_BYTES - 7) + b"\r\n"
    assert len(longest) == COMMAND_LINE_BYTES
    assert conversation.say(longest).startswith(b"250")
    assert conversation.say(b"x" + longest).startswith(b"500 5.5.2")
    assert conversation.lines("NOOP").startswith("250")


@pytest.mark.parametrize("chunk_bytes", [1000, 65_536, 1_000_000])
def test_an_endless_line_is_one_500_then_a_421(chunk_bytes: int) -> None:
    conversation = Conversation()
    said = b""
    for _ in range(1_000_000 // chunk_bytes):
        said += conversation.say(b"x" * chunk_bytes)
        assert conversation.session.buffered_bytes <= DISCARD_BYTES + COMMAND_LINE_BYTES
    assert [line[:9] for line in said.splitlines()] == [b"500 5.5.2", b"421 4.7.0"]
    assert conversation.closed


# ---- endings -------------------------------------------------------------------------------------


def test_a_silent_client_is_told_so() -> None:
    conversation = ready()
    conversation.session.timed_out()
    assert conversation.settle() == b"421 4.4.2 Waited too long for you, closing\r\n"
    assert conversation.closed


def test_a_silence_in_the_content_drops_the_transaction() -> None:
    conversation = in_content()
    assert conversation.session.patience_s == SERVER_CONTENT_S
    conversation.say(b"half\r\n")
    conversation.session.timed_out()
    conversation.settle()
    assert conversation.closed
    assert len(conversation.asked(TransactionDropped)) == 1
    assert conversation.messages == []


def test_a_cut_in_the_content_is_no_message() -> None:
    conversation = in_content()
    conversation.say(b"half\r\n.\r")
    assert conversation.say(b"") == b""
    assert conversation.closed
    assert len(conversation.asked(TransactionDropped)) == 1
    assert conversation.messages == []


def test_what_came_before_the_end_of_the_stream_is_carried_out() -> None:
    session = ServerSession(MX)
    session.receive_data(b"NOOP\r\nNOOP\r\nNO")
    session.receive_data(b"")
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send().count(b"250 ") == 2


def test_shutting_down_says_421_at_once_between_commands() -> None:
    conversation = ready()
    conversation.lines("MAIL FROM:<a@b>")
    conversation.session.shut_down(reply(421, "Going down", status="4.3.2"))
    assert conversation.settle() == b"421 4.3.2 Going down\r\n"
    assert conversation.closed
    assert len(conversation.asked(TransactionDropped)) == 1


def test_shutting_down_in_the_content_only_closes() -> None:
    conversation = in_content()
    conversation.session.shut_down(reply(421, "Going down", status="4.3.2"))
    assert conversation.settle() == b""
    assert conversation.closed


def test_shutting_down_waits_for_the_answer_that_is_owed() -> None:
    session = in_content().session
    session.receive_data(b"x\r\n.\r\n")
    assert isinstance(session.next_event(), ContentReceived)
    assert isinstance(session.next_event(), ContentEnded)
    session.shut_down(reply(421, "Going down", status="4.3.2"))
    assert session.next_event() is Wait.NEED_ANSWER
    session.answer(reply(250, "Queued", status="2.0.0"))
    assert session.data_to_send() == b"250 2.0.0 Queued\r\n421 4.3.2 Going down\r\n"
    assert session.next_event() is Wait.CLOSED


def test_a_421_from_the_world_ends_the_session() -> None:
    session = ServerSession(MX)
    session.receive_data(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\n")
    session.next_event()
    session.answer(None)
    session.next_event()
    session.answer(reply(421, "Not now", status="4.3.2"))
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send().endswith(b"421 4.3.2 Not now\r\n")


def test_vrfy_is_asked_of_the_world() -> None:
    conversation = Conversation()
    conversation.lines("VRFY  ann ")
    assert conversation.asked(VerifyAsked) == [VerifyAsked("ann")]


def test_what_is_refused_is_told_to_the_ledger() -> None:
    conversation = ready()
    conversation.lines("MAIL FROM:<a@@b>")
    refused = conversation.asked(CommandRefused)[0]
    assert isinstance(refused, CommandRefused)
    assert refused.command == "MAIL FROM:<a@@b>"
    assert refused.reply.code == 501
