"""What stands behind the fuzzed SMTP server session: it answers every question, by the question alone, and keeps
account of the transaction beside the session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from postroad.vocabulary.credentials import CramSecret, scram_keys
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import AUTH_LINE_BYTES
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.settings import BareNewline, WhoMayAsk
from postroad.wire.session import Wait
from postroad.wire.smtp.events import (
    ClientReplaced,
    CommandRefused,
    ContentAsked,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    Greeted,
    ProofGiven,
    RecipientGiven,
    SecretAsked,
    SenderGiven,
    ServerEvent,
    TransactionDropped,
)
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.server_profile import ServerProfile

TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")

Mx = ServerProfile(hostname="mx.example.org", message_bytes=70_000, recipients_max=5, tls_available=True)
PatientProfile = msgspec.structs.replace(Mx, bad_commands=1_000_000)
_SUBMISSION = ServerProfile(
    hostname="mx.example.org",
    message_bytes=1000,
    mail_requires_auth=True,
    auth_offered=("PLAIN", "LOGIN"),
    tls_available=True,
    bad_commands=1_000_000,
)
_LOCAL = ServerProfile(hostname="mx.example.org", identity="ann@example.org", mail_requires_auth=True)
_LENIENT = msgspec.structs.replace(Mx, bare_newline=BareNewline.NORMALISE, messages_per_session=2)
BINDING = b"b" * 32
_CHUNKS = msgspec.structs.replace(
    Mx,
    chunking=True,
    binarymime=True,
    require_tls=True,
    deliver_by_min_s=60,
    limits=True,
    expn=True,
    etrn=True,
    turn=True,
    auth_offered=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"),
    channel_binding=BINDING,
    old_ways=WhoMayAsk.ANYONE,
    xclient=True,
    bad_commands=1_000_000,
)
_LATER_MAIL = msgspec.structs.replace(
    _SUBMISSION, chunking=True, future_release_max_s=86_400, mt_priority=True, old_ways=WhoMayAsk.AUTHENTICATED
)
_LMTP = msgspec.structs.replace(Mx, lmtp=True, chunking=True, tls_available=False)
_ODMR = ServerProfile(
    hostname="mx.example.org",
    atrn=True,
    auth_offered=("CRAM-MD5",),
    auth_in_clear=("CRAM-MD5",),
    tls_available=True,
    bad_commands=1_000_000,
)
PROFILES = (Mx, PatientProfile, _SUBMISSION, _LOCAL, _LENIENT, _CHUNKS, _LATER_MAIL, _LMTP, _ODMR)
BEGAN_AT = datetime(2026, 1, 6, 12, tzinfo=UTC)
CONTENT_NOT_TAKEN, CONTENT_NOT_WANTED = 7, 8
"""Announced sizes at which the content is refused at its end, or before it."""
SECRET = "secret"
KEYS = scram_keys(SECRET, b"salt" * 4, 4096)

_NO = reply(550, "No such user here", status="5.1.1")
_LATER = reply(451, "Try again later", status="4.3.0")
_QUEUED = reply(250, "Queued", status="2.0.0")
_WRONG = reply(535, "Wrong", status="5.7.8")


def random_octets(size: int) -> bytes:
    return b"r" * size


@dataclass
class _Transaction:
    sender: SenderGiven
    recipients: list[RecipientGiven]
    content_asked: bool = False


class ServerWorld:
    """`wait` is what the session waits for."""

    def __init__(self, profile: ServerProfile, tls: TlsFacts | None = None) -> None:
        self._profile = profile
        self._session = ServerSession(profile, tls, random_octets=random_octets, began_at=BEGAN_AT)
        self._transaction: _Transaction | None = None
        self._events: list[ServerEvent] = []
        self._content: list[bytes] = []
        self._messages: list[bytes] = []
        self._said: list[bytes] = []
        self._before_tls = (0, 0, 0)
        self.tls = TLS
        self.wait = Wait.NEED_DATA
        self.recipients_taken = 0
        self._offences = 0

    # ---- what the client does --------------------------------------------------------------------

    def hear(self, chunk: bytes) -> None:
        self._session.receive_data(chunk)
        self.settle()

    def start_tls(self) -> None:
        """The handshake succeeds. `seen_inside_tls` begins here."""
        self._before_tls = (len(self._events), len(self._said), len(self._messages))
        self._session.tls_started(self.tls)
        assert self._transaction is None, "a transaction from before TLS is open"
        self.settle()

    def end(self, *, by_silence: bool) -> None:
        if by_silence:
            self._session.timed_out()
        else:
            self._session.receive_data(b"")
        self.settle()
        assert self.wait is Wait.CLOSED, f"{self.wait} after the end of the client"
        assert self._transaction is None, "a transaction outlives its connection"
        self.hear(b"NOOP\r\nMAIL FROM:<late@a.example>\r\n")

    def settle(self) -> None:
        session = self._session
        while not isinstance(event := session.next_event(), Wait):
            if type(event) is not ContentReceived:
                self._events.append(event)
            self._decide(event)
        assert event is not Wait.NEED_ANSWER, "every question was answered"
        self.wait = event
        if said := session.data_to_send():
            self._said.append(said)
        assert session.buffered_bytes < AUTH_LINE_BYTES, "more is kept than a line"
        mine, its = self._transaction, session.transaction
        assert (its is None) == (mine is None)
        if mine is not None and its is not None:
            assert (its.sender, its.recipients) == (mine.sender, len(mine.recipients))

    # ---- what could be seen ----------------------------------------------------------------------

    @property
    def said(self) -> bytes:
        return b"".join(self._said)

    def seen(self) -> tuple[object, ...]:
        return self.said, self._events, self._messages, self.wait

    def seen_inside_tls(self) -> tuple[object, ...]:
        events, said, messages = self._before_tls
        return b"".join(self._said[said:]), self._events[events:], self._messages[messages:], self.wait

    def forget_greeting(self) -> None:
        self._said.clear()

    # ---- decisions -------------------------------------------------------------------------------

    def _decide(self, event: ServerEvent) -> None:
        session = self._session
        match event:
            case SenderGiven():
                assert self._transaction is None, "MAIL inside a transaction"
                answer = self._on_address(event.reverse_path.local_part if event.reverse_path else "")
                if answer is None:
                    self._transaction = _Transaction(event, [])
                session.answer(answer)
            case RecipientGiven():
                assert self._transaction is not None, "RCPT without MAIL"
                answer = self._on_address(event.forward_path.local_part)
                if answer is None:
                    self._transaction.recipients.append(event)
                    self.recipients_taken += 1
                assert len(self._transaction.recipients) <= self._profile.recipients_max
                session.answer(answer)
            case ContentAsked():
                assert self._transaction is not None, "content without MAIL"
                assert self._transaction.recipients, "content for nobody"
                refused = self._transaction.sender.size == CONTENT_NOT_WANTED
                self._transaction.content_asked = not refused
                session.answer(_LATER if refused else None)
            case ContentReceived(data=data):
                assert self._transaction is not None, "content outside of a transaction"
                assert self._transaction.content_asked, "content that was not asked for"
                assert data, "a piece of content without octets"
                self._content.append(data)
                assert sum(map(len, self._content)) <= self._profile.message_bytes, "more content than is taken"
            case ContentEnded():
                self._take_message(event)
            case TransactionDropped():
                assert self._transaction is not None, "nothing was to be dropped"
                self._forget()
            case CommandRefused(command=command):
                # Of content and of recipients over the limit it is the message that is refused, and no rule is broken.
                self._offences += command not in ("content", "RCPT")
                assert self._offences <= self._profile.bad_commands + 1, "a client may do wrong without end"
            case CredentialsGiven() | SecretAsked() | ProofGiven():
                self._log_in(event)
            case Greeted() | ClientReplaced():
                session.answer(None)
            case _:  # TURN and ATRN among them: who speaks before their answer is a matter of time, not of cutting
                session.answer(_LATER)

    def _log_in(self, event: CredentialsGiven | SecretAsked | ProofGiven) -> None:
        session = self._session
        match event:
            case CredentialsGiven(name="ann", password="secret"):
                session.authenticated("ann@example.org")
            case CredentialsGiven():
                session.answer(_WRONG)
            case SecretAsked(mechanism="CRAM-MD5", name=name):
                session.give_secret(CramSecret(SECRET) if name == "ann" else None)
            case SecretAsked(name=name):
                session.give_secret(KEYS if name == "ann" else None, fake_salt=b"always the same!")
            case ProofGiven(name="ann", right=True):
                session.authenticated("ann@example.org")
            case ProofGiven():
                session.answer(_WRONG)

    def _take_message(self, event: ContentEnded) -> None:
        assert self._transaction is not None, "content without a transaction"
        content = b"".join(self._content)
        assert event.size_bytes == len(content)
        body = content.replace(b"\r\n", b"")
        if self._transaction.sender.body is not BodyType.BINARY_MIME:
            assert b"\r" not in body, "a lone CR in what was accepted"
            assert b"\n" not in body, "a lone LF in what was accepted"
            assert b"\0" not in body, "a NUL in what was accepted"
        self._messages.append(content)
        assert len(self._messages) <= self._profile.messages_per_session
        later = self._transaction.sender.size == CONTENT_NOT_TAKEN
        self._forget()
        self._offences = self._offences if later else 0
        self._session.answer(_LATER if later else _QUEUED)

    def _forget(self) -> None:
        self._transaction = None
        self._content = []

    @staticmethod
    def _on_address(local_part: str) -> Reply | None:
        return {"nobody": _NO, "later": _LATER}.get(local_part)
