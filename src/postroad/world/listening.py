"""A listener in operation on the real network.

Accepting is left to the loop, which does it fastest; this looks after it. uvloop gives a listener up for good
when accept fails while no file descriptor is left, and neither loop can pause one: so the loop gets a
duplicate of the socket, which may be closed, while the kernel goes on queueing connections for the original.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from postroad.contracts.network import ProtocolFactory
from postroad.vocabulary.limits import (
    ACCEPT_RETRY_S,
    KEEPALIVE_EVERY_S,
    KEEPALIVE_IDLE_S,
    KEEPALIVE_TRIES,
    LISTEN_BACKLOG,
    TLS_HANDSHAKE_S,
    TLS_SHUTDOWN_S,
)


def find_the_dead(sock: socket.socket) -> None:
    """Have the kernel find out about peers that vanished without a word. The connections that a listening socket
    accepts inherit this. Raises OSError."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)
    # Keep-alive is silent while octets of ours wait to be acknowledged; this is the same bound for those (RFC 5482).
    after_s = KEEPALIVE_IDLE_S + KEEPALIVE_EVERY_S * KEEPALIVE_TRIES
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, after_s * 1000)


class RealListener:
    """Implements ListenerHandle. Owns the socket it was given; `closed` is called once when it is over."""

    def __init__(
        self,
        sock: socket.socket,
        factory: ProtocolFactory,
        context: ssl.SSLContext | None,
        closed: Callable[[RealListener], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._factory = factory
        self._context = context
        self._server: asyncio.AbstractServer | None = None
        self._lent: socket.socket | None = None
        self._paused = False
        self._closed = False
        self._changed = asyncio.Event()
        self._when_closed = closed
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Accept from now on; a task of `group` looks after it. Raises OSError if the loop cannot."""
        try:
            find_the_dead(self._sock)
            await self._accept()
        except BaseException:
            self._sock.close()
            raise
        self._keeper = group.create_task(self._keep(), name="listener")

    def pause(self) -> None:
        self._paused = True
        self._stop_accepting()

    def resume(self) -> None:
        self._paused = False
        self._changed.set()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stop_accepting()
        self._changed.set()
        if self._keeper is not None:
            await self._keeper
        self._sock.close()
        self._when_closed(self)

    async def _keep(self) -> None:
        """Accept whenever we should and do not."""
        while not self._closed:
            if not self._paused and not self._accepting:
                try:
                    await self._accept()
                except OSError as error:
                    self._loop.call_exception_handler({"message": "a listener has to wait", "exception": error})
            self._changed.clear()
            try:
                async with asyncio.timeout(ACCEPT_RETRY_S):
                    await self._changed.wait()
            except TimeoutError:
                pass  # time to look whether the loop still accepts

    @property
    def _accepting(self) -> bool:
        # A listener that the loop has given up is one whose socket it has closed.
        return self._lent is not None and self._lent.fileno() != -1

    def _stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = self._lent = None

    async def _accept(self) -> None:
        self._stop_accepting()
        lent = self._sock.dup()
        try:
            server = await self._serve(lent)
        except BaseException:
            lent.close()
            raise
        self._server, self._lent = server, lent
        if self._paused or self._closed:  # while we waited for the loop
            self._stop_accepting()

    async def _serve(self, lent: socket.socket) -> asyncio.AbstractServer:
        handshake = None if self._context is None else TLS_HANDSHAKE_S
        shutdown = None if self._context is None else TLS_SHUTDOWN_S
        if lent.family == socket.AF_UNIX:
            return await self._loop.create_unix_server(
                self._factory,
                sock=lent,
                backlog=LISTEN_BACKLOG,
                ssl=self._context,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=shutdown,
            )
        return await self._loop.create_server(
            self._factory,
            sock=lent,
            backlog=LISTEN_BACKLOG,
            ssl=self._context,
            ssl_handshake_timeout=handshake,
            ssl_shutdown_timeout=shutdown,
        )
