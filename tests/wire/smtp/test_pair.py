"""Our client session wired to our server session: what was sent is what arrives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.reply import Reply
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientProfile, ClientSession
from postroad.wire.smtp.client_events import (
    ClientEvent,
    ContentWanted,
    Ended,
    OutgoingTransaction,
    RecipientAnswered,
    TransactionEnded,
)
from postroad.wire.smtp.dot_stuffing import DotStuffer, stuffed, with_whole_line_ends
from postroad.wire.smtp.events import CredentialsGiven, RecipientGiven, SenderGiven
from postroad.wire.smtp.server_profile import ServerProfile
from tests.wire.cutting import cut
from tests.wire.smtp.conversation import TLS, Conversation

SERVER = ServerProfile(hostname="mx.example.org", tls_available=True, content_line_bytes=100_000)
SUBMISSION = ServerProfile(
    hostname="mx.example.org", tls_available=True, mail_requires_auth=True, auth_offered=("PLAIN",)
)
CLIENT = ClientProfile(helo_name="client.example")
ANN = Mailbox("ann", "a.example")


class Pair:
    """Carries octets to and fro, `step` at a time, until both are silent."""

    def __init__(self, client: ClientProfile = CLIENT, server: ServerProfile = SERVER, step: int = 10_000) -> None:
        self.client = ClientSession(client)
        self.server = Conversation(server)
        self.events: list[ClientEvent] = []
        self.step = step
        self.content: list[bytes] = []
        self.carry(self.server.greeting)

    def carry(self, said: bytes) -> None:
        while True:
            for n in range(0, len(said), self.step):
                self.client.receive_data(said[n : n + self.step])
                self.settle_client()
            if self.server.wait is Wait.NEED_TLS and self.client.next_event() is Wait.NEED_TLS:
                self.server.start_tls()
                self.client.tls_started(TLS)
                self.settle_client()
            sent = self.client.data_to_send()
            if not sent:
                return
            said = b"".join(self.server.say(sent[n : n + self.step]) for n in range(0, len(sent), self.step))

    def settle_client(self) -> Wait:
        while not isinstance(event := self.client.next_event(), Wait):
            self.events.append(event)
            if isinstance(event, ContentWanted):
                for chunk in self.content:
                    self.client.send_content(chunk)
                self.client.end_content()
        return event

    def send(self, transaction: OutgoingTransaction, content: bytes | None) -> Reply:
        self.client.begin(transaction, content)
        self.settle_client()
        said = self.server.say(self.client.data_to_send())
        self.carry(said)
        end = self.events[-1]
        assert isinstance(end, TransactionEnded), end
        return end.reply


def to(*local_parts: str) -> OutgoingTransaction:
    recipients = tuple(Recipient(Mailbox(local_part, "b.example")) for local_part in local_parts)
    return OutgoingTransaction(ANN, recipients, 100)


LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"QUIT", b"x" * 200, b"\xff\xfe", b"MAIL FROM:<a@b>"])
    | st.binary(max_size=40).map(lambda octets: octets.translate(None, b"\r\n\0")),
    max_size=12,
)


@given(LINES, st.integers(1, 50), st.booleans())
def test_what_is_sent_arrives_octet_for_octet(lines: list[bytes], step: int, in_pieces: bool) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    pair = Pair(step=step)
    if in_pieces:
        pair.content = [content[n : n + step] for n in range(0, len(content), step)]
    assert pair.send(to("bob"), None if in_pieces else content).code == 250
    assert pair.server.messages == [content]


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\n.\n", b"\r\n.\r\n"]), max_size=20), st.data())
def test_nothing_that_is_sent_can_end_early(pieces: list[bytes], data: st.DataObject) -> None:
    """Outbound smuggling: lone CR and LF are made whole, and a naive reader sees one message."""
    content = b"".join(pieces)
    out = stuffed(content)
    assert out.count(b"\r") == out.count(b"\n") == out.count(b"\r\n")
    body = b"\r\n" + out
    assert body.find(b"\r\n.\r\n") == len(body) - 5
    pair = Pair()
    assert pair.send(to("bob"), content).code == 250
    whole = with_whole_line_ends(content)
    assert pair.server.messages == [whole if not whole or whole.endswith(b"\r\n") else whole + b"\r\n"]
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=6))
    stuffer = DotStuffer()
    streamed = b"".join(map(stuffer.feed, cut(content, cuts)))
    assert streamed + stuffer.end() == out


def test_many_transactions_on_one_connection() -> None:
    pair = Pair()
    for n in range(5):
        assert pair.send(to("bob", "nobody", "later"), b"%d\r\n" % n).code == 250
    assert pair.server.messages == [b"%d\r\n" % n for n in range(5)]
    codes = [event.reply.code for event in pair.events if isinstance(event, RecipientAnswered)]
    assert codes == [250, 550, 451] * 5


def test_after_a_transaction_that_came_to_nothing_the_next_arrives() -> None:
    pair = Pair()
    assert pair.send(to("nobody"), b"x\r\n").code == 550
    assert (
        pair.send(OutgoingTransaction(Mailbox("refused", "a.example"), to("bob").recipients, 1), b"x\r\n").code == 550
    )
    assert pair.send(to("later"), b"x\r\n").code == 451
    assert pair.send(to("bob"), b"y\r\n").code == 250
    assert pair.server.messages == [b"y\r\n"]


def test_tls_and_a_password_on_the_way() -> None:
    pair = Pair(ClientProfile(helo_name="client.example", credentials=("ann", "secret")), SUBMISSION)
    assert pair.send(to("bob"), b"x\r\n").code == 250
    assert pair.server.asked(CredentialsGiven) == [CredentialsGiven("PLAIN", "", "ann", "secret")]
    assert pair.server.session.state.tls == TLS


def test_a_wrong_password_ends_it() -> None:
    pair = Pair(ClientProfile(helo_name="client.example", credentials=("ann", "false")), SUBMISSION)
    end = pair.events[-1]
    assert isinstance(end, Ended)
    assert end.reply is not None
    assert end.reply.code == 535


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30),
)
def test_a_path_survives_the_way(sender: str, recipient: str) -> None:
    pair = Pair()
    paths = Mailbox(sender, "a.example"), Mailbox(recipient, "b.example")
    pair.send(OutgoingTransaction(paths[0], (Recipient(paths[1]),), 1), b"x\r\n")
    (given_sender,) = pair.server.asked(SenderGiven)
    (given_recipient,) = pair.server.asked(RecipientGiven)
    assert isinstance(given_sender, SenderGiven)
    assert isinstance(given_recipient, RecipientGiven)
    assert (given_sender.reverse_path, given_recipient.forward_path) == paths
