"""Connections. The seam is asyncio's own: a service gives a `asyncio.Protocol`, the network gives it an
`asyncio.Transport`; in the simulation the transport is a virtual one.

The socket's facts are asked with `transport.get_extra_info("postroad.remote")` and `("postroad.local")`,
both `Endpoint`; `("postroad.tls")` is `TlsFacts | None`; `("postroad.uid")` the Unix user behind a
local socket or None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from postroad.vocabulary.endpoint import Endpoint, TlsFacts

ProtocolFactory = Callable[[], asyncio.Protocol]


class ListenerHandle(Protocol):
    """A listener in operation."""

    async def close(self) -> None:
        """Stop accepting; established connections go on."""
        ...

    def pause(self) -> None:
        """Stop accepting for a while (overload); the kernel's backlog fills."""
        ...

    def resume(self) -> None: ...


class Network(Protocol):
    async def connect(
        self,
        factory: ProtocolFactory,
        remote: Endpoint,
        *,
        local_address: str = "",
        timeout_s: float,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """A TCP connection. Raises ConnectFailed (refused, unreachable, timed out)."""
        ...

    async def connect_local(
        self, factory: ProtocolFactory, path: str, *, timeout_s: float
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """A connection to a Unix socket of this machine. Raises ConnectFailed."""
        ...

    async def start_tls_as_server(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol
    ) -> tuple[asyncio.Transport, TlsFacts]:
        """Run the server's handshake with our certificate. The old transport must not be used any more.

        The caller has paused nothing and fed nothing: octets that came before the handshake are the
        session's to drop (`tls_started`). Raises TlsFailed; the connection is then closed.
        """
        ...

    async def start_tls_as_client(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        *,
        server_name: str,
        verify: bool,
    ) -> tuple[asyncio.Transport, TlsFacts]:
        """Run the client's handshake. With `verify` the certificate must be valid for `server_name`;
        without, any certificate will do (opportunistic TLS, RFC 7435) and `verified` tells whether it
        would have passed is not known, so it is False. Raises TlsFailed."""
        ...
