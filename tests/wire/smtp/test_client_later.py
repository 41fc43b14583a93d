"""The client session beyond the plain transaction: BDAT, LMTP, logging in, ETRN, ATRN and TURN."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.envelope import BodyType, DeliverBy, Recipient
from postroad.vocabulary.limits import CLIENT_CONTENT_S, CLIENT_TURN_S
from postroad.vocabulary.reply import reply
from postroad.wire.sasl import to_base64
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientProfile, ClientSession
from postroad.wire.smtp.client_events import (
    ClientEvent,
    CommandAnswered,
    ContentWanted,
    Ended,
    OutgoingTransaction,
    Ready,
    Stage,
    TlsUse,
    TransactionEnded,
)
from postroad.wire.smtp.events import ProofGiven, SenderGiven
from postroad.wire.smtp.server_profile import ServerProfile
from tests.wire.cutting import cut
from tests.wire.smtp.conversation import FULL, LMTP, ODMR, TLS, Conversation

ANN = Mailbox("ann", "a.example")
BOB = Recipient(Mailbox("bob", "b.example"))
NOBODY = Recipient(Mailbox("nobody", "b.example"))
PROFILE = ClientProfile(helo_name="client.example", tls=TlsUse.NEVER)
BINARY = OutgoingTransaction(ANN, (BOB,), 5, body=BodyType.BINARY_MIME)
LARGE = OutgoingTransaction(ANN, (BOB,), 2000)
OK = b"250 2.0.0 OK\r\n"
CHUNKING = b"250-mx.b.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"
SLOW_CHUNKING = b"250-mx.b.example\r\n250-CHUNKING\r\n250 BINARYMIME\r\n"


class Client:
    """`hear` what the server says; give what the client sends next."""

    def __init__(self, profile: ClientProfile = PROFILE, ehlo: bytes = CHUNKING) -> None:
        self.session = ClientSession(profile, lambda size: b"c" * size)
        self.events: list[ClientEvent] = []
        self.wait = Wait.NEED_DATA
        self.hear(b"220 mx.b.example\r\n")
        self.hear(ehlo)

    def hear(self, octets: bytes) -> bytes:
        self.session.receive_data(octets)
        return self.settle()

    def settle(self) -> bytes:
        while not isinstance(event := self.session.next_event(), Wait):
            self.events.append(event)
        self.wait = event
        return self.session.data_to_send()

    def begin(self, transaction: OutgoingTransaction, content: bytes | None) -> bytes:
        self.session.begin(transaction, content)
        return self.settle()


# ---- BDAT ----------------------------------------------------------------------------------------


def test_binary_content_goes_in_one_chunk() -> None:
    client = Client()
    assert client.begin(BINARY, b"\0\n.\r\n") == (
        b"MAIL FROM:<ann@a.example> BODY=BINARYMIME\r\nRCPT TO:<bob@b.example>\r\n"
    )
    assert client.hear(OK) == b""
    assert client.hear(OK) == b"BDAT 5 LAST\r\n\0\n.\r\n"
    assert client.session.stage is Stage.END_OF_DATA
    client.hear(OK)
    assert client.events[-1] == TransactionEnded(reply(250, "OK", status="2.0.0"), (BOB,))
    assert client.wait is Wait.READY


def test_without_pipelining_it_goes_step_by_step() -> None:
    client = Client(ehlo=SLOW_CHUNKING)
    assert client.begin(BINARY, b"\0\n.\r\n").startswith(b"MAIL ")
    assert client.hear(OK).startswith(b"RCPT ")
    assert client.hear(OK).startswith(b"BDAT 5 LAST\r\n")


@pytest.mark.parametrize("ehlo", [CHUNKING, SLOW_CHUNKING])
def test_for_nobody_nothing_is_sent(ehlo: bytes) -> None:
    client = Client(ehlo=ehlo)
    client.begin(BINARY, b"xxxxx")
    client.hear(OK)
    assert b"BDAT" not in client.hear(b"550 5.1.1 No\r\n")
    end = client.events[-1]
    assert isinstance(end, TransactionEnded)
    assert (end.reply.code, end.accepted) == (550, ())
    assert client.begin(BINARY, b"xxxxx").startswith(b"RSET\r\n")


def test_content_from_elsewhere_goes_chunk_by_chunk() -> None:
    client = Client()
    client.begin(BINARY, None)
    client.hear(OK + OK)
    assert client.events[-1] == ContentWanted()
    client.session.send_content(b"ab\n")
    assert client.settle() == b"BDAT 3\r\nab\n"
    assert client.session.patience_s == CLIENT_CONTENT_S
    client.session.send_content(b"cd")
    client.session.end_content()
    assert client.settle() == b"BDAT 2\r\ncdBDAT 0 LAST\r\n"
    client.hear(OK + OK)
    assert client.session.stage is Stage.END_OF_DATA
    client.hear(OK)
    assert isinstance(client.events[-1], TransactionEnded)


@pytest.mark.parametrize("late", [False, True])
def test_a_refused_chunk_ends_the_transaction_and_the_session_goes_on(late: bool) -> None:
    client = Client()
    client.begin(BINARY, None)
    client.hear(OK + OK)
    client.session.send_content(b"ab")
    client.settle()
    if not late:
        client.hear(b"552 5.3.4 Too much\r\n")
        client.session.send_content(b"cd")
        client.session.end_content()
        assert client.settle() == b""
    else:
        client.session.end_content()
        client.settle()
        client.hear(b"552 5.3.4 Too much\r\n503 5.5.1 What?\r\n")
    end = client.events[-1]
    assert isinstance(end, TransactionEnded)
    assert (end.reply.code, end.accepted) == (552, (BOB,))
    assert client.wait is Wait.READY
    assert client.begin(LARGE, b"x").startswith(b"RSET\r\nMAIL")


def test_a_chunk_that_is_refused_after_the_content_ended() -> None:
    client = Client()
    client.begin(BINARY, None)
    client.hear(OK + OK)
    client.session.send_content(b"ab")
    client.session.send_content(b"cd")
    client.settle()
    client.hear(b"552 5.3.4 Too much\r\n")
    client.session.end_content()
    assert client.settle() == b""
    assert not client.session.can_begin
    client.hear(b"503 5.5.1 What?\r\n")
    assert isinstance(client.events[-1], TransactionEnded)
    assert client.wait is Wait.READY


def test_large_content_goes_by_bdat_where_that_is_wanted() -> None:
    client = Client(msgspec.structs.replace(PROFILE, chunks_above=1000))
    assert b"DATA" not in client.begin(LARGE, b"a\nb\r")
    assert client.hear(OK + OK) == b"BDAT 6 LAST\r\na\r\nb\r\n"
    client.hear(OK)
    assert b"DATA" in client.begin(msgspec.structs.replace(LARGE, size_bytes=1000), b"x")
    assert b"DATA" in Client().begin(LARGE, b"x")


def test_a_streamed_line_end_is_mended_across_chunks() -> None:
    client = Client(msgspec.structs.replace(PROFILE, chunks_above=1000))
    client.begin(LARGE, None)
    client.hear(OK + OK)
    for chunk in (b"a\r", b"\nb\r", b"c\r"):
        client.session.send_content(chunk)
    client.session.end_content()
    assert client.settle() == b"BDAT 1\r\naBDAT 3\r\n\r\nbBDAT 3\r\n\r\ncBDAT 2 LAST\r\n\r\n"


def test_a_server_that_answers_a_chunk_by_354_is_left() -> None:
    client = Client()
    client.begin(BINARY, None)
    client.hear(OK + OK)
    client.session.send_content(b"ab")
    client.settle()
    client.hear(b"354 Go\r\n")
    assert client.wait is Wait.CLOSED


def test_the_next_transaction_rides_along() -> None:
    client = Client()
    client.begin(BINARY, b"xxxxx")
    client.hear(OK + OK)
    assert client.session.can_begin
    assert client.begin(BINARY, b"yyyyy").startswith(b"MAIL")
    assert client.hear(OK + OK + OK) == b"BDAT 5 LAST\r\nyyyyy"


# ---- parameters ----------------------------------------------------------------------------------


def test_parameters_go_where_they_are_announced() -> None:
    transaction = OutgoingTransaction(
        ANN, (BOB,), 5, require_tls=True, deliver_by=DeliverBy(120, "R", True), priority=-3, hold_for_s=60
    )
    until = msgspec.structs.replace(
        transaction, hold_for_s=None, hold_until=datetime(2030, 1, 31, 12, tzinfo=UTC), deliver_by=DeliverBy(-5, "N")
    )
    ehlo = b"250-mx\r\n250-REQUIRETLS\r\n250-DELIVERBY\r\n250-MT-PRIORITY\r\n250 FUTURERELEASE 9 x\r\n"
    line = Client(ehlo=ehlo).begin(transaction, b"x")
    assert set(line.split()[2:]) == {b"BY=120;RT", b"REQUIRETLS", b"MT-PRIORITY=-3", b"HOLDFOR=60"}
    line = Client(ehlo=ehlo).begin(until, b"x")
    assert set(line.split()[2:]) == {b"BY=-5;N", b"REQUIRETLS", b"MT-PRIORITY=-3", b"HOLDUNTIL=2030-01-31T12:00:00Z"}
    assert Client(ehlo=b"250-mx\r\n250 X\r\n").begin(transaction, b"x") == b"MAIL FROM:<ann@a.example>\r\n"


def test_binarymime_needs_both_of_its_extensions() -> None:
    assert b"BODY" not in Client(ehlo=b"250-mx\r\n250 BINARYMIME\r\n").begin(BINARY, b"x")
    assert b"BODY" not in Client(ehlo=b"250-mx\r\n250-8BITMIME\r\n250 CHUNKING\r\n").begin(BINARY, b"x")


# ---- our client and our server -------------------------------------------------------------------


class Pair:
    """Octets to and fro until both are silent."""

    def __init__(self, profile: ClientProfile, server: ServerProfile, tls: TlsFacts | None = None) -> None:
        self.client = ClientSession(profile, lambda size: b"c" * size)
        if tls is not None:
            self.client.bind_channel(server.channel_binding)
        self.server = Conversation(server, tls=tls)
        self.events: list[ClientEvent] = []
        self.content: list[bytes] = []
        self.wait = Wait.NEED_DATA
        self.carry(self.server.greeting)

    def carry(self, said: bytes = b"") -> None:
        while True:
            if said:
                self.client.receive_data(said)
            while not isinstance(event := self.client.next_event(), Wait):
                self.events.append(event)
                if isinstance(event, ContentWanted):
                    for chunk in self.content:
                        self.client.send_content(chunk)
                    self.client.end_content()
            self.wait = event
            sent = self.client.data_to_send()
            if not sent:
                return
            said = self.server.say(sent)

    def send(self, transaction: OutgoingTransaction, content: bytes | None) -> TransactionEnded:
        self.client.begin(transaction, content)
        self.carry()
        end = self.events[-1]
        assert isinstance(end, TransactionEnded), end
        return end


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5), st.booleans())
def test_binary_content_arrives_octet_for_octet(content: bytes, cuts: list[int], streamed: bool) -> None:
    pair = Pair(PROFILE, FULL)
    pair.content = cut(content, cuts)
    transaction = OutgoingTransaction(ANN, (BOB, NOBODY), len(content), body=BodyType.BINARY_MIME)
    assert pair.send(transaction, None if streamed else content).reply.code == 250
    assert pair.server.messages == [content]
    assert pair.send(transaction, content).reply.code == 250


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.\r\n"]), max_size=20), st.booleans())
def test_what_goes_by_bdat_has_whole_lines(pieces: list[bytes], streamed: bool) -> None:
    pair = Pair(msgspec.structs.replace(PROFILE, chunks_above=0), FULL)
    pair.content = pieces
    content = b"".join(pieces)
    assert pair.send(OutgoingTransaction(ANN, (BOB,), 10), None if streamed else content).reply.code == 250
    (message,) = pair.server.messages
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")


def test_lmtp_has_an_answer_for_each() -> None:
    pair = Pair(msgspec.structs.replace(PROFILE, lmtp=True), LMTP)
    assert isinstance(pair.events[0], Ready)
    cat = Recipient(Mailbox("cat", "b.example"))
    end = pair.send(OutgoingTransaction(ANN, (BOB, NOBODY, cat), 5), b"x\r\n")
    assert end.accepted == (BOB, cat)
    assert [each.code for each in end.each] == [250, 250]
    end = pair.send(OutgoingTransaction(ANN, (BOB, cat), 5, body=BodyType.BINARY_MIME), b"x\r\n")
    assert [each.code for each in end.each] == [250, 250]
    assert pair.wait is Wait.READY


def test_over_lmtp_the_refusal_stands_out() -> None:
    client = Client(msgspec.structs.replace(PROFILE, lmtp=True), b"250-mx\r\n250 PIPELINING\r\n")
    client.begin(OutgoingTransaction(ANN, (BOB, NOBODY), 5), b"x\r\n")
    client.hear(OK * 3 + b"354 Go\r\n")
    client.hear(OK)
    assert client.wait is Wait.NEED_DATA
    client.hear(b"452 4.2.2 Full\r\n")
    end = client.events[-1]
    assert isinstance(end, TransactionEnded)
    assert end.reply.code == 452
    assert [each.code for each in end.each] == [250, 452]


def test_a_server_without_lhlo_is_left() -> None:
    client = Client(msgspec.structs.replace(PROFILE, lmtp=True), b"500 What?\r\n")
    end = client.events[-1]
    assert isinstance(end, Ended)
    assert "LHLO" in end.reason


# ---- AUTH ----------------------------------------------------------------------------------------

WITH_PASSWORD = msgspec.structs.replace(PROFILE, credentials=("ann", "secret"), tls_active=True)


@pytest.mark.parametrize(
    ("offered", "mechanism"),
    [
        (FULL.auth_offered, "SCRAM-SHA-256-PLUS"),
        (("SCRAM-SHA-256", "PLAIN"), "SCRAM-SHA-256"),
        (("CRAM-MD5",), "CRAM-MD5"),
    ],
)
def test_the_client_proves_its_password(offered: tuple[str, ...], mechanism: str) -> None:
    pair = Pair(WITH_PASSWORD, msgspec.structs.replace(FULL, auth_offered=offered), TLS)
    assert isinstance(pair.events[-1], Ready)
    assert pair.server.asked(ProofGiven) == [ProofGiven(mechanism, "", "ann", True)]


def test_a_server_without_a_secret_of_ours_is_shown_the_password() -> None:
    """Inside TLS; once."""
    client = Client(WITH_PASSWORD, b"250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n")
    assert client.hear(b"535 5.7.8 No\r\n") == b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"
    assert client.hear(b"535 5.7.8 No\r\n") == b"QUIT\r\n"
    client = Client(WITH_PASSWORD, b"250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n")
    assert client.hear(b"454 4.7.0 Later\r\n") == b"QUIT\r\n"


def test_in_clear_a_password_is_proved_and_not_shown() -> None:
    profile = msgspec.structs.replace(PROFILE, credentials=("ann", "secret"))
    pair = Pair(profile, ODMR)
    assert isinstance(pair.events[-1], Ready)
    assert pair.server.asked(ProofGiven) == [ProofGiven("CRAM-MD5", "", "ann", True)]
    client = Client(profile, b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert client.wait is Wait.CLOSED


@pytest.mark.parametrize(
    "answers",
    [
        [b"235 2.7.0 Fine\r\n"],
        [b"334 " + to_base64(b"r=other,s=c2FsdA==,i=4096") + b"\r\n"],
        [b"334 !\r\n"],
        [b"334 " + to_base64(b"r=" + b"63" * 18 + b"x,s=c2FsdA==,i=5") + b"\r\n", b"235 2.7.0 Fine\r\n"],
        [b"334 " + to_base64(b"r=" + b"63" * 18 + b"x,s=c2FsdA==,i=5") + b"\r\n", b"334 dj14\r\n"],
    ],
)
def test_a_server_that_only_pretends_to_know_us_is_left(answers: list[bytes]) -> None:
    client = Client(WITH_PASSWORD, b"250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n")
    for answer in answers:
        client.hear(answer)
    end = client.events[-1]
    assert isinstance(end, Ended)
    assert end.stage is Stage.AUTH


# ---- ETRN, ATRN, TURN ----------------------------------------------------------------------------


def test_a_queue_run_is_asked_for() -> None:
    client = Client()
    client.session.etrn("@a.example")
    assert client.settle() == b"ETRN @a.example\r\n"
    assert client.session.stage is Stage.ETRN
    assert client.session.patience_s == CLIENT_TURN_S
    client.hear(b"253 2.0.0 5 pending\r\n")
    assert client.events[-1] == CommandAnswered("ETRN", reply(253, "5 pending", status="2.0.0"))
    assert client.wait is Wait.READY


@pytest.mark.parametrize(
    ("domains", "line"), [((), b"ATRN\r\n"), (("a.example", "c.example"), b"ATRN a.example,c.example\r\n")]
)
def test_the_roles_change(domains: tuple[str, ...], line: bytes) -> None:
    client = Client()
    client.session.atrn(domains)
    assert client.settle() == line
    assert client.hear(b"250 2.0.0 Reversing\r\n") == b""
    assert client.events[-1] == CommandAnswered("ATRN", reply(250, "Reversing", status="2.0.0"))
    assert client.wait is Wait.TURNED
    client.session.timed_out()
    client.session.quit()
    assert client.settle() == b""
    assert client.wait is Wait.TURNED


def test_no_mail_leaves_the_session_ready() -> None:
    client = Client()
    client.session.turn()
    client.settle()
    client.hear(b"453 You have no mail\r\n")
    assert client.events[-1] == CommandAnswered("TURN", reply(453, "You have no mail"))
    assert client.wait is Wait.READY


@pytest.mark.parametrize("answer", [b"250 OK\r\nEHLO early\r\n", b"250 OK\r\n2", b"354 Go\r\n", b"421 Bye\r\n"])
def test_a_server_that_turns_oddly_is_left(answer: bytes) -> None:
    client = Client()
    client.session.turn()
    client.settle()
    client.hear(answer)
    assert isinstance(client.events[-1], Ended)
    assert client.wait is Wait.CLOSED


def test_a_cut_while_we_wait_for_the_turn() -> None:
    client = Client()
    client.session.atrn()
    client.settle()
    client.hear(b"")
    assert client.events[-1] == Ended(Stage.TURN, "the server closed the connection")


def test_a_busy_session_asks_for_nothing() -> None:
    client = Client()
    client.begin(BINARY, b"x")
    with pytest.raises(AssertionError):
        client.session.turn()
    with pytest.raises(AssertionError):
        Client().session.etrn("a b")


def test_a_customer_collects_and_the_mail_comes_the_other_way() -> None:
    """ATRN between our own two ends; then who was the client is the server, and greets (RFC 2645 section 5.3)."""
    pair = Pair(msgspec.structs.replace(PROFILE, credentials=("ann", "secret")), ODMR)
    pair.client.atrn(["a.example"])
    pair.carry()
    assert pair.wait is pair.server.wait is Wait.TURNED
    reversed_ = Pair(PROFILE, FULL)
    assert reversed_.server.greeting.startswith(b"220 ")
    assert reversed_.send(OutgoingTransaction(ANN, (BOB,), 5), b"x\r\n").reply.code == 250
    assert reversed_.server.asked(SenderGiven) == [SenderGiven(ANN, size=5)]
