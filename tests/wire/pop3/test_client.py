"""The POP3 client: what it says to a server, and what it makes of the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import POP3_REPLY_LINE_BYTES
from postroad.wire.pop3.client import Pop3ClientSession
from postroad.wire.pop3.client_events import (
    MaildropListed,
    MessageEnded,
    MessageMarked,
    MessageOctets,
    MessageRefused,
    Pop3ClientEvent,
    Pop3ClientProfile,
    SessionEnded,
    Waiting,
)
from postroad.wire.pop3.dot_reader import DotReader
from postroad.wire.pop3.server import Pop3Profile, Pop3Session
from postroad.wire.session import Wait
from postroad.wire.smtp.client_events import TlsUse
from tests.wire.cutting import cut, split
from tests.wire.pop3.test_server import House

FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
CLEAR = Pop3ClientProfile(user="ann", password="secret", tls=TlsUse.NEVER, plaintext_login_allowed=True)
SECURE = Pop3ClientProfile(user="ann", password="secret", tls=TlsUse.REQUIRED)
IN_TLS = Pop3ClientProfile(user="ann", password="secret", tls_active=True)
LISTED = b"+OK\r\n1 10\r\n2 2000\r\n.\r\n"
UIDS = b"+OK\r\n1 aaa\r\n2 bbb\r\n.\r\n"


class Client:
    """A session with what it said and told."""

    def __init__(self, profile: Pop3ClientProfile = CLEAR) -> None:
        self.session = Pop3ClientSession(profile)
        self.events: list[Pop3ClientEvent] = []
        self.wait = Wait.NEED_DATA

    def hear(self, data: bytes) -> str:
        self.session.receive_data(data)
        return self.run()

    def run(self) -> str:
        while not isinstance(event := self.session.next_event(), Wait):
            self.events.append(event)
        self.wait = event
        return self.session.data_to_send().decode("latin-1")

    @property
    def content(self) -> bytes:
        return b"".join(event.data for event in self.events if isinstance(event, MessageOctets))

    @property
    def end(self) -> SessionEnded:
        event = self.events[-1]
        assert isinstance(event, SessionEnded)
        return event


def logged_in(profile: Pop3ClientProfile = CLEAR) -> Client:
    client = Client(profile)
    for octets in (b"+OK hello\r\n", b"-ERR what?\r\n", b"+OK\r\n", b"+OK\r\n", LISTED, UIDS):
        client.hear(octets)
    assert client.wait is Wait.READY
    return client


def test_it_logs_in_and_lists_what_there_is() -> None:
    client = Client()
    assert client.run() == ""
    assert client.hear(b"+OK hello\r\n") == "CAPA\r\n"
    assert client.hear(b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n") == "USER ann\r\n"
    assert client.hear(b"+OK\r\n") == "PASS secret\r\n"
    assert client.hear(b"+OK\r\n") == "LIST\r\n"
    assert client.hear(LISTED) == "UIDL\r\n"
    client.hear(UIDS)
    assert client.events == [MaildropListed((Waiting(1, "aaa", 10), Waiting(2, "bbb", 2000)))]
    assert client.wait is Wait.READY


def test_a_message_comes_without_its_dots_of_transparency() -> None:
    client = logged_in()
    client.session.retrieve(2)
    assert client.run() == "RETR 2\r\n"
    client.hear(b"+OK 20 octets\r\nA: b\r\n\r\n..\r\n...x\r\n.\r\n")
    assert client.content == b"A: b\r\n\r\n.\r\n..x\r\n"
    assert client.events[-1] == MessageEnded(2)
    assert client.wait is Wait.READY


def test_what_was_marked_goes_with_the_goodbye() -> None:
    client = logged_in()
    client.session.delete(1)
    assert client.run() == "DELE 1\r\n"
    client.hear(b"+OK\r\n")
    assert client.events[-1] == MessageMarked(1)
    client.session.quit()
    assert client.run() == "QUIT\r\n"
    client.hear(b"+OK bye\r\n")
    assert client.end == SessionEnded("", committed=True)
    assert client.wait is Wait.CLOSED


@pytest.mark.parametrize("last", [b"-ERR some messages not deleted\r\n", b""])
def test_without_an_ok_to_the_goodbye_nothing_is_known_to_be_gone(last: bytes) -> None:
    client = logged_in()
    client.session.quit()
    client.run()
    client.hear(last)
    assert not client.end.committed


def test_a_message_that_is_refused_does_not_end_the_session() -> None:
    client = logged_in()
    client.session.retrieve(1)
    client.run()
    client.hear(b"-ERR gone\r\n")
    assert client.events[-1] == MessageRefused(1, "-ERR gone")
    assert client.wait is Wait.READY


def test_tls_is_begun_before_the_password_is_said_and_what_was_learned_is_forgotten() -> None:
    client = Client(SECURE)
    client.hear(b"+OK\r\n")
    assert client.hear(b"+OK\r\nSTLS\r\nUIDL\r\n.\r\n") == "STLS\r\n"
    client.hear(b"+OK\r\n")
    assert client.wait is Wait.NEED_TLS
    client.session.tls_started(FACTS)
    assert client.run() == "USER ann\r\n"


def test_octets_in_clear_before_the_handshake_end_the_session() -> None:
    client = Client(SECURE)
    client.hear(b"+OK\r\n")
    client.hear(b"+OK\r\nSTLS\r\n.\r\n")
    client.hear(b"+OK\r\n+OK injected\r\n")
    assert "attack" in client.end.reason
    assert client.wait is Wait.CLOSED


@pytest.mark.parametrize("capabilities", [b"+OK\r\nUIDL\r\n.\r\n", b"-ERR\r\n"])
def test_where_tls_is_required_the_password_is_never_said_without(capabilities: bytes) -> None:
    client = Client(SECURE)
    said = client.hear(b"+OK\r\n") + client.hear(capabilities) + client.hear(b"-ERR no TLS here\r\n")
    assert "PASS" not in said
    assert "USER" not in said
    assert client.wait is Wait.CLOSED


def test_opportunistic_tls_without_permission_to_speak_in_clear_says_no_password() -> None:
    client = Client(Pop3ClientProfile(user="ann", password="secret", tls=TlsUse.IF_OFFERED))
    client.hear(b"+OK\r\n")
    assert client.hear(b"+OK\r\n.\r\n") == ""
    assert "password was not sent" in client.end.reason


@pytest.mark.parametrize("name", ["ann\r\nDELE 1", "ann smith", "", "ann\0"])
def test_a_name_that_would_be_another_command_is_not_said(name: str) -> None:
    client = Client(Pop3ClientProfile(user=name, password="secret", tls_active=True))
    client.hear(b"+OK\r\n")
    assert client.hear(b"-ERR\r\n") == ""
    assert client.wait is Wait.CLOSED


@pytest.mark.parametrize(
    "conversation",
    [
        [b"-ERR busy\r\n"],
        [b"220 mx ESMTP\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"-ERR no such user\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"-ERR wrong\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", LISTED, b"-ERR no UIDL\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK\r\nx y\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK\r\n1 " + b"9" * 50 + b"\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", LISTED, b"+OK\r\n1 " + b"u" * 71 + b"\r\n"],
        [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", LISTED, b"+OK\r\n1 \x80\r\n"],
        [b"+OK " + b"x" * POP3_REPLY_LINE_BYTES],
        [b"+OK\r\n", b""],
    ],
)
def test_what_is_no_answer_ends_the_session_with_a_reason(conversation: list[bytes]) -> None:
    client = Client()
    for octets in conversation:
        client.hear(octets)
    assert client.end.reason
    assert not client.end.committed
    assert client.wait is Wait.CLOSED


def test_an_answer_that_nothing_was_asked_for_ends_the_session() -> None:
    client = logged_in()
    client.hear(b"+OK really\r\n")
    assert "without being asked" in client.end.reason


def test_patience_ends_the_session_in_words() -> None:
    client = logged_in()
    client.session.retrieve(1)
    client.run()
    client.session.timed_out()
    client.run()
    assert client.end.reason.startswith("no answer to RETR within")


def test_a_unique_id_of_a_message_that_was_not_listed_is_nothing() -> None:
    client = Client()
    for octets in (b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", LISTED, b"+OK\r\n1 a\r\n7 b\r\n.\r\n"):
        client.hear(octets)
    assert client.events == [MaildropListed((Waiting(1, "a", 10),))]


# ---- any octets, in any pieces -------------------------------------------------------------------


def played(pieces: list[bytes]) -> tuple[list[Pop3ClientEvent], bytes]:
    """All that is told of a whole conversation, with content in one piece."""
    client = logged_in()
    client.session.retrieve(2)
    client.run()
    for piece in pieces:
        client.hear(piece)
    return [event for event in client.events if not isinstance(event, MessageOctets)], client.content


@given(st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"x", b"..", b"\0\xff"])), st.lists(st.integers(0, 60)))
def test_any_split_of_a_message_gives_the_same(words: list[bytes], cuts: list[int]) -> None:
    octets = b"+OK\r\n" + b"".join(words) + b"\r\n.\r\n"
    assert played(cut(octets, cuts)) == played([octets]) == played(split(octets))


@given(st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"x", b"..", b"\0\xff"])))
def test_what_a_server_stuffs_is_what_comes_out(words: list[bytes]) -> None:
    content = b"".join(words) + b"\r\n"
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    reader = DotReader()
    assert reader.feed(stuffed + b".\r\n+OK next\r\n") == content
    assert reader.ended
    assert reader.rest == b"+OK next\r\n"


def test_a_response_of_no_lines_is_no_content() -> None:
    reader = DotReader()
    assert reader.feed(b".\r\n") == b""
    assert reader.ended


@given(st.lists(st.binary(max_size=50)))
def test_no_octets_raise(pieces: list[bytes]) -> None:
    client = Client()
    for piece in pieces:
        if piece:
            client.hear(piece)
    client.hear(b"")
    assert client.wait is Wait.CLOSED


# ---- our own server ------------------------------------------------------------------------------


def test_it_fetches_from_our_own_server() -> None:
    house = House(Pop3Profile(hostname="mx.a.example", plaintext_login_allowed=True))
    assert isinstance(house.session, Pop3Session)
    client = Client(Pop3ClientProfile(user="ann@a.example", password="secret", tls_active=True))
    said = house.said.encode()

    def talk(words: str) -> None:
        while words:
            words = client.hear(house.hear(words.encode()).encode("latin-1"))

    talk(client.hear(said))
    (listed,) = client.events
    assert isinstance(listed, MaildropListed)
    assert [each.uid for each in listed.messages] == ["7:0", "7:1", "7:2"]
    for message in listed.messages:
        before = len(client.content)
        client.session.retrieve(message.number)
        talk(client.run())
        expected = house.messages[message.number - 1]
        assert client.content[before:].removesuffix(b"\r\n") == expected.removesuffix(b"\r\n")
        client.session.delete(message.number)
        talk(client.run())
    client.session.quit()
    talk(client.run())
    assert client.end.committed
    assert house.removed == (1, 2, 3)
