"""The POP3 server session, met by any client.

What must hold: no exception; how the octets were cut changes nothing that can be seen; what is buffered is bounded;
there are no more answers than commands; nothing is removed without QUIT in the
TRANSACTION state; nothing said before TLS counts inside it.
"""

from __future__ import annotations

from fuzz.choices import Choices, expanded, three_cuts
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import POP3_COMMAND_LINE_BYTES
from postroad.wire.pop3.events import (
    CredentialsGiven,
    MaildropReleased,
    MessageAsked,
    OutputDue,
    Pop3Event,
    UpdateAsked,
)
from postroad.wire.pop3.server import Pop3Profile, Pop3Session
from postroad.wire.pop3.states import State
from postroad.wire.session import Wait

TLS_TOKEN, HANDSHAKES = b"{TLS}", 2
PROFILES = (
    Pop3Profile(hostname="mx.a.example", plaintext_login_allowed=True, tls_available=True),
    Pop3Profile(hostname="mx.a.example", tls_available=True),
    Pop3Profile(hostname="mx.a.example", tls_available=True, tls_active=True),
)
MESSAGES = (b"Subject: one\r\n\r\nline 1\r\n.line 2\r\n", b"Subject: two\r\n\r\n", b"A: b\r\n\r\nno end", b".\r\n.")


def check(given: bytes) -> None:
    choices = Choices(given)
    profile = choices.one_of(PROFILES)
    ends_by_silence = bool(choices.octet() & 1)
    seed = choices.octet()
    flights = [expanded(part) for part in choices.rest().split(TLS_TOKEN, HANDSHAKES)]
    histories = []
    for cut in zip(*(three_cuts(flight, seed) for flight in flights), strict=True):
        office = Office(profile)
        histories.append(office.play(cut, ends_by_silence))
    for other in histories[1:]:
        assert other == histories[0], "how the octets were cut can be seen"


class Office:
    """Everybody's password is "secret", and everybody has MESSAGES."""

    def __init__(self, profile: Pop3Profile) -> None:
        self._session = Pop3Session(profile)
        self._events: list[Pop3Event] = []
        self._said: list[bytes] = []
        self._holds_drop = False
        self._removed: tuple[int, ...] | None = None
        self._wait = Wait.NEED_DATA

    def play(self, flights: tuple[list[bytes], ...], ends_by_silence: bool) -> tuple[object, ...]:
        self._settle()
        for number, chunks in enumerate(flights):
            if number and self._wait is Wait.NEED_TLS:
                self._session.tls_started(TlsFacts("TLSv1.3", "x"))
                assert self._session.state is State.AUTHORIZATION
                assert not self._holds_drop
                self._settle()
            for chunk in chunks:
                self._session.receive_data(chunk)
                self._settle()
        if ends_by_silence:
            self._session.timed_out()
        else:
            self._session.receive_data(b"")
        self._settle()
        assert self._wait is Wait.CLOSED
        assert not self._holds_drop, "the maildrop is locked by nobody"
        said = b"".join(self._said)
        check_answers(said, sum(chunk.count(b"\n") for chunks in flights for chunk in chunks))
        return said, self._events, self._removed

    def _settle(self) -> None:
        session = self._session
        while not isinstance(event := session.next_event(), Wait):
            if type(event) is OutputDue:
                # When it is told depends on what was sent meanwhile, so on the cut; it is no more than a pause.
                self._said.append(session.data_to_send())
                continue
            self._events.append(event)
            self._decide(event)
        assert event is not Wait.NEED_ANSWER, "every question was answered"
        self._wait = event
        self._said.append(session.data_to_send())
        assert session.buffered_bytes <= POP3_COMMAND_LINE_BYTES, "more is kept than a line"

    def _decide(self, event: Pop3Event) -> None:
        session = self._session
        match event:
            case CredentialsGiven(password="secret"):
                assert not self._holds_drop
                self._holds_drop = True
                session.opened([len(one) for one in MESSAGES], [f"7:{n}" for n in range(len(MESSAGES))])
            case CredentialsGiven():
                session.refuse("Wrong name or password", "AUTH")
            case MessageAsked(number=number):
                assert self._holds_drop
                assert 1 <= number <= len(MESSAGES)
                session.send_message()
                for octet in MESSAGES[number - 1]:
                    session.send_chunk(bytes([octet]))
                session.end_message()
            case UpdateAsked(numbers=numbers):
                assert self._holds_drop
                assert self._removed is None, "two updates"
                assert len(set(numbers)) == len(numbers)
                assert all(1 <= number <= len(MESSAGES) for number in numbers)
                self._holds_drop, self._removed = False, numbers
                session.updated()
            case MaildropReleased():
                assert self._holds_drop, "the maildrop was nobody's"
                self._holds_drop = False
            case _:
                raise AssertionError(event)


def check_answers(said: bytes, lines: int) -> None:
    """RFC 1939 section 3: whole lines of at most 512 octets, and no more status lines than commands and the greeting.
    The lines of MESSAGES and of the listings begin otherwise."""
    assert said.startswith(b"+OK "), said[:100]
    assert said.endswith(b"\r\n"), said[-100:]
    answers = said[:-2].split(b"\r\n")
    assert all(b"\n" not in line and b"\r" not in line and len(line) <= 510 for line in answers), said[-700:]
    assert sum(line.startswith((b"+OK", b"-ERR")) for line in answers) <= lines + 3, said[-700:]


def seeds() -> list[bytes]:
    login = b"USER ann\r\nPASS secret\r\n"
    all_ = b"STAT\r\nLIST\r\nLIST 2\r\nUIDL\r\nUIDL 3\r\n"
    all_ += b"RETR 1\r\nRETR 3\r\nTOP 4 0\r\nTOP 1 1\r\nDELE 1\r\nRSET\r\nNOOP\r\n"
    spoken = [
        login + all_ + b"DELE 2\r\nQUIT\r\n",
        b"CAPA\r\nSTLS\r\n{TLS}" + login + b"QUIT\r\n",
        b"STLS\r\nUSER ann\r\n",
    ]
    spoken += [
        b"USER {LONG}\r\n",
        b"PASS x\r\n",
        login + b"RETR 0\r\nRETR -1\r\nRETR 99999999999999999999\r\nTOP 1 -1\r\n",
    ]
    spoken += [
        b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
        b"APOP ann 0123456789abcdef0123456789abcdef\r\n",
        b"USER a\nPASS secret\r\n",
    ]
    return [bytes([n, 0, n]) + octets for octets in spoken for n in range(len(PROFILES))]


WORDS = (
    b"USER ", b"PASS secret\r\n", b"STAT\r\n", b"LIST", b"UIDL", b"RETR ", b"TOP ", b"DELE ", b"RSET\r\n", b"NOOP\r\n",
    b"QUIT\r\n", b"CAPA\r\n", b"STLS\r\n", b"AUTH ", b"APOP ", b"\r\n", b" 1\r\n", b"{TLS}", b"{LONG}",
    b"UTF8", b"LANG",
)  # fmt: skip
