"""The TLS handshake of the simulation: no cryptography, the same turns and the same ways to fail.

Three pieces travel in the stream: the client's hello, the server's answer with the names of its certificate,
the client's last word. An octet of anything else between them fails it on the side that reads it, like a
command in plain text behind STARTTLS (RFC 3207 section 4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from postroad.contracts.errors import CertificateRefused, TlsFailed
from postroad.simulation.virtual_way import Piece
from postroad.vocabulary.endpoint import TlsFacts

VERSION = "TLSv1.3"
CIPHER = "TLS_AES_256_GCM_SHA384"


class Turn(StrEnum):
    """Which piece of the handshake this is."""

    CLIENT_HELLO = "client hello"
    SERVER_HELLO = "server hello"
    FINISHED = "finished"


# What a protocol without TLS reads where the handshake begins: a record header, as on a real wire.
_RECORDS = {
    Turn.CLIENT_HELLO: b"\x16\x03\x01\x00\x01\x01",
    Turn.SERVER_HELLO: b"\x16\x03\x03\x00\x01\x02",
    Turn.FINISHED: b"\x16\x03\x03\x00\x01\x14",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The names a virtual host's certificate is good for; `valid` is False for one that nobody signed."""

    names: tuple[str, ...]
    valid: bool = True


class _End(Protocol):
    def send(self, piece: Piece) -> None: ...
    def tls_agreed(self, facts: TlsFacts) -> None: ...
    def close(self) -> None: ...


class Handshake:
    """One side's handshake. `done` is true when TLS is on, and raises TlsFailed when it came to nothing.

    The server has a `certificate`; the client gets the other side's by `their_certificate` and checks it for
    `server_name` if `verify` is set.
    """

    def __init__(
        self,
        end: _End,
        *,
        server: bool,
        their_certificate: Callable[[], Certificate | None],
        server_name: str = "",
        verify: bool = False,
    ) -> None:
        self.done: asyncio.Future[TlsFacts] = asyncio.get_running_loop().create_future()
        self._end = end
        self._server = server
        self._their_certificate = their_certificate
        self._server_name = server_name
        self._verify = verify
        self._expected = Turn.CLIENT_HELLO if server else Turn.SERVER_HELLO

    def begin(self) -> None:
        if not self._server:
            self._say(Turn.CLIENT_HELLO)

    def arrived(self, piece: Piece) -> None:
        if piece.eof:
            self._fail("the other side closed the connection during the TLS handshake")
        elif piece.hello != self._expected:
            self._fail("the other side sent something else than a TLS handshake")
        elif piece.hello == Turn.CLIENT_HELLO:
            self._expected = Turn.FINISHED
            self._say(Turn.SERVER_HELLO)
        elif piece.hello == Turn.SERVER_HELLO:
            if why := self._certificate_trouble():
                self._fail(CertificateRefused(why))
            else:
                self._say(Turn.FINISHED)
                self._agree()
        else:
            self._agree()

    def failed(self, why: str | TlsFailed) -> None:
        """The connection is over; say so to whoever waits."""
        if not self.done.done():
            self.done.set_exception(TlsFailed(why) if isinstance(why, str) else why)

    def _fail(self, why: str | TlsFailed) -> None:
        self.failed(why)
        self._end.close()

    def _agree(self) -> None:
        facts = TlsFacts(VERSION, CIPHER, self._verify, self._server_name if self._verify else "")
        self._end.tls_agreed(facts)
        if not self.done.done():
            self.done.set_result(facts)

    def _certificate_trouble(self) -> str:
        certificate = self._their_certificate()
        if not self._verify:
            return ""
        if certificate is None or not certificate.valid:
            return "the certificate is not signed by anybody we trust"
        if self._server_name.lower() not in certificate.names:
            return f"the certificate is for {', '.join(certificate.names)}, not for {self._server_name}"
        return ""

    def _say(self, turn: Turn) -> None:
        self._end.send(Piece(_RECORDS[turn], hello=turn))
