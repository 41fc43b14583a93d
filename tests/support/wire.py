"""A client that says exactly what it is told to, octet for octet, and hears replies as they come."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from types import TracebackType

from tests.support.submitters import unverified

_PATIENCE_S = 20.0
_RESET = struct.pack("ii", 1, 0)


class Wire:
    """A connection, with TLS from the first octet where `tls` is true; `source` is the address that it comes from.
    Nothing is read or said of itself."""

    def __init__(self, address: str, port: int, *, tls: bool = False, source: str = "") -> None:
        origin = (source, 0) if source else None
        self._socket = socket.create_connection((address, port), timeout=_PATIENCE_S, source_address=origin)
        if tls:
            self._socket = unverified().wrap_socket(self._socket)
        self._heard = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def say(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def say_what_is_taken(self, octets: bytes) -> None:
        """Say them as far as the other side reads; it may close the connection meanwhile."""
        with contextlib.suppress(OSError):
            self._socket.sendall(octets)

    def line(self) -> bytes:
        """The next line with its end; what came before the connection ended, where it did."""
        while b"\n" not in self._heard:
            try:
                data = self._socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                rest, self._heard = bytes(self._heard), bytearray()
                return rest
            self._heard += data
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard = bytearray(rest)
        return line + b"\n"

    def reply(self) -> bytes:
        """All lines of an SMTP reply."""
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if line[3:4] != b"-":
                return b"".join(lines)

    def ask(self, command: bytes) -> bytes:
        """Say one line and hear the SMTP reply to it."""
        self.say(command + b"\r\n")
        return self.reply()

    def start_tls(self) -> None:
        """The handshake, after the server has agreed to it."""
        assert not self._heard, bytes(self._heard)
        self._socket = unverified().wrap_socket(self._socket)

    def hears_nothing_for(self, seconds: float) -> bool:
        """Whether no reply comes so soon."""
        self._socket.settimeout(seconds)
        try:
            self._heard += self._socket.recv(65_536)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(_PATIENCE_S)
        return False

    @property
    def may_resume(self) -> bool:
        """Whether the server has given a ticket for its TLS session, or remembers it."""
        assert isinstance(self._socket, ssl.SSLSocket)
        session = self._socket.session
        return session is not None and bool(session.has_ticket)

    def ended(self) -> bool:
        """Whether the server closes the connection, and says nothing before it does."""
        return self.line() == b""

    def close(self) -> None:
        """In good order."""
        self._socket.close()

    def cut(self) -> None:
        """With a reset, as when the client's machine is switched off and on."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()
