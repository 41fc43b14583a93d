"""The SMTP client session, met by any server.

What must hold: no exception; how the replies were cut changes nothing that can be seen; what is buffered is bounded;
no recipient hears twice, no message ends twice; content leaves only after a 354, and a password only inside TLS;
what was learned before TLS is forgotten.
"""

from __future__ import annotations

from fuzz.choices import Choices, expanded, three_cuts
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.envelope import BodyType, Notify, Recipient
from postroad.vocabulary.limits import REPLY_LINE_BYTES
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientProfile, ClientSession
from postroad.wire.smtp.client_events import (
    ClientEvent,
    ContentWanted,
    Ended,
    OutgoingTransaction,
    Ready,
    RecipientAnswered,
    TlsUse,
    TransactionEnded,
)

FLIGHT = b"{WAIT}"
"""Between what the server says in answer to different things."""

TOO_SOON = "before the content"
"""In the reason that a session ends with when the answer to the content is there and the content is not yet sent."""

FLIGHTS = 30
PASSWORD = "s3cret-pass"
PROFILES = (
    ClientProfile(helo_name="us.example"),
    ClientProfile(helo_name="us.example", tls=TlsUse.REQUIRED, credentials=("ann", PASSWORD)),
    ClientProfile(helo_name="us.example", tls=TlsUse.NEVER, credentials=("ann", PASSWORD), record=True),
    ClientProfile(helo_name="us.example", tls_active=True, credentials=("ann", PASSWORD)),
)
MARK = b"only after 354"
_BOB, _CAT = (Recipient(Mailbox(name, "b.example"), (Notify.FAILURE,), "rfc822;x@y") for name in ("bob", "cat"))
_CONTENT = b"Subject: x\r\n\r\n.dot\n" + MARK
TRANSACTIONS = (
    OutgoingTransaction(Mailbox("ann", "a.example"), (_BOB, _CAT), len(_CONTENT), ret="HDRS", envid="x"),
    OutgoingTransaction(None, (_BOB,), len(_CONTENT), body=BodyType.EIGHT_BIT_MIME, smtputf8=True),
    OutgoingTransaction(Mailbox("ann", "a.example"), (_CAT,), len(_CONTENT)),
)


def check(given: bytes) -> None:
    choices = Choices(given)
    profile = choices.one_of(PROFILES)
    streamed = bool(choices.octet() & 1)
    seed = choices.octet()
    flights = [expanded(part) for part in choices.rest().split(FLIGHT, FLIGHTS)]
    cuts = zip(*(three_cuts(flight, seed) for flight in flights), strict=True)
    histories = [Client(profile, streamed=streamed).play(cut) for cut in cuts]
    if any(TOO_SOON in repr(history) for history in histories):
        return  # whether a reply was there before the content, or came after it, is a matter of time
    for other in histories[1:]:
        assert other == histories[0], "how the replies were cut can be seen"


class Client:
    """Sends TRANSACTIONS, one after the other, as far as it is let."""

    def __init__(self, profile: ClientProfile, *, streamed: bool) -> None:
        self._profile = profile
        self._session = ClientSession(profile)
        self._streamed = streamed
        self._in_tls = profile.tls_active
        self._begun = self._ended = 0
        self._answered: set[Recipient] = set()
        self._over = False
        self._events: list[ClientEvent] = []
        self._said: list[bytes] = []

    def play(self, flights: tuple[list[bytes], ...]) -> tuple[object, ...]:
        """A reply that comes before its question is a matter of time, not of cutting: so new transactions begin,
        and handshakes are made, between flights alone."""
        wait = self._settle()
        for chunks in flights:
            for chunk in chunks:
                self._session.receive_data(chunk)
                wait = self._settle()
            wait = self._act(wait)
        self._session.receive_data(b"")
        assert self._settle() is Wait.CLOSED, "the server is gone"
        assert self._over
        return b"".join(self._said), self._events

    def _act(self, wait: Wait) -> Wait:
        session = self._session
        if wait is Wait.NEED_TLS:
            self._in_tls = True
            session.tls_started(TlsFacts("TLSv1.3", "x"))
            assert session.extensions == {}, "what was said in clear is still believed"
        elif wait is Wait.READY and self._begun == len(TRANSACTIONS):
            session.quit()
        else:
            while session.can_begin and self._begun < len(TRANSACTIONS):
                session.begin(TRANSACTIONS[self._begun], None if self._streamed else _CONTENT)
                self._begun += 1
        return self._settle()

    def _settle(self) -> Wait:
        session = self._session
        while not isinstance(event := session.next_event(), Wait):
            self._take(event)
        assert session.buffered_bytes < REPLY_LINE_BYTES, "more is kept than a line"
        if said := session.data_to_send():
            self._said.append(said)
            if not self._in_tls:
                assert PASSWORD.encode() not in said, "a password in clear"
        return event

    def _take(self, event: ClientEvent) -> None:
        assert not self._over, "an event after the end"
        self._events.append(event)
        match event:
            case RecipientAnswered(recipient=recipient):
                assert recipient not in self._answered, "a recipient heard twice"
                assert recipient in TRANSACTIONS[self._ended].recipients
                self._answered.add(recipient)
            case TransactionEnded(accepted=accepted):
                assert set(accepted) <= self._answered
                self._answered.clear()
                self._ended += 1
                assert self._ended <= self._begun, "a transaction ended that was not begun"
            case ContentWanted():
                assert self._streamed
                self._session.send_content(_CONTENT[:15])
                self._session.send_content(_CONTENT[15:])
                self._session.end_content()
            case Ready():
                assert self._in_tls or self._profile.tls is not TlsUse.REQUIRED, (
                    "ready without the TLS that is required"
                )
            case Ended():
                self._over = True
            case _:
                pass


def seeds() -> list[bytes]:
    hello = b"220 mx\r\n{WAIT}250-mx\r\n250-PIPELINING\r\n250-SIZE 100\r\n250-AUTH PLAIN LOGIN\r\n250 DSN\r\n{WAIT}"
    clear = b"220 mx\r\n{WAIT}250-mx\r\n250 STARTTLS\r\n{WAIT}220 go\r\n{WAIT}250-mx\r\n250 AUTH LOGIN\r\n{WAIT}"
    login = b"334 VXNlcm5hbWU6\r\n{WAIT}334 UGFzc3dvcmQ6\r\n{WAIT}235 2.7.0 in\r\n{WAIT}"
    mail = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n354 go\r\n{WAIT}250 2.0.0 queued\r\n{WAIT}"
    slow = b"220 mx\r\n{WAIT}502 what\r\n{WAIT}250 mx\r\n{WAIT}"
    slow += b"250 ok\r\n{WAIT}250 ok\r\n{WAIT}450 no\r\n{WAIT}354\r\n{WAIT}"
    refused = b"550 no\r\n503 no\r\n503 no\r\n503 no\r\n{WAIT}"
    spoken = [hello + mail + mail, clear + login + mail, slow + b"250 ok\r\n{WAIT}", hello + refused + mail]
    spoken += [
        hello + b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 early\r\n",
        b"554 no\r\n",
        b"220-{LONG}\r\n220 x\r\n",
    ]
    spoken += [
        clear[:40] + b"220 go\r\n250 injected\r\n",
        b"220 mx\r\n{WAIT}421 bye\r\n",
        b"999\n",
        b"220 \xff\xfe\x00\x1b[2J\r\n",
    ]
    return [bytes([n, n & 1, n]) + octets for octets in spoken for n in range(len(PROFILES))]


WORDS = (
    b"220 ", b"221 ", b"235 ", b"250 ", b"250-", b"334 ", b"354 ", b"421 4.7.0 ", b"450 ", b"451 ", b"503 5.5.1 ",
    b"550 5.1.1 ", b"554 ", b"\r\n", b"{WAIT}", b"{LONG}", b"PIPELINING", b"STARTTLS", b"AUTH PLAIN LOGIN", b"SIZE ",
    b"8BITMIME", b"SMTPUTF8", b"DSN", b"CHUNKING", b"BINARYMIME", b"REQUIRETLS", b"LIMITS RCPTMAX=1", b"DELIVERBY",
    b"250-mx\r\n250 ", b"250 ok\r\n", b"354 go\r\n", b"334 VXNlcm5hbWU6\r\n", b"FUTURERELEASE 9", b"MT-PRIORITY", b"\n",
)  # fmt: skip
