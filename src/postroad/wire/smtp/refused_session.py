"""The session of a client that was greeted with 554: RFC 5321 section 3.1 has us wait for its QUIT.

A pure session (wire/session.py) without questions: whatever else the client says is answered 503, and it may
not say much.
"""

from __future__ import annotations

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import COMMAND_LINE_BYTES, REFUSED_CLIENT_LINES, REFUSED_CLIENT_S
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.line_buffer import LineBuffer, LineFault
from postroad.wire.session import Wait

_ONLY_QUIT = reply(503, "Your host is refused here: only QUIT is of use", status="5.5.1")
_GOODBYE = reply(221, "Goodbye", status="2.0.0")


class RefusedSession:
    """`greeting` is the 554 that the client hears instead of 220."""

    patience_s = REFUSED_CLIENT_S

    def __init__(self, greeting: Reply) -> None:
        self._out = [greeting.wire]
        self._lines = LineBuffer()
        self._said = 0
        self._closed = False

    @property
    def buffered_bytes(self) -> int:
        return len(self._lines)

    def receive_data(self, data: bytes) -> None:
        if not data:
            self._closed = True
        elif not self._closed:
            self._lines.append(data)

    def next_event(self) -> Wait:
        while not self._closed:
            line = self._lines.take_line(COMMAND_LINE_BYTES)
            if line is None:
                return Wait.NEED_DATA
            self._said += 1
            is_quit = not isinstance(line, LineFault) and line.strip().upper() == b"QUIT"
            self._closed = is_quit or line is LineFault.ENDLESS or self._said >= REFUSED_CLIENT_LINES
            self._out.append(_GOODBYE.wire if is_quit else _ONLY_QUIT.wire)
        return Wait.CLOSED

    def data_to_send(self) -> bytes:
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def timed_out(self) -> None:
        self._closed = True

    def shut_down(self, last_word: Reply) -> None:
        """End now."""
        self._closed = True

    def tls_started(self, facts: TlsFacts) -> None:
        raise AssertionError("a refused client is offered no STARTTLS")
