"""Connections. The seam is asyncio's own: a service gives a `asyncio.Protocol`, the network gives it an
`asyncio.Transport`; in the simulation the transport is a virtual one. uvloop's transports behave like one but are
not a subclass: never ask with isinstance.

The facts of a connection are asked of the network that made it: `remote`, `local`, `tls`, `uid`. Ask for
them in `connection_made` and keep them: a closed transport may no longer know.
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

    def remote(self, transport: asyncio.BaseTransport) -> Endpoint:
        """The other end. A Unix socket is Endpoint("unix", 0); Endpoint("", 0) if it was gone at once."""
        ...

    def local(self, transport: asyncio.BaseTransport) -> Endpoint:
        """Our end, in the same form."""
        ...

    def tls(self, transport: asyncio.BaseTransport) -> TlsFacts | None:
        """What TLS agreed on; None where the transport is plain. Also for a listener with TLS from the
        first octet, whose protocols meet their transport after the handshake."""
        ...

    def uid(self, transport: asyncio.BaseTransport) -> int | None:
        """The Unix user behind a local socket (SO_PEERCRED); None for TCP."""
        ...

    async def start_tls_as_server(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol
    ) -> tuple[asyncio.Transport, TlsFacts]:
        """Run the server's handshake with our certificate. The old transport must not be used any more.

        Await it directly (no task of its own between): `protocol` gets `data_received` for octets inside
        TLS in a later turn of the loop than the one in which the caller goes on, so that the caller can
        call `tls_started` first. `connection_made` is not called again; take the transport returned.
        Octets that came before the handshake are the session's to drop.

        Raises TlsFailed: the connection is then closed and `connection_lost` follows. A caller that is
        cancelled leaves a closed connection likewise.
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
        """Run the client's handshake; otherwise as `start_tls_as_server`. With `verify` the certificate
        must be valid for `server_name`; without, any certificate will do (opportunistic TLS, RFC 7435),
        and as nobody checked it `verified` is False. Raises TlsFailed."""
        ...
