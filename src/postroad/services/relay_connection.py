"""One outgoing SMTP connection: an `asyncio.Protocol` round the pure client session.

It has a task only in so far as somebody awaits its end (`relay.py`); while it talks, everything happens in
`data_received`. Deadlines are kept by the scheduler's one sweep (RFC 5321 section 4.5.3.2).
"""

from __future__ import annotations

import asyncio
from typing import cast

from postroad.contracts.errors import CertificateRefused, StoreUnavailable, TlsFailed
from postroad.contracts.queue_store import StoredContent
from postroad.rules.replies import NextHop
from postroad.services.lanes import Tally, WorkSource
from postroad.services.relay_parts import End, Surroundings, TlsPlan
from postroad.services.relay_transactions import Transactions
from postroad.services.sweep import NEVER
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.vocabulary.limits import CLIENT_CONTENT_S
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientProfile, ClientSession
from postroad.wire.smtp.client_events import (
    ContentWanted,
    Ended,
    LineReceived,
    LineSent,
    Ready,
    RecipientAnswered,
    Stage,
    TlsUse,
    TransactionEnded,
)


class RelayConnection(asyncio.Protocol):
    """Implements `lanes.Sender`. `converse` is awaited by whoever opened it."""

    def __init__(
        self,
        around: Surroundings,
        lane: WorkSource,
        profile: ClientProfile,
        tls_plan: TlsPlan,
        *,
        number: int,
        host: str,
        remote: Endpoint,
        tls: TlsFacts | None = None,
    ) -> None:
        """`tls` is given where the connection is inside TLS already."""
        self.deadline = NEVER
        self._around = around
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._session = ClientSession(profile)
        self._tls_plan = tls_plan
        self._number = number
        self._host = host
        self._remote = remote
        self._idle_s = around.settings.connection_idle_s
        self._transport: asyncio.Transport | None = None
        self._tls = tls
        self._attention: asyncio.Future[End | None] = self._loop.create_future()
        self._writable: asyncio.Future[None] | None = None
        self._in_handshake = tls_plan.at_once
        self._was_ready = False
        self._peer_left = False
        self._tls_required = profile.tls is TlsUse.REQUIRED
        self._lacks_requiretls = False
        self._ended: Ended | None = None
        self._transactions = Transactions(
            connection=self,
            lane=lane,
            session=self._session,
            around=around,
            advance=self._advance,
        )

    def report_to(self, tally: Tally) -> None:
        """Tell how the host answers."""
        self._transactions.tally = tally

    # ---- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._around.sweep.add(self)
        self.deadline = self._loop.time() + self._session.patience_s

    def data_received(self, data: bytes) -> None:
        self._session.receive_data(data)
        self._advance()

    def eof_received(self) -> None:
        self._peer_left = True
        self._session.receive_data(b"")
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        if self._in_handshake:
            return  # start_tls_as_client tells
        self._peer_left = True
        self._session.receive_data(b"")
        self._advance()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    # ---- lanes.Sender and sweep.Swept ------------------------------------------------------------

    def feed(self) -> None:
        self._advance()

    def close_idle(self) -> None:
        self._lane.is_over(self)
        self._session.quit()
        self._advance()

    def cut(self) -> None:
        self._session.quit()
        self._advance()
        self._finish()

    def overdue(self, now: float) -> None:
        if self._in_handshake:
            self.deadline = NEVER  # the network bounds the handshake
        elif self._is_resting():
            self.close_idle()
        else:
            self._session.timed_out()
            self._advance()

    # ---- for whoever opened it -------------------------------------------------------------------

    async def converse(self) -> End:
        """Talk until the connection is over. Runs the TLS handshake, for that has to be awaited."""
        try:
            while True:
                if self._in_handshake and not await self._handshake():
                    return self._end_of_handshake
                end = await self._attention
                if end is not None:
                    return end
                self._attention = self._loop.create_future()
        finally:
            self._lane.is_over(self)
            if self._ended is None:
                self._session.quit()
                self._advance()
            self._finish()

    async def _handshake(self) -> bool:
        plan = self._tls_plan
        assert self._transport is not None, "connected before it is secured"
        try:
            self._transport, self._tls = await self._around.network.start_tls_as_client(
                self._transport, self, server_name=plan.server_name, verify=plan.verify
            )
        except TlsFailed as error:
            insecure = self._lane.requires_tls and isinstance(error, CertificateRefused)
            self._end_of_handshake = End(f"TLS with {self._host} failed: {error}", tls=True, insecure=insecure)
            self._ended = Ended(Stage.TLS, str(error))
            return False
        finally:
            self._in_handshake = False
        if not plan.at_once:
            self._session.tls_started(self._tls)
        self.deadline = self._loop.time() + self._session.patience_s
        self._advance()
        return True

    # ---- the pump --------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Pump; an error of our own ends this connection and nothing else."""
        try:
            self._pump()
        except Exception as error:
            self._around.errors(f"conversation with {self._host}", error)
            if self._ended is None:
                self._take_rarer(
                    Ended(self._session.stage, "an unexpected error in this server ended the conversation")
                )
            self._attend(self._verdict())
            if self._transport is not None:
                self._transport.abort()

    def _pump(self) -> None:
        """Carry on until nothing more can be done now; then write once."""
        if self._in_handshake or self._ended is not None:
            return
        session, transactions = self._session, self._transactions
        moved = False
        while True:
            event = session.next_event()
            kind = event.__class__
            if kind is RecipientAnswered:
                transactions.recipient_answered(cast(RecipientAnswered, event))
            elif kind is TransactionEnded:
                transactions.transaction_ended(cast(TransactionEnded, event))
            elif kind is not Wait:
                self._take_rarer(event)  # type: ignore[arg-type]
            elif event is Wait.CLOSED or event is Wait.NEED_TLS or not self._was_ready or not transactions.feed():
                break
            moved = True
        if out := session.data_to_send():
            assert self._transport is not None, "there is a connection to write to"
            self._transport.write(out)
            moved = True
        if event is Wait.NEED_TLS:
            self._in_handshake = True
            self._attend(None)
        elif event is Wait.CLOSED:
            self._attend(self._verdict())
        elif moved:
            # Only what brings the session on buys time: an endless reply in small pieces does not.
            self.deadline = self._loop.time() + (self._idle_s if self._is_resting() else session.patience_s)

    def _take_rarer(self, event: Ready | ContentWanted | Ended | LineSent | LineReceived) -> None:
        if isinstance(event, LineSent | LineReceived):
            if self._around.listener is not None:
                self._around.listener(self._number, "C" if isinstance(event, LineSent) else "S", event.text)
        elif isinstance(event, Ready) and self._lane.requires_tls and "REQUIRETLS" not in event.extensions:
            # RFC 8689 section 4.2.1: perhaps another host of the domain takes it.
            self._lacks_requiretls = True
            self._session.quit()
        elif isinstance(event, Ready):
            self._was_ready = True
            by = NextHop(self._host, self._remote.address)
            self._transactions.ready(event.extensions, by, self._remote, self._tls)
            self._lane.is_ready(self)
            self._transactions.feed()
            self._lane.stir()
        elif isinstance(event, ContentWanted):
            content = self._transactions.stored_content()
            self._around.tasks.create_task(self._stream(content), name="content to a peer")
        else:
            self._ended = event
            self._lane.is_over(self)
            self._transactions.ended(event)

    def _is_resting(self) -> bool:
        return self._was_ready and self._transactions.is_idle and self._session.stage is Stage.IDLE

    def _attend(self, end: End | None) -> None:
        if not self._attention.done():
            self._attention.set_result(end)

    def _verdict(self) -> End:
        ended = self._ended
        assert ended is not None, "a closed session has told why"
        no_starttls = ended.stage is Stage.STARTTLS and "STARTTLS" not in self._session.extensions
        if self._lacks_requiretls or (self._lane.requires_tls and no_starttls):
            lacking = "REQUIRETLS" if self._lacks_requiretls else "STARTTLS"
            return End(f"{self._host} does not offer {lacking}, which this message needs.", insecure=True)
        return End(
            f"{self._host} at {ended.stage.value}: {ended.reason}.",
            ended.reply,
            # A server that hangs up on STARTTLS may do better without; one that slips octets in before the
            # handshake may be an attacker, and the mail waits (RFC 3207 section 6).
            tls=ended.stage is Stage.STARTTLS and (self._peer_left or self._tls_required),
            was_ready=self._was_ready,
            served=self._transactions.concluded > 0,
            cut=self._transactions.cut_something,
        )

    def _finish(self) -> None:
        self.deadline = NEVER
        self._around.sweep.remove(self)
        self.resume_writing()
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size():
            # A polite close waits until everything is read, which a server that reads no more lets never happen.
            transport.abort()
        elif transport is not None and not transport.is_closing():
            transport.close()

    # ---- large content ---------------------------------------------------------------------------

    async def _stream(self, content: StoredContent) -> None:
        """Send content that is not in memory, piece by piece, no faster than the server takes it."""
        session = self._session
        try:
            async for chunk in content.chunks():
                if self._ended is not None:
                    return
                session.send_content(chunk)
                self._write()
                self.deadline = self._loop.time() + CLIENT_CONTENT_S
                if self._writable is not None:
                    await self._writable
        except StoreUnavailable as error:
            self._content_failed(f"The content could not be read from our own store: {error}")
            return
        except Exception as error:
            self._around.errors(f"content to {self._host}", error)
            self._content_failed("The content could not be read from our own store; the error was reported.")
            return
        if self._ended is None:
            session.end_content()
            self._advance()

    def _write(self) -> None:
        assert self._transport is not None, "there is a connection to write to"
        if out := self._session.data_to_send():
            self._transport.write(out)

    def _content_failed(self, text: str) -> None:
        if self._ended is None:
            self._transactions.content_failed(text)
            assert self._transport is not None, "there is a connection to end"
            self._session.quit()
            self._advance()
            self._transport.abort()
