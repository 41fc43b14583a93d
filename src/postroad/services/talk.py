"""One conversation that a coroutine leads: a pure client session over a connection that we open.

    talk = await Talk.open(network, remote, session, ...)
    event = await talk.next_event()     an event of the session, or Wait.READY, TURNED or CLOSED

For what happens a few times an hour. Mail goes out over `relay_connection.py`, which needs no task while it talks.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

import msgspec

from postroad.contracts.errors import TlsFailed
from postroad.contracts.network import Network
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.vocabulary.limits import CLIENT_CONNECT_S, PIPELINE_BYTES
from postroad.wire.session import Wait


class LedSession(Protocol):
    """What a talk needs of a session (wire/session.py)."""

    def receive_data(self, data: bytes) -> None: ...

    def next_event(self) -> Any: ...

    def data_to_send(self) -> bytes: ...

    def timed_out(self) -> None: ...

    def tls_started(self, facts: TlsFacts) -> None: ...

    @property
    def patience_s(self) -> float: ...

    @property
    def buffered_bytes(self) -> int: ...


class TlsTerms(msgspec.Struct, frozen=True):
    """Whose certificate the server must have, and whether it is checked; `at_once`: TLS from the first octet."""

    server_name: str
    verify: bool
    at_once: bool = False


class Talk(asyncio.Protocol):
    def __init__(self, network: Network, session: LedSession, terms: TlsTerms) -> None:
        self._network = network
        self._session = session
        self._terms = terms
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._in_handshake = False
        self._paused = False
        self.transport: asyncio.Transport | None = None
        self.tls: TlsFacts | None = None

    @classmethod
    async def open(
        cls, network: Network, remote: Endpoint, session: LedSession, terms: TlsTerms, *, local_address: str = ""
    ) -> Talk:
        """Connect, with TLS at once where that is agreed. Raises ConnectFailed, TlsFailed."""
        _, protocol = await network.connect(
            lambda: cls(network, session, terms), remote, local_address=local_address, timeout_s=CLIENT_CONNECT_S
        )
        talk = cast(Talk, protocol)
        if terms.at_once:
            try:
                await talk._shake_hands()
            except BaseException:
                talk.close()
                raise
        return talk

    async def next_event(self) -> Any:
        """The next event, or a Wait that is the caller's to obey. What is to be said has been written then.
        Raises TlsFailed."""
        session = self._session
        while True:
            event = session.next_event()
            if not isinstance(event, Wait):
                return event
            await self._write()
            if event is Wait.NEED_TLS:
                session.tls_started(await self._shake_hands())
            elif event is Wait.NEED_DATA:
                await self._wait()
            else:
                return event

    def close(self) -> None:
        """Harmless when repeated."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    async def _write(self) -> None:
        if octets := self._session.data_to_send():
            assert self.transport is not None
            self.transport.write(octets)
            if not self._writable.is_set():
                async with asyncio.timeout(self._session.patience_s):
                    await self._writable.wait()

    async def _wait(self) -> None:
        """For octets, as long as the session has patience."""
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        try:
            async with asyncio.timeout(self._session.patience_s):
                await self._news.wait()
        except TimeoutError:
            self._session.timed_out()
        self._news.clear()

    async def _shake_hands(self) -> TlsFacts:
        assert self.transport is not None
        self._in_handshake = True
        try:
            self.transport, self.tls = await self._network.start_tls_as_client(
                self.transport, self, server_name=self._terms.server_name, verify=self._terms.verify
            )
        except TlsFailed:
            self.transport = None
            raise
        finally:
            self._in_handshake = False
        return self.tls

    # ---- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._session.receive_data(data)
        self._news.set()
        if self._session.buffered_bytes > PIPELINE_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self._session.receive_data(b"")
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._in_handshake:
            self._session.receive_data(b"")
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
