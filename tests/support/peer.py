"""The other side: an MTA with a temper, our own ServerSession driven by a small shell.

peer = Peer("mx.b.example")
host.listen(25, peer.connection)
peer.on_recipient = lambda mailbox: reply(451, "Greylisted") if peer.first(mailbox) else None
peer.mail   # what it has taken, with a 250
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from postroad.contracts.errors import TlsFailed
from postroad.contracts.network import Network
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.session import Wait
from postroad.wire.smtp.events import (
    ContentAsked,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    Greeted,
    RecipientGiven,
    SenderGiven,
    ServerEvent,
    TransactionDropped,
)
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.server_profile import ServerProfile


class Temper(Enum):
    """What a peer may do instead of answering."""

    HANG = "hang"
    CUT = "cut"


Answer = Reply | Temper | None
"""None accepts."""


@dataclass(frozen=True)
class Taken:
    """One message that the peer has answered with a 250."""

    reverse_path: ReversePath
    recipients: tuple[str, ...]
    content: bytes
    connection: int


@dataclass
class Peer:
    """`on_*` decide."""

    hostname: str = "mx.b.example"
    network: Network | None = None
    profile: ServerProfile | None = None
    greeting: Reply | Temper | None = None
    on_sender: Callable[[ReversePath], Answer] = lambda path: None
    on_recipient: Callable[[Mailbox], Answer] = lambda mailbox: None
    on_content: Callable[[bytes], Answer] = lambda content: None
    mail: list[Taken] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_most: int = 0
    senders: list[SenderGiven] = field(default_factory=list)
    asked: list[RecipientGiven] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    credentials: list[tuple[str, str]] = field(default_factory=list)
    on_credentials: Callable[[str, str], Reply | None] = lambda name, password: None
    tls_breaks: bool = False
    """It says 220 to STARTTLS and hangs up."""

    def connection(self) -> PeerConnection:
        self.connections += 1
        return PeerConnection(self, self.connections)

    def took(self, taken: Taken) -> None:
        self.mail.append(taken)
        self.arrived.set()

    @property
    def recipients(self) -> list[str]:
        """Of all mail it has taken, in order."""
        return [recipient for taken in self.mail for recipient in taken.recipients]


class PeerConnection(asyncio.Protocol):
    def __init__(self, peer: Peer, number: int) -> None:
        profile = peer.profile or ServerProfile(hostname=peer.hostname, tls_available=peer.network is not None)
        self._peer = peer
        self._number = number
        self._session = ServerSession(profile)
        self._transport: asyncio.Transport | None = None
        self._tasks: asyncio.Task[None] | None = None
        self._silent = False
        self._sender: ReversePath = None
        self._recipients: list[str] = []
        self._content: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer.open_now += 1
        self._peer.open_most = max(self._peer.open_most, self._peer.open_now)
        greeting = self._peer.greeting
        if greeting is Temper.CUT:
            self._transport.abort()
            self._silent = True
        elif greeting is Temper.HANG:
            self._silent = True
        elif isinstance(greeting, Reply):
            self._transport.write(greeting.wire)
            self._silent = True
        self._pump()

    def data_received(self, data: bytes) -> None:
        if not self._silent:
            self._session.receive_data(data)
            self._pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._peer.open_now -= 1
        self._peer.left.set()

    def _pump(self) -> None:
        transport = self._transport
        assert transport is not None
        while not self._silent:
            event = self._session.next_event()
            if isinstance(event, Wait):
                transport.write(self._session.data_to_send())
                if event is Wait.CLOSED:
                    transport.close()
                elif event is Wait.NEED_TLS and self._tasks is None:
                    loop = asyncio.get_running_loop()
                    self._tasks = loop.create_task(self._start_tls())
                return
            self._decide(event)

    async def _start_tls(self) -> None:
        network, transport = self._peer.network, self._transport
        assert network is not None
        assert transport is not None
        if self._peer.tls_breaks:
            self._silent = True
            transport.abort()
            return
        try:
            self._transport, facts = await network.start_tls_as_server(transport, self)
        except TlsFailed:
            self._silent = True
            return
        self._session.tls_started(facts)
        self._pump()

    def _decide(self, event: ServerEvent) -> None:
        peer = self._peer
        if isinstance(event, ContentReceived):
            self._content.append(event.data)
        elif isinstance(event, TransactionDropped):
            self._recipients, self._content = [], []
        elif isinstance(event, Greeted | ContentAsked):
            self._session.answer(None)
        elif isinstance(event, SenderGiven):
            peer.senders.append(event)
            self._sender, self._recipients, self._content = event.reverse_path, [], []
            self._give(peer.on_sender(event.reverse_path))
        elif isinstance(event, RecipientGiven):
            peer.asked.append(event)
            answer = peer.on_recipient(event.forward_path)
            if answer is None:
                self._recipients.append(str(event.forward_path))
            self._give(answer)
        elif isinstance(event, ContentEnded):
            self._take(b"".join(self._content))
        elif isinstance(event, CredentialsGiven):
            refusal = peer.on_credentials(event.name, event.password)
            if refusal is None:
                peer.credentials.append((event.name, event.password))
                self._session.authenticated(event.name)
            else:
                self._session.answer(refusal)

    def _take(self, content: bytes) -> None:
        answer = self._peer.on_content(content)
        if answer is None:
            self._peer.took(Taken(self._sender, tuple(self._recipients), content, self._number))
            self._session.answer(reply(250, "taken", status="2.0.0"))
        else:
            self._give(answer)

    def _give(self, answer: Answer) -> None:
        if isinstance(answer, Temper):
            self._silent = True
            if answer is Temper.CUT:
                assert self._transport is not None
                self._transport.write(self._session.data_to_send())
                self._transport.close()
        else:
            self._session.answer(answer)
