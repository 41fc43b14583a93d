"""Clients that mean harm, and clients that are no mail clients at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import COMMANDS_WITHOUT_MAIL
from postroad.wire.session import Wait
from postroad.wire.smtp.events import CommandRefused, ContentEnded, RecipientGiven, SenderGiven
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.transitions import Phase
from tests.wire.cutting import cut, split
from tests.wire.smtp.conversation import FULL, LMTP, MX, ODMR, SUBMISSION, TLS, Conversation, history, ready

SESSION = (
    b"EHLO client.example\r\nVRFY x\r\nMAIL FROM:<a@b> SIZE=20\r\nRCPT TO:<nobody@b>\r\nRCPT TO:<b@b>\r\n"
    b"DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nBOO\r\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\r\nNOOP\r\r\n"
    b"MAIL FROM:<a@b>\r\nRSET\r\nMAIL FROM:<a@b>\r\nDATA\r\nbody line\r\nMAIL FROM:<a@b>\r\nNOOP\r\nQUIT\r\nNOOP\r\n"
)


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\0\n"])
def test_a_lone_newline_never_makes_two_commands(newline: bytes) -> None:
    conversation = ready()
    said = conversation.say(b"MAIL FROM:<a@x>" + newline + b"RCPT TO:<b@y>\r\n")
    assert said.startswith((b"500 5.5.2", b"501 "))
    assert conversation.asked(RecipientGiven) == []
    assert conversation.asked(SenderGiven) == []


@pytest.mark.parametrize("chunks", [[b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<a@x>\r\n"], [b"STARTTLS\r\n", b"EHLO x\r\n"]])
def test_octets_behind_starttls_are_never_carried_out(chunks: list[bytes]) -> None:
    conversation = ready(SUBMISSION)
    said = b"".join(map(conversation.say, chunks))
    assert said.startswith(b"220 2.0.0 ")
    assert said.splitlines()[1:] == [b"554 5.5.1 Octets came in clear behind STARTTLS"]
    assert conversation.closed
    assert conversation.asked(SenderGiven) == []


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.0\r\n\r\nEHLO x\r\n"])
def test_a_browser_is_sent_away(first: bytes) -> None:
    conversation = Conversation()
    assert conversation.say(first) == b"554 5.5.1 This is a mail server; it speaks SMTP\r\n"
    assert conversation.closed


@pytest.mark.parametrize("chunks", [[b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], [b"\x16", b"\x03\x01"]])
def test_a_tls_handshake_on_a_port_that_speaks_first_is_sent_away(chunks: list[bytes]) -> None:
    conversation = Conversation()
    assert b"".join(map(conversation.say, chunks)).startswith(b"554 5.5.1")
    assert conversation.closed


def test_who_speaks_before_the_greeting_is_refused() -> None:
    conversation = Conversation(msgspec.structs.replace(MX, greeting_held=True))
    assert conversation.greeting == b""
    assert conversation.say(b"EHLO x\r\n") == b""
    conversation.session.greet()
    assert conversation.settle().startswith(b"554 5.5.1")
    assert conversation.closed


def test_who_waits_for_a_late_greeting_gets_it() -> None:
    conversation = Conversation(msgspec.structs.replace(MX, greeting_held=True))
    conversation.session.greet()
    assert conversation.settle().startswith(b"220 ")
    assert conversation.lines("EHLO x").startswith("250")


def test_content_sent_though_data_was_refused_starts_nothing() -> None:
    conversation = ready()
    body = b"Subject: x\r\n\r\nhello\r\nRSET\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<b@b>\r\nDATA\r\nevil\r\n.\r\n"
    said = conversation.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<nobody@b>\r\nDATA\r\n" + body)
    codes = [line[:3].decode() for line in said.splitlines()]
    assert codes == ["250", "550", "554", "500", "500", "500", "250", "503", "503", "503", "500", "500"]
    assert len(conversation.asked(SenderGiven)) == 1
    assert conversation.session.state.phase is Phase.OUT_OF_STEP
    assert conversation.lines("EHLO x").startswith("503")
    for _ in range(5):
        said = conversation.say(b"more\r\n")
    assert conversation.closed


def test_a_client_that_waited_for_the_refusal_of_data_goes_on() -> None:
    conversation = ready()
    conversation.lines("MAIL FROM:<a@b>", "RCPT TO:<nobody@b>", "DATA")
    assert conversation.lines("RSET", "MAIL FROM:<a@b>", "RCPT TO:<b@b>", "DATA").startswith("354")


def test_a_mistyped_command_later_is_only_that() -> None:
    """The refused DATA is forgotten as soon as the client goes on in order."""
    conversation = ready()
    conversation.lines("MAIL FROM:<a@b>", "RCPT TO:<nobody@b>", "DATA", "RCPT TO:<b@b>", "BOO")
    assert conversation.session.state.phase is Phase.RECIPIENTS
    assert conversation.lines("DATA").startswith("354")


def test_a_flood_of_recipients_costs_nothing_more() -> None:
    conversation = ready()
    conversation.say(b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<b@b>\r\n" * 150)
    transaction = conversation.session.transaction
    assert transaction is not None
    assert transaction.recipients == 100
    assert len(conversation.asked(RecipientGiven)) == 100


def test_ten_thousands_of_recipients_cost_each_as_much_as_the_first() -> None:
    many = 30_000
    conversation = ready(msgspec.structs.replace(MX, recipients_max=many))
    conversation.lines("MAIL FROM:<a@b>")
    first = conversation.session.transaction
    for _ in range(many // 1000):
        conversation.say(b"RCPT TO:<b@b>\r\n" * 1000)
    last = conversation.session.transaction
    assert first is not None
    assert last == msgspec.structs.replace(first, recipients=many)
    assert len(msgspec.msgpack.encode(last)) <= len(msgspec.msgpack.encode(first)) + 2
    assert conversation.lines("RCPT TO:<c@b>").startswith("452 4.5.3")
    assert conversation.lines("RSET", "MAIL FROM:<a@b>").startswith("250")
    assert conversation.session.transaction == first


@given(st.lists(st.integers(0, len(SESSION)), max_size=12))
def test_the_split_of_the_octets_does_not_matter(cuts: list[int]) -> None:
    assert history(cut(SESSION, cuts)) == history([SESSION])


def test_octet_by_octet_the_session_is_the_same() -> None:
    said, events, messages, wait = history([SESSION])
    assert history(split(SESSION)) == (said, events, messages, wait)
    assert messages == [b"Subject: x\r\n\r\n.\r\n"]
    assert wait is Wait.CLOSED


WORDS = st.sampled_from(
    [
        *(
            b"EHLO x",
            b"HELO",
            b"MAIL FROM:",
            b"RCPT TO:",
            b"<a@b>",
            b"<>",
            b"DATA",
            b"RSET",
            b"STARTTLS",
            b"QUIT",
            b"NOOP",
        ),
        *(
            b"AUTH PLAIN ",
            b"AUTH LOGIN",
            b"=",
            b"*",
            b"YW5u",
            b"BDAT 3\r\n",
            b"BDAT 2 LAST\r\nx\n",
            b" ",
            b"\r\n",
            b"\n",
            b"\r",
            b".",
            b"\r\n.\r\n",
        ),
        *(b"ETRN ", b"ATRN ", b"TURN", b"XCLIENT ADDR=", b"SEND FROM:<a@b>", b"EXPN x", b"HELP ", b"LHLO x"),
        *(
            b"AUTH SCRAM-SHA-256 ",
            b"biwsbj1hbm4scj14",
            b"AUTH CRAM-MD5",
            b" BODY=BINARYMIME",
            b" BY=99;R",
            b"RCPT TO:<b@b>",
        ),
        *(b"\0", b"\xff", b"SIZE=", b" SMTPUTF8", b" BODY=8BITMIME", b" ORCPT=rfc822;", b"+0D", b"x" * 3000),
    ]
)


@given(
    st.lists(WORDS | st.binary(max_size=20), max_size=40),
    st.lists(st.integers(0, 600), max_size=8),
    st.sampled_from([MX, SUBMISSION, FULL, ODMR, LMTP]),
)
def test_any_octets_are_answered_and_never_raise(words: list[bytes], cuts: list[int], profile: ServerProfile) -> None:
    octets = (b"LHLO x\r\n" if profile.lmtp else b"EHLO x\r\n") + b"".join(words) + b"\r\n"
    assert history(cut(octets, cuts), profile) == history([octets], profile)


@given(st.lists(WORDS | st.binary(max_size=20), max_size=40))
def test_any_octets_inside_tls_never_raise(words: list[bytes]) -> None:
    conversation = Conversation(msgspec.structs.replace(FULL, message_bytes=1000), tls=TLS)
    conversation.say(b"EHLO x\r\n" + b"".join(words) + b"\r\n")
    said = conversation.say(b"")
    assert conversation.closed
    assert all(line[:3].isdigit() for line in said.splitlines())
    assert len(conversation.asked(ContentEnded)) == len(conversation.messages)
    assert len(conversation.asked(CommandRefused)) <= SUBMISSION.bad_commands + 12


@pytest.mark.parametrize(
    "words", [b"NOOP\r\n", b"RSET\r\n", b"HELP\r\n", b"VRFY x\r\n", b"EHLO x\r\n", b"MAIL FROM:<refused@a>\r\n"]
)
def test_a_million_commands_without_mail_are_not_carried_out(words: bytes) -> None:
    conversation = ready()
    said = conversation.say(words * 1_000_000)
    assert said.endswith(b"421 4.7.0 Too many commands without any mail, closing\r\n")
    assert conversation.closed
    assert len(said) < 400 * COMMANDS_WITHOUT_MAIL


@pytest.mark.parametrize("name", [b"later", b"b"])
def test_a_million_recipients_that_are_not_taken_end_the_session(name: bytes) -> None:
    conversation = ready()
    conversation.lines("MAIL FROM:<a@b>")
    said = conversation.say((b"RCPT TO:<" + name + b"@b.example>\r\n") * 1_000_000)
    assert said.endswith(b"421 4.7.0 Too many commands without any mail, closing\r\n")
    assert said.count(b"\r\n") <= COMMANDS_WITHOUT_MAIL + MX.recipients_max + 1


def test_a_message_that_is_taken_lets_the_client_ask_on() -> None:
    conversation = ready()
    for _ in range(3):
        conversation.say(b"NOOP\r\n" * (COMMANDS_WITHOUT_MAIL - 10))
        assert conversation.lines("MAIL FROM:<a@b>", "RCPT TO:<b@b>", "DATA", "x\r\n.").startswith("250")
    assert conversation.say(b"NOOP\r\n" * COMMANDS_WITHOUT_MAIL + b"QUIT\r\n").endswith(b"221 2.0.0 Bye\r\n")
