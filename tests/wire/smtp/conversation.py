"""A server session with a small world behind it, for tests that talk to it in octets.

The world: addresses at `refused@` and `nobody@` are refused for good, `later@` for now; a message is always
taken, unless a test says otherwise; ann's password is "secret".
"""

from __future__ import annotations

from collections.abc import Iterable

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.session import Wait
from postroad.wire.smtp.events import (
    CommandRefused,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    RecipientGiven,
    SenderGiven,
    ServerEvent,
    TransactionDropped,
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
PROFILES = {"mx": MX, "submission": SUBMISSION, "local": LOCAL}

NO_SUCH_USER = reply(550, "No such user here", status="5.1.1")
LATER = reply(451, "Try again later", status="4.3.0")
QUEUED = reply(250, "Queued", status="2.0.0")
NOTICES = (ContentReceived, TransactionDropped, CommandRefused)


class Conversation:
    """`say` octets, read what comes back. `messages` are the contents that were taken, `dropped` the reasons
    of TransactionDropped."""

    def __init__(self, profile: ServerProfile = MX, *, at_end: Reply = QUEUED, tls: TlsFacts | None = None) -> None:
        self.session = ServerSession(profile, tls)
        self.at_end = at_end
        self.events: list[ServerEvent] = []
        self.content = b""
        self.messages: list[bytes] = []
        self.wait = Wait.NEED_DATA
        self.greeting = self.settle()

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
            case VerifyAsked():
                self.session.answer(reply(252, "Send it and see", status="2.1.5"))
            case RecipientGiven():
                self.session.answer(self.on_address(event.forward_path.local_part))
            case SenderGiven():
                path = event.reverse_path
                self.session.answer(self.on_address(path.local_part if path else ""))
            case _:
                self.session.answer(None)

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
