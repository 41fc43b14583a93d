"""TLS on a connection that began without: loop.start_tls made safe for a protocol.

Two habits of the loops are mended here. Octets inside TLS that arrive together with the end of the handshake
are given to the protocol before whoever awaits the handshake knows that it is over; a `Gate` holds them for
one turn of the loop. And after a handshake that failed a protocol may never hear of `connection_lost`.
"""

from __future__ import annotations

import asyncio
import ssl

from postroad.contracts.errors import CertificateRefused, TlsFailed
from postroad.vocabulary.limits import DOMAIN_BYTES, TLS_HANDSHAKE_S, TLS_SHUTDOWN_S


class Gate(asyncio.Protocol):
    """Stands in for the protocol during the handshake, and hands it everything afterwards."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._octets: list[bytes] = []
        self._ended = False
        self._lost = False
        self._told = False
        self._open = False
        self._error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self._octets.append(bytes(data))

    def eof_received(self) -> None:
        self._ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost:
            self._lost, self._error = True, exc
        if self._open:
            self._tell_lost()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def open(self, transport: asyncio.Transport) -> None:
        """The protocol takes its place."""
        self._open = True
        try:
            if not self._lost:
                transport.set_protocol(self._protocol)
            for data in self._octets:
                self._protocol.data_received(data)
            self._octets.clear()
            if self._ended:
                self._protocol.eof_received()
        except BaseException:
            transport.abort()
            raise
        finally:
            if self._lost:
                self._tell_lost()

    def shut(self, error: Exception | None) -> None:
        """There will be no TLS: the connection is over."""
        self._open = True
        self.connection_lost(error)

    def _tell_lost(self) -> None:
        if not self._told:
            self._told = True
            self._protocol.connection_lost(self._error)


async def start_tls(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_name: str | None = None,
) -> asyncio.Transport:
    """The handshake, under the promises of contracts/network.py. Raises TlsFailed."""
    if transport.is_closing():
        raise TlsFailed("the connection was closed before the TLS handshake")
    if server_name is not None and not _is_possible(server_name):
        transport.abort()
        raise TlsFailed(f"{server_name[:80]!r} cannot be the name of a server")
    loop = asyncio.get_running_loop()
    gate = Gate(protocol)
    try:
        secured = await loop.start_tls(
            transport,
            gate,
            context,
            server_side=server_side,
            server_hostname=server_name,
            ssl_handshake_timeout=TLS_HANDSHAKE_S,
            ssl_shutdown_timeout=TLS_SHUTDOWN_S,
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError is a name that cannot be one
        transport.abort()
        loop.call_soon(gate.shut, error)
        if isinstance(error, ssl.SSLCertVerificationError):
            raise CertificateRefused(explain(error))
        raise TlsFailed(explain(error))
    except BaseException:
        transport.abort()
        loop.call_soon(gate.shut, None)
        raise
    if secured is None or secured.get_extra_info("ssl_object") is None:
        transport.abort()
        loop.call_soon(gate.shut, None)
        raise TlsFailed("the connection was lost during the TLS handshake")
    loop.call_soon(gate.open, secured)
    return secured


def _is_possible(name: str) -> bool:
    """Whether OpenSSL can be given the name: a stranger's MX record may hold anything."""
    return (
        len(name) <= DOMAIN_BYTES
        and name.isascii()
        and name.isprintable()
        and all(0 < len(label) <= 63 for label in name.split("."))  # RFC 1035 section 2.3.4
    )


def explain(error: Exception) -> str:
    """Why a handshake failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if reason in ("wrong version number", "http request", "unknown protocol", "packet length too long"):
            return f"the other side does not speak TLS ({reason})"
        return f"the TLS handshake failed: {reason}"
    if isinstance(error, ConnectionAbortedError):
        return f"the TLS handshake was not over within {TLS_HANDSHAKE_S:g} s"
    if isinstance(error, ConnectionError):
        return "the other side closed the connection during the TLS handshake"
    return f"the TLS handshake failed: {error}"
