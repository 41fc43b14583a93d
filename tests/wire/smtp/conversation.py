"""A server session with a small world behind it, for tests that talk to it in octets.

The world: addresses at `refused@` and `nobody@` are refused for good, `later@` for now; a message is always
taken, unless a test says otherwise; ann's password is "secret", for every mechanism. Mail waits for a.example, the
directory is out of reach for later.example, and 192.0.2.66 may not call.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache

import msgspec

from postroad.vocabulary.credentials import CramSecret, ScramKeys, scram_keys
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.settings import WhoMayAsk
from postroad.wire.sasl import MECHANISMS, SECRET_MECHANISMS
from postroad.wire.session import Wait
from postroad.wire.smtp.events import (
    ClientReplaced,
    CommandRefused,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    ExpandAsked,
    ProofGiven,
    QueueRunAsked,
    RecipientGiven,
    SecretAsked,
    SenderGiven,
    ServerEvent,
    TransactionDropped,
    TurnAsked,
    VerifyAsked,
)
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.server_profile import ServerProfile

TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
MX = ServerProfile(hostname="mx.example.org", message_bytes=10_000, recipients_max=100, tls_available=True)
SUBMISSION = ServerProfile(
    hostname="mx.example.org",
    message_bytes=10_000,
    mail_requires_auth=True,
    auth_offered=("PLAIN", "LOGIN"),
    tls_available=True,
)
LOCAL = ServerProfile(hostname="mx.example.org", identity="ann@example.org", mail_requires_auth=True)
FULL = msgspec.structs.replace(
    MX,
    auth_offered=(*SECRET_MECHANISMS, *MECHANISMS),
    channel_binding=b"the hash of a certificate",
    scram_iterations=4096,
    chunking=True,
    binarymime=True,
    require_tls=True,
    deliver_by_min_s=60,
    future_release_max_s=86_400,
    mt_priority=True,
    limits=True,
    expn=True,
    etrn=True,
    turn=True,
    old_ways=WhoMayAsk.ANYONE,
    xclient=True,
)
"""All that port 25 and submission can have, at once."""
ODMR = msgspec.structs.replace(MX, auth_offered=("CRAM-MD5",), auth_in_clear=("CRAM-MD5",), atrn=True)
LMTP = msgspec.structs.replace(FULL, lmtp=True, auth_offered=(), turn=False, etrn=False, xclient=False)
PROFILES = {"mx": MX, "submission": SUBMISSION, "local": LOCAL, "full": FULL, "odmr": ODMR, "lmtp": LMTP}
BEGAN_AT = datetime(2030, 1, 31, 12, 0, 0, 700_000, tzinfo=UTC)
FAKE_SALT = b"a salt that nobody has"

NO_SUCH_USER = reply(550, "No such user here", status="5.1.1")
LATER = reply(451, "Try again later", status="4.3.0")
NO_MAIL = reply(453, "You have no mail", status="4.0.0")
QUEUED = reply(250, "Queued", status="2.0.0")
NOTICES = (ContentReceived, TransactionDropped, CommandRefused)


@cache
def _keys() -> ScramKeys:
    return scram_keys("secret", b"salt", 4096)


class Conversation:
    """`say` octets, read what comes back. `messages` are the contents that were taken, `dropped` the reasons
    of TransactionDropped."""

    def __init__(self, profile: ServerProfile = MX, *, at_end: Reply = QUEUED, tls: TlsFacts | None = None) -> None:
        self.session = ServerSession(profile, tls, random_octets=self._draw, began_at=BEGAN_AT)
        self.at_end = at_end
        self.events: list[ServerEvent] = []
        self.content = b""
        self.messages: list[bytes] = []
        self.wait = Wait.NEED_DATA
        self.greeting = self.settle()

    @staticmethod
    def _draw(size: int) -> bytes:
        return b"7" * size

    @property
    def closed(self) -> bool:
        return self.wait is Wait.CLOSED

    def say(self, octets: bytes) -> bytes:
        """Send the octets as one chunk (b"" is the end of the stream)."""
        self.session.receive_data(octets)
        return self.settle()

    def lines(self, *lines: str) -> str:
        """Send lines, one after the other, each waiting for its answer; give the last answer."""
        answer = ""
        for line in lines:
            answer = self.say(line.encode() + b"\r\n").decode()
        return answer

    def start_tls(self) -> None:
        self.session.tls_started(TLS)
        self.settle()

    def settle(self) -> bytes:
        while not isinstance(event := self.session.next_event(), Wait):
            self.events.append(event)
            self.decide(event)
        assert event is not Wait.NEED_ANSWER, "the world answers every question"
        self.wait = event
        return self.session.data_to_send()

    def decide(self, event: ServerEvent) -> None:
        match event:
            case ContentReceived():
                self.content += event.data
            case TransactionDropped():
                self.content = b""
            case CommandRefused():
                pass
            case ContentEnded():
                assert event.size_bytes == len(self.content)
                self.messages.append(self.content)
                self.content = b""
                self.session.answer(self.at_end)
            case CredentialsGiven(name="ann", password="secret"):
                self.session.authenticated("ann@example.org")
            case CredentialsGiven():
                self.session.answer(reply(535, "Wrong", status="5.7.8"))
            case SecretAsked() | ProofGiven():
                self.decide_secret(event)
            case QueueRunAsked() | TurnAsked() | ClientReplaced():
                self.session.answer(self.on_request(event))
            case ExpandAsked(argument="staff"):
                self.session.answer(reply(250, "<ann@example.org>", "<bob@example.org>", status="2.1.5"))
            case ExpandAsked():
                self.session.answer(reply(550, "No such list", status="5.1.1"))
            case VerifyAsked():
                self.session.answer(reply(252, "Send it and see", status="2.1.5"))
            case RecipientGiven():
                self.session.answer(self.on_address(event.forward_path.local_part))
            case SenderGiven():
                path = event.reverse_path
                self.session.answer(self.on_address(path.local_part if path else ""))
            case _:
                self.session.answer(None)

    def decide_secret(self, event: SecretAsked | ProofGiven) -> None:
        if isinstance(event, ProofGiven):
            if event.right:
                self.session.authenticated(f"{event.name}@example.org")
            else:
                self.session.answer(reply(535, "Wrong", status="5.7.8"))
        elif event.name == "later":
            self.session.answer(reply(454, "Later", status="4.7.0"))
        elif event.name != "ann":
            self.session.give_secret(None, fake_salt=FAKE_SALT)
        else:
            self.session.give_secret(CramSecret("secret") if event.mechanism == "CRAM-MD5" else _keys())

    @staticmethod
    def on_request(event: QueueRunAsked | TurnAsked | ClientReplaced) -> Reply | None:
        if isinstance(event, QueueRunAsked):
            if event.argument == "later.example":
                return reply(458, "Unable to queue messages", status="4.3.0")
            here = event.argument.lstrip("@") == "a.example"
            return reply(250, "Queuing started", status="2.0.0") if here else reply(459, "Not allowed", status="4.7.1")
        if isinstance(event, TurnAsked):
            return NO_MAIL if "b.example" in event.domains else None
        return reply(554, "Not with that address", status="5.7.1") if event.address == "192.0.2.66" else None

    @staticmethod
    def on_address(local_part: str) -> Reply | None:
        return {"nobody": NO_SUCH_USER, "refused": NO_SUCH_USER, "later": LATER}.get(local_part)

    def asked(self, kind: type) -> list[ServerEvent]:
        return [event for event in self.events if type(event) is kind]


def ready(profile: ServerProfile = MX) -> Conversation:
    """After EHLO."""
    conversation = Conversation(profile)
    conversation.lines("EHLO client.example")
    return conversation


def in_content(profile: ServerProfile = MX) -> Conversation:
    """After 354."""
    conversation = ready(profile)
    assert conversation.lines("MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>", "DATA").startswith("354")
    return conversation


def history(chunks: Iterable[bytes], profile: ServerProfile = MX) -> tuple[bytes, list[object], list[bytes], Wait]:
    """All that can be seen of a session: what was said, the events but for how the content was cut, and what
    was void of it, the messages, and how it ended."""
    conversation = Conversation(profile)
    said = conversation.greeting
    for chunk in chunks:
        said += conversation.say(chunk)
    events: list[object] = [event for event in conversation.events if type(event) is not ContentReceived]
    return said, events, conversation.messages, conversation.wait
