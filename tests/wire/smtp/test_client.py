"""The SMTP client session against a server whose every word is written in the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.envelope import BodyType, Notify, Recipient
from postroad.vocabulary.limits import CLIENT_CONTENT_S, CLIENT_END_OF_DATA_S, CLIENT_GREETING_S
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientProfile, ClientSession
from postroad.wire.smtp.client_events import (
    ClientEvent,
    ContentWanted,
    Ended,
    LineReceived,
    LineSent,
    OutgoingTransaction,
    Ready,
    RecipientAnswered,
    Stage,
    TlsUse,
    TransactionEnded,
)
from tests.wire.cutting import cut

ANN = Mailbox("ann", "a.example")
BOB = Recipient(Mailbox("bob", "b.example"))
CAT = Recipient(Mailbox("cat", "b.example"))
MAIL = OutgoingTransaction(ANN, (BOB,), 7)
TWO = OutgoingTransaction(ANN, (BOB, CAT), 7)
FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
EHLO = b"250-mx.b.example at your service\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8bitmime\r\n"
SLOW_EHLO = b"250-mx.b.example\r\n250 8BITMIME\r\n"
TLS_EHLO = b"250-mx.b.example\r\n250 STARTTLS\r\n"


class Client:
    """`hear` what the server says; give what the client sends next. Events gather in `events`."""

    def __init__(self, profile: ClientProfile | None = None) -> None:
        self.session = ClientSession(profile or ClientProfile(helo_name="a.example"))
        self.events: list[ClientEvent] = []
        self.wait = Wait.NEED_DATA
        assert self.settle() == b""

    def hear(self, octets: bytes) -> bytes:
        self.session.receive_data(octets)
        return self.settle()

    def settle(self) -> bytes:
        while not isinstance(event := self.session.next_event(), Wait):
            self.events.append(event)
        self.wait = event
        return self.session.data_to_send()

    def begin(self, transaction: OutgoingTransaction = MAIL, content: bytes | None = b"hello\r\n") -> bytes:
        self.session.begin(transaction, content)
        return self.settle()

    def last(self) -> ClientEvent:
        return self.events[-1]


def connected(ehlo: bytes = EHLO, profile: ClientProfile | None = None) -> Client:
    client = Client(profile)
    assert client.hear(b"220 mx.b.example ESMTP\r\n") == b"EHLO a.example\r\n"
    assert client.hear(ehlo) == b""
    assert client.wait is Wait.READY
    client.events.clear()
    return client


def ended(client: Client) -> Ended:
    event = client.last()
    assert isinstance(event, Ended)
    assert client.wait is Wait.CLOSED
    return event


# ---- opening -------------------------------------------------------------------------------------


def test_the_client_waits_for_the_greeting() -> None:
    client = Client()
    assert client.wait is Wait.NEED_DATA
    assert client.session.patience_s == CLIENT_GREETING_S
    assert client.hear(b"220-mx.b.example\r\n") == b""
    assert client.hear(b"220 hello\r\n") == b"EHLO a.example\r\n"


def test_ready_tells_what_the_server_can() -> None:
    client = Client()
    client.hear(b"220 x\r\n")
    client.hear(EHLO)
    assert client.events == [Ready({"PIPELINING": "", "SIZE": "1000", "8BITMIME": ""}, "mx.b.example")]


@pytest.mark.parametrize("greeting", [b"554 No\r\n", b"450 Later\r\n", b"521 No mail\r\n"])
def test_a_refusing_greeting_ends_the_session_with_a_quit(greeting: bytes) -> None:
    client = Client()
    assert client.hear(greeting) == b"QUIT\r\n"
    end = ended(client)
    assert end.stage is Stage.GREETING
    assert end.reply is not None
    assert end.reply.code == int(greeting[:3])


def test_an_old_server_is_greeted_by_helo() -> None:
    client = Client()
    client.hear(b"220 x\r\n")
    assert client.hear(b"502 What?\r\n") == b"HELO a.example\r\n"
    client.hear(b"250 mx.b.example\r\n")
    assert client.events == [Ready({}, "mx.b.example")]
    assert client.begin() == b"MAIL FROM:<ann@a.example>\r\n"


def test_starttls_where_it_is_offered_and_everything_again_after_it() -> None:
    client = Client()
    client.hear(b"220 x\r\n")
    assert client.hear(TLS_EHLO) == b"STARTTLS\r\n"
    client.hear(b"220 go\r\n")
    assert client.wait is Wait.NEED_TLS
    assert client.session.stage is Stage.TLS
    client.session.tls_started(FACTS)
    assert client.settle() == b"EHLO a.example\r\n"
    client.hear(b"250 mx.b.example\r\n")
    assert client.events == [Ready({}, "mx.b.example")]


@pytest.mark.parametrize("chunks", [[b"220 go\r\n250 injected\r\n"], [b"220 go\r\n", b"2"]])
def test_octets_between_starttls_and_the_handshake_are_an_attack(chunks: list[bytes]) -> None:
    client = Client()
    client.hear(b"220 x\r\n")
    client.hear(TLS_EHLO)
    for chunk in chunks:
        client.hear(chunk)
    assert ended(client).stage is Stage.STARTTLS
    assert "attack" in ended(client).reason


def test_required_tls_that_is_not_offered_ends_the_session() -> None:
    client = Client(ClientProfile(helo_name="a.example", tls=TlsUse.REQUIRED))
    client.hear(b"220 x\r\n")
    assert client.hear(EHLO) == b"QUIT\r\n"
    assert ended(client).stage is Stage.STARTTLS


def test_refused_starttls_is_borne_when_tls_is_not_required() -> None:
    client = Client()
    client.hear(b"220 x\r\n")
    client.hear(TLS_EHLO)
    client.hear(b"454 not now\r\n")
    assert client.wait is Wait.READY
    client = Client(ClientProfile(helo_name="a.example", tls=TlsUse.REQUIRED))
    client.hear(b"220 x\r\n")
    client.hear(TLS_EHLO)
    client.hear(b"454 not now\r\n")
    assert ended(client).stage is Stage.STARTTLS


def test_tls_never_is_never() -> None:
    connected(TLS_EHLO, ClientProfile(helo_name="a.example", tls=TlsUse.NEVER))


def with_password(mechanisms: bytes, *, tls: bool = False, in_clear: bool = False) -> tuple[Client, bytes]:
    profile = ClientProfile(
        helo_name="a.example",
        credentials=("ann", "secret"),
        record=True,
        tls_active=tls,
        plaintext_auth_allowed=in_clear,
    )
    client = Client(profile)
    client.hear(b"220 x\r\n")
    return client, client.hear(b"250-mx\r\n250 AUTH " + mechanisms + b"\r\n")


def test_a_password_is_not_sent_in_clear() -> None:
    client, sent = with_password(b"PLAIN")
    assert sent == b"QUIT\r\n"
    assert ended(client).stage is Stage.AUTH
    assert with_password(b"PLAIN", in_clear=True)[1] == b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"


@pytest.mark.parametrize(
    ("mechanisms", "steps"),
    [
        (b"LOGIN PLAIN", [(b"235 ok\r\n", b"")]),
        (
            b"LOGIN",
            [(b"334 VXNlcm5hbWU6\r\n", b"YW5u\r\n"), (b"334 UGFzc3dvcmQ6\r\n", b"c2VjcmV0\r\n"), (b"235\r\n", b"")],
        ),
    ],
)
def test_the_password_is_sent_inside_tls_and_never_shown(mechanisms: bytes, steps: list[tuple[bytes, bytes]]) -> None:
    client, sent = with_password(mechanisms, tls=True)
    assert sent.startswith(b"AUTH ")
    for heard, expected in steps:
        assert client.hear(heard) == expected
    assert client.wait is Wait.READY
    shown = [event.text for event in client.events if isinstance(event, LineSent)]
    assert not any("AGFubg" in text or "YW5u" in text or "c2Vj" in text for text in shown)


def test_a_refused_password_ends_the_session() -> None:
    client, _ = with_password(b"PLAIN", tls=True)
    assert client.hear(b"535 5.7.8 No\r\n") == b"QUIT\r\n"
    assert ended(client).reply == reply(535, "No", status="5.7.8")
    client, _ = with_password(b"PLAIN", tls=True)
    assert client.hear(b"334 more\r\n") == b"*\r\nQUIT\r\n"
    client, _ = with_password(b"GSSAPI", tls=True)
    assert ended(client).stage is Stage.AUTH


# ---- transactions --------------------------------------------------------------------------------


def test_a_pipelined_transaction_is_one_write_and_then_its_content() -> None:
    client = connected()
    assert client.begin(TWO) == (
        b"MAIL FROM:<ann@a.example> SIZE=7\r\nRCPT TO:<bob@b.example>\r\nRCPT TO:<cat@b.example>\r\nDATA\r\n"
    )
    assert client.hear(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n") == b"hello\r\n.\r\n"
    assert client.session.patience_s == CLIENT_END_OF_DATA_S
    client.hear(b"250 2.0.0 queued\r\n")
    assert client.events == [
        RecipientAnswered(BOB, reply(250, "ok")),
        RecipientAnswered(CAT, reply(550, "no", status="5.1.1")),
        TransactionEnded(reply(250, "queued", status="2.0.0"), (BOB,)),
    ]
    assert client.wait is Wait.READY


def test_what_must_end_a_group_is_never_followed() -> None:
    """RFC 2920 section 3.1: EHLO, DATA, QUIT (and STARTTLS, AUTH) wait for their answer; so does a BDAT for nobody."""
    login = ClientProfile(helo_name="a.example", credentials=("ann", "secret"))
    client = Client(login)
    writes = [client.hear(b"220 mx.b.example ESMTP\r\n"), client.hear(TLS_EHLO)]
    writes.append(client.hear(b"220 go\r\n"))
    client.session.tls_started(FACTS)
    writes += [client.settle(), client.hear(EHLO.replace(b"SIZE 1000", b"AUTH PLAIN")), client.hear(b"235 ok\r\n")]
    writes.append(client.begin(TWO))
    writes.append(client.hear(b"250 ok\r\n550 no\r\n550 no\r\n503 no\r\n"))
    writes.append(client.begin())
    writes.append(client.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"))
    writes += [client.begin(), client.hear(b"250 queued\r\n250 ok\r\n250 ok\r\n354 go\r\n"), client.hear(b"250 ok\r\n")]
    client.session.quit()
    writes.append(client.settle())
    groups = [[line[:4] for line in write.split(b"\r\n")[:-1]] for write in writes if write]
    assert groups == [
        [b"EHLO"],
        [b"STAR"],
        [b"EHLO"],
        [b"AUTH"],
        [b"MAIL", b"RCPT", b"RCPT", b"DATA"],
        [b"RSET", b"MAIL", b"RCPT", b"DATA"],
        [b"hell", b"."],
        [b"MAIL", b"RCPT", b"DATA"],
        [b"hell", b"."],
        [b"QUIT"],
    ]


def test_without_pipelining_each_command_waits() -> None:
    client = connected(SLOW_EHLO)
    assert client.begin(TWO) == b"MAIL FROM:<ann@a.example>\r\n"
    assert client.hear(b"250 ok\r\n") == b"RCPT TO:<bob@b.example>\r\n"
    assert client.hear(b"451 later\r\n") == b"RCPT TO:<cat@b.example>\r\n"
    assert client.hear(b"250 ok\r\n") == b"DATA\r\n"
    assert client.hear(b"354 go\r\n") == b"hello\r\n.\r\n"
    client.hear(b"250 queued\r\n")
    assert client.last() == TransactionEnded(reply(250, "queued"), (CAT,))


def test_parameters_are_sent_where_they_are_announced() -> None:
    recipient = Recipient(BOB.forward_path, (Notify.SUCCESS, Notify.DELAY), "rfc822;bob@b")
    transaction = OutgoingTransaction(
        None, (recipient,), 7, BodyType.EIGHT_BIT_MIME, smtputf8=True, ret="HDRS", envid="Q1"
    )
    announced = b"250-x\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250-DSN\r\n250-SIZE\r\n250 8BITMIME\r\n"
    assert connected(announced).begin(transaction) == (
        b"MAIL FROM:<> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q1\r\n"
        b"RCPT TO:<bob@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob@b\r\nDATA\r\n"
    )
    assert connected(b"250-x\r\n250 PIPELINING\r\n").begin(transaction) == (
        b"MAIL FROM:<>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n"
    )


def test_content_can_be_sent_in_pieces() -> None:
    client = connected()
    client.begin(content=None)
    assert client.hear(b"250 ok\r\n250 ok\r\n354 go\r\n") == b""
    assert client.last() == ContentWanted()
    assert client.session.stage is Stage.CONTENT
    assert client.session.patience_s == CLIENT_CONTENT_S
    assert not client.session.can_begin
    for chunk in (b"one\r", b"\n", b".two\n", b".three\r"):
        client.session.send_content(chunk)
    client.session.end_content()
    assert client.settle() == b"one\r\n..two\r\n..three\r\n.\r\n"
    client.hear(b"250 queued\r\n")
    assert client.last() == TransactionEnded(reply(250, "queued"), (BOB,))


def test_a_refused_mail_answers_for_all_recipients() -> None:
    client = connected()
    client.begin(TWO)
    client.hear(b"550 5.7.1 not you\r\n503 x\r\n503 x\r\n503 x\r\n")
    refusal = reply(550, "not you", status="5.7.1")
    assert client.events == [
        RecipientAnswered(BOB, refusal),
        RecipientAnswered(CAT, refusal),
        TransactionEnded(refusal, ()),
    ]
    assert client.begin().startswith(b"MAIL FROM")


def test_a_refused_mail_without_pipelining() -> None:
    client = connected(SLOW_EHLO)
    client.begin(TWO)
    assert client.hear(b"451 later\r\n") == b""
    assert client.last() == TransactionEnded(reply(451, "later"), ())
    assert client.wait is Wait.READY


def test_when_nobody_was_accepted_the_next_transaction_begins_with_rset() -> None:
    client = connected()
    client.begin()
    assert client.hear(b"250 ok\r\n550 no\r\n554 nobody\r\n") == b""
    assert client.last() == TransactionEnded(reply(550, "no"), ())
    assert client.begin().startswith(b"RSET\r\nMAIL FROM:")
    client.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    client.hear(b"250 queued\r\n")
    assert client.last() == TransactionEnded(reply(250, "queued"), (BOB,))
    client = connected(SLOW_EHLO)
    client.begin()
    client.hear(b"250 ok\r\n")
    assert client.hear(b"550 no\r\n") == b""
    assert client.begin() == b"RSET\r\n"
    assert client.hear(b"250 ok\r\n") == b"MAIL FROM:<ann@a.example>\r\n"


def test_a_354_for_nobody_gets_an_empty_content() -> None:
    """RFC 2920 section 3.1."""
    client = connected()
    client.begin()
    assert client.hear(b"250 ok\r\n550 no\r\n354 go\r\n") == b".\r\n"
    assert client.wait is Wait.NEED_DATA
    client.hear(b"250 queued an empty mail for nobody\r\n")
    assert client.last() == TransactionEnded(reply(550, "no"), ())
    assert client.begin().startswith(b"MAIL FROM")


def test_a_refused_data_is_the_answer_for_whom_it_concerns() -> None:
    client = connected()
    client.begin(TWO)
    client.hear(b"250 ok\r\n250 ok\r\n550 no\r\n451 4.3.0 disk\r\n")
    assert client.last() == TransactionEnded(reply(451, "disk", status="4.3.0"), (BOB,))
    assert client.begin().startswith(b"RSET\r\n")


def may_begin(client: Client) -> bool:
    return client.session.can_begin


def test_the_next_transaction_leaves_with_the_end_of_this_one() -> None:
    """RFC 2920 section 3.1."""
    client = connected()
    client.begin()
    assert may_begin(client) is False
    client.session.receive_data(b"250 ok\r\n250 ok\r\n354 go\r\n")
    while not isinstance(client.session.next_event(), Wait):
        pass
    assert may_begin(client) is True
    client.session.begin(TWO, b"second\r\n")
    assert may_begin(client) is False
    assert client.settle() == (
        b"hello\r\n.\r\n"
        b"MAIL FROM:<ann@a.example> SIZE=7\r\nRCPT TO:<bob@b.example>\r\nRCPT TO:<cat@b.example>\r\nDATA\r\n"
    )
    assert client.hear(b"250 first\r\n250 ok\r\n") == b""
    assert client.last() == TransactionEnded(reply(250, "first"), (BOB,))
    assert client.hear(b"250 ok\r\n250 ok\r\n354 go\r\n") == b"second\r\n.\r\n"
    client.hear(b"550 5.6.0 second\r\n")
    assert client.last() == TransactionEnded(reply(550, "second", status="5.6.0"), (BOB, CAT))


# ---- endings -------------------------------------------------------------------------------------

STAGES = [
    (0, Stage.GREETING),
    (1, Stage.EHLO),
    (2, Stage.MAIL),
    (3, Stage.RCPT),
    (4, Stage.DATA),
    (5, Stage.END_OF_DATA),
    (6, Stage.IDLE),
]
ANSWERS = [b"220 x\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 queued\r\n"]


def at(stage: int) -> Client:
    client = Client()
    for n, answer in enumerate(ANSWERS[:stage]):
        client.hear(answer)
        if n == 1:
            client.begin()
    if stage == 2:
        assert client.session.stage is Stage.MAIL
    return client


@pytest.mark.parametrize(("answers", "stage"), STAGES)
def test_a_421_ends_the_session_at_each_stage(answers: int, stage: Stage) -> None:
    client = at(answers)
    client.hear(b"421 4.3.2 going down\r\n250 not heard any more\r\n")
    end = ended(client)
    assert end == Ended(stage, end.reason, reply(421, "going down", status="4.3.2"))


@pytest.mark.parametrize(("answers", "stage"), STAGES)
def test_a_cut_ends_the_session_at_each_stage(answers: int, stage: Stage) -> None:
    client = at(answers)
    client.hear(b"")
    assert ended(client) == Ended(stage, "the server closed the connection")


@pytest.mark.parametrize(("answers", "stage"), STAGES)
def test_garbage_ends_the_session_at_each_stage(answers: int, stage: Stage) -> None:
    client = at(answers)
    client.hear(b"\xff\x00garbage\r\n")
    assert ended(client).stage is stage
    assert ended(client).reason.isprintable()


@pytest.mark.parametrize(("answers", "stage"), STAGES[:-1])
def test_silence_ends_the_session_at_each_stage(answers: int, stage: Stage) -> None:
    client = at(answers)
    client.session.timed_out()
    client.settle()
    assert ended(client).stage is stage


def test_what_was_said_before_the_cut_counts() -> None:
    client = at(5)
    client.session.receive_data(b"250 queued\r\n")
    client.session.receive_data(b"")
    client.settle()
    assert TransactionEnded(reply(250, "queued"), (BOB,)) in client.events
    assert ended(client).stage is Stage.IDLE


@pytest.mark.parametrize(
    ("answers", "octets"),
    [(2, b"354 go\r\n"), (3, b"354 go\r\n"), (4, b"250 what\r\n"), (5, b"354 more\r\n"), (6, b"250 unasked\r\n")],
)
def test_an_answer_out_of_step_ends_the_session(answers: int, octets: bytes) -> None:
    client = at(answers)
    client.hear(octets)
    assert ended(client).reply is not None
    assert not any(isinstance(event, TransactionEnded) for event in client.events[-1:])


def test_a_250_before_we_finished_the_content_ends_the_session() -> None:
    client = connected()
    client.begin(content=None)
    client.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.hear(b"250 thanks already\r\n")
    assert ended(client).stage is Stage.CONTENT
    assert not any(isinstance(event, TransactionEnded) for event in client.events)


@pytest.mark.parametrize("content", [b"hello\r\n", None])
def test_a_250_that_comes_with_the_354_is_not_taken_for_the_answer_to_the_content(content: bytes | None) -> None:
    client = connected()
    client.begin(content=content)
    assert client.hear(b"250 ok\r\n250 ok\r\n354 go\r\n250 thanks already\r\n") == b""
    assert ended(client).stage is Stage.DATA
    assert not any(isinstance(event, TransactionEnded) for event in client.events)


@pytest.mark.parametrize("more", [b"250 ok\r\n", b"250", b"250-"])
def test_a_reply_too_many_before_a_chunk_is_not_taken_for_the_answer_to_it(more: bytes) -> None:
    client = connected(EHLO.replace(b"SIZE 1000", b"CHUNKING"), ClientProfile(helo_name="a.example", chunks_above=0))
    client.begin()
    assert client.hear(b"250 ok\r\n250 ok\r\n" + more) == b""
    assert ended(client).stage is Stage.DATA
    assert not any(isinstance(event, TransactionEnded) for event in client.events)


def test_quit_says_goodbye_and_waits_for_the_answer() -> None:
    client = connected()
    client.session.quit()
    assert client.settle() == b"QUIT\r\n"
    assert client.wait is Wait.NEED_DATA
    client.hear(b"221 bye\r\n")
    assert ended(client) == Ended(Stage.QUIT, "we said QUIT", reply(221, "bye"))


def test_quit_in_the_middle_only_closes() -> None:
    client = connected()
    client.begin()
    client.session.quit()
    assert client.settle() == b""
    assert ended(client).stage is Stage.MAIL


def test_the_conversation_can_be_shown() -> None:
    client = connected(profile=ClientProfile(helo_name="a.example", record=True))
    client.begin()
    client.hear(b"250 \x1b[2J\r\n250 ok\r\n354 go\r\n")
    assert [type(event)(event.text) for event in client.events if isinstance(event, LineSent | LineReceived)] == [
        LineSent("MAIL FROM:<ann@a.example> SIZE=7"),
        LineSent("RCPT TO:<bob@b.example>"),
        LineSent("DATA"),
        LineReceived("250 ?[2J"),
        LineReceived("250 ok"),
        LineReceived("354 go"),
        LineSent("(7 octets of content)"),
        LineSent("."),
    ]


def test_a_path_with_a_line_end_is_our_own_mistake() -> None:
    evil = OutgoingTransaction(Mailbox("a\r\nRCPT TO:<x@y>", "a.example"), (BOB,), 7)
    with pytest.raises(AssertionError):
        connected().begin(evil)
    with pytest.raises(AssertionError):
        connected(EHLO.replace(b"SIZE 1000", b"DSN")).begin(OutgoingTransaction(ANN, (BOB,), 7, envid="a b"))


def test_to_begin_before_it_is_time_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Client().session.begin(MAIL)
    client = connected()
    with pytest.raises(AssertionError):
        client.session.send_content(b"x")
    with pytest.raises(AssertionError):
        client.session.tls_started(FACTS)


# ---- any octets ----------------------------------------------------------------------------------

SERVER_WORDS = st.sampled_from(
    [
        *(
            b"220 x\r\n",
            EHLO,
            TLS_EHLO,
            b"250 ok\r\n",
            b"354 go\r\n",
            b"550 5.1.1 no\r\n",
            b"451 later\r\n",
            b"421 bye\r\n",
        ),
        *(b"334 x\r\n", b"250-a\r\n", b"220 go\r\n", b"x", b"\r\n", b"250", b" "),
    ]
)


def drive(chunks: list[bytes]) -> tuple[bytes, list[ClientEvent], Wait]:
    """A client that begins a transaction whenever it can and handshakes whenever it must."""
    client = Client()
    sent = b""
    for chunk in chunks:
        sent += client.hear(chunk)
        if client.wait is Wait.READY:
            sent += client.begin(TWO)
    return sent, client.events, client.wait


@given(st.lists(SERVER_WORDS | st.binary(max_size=12), max_size=30))
def test_any_octets_of_a_server_never_raise(words: list[bytes]) -> None:
    chunks = [b"220 x\r\n", EHLO, *(word for word in words if word)]
    _, events, wait = drive(chunks)
    assert (wait is Wait.CLOSED) == any(isinstance(event, Ended) for event in events)
    answered = [event for event in events if isinstance(event, RecipientAnswered)]
    transactions = [event for event in events if isinstance(event, TransactionEnded)]
    assert len(answered) >= 2 * len(transactions)


@given(st.lists(st.sampled_from([b"250 ok\r\n", b"550 no\r\n", b"354 go\r\n"]), min_size=5, max_size=5), st.data())
def test_how_the_replies_are_cut_does_not_matter(words: list[bytes], data: st.DataObject) -> None:
    *before, last = words  # what is said before the content is another thing than what is said after it
    octets = b"".join(before)
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=8))

    def play(chunks: list[bytes]) -> tuple[bytes, list[ClientEvent]]:
        client = connected()
        sent = client.begin(TWO)
        for chunk in (*chunks, last):
            sent += client.hear(chunk)
        return sent, client.events

    assert play(cut(octets, cuts)) == play([octets])


def test_a_reply_is_what_the_server_said() -> None:
    client = connected()
    client.begin()
    client.hear(b"250 ok\r\n550-5.7.1 one\r\n550 5.7.1 two\r\n554 x\r\n")
    answered = client.events[0]
    assert isinstance(answered, RecipientAnswered)
    assert isinstance(answered.reply, Reply)
    assert str(answered.reply) == "550 5.7.1 one two"
