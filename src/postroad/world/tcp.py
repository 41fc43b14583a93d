"""The real network: TCP and Unix sockets on asyncio or uvloop, with TLS. Implements contracts/network.py."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import struct
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from postroad.contracts.errors import ConnectFailed, TlsFailed, Unreachable
from postroad.contracts.network import ProtocolFactory
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.world.listening import RealListener
from postroad.world.starttls import start_tls
from postroad.world.tls import TlsClient, TlsIdentity

_UNIX = Endpoint("unix", 0)
_GONE = Endpoint("", 0)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class RealNetwork:
    """`identity` is our certificate, None for a network that only connects; `client` holds what servers'
    certificates are checked against.

    To listen, enter it: `async with RealNetwork(identity) as network`. Leaving closes its listeners; connections
    go on. Connecting needs no entering.
    """

    def __init__(self, identity: TlsIdentity | None = None, client: TlsClient | None = None) -> None:
        self._identity = identity
        self._client = client or TlsClient()
        self._group: asyncio.TaskGroup | None = None
        self._listeners: list[RealListener] = []

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        try:
            for listener in tuple(self._listeners):
                await listener.close()
        finally:
            await group.__aexit__(kind, error, trace)

    async def listen(self, sock: socket.socket, factory: ProtocolFactory, *, tls: bool = False) -> RealListener:
        """Accept on a socket that somebody has bound (world/binding.py); the listener owns it from now on.

        With `tls` a protocol meets its connection after the handshake. Raises TlsFailed without a
        certificate, OSError if the socket cannot be listened on."""
        if self._group is None:
            raise RuntimeError("enter the network (async with) before it listens")
        if tls and self._identity is None:
            raise TlsFailed("a listener with TLS needs a certificate")
        context = self._identity.listener_context if tls and self._identity is not None else None
        listener = RealListener(sock, factory, context, self._listeners.remove)
        await listener.start(self._group)
        self._listeners.append(listener)
        return listener

    async def connect(
        self, factory: ProtocolFactory, remote: Endpoint, *, local_address: str = "", timeout_s: float
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        try:
            ip_address(remote.address)
        except ValueError:
            raise ConnectFailed(f"{remote}: this is not an IP address")
        local = (local_address, 0) if local_address else None
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().create_connection(
                    factory, remote.address, remote.port, local_addr=local
                )
        except TimeoutError as error:
            raise Unreachable(_silence(str(remote), error, timeout_s))
        except OSError as error:
            kind = Unreachable if error.errno in _NO_WAY else ConnectFailed
            raise kind(_why(str(remote), error, local_address))

    async def connect_local(
        self, factory: ProtocolFactory, path: str, *, timeout_s: float
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().create_unix_connection(factory, path)
        except TimeoutError as error:
            raise ConnectFailed(_silence(path, error, timeout_s))
        except OSError as error:
            raise ConnectFailed(_why(path, error, ""))

    def remote(self, transport: asyncio.BaseTransport) -> Endpoint:
        return _endpoint(transport, transport.get_extra_info("peername"))

    def local(self, transport: asyncio.BaseTransport) -> Endpoint:
        return _endpoint(transport, transport.get_extra_info("sockname"))

    def tls(self, transport: asyncio.BaseTransport) -> TlsFacts | None:
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is None:
            return None
        cipher = secured.cipher()
        verified = not secured.server_side and secured.context.verify_mode == ssl.CERT_REQUIRED
        return TlsFacts(
            version=secured.version() or "",
            cipher=cipher[0] if cipher else "",
            verified=verified,
            peer_name=(secured.server_hostname or "") if verified else "",
        )

    def uid(self, transport: asyncio.BaseTransport) -> int | None:
        sock = transport.get_extra_info("socket")
        if sock is None or sock.family != socket.AF_UNIX:
            return None
        try:
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
        uid: int = _UCRED.unpack(credentials)[1]
        return uid

    async def start_tls_as_server(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol
    ) -> tuple[asyncio.Transport, TlsFacts]:
        if self._identity is None:
            transport.abort()
            raise TlsFailed("this server has no certificate")
        secured = await start_tls(transport, protocol, self._identity.context(), server_side=True)
        return secured, self._facts(secured)

    async def start_tls_as_client(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, *, server_name: str, verify: bool
    ) -> tuple[asyncio.Transport, TlsFacts]:
        context = self._client.verified if verify else self._client.unverified
        secured = await start_tls(transport, protocol, context, server_side=False, server_name=server_name or None)
        return secured, self._facts(secured)

    def _facts(self, secured: asyncio.Transport) -> TlsFacts:
        facts = self.tls(secured)
        assert facts is not None
        return facts


def _endpoint(transport: asyncio.BaseTransport, name: object) -> Endpoint:
    if isinstance(name, tuple) and len(name) >= 2:
        address = str(name[0])
        # RFC 4291 section 2.5.5.2: an IPv4 client of a dual-stack socket.
        if address.startswith("::ffff:") and "." in address:
            address = address[7:]
        return Endpoint(address, int(name[1]))
    sock = transport.get_extra_info("socket")
    return _UNIX if sock is not None and sock.family == socket.AF_UNIX else _GONE


def _silence(what: str, error: BaseException, timeout_s: float) -> str:
    if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
        return f"{what}: no answer"
    return f"{what}: no answer within {timeout_s:g} s"


def _why(what: str, error: OSError, local_address: str) -> str:
    match error.errno:
        case errno.ECONNREFUSED:
            return f"{what}: the connection was refused"
        case errno.ENETUNREACH | errno.EHOSTUNREACH:
            return f"{what}: there is no route to this address"
        case errno.EADDRNOTAVAIL if local_address:
            return f"{what}: {local_address} is not an address of this machine"
        case errno.ENOENT:
            return f"{what}: nobody listens there; there is no such socket"
        case errno.EACCES | errno.EPERM:
            return f"{what}: the machine does not permit this connection"
        case errno.EMFILE | errno.ENFILE:
            return f"{what}: this machine has no file descriptor left for another connection"
        case _:
            return f"{what}: {error.strerror or error}"
