"""Another mail server, which remembers what it has taken and behaves as badly as it is told to.

Like every server that has had a 250 on its lips it keeps a message from the moment it decides to; whether its client
ever hears of that is another matter, and is what the tricks are about.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

_TOKEN = re.compile(rb"(?m)^X-Attempt: (\S+)\r?$")
_RESET = struct.pack("ii", 1, 0)
_PATIENCE_S = 900.0
_ENDLESS_S = 60.0
"""So long an endless reply goes on if nobody hangs up: far longer than anybody should listen."""


@dataclass(frozen=True)
class Trick:
    """At `stage` (connect, EHLO, MAIL, RCPT, DATA, content, dot) the peer does `act`: hang, cut, reset, lines or line
    (both without an end), or says `words` and then does it; "" goes on as if nothing had been. `taken`: at the dot it
    keeps the message first. `heard`: its client must have understood that it did."""

    name: str
    stage: str
    act: str = ""
    words: bytes = b""
    taken: bool = False
    heard: bool = False
    chunking: bool = False
    large: bool = False
    """Play it with a letter that fills the buffers of the connection."""


class Peer:
    """`taken` counts acceptances by token; `taken_at_s` is when the last was, by time.monotonic()."""

    def __init__(self, trick: Trick | None = None, times: int = 0, defers: bool = False) -> None:
        self.taken: Counter[str] = Counter()
        self.taken_at_s: dict[str, float] = {}
        self.unheard: Counter[str] = Counter()
        """Acceptances that the client had no way to learn of."""
        self.trick = trick
        self.times_left = times
        self.played = 0
        self.hanging = 0
        self.defers = defers
        """Answer 451 to every RCPT."""
        self._lock = threading.Lock()

    def due(self, stage: str) -> Trick | None:
        """The trick, if it is to be played at this stage now."""
        with self._lock:
            if self.trick is None or self.trick.stage != stage or not self.times_left:
                return None
            self.times_left -= 1
            self.played += 1
            return self.trick

    def take(self, content: bytes, *, unheard: bool = False) -> None:
        match = _TOKEN.search(content)
        assert match is not None, content[:500]
        token = match[1].decode()
        with self._lock:
            self.taken[token] += 1
            self.taken_at_s[token] = time.monotonic()
            self.unheard[token] += unheard


class _Over(Exception):
    """The conversation is."""


class _Conversation(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(_PATIENCE_S)
        self._peer = cast(_Server, self.server).peer
        self._unread = b""
        with contextlib.suppress(OSError, _Over):
            self._answer("connect", b"220 peer.example ESMTP\r\n")
            while (line := self._line()) is not None:
                self._command(line)

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._content = b""
            chunking = self._peer.trick is not None and self._peer.trick.chunking
            more = b"250-CHUNKING\r\n" if chunking else b""
            self._answer(
                "EHLO", b"250-peer.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n%b250 ENHANCEDSTATUSCODES\r\n" % more
            )
        elif verb == b"MAIL":
            self._answer("MAIL", b"250 2.1.0 ok\r\n")
        elif verb == b"RCPT":
            self._answer("RCPT", b"451 4.2.0 later\r\n" if self._peer.defers else b"250 2.1.5 ok\r\n")
        elif verb == b"DATA":
            self._data()
        elif verb == b"BDAT":
            self._chunk(line)
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 bye\r\n")
            raise _Over
        else:
            self._content = b""
            self._say(b"250 2.0.0 ok\r\n")

    def _data(self) -> None:
        if self._peer.defers:
            self._say(b"503 5.5.1 nobody to write to\r\n")
            return
        self._answer("DATA", b"354 go on\r\n")
        trick = self._peer.due("content")
        if trick is not None:
            self._play(trick)
        content = bytearray()
        while (line := self._line()) is not None and line != b".\r\n":
            content += line
        if line is not None:
            self._end(bytes(content))

    def _chunk(self, line: bytes) -> None:
        fields = line.split()
        missing = int(fields[1]) - len(self._unread)
        while missing > 0:
            more = self.request.recv(65_536)
            if not more:
                raise _Over
            self._unread += more
            missing -= len(more)
        self._content += self._unread[: int(fields[1])]
        self._unread = self._unread[int(fields[1]) :]
        if fields[-1].upper() == b"LAST":
            self._end(self._content)
        else:
            self._say(b"250 2.0.0 more\r\n")

    def _end(self, content: bytes) -> None:
        trick = self._peer.due("dot")
        if trick is None:
            self._peer.take(content)
            self._say(b"250 2.0.0 taken\r\n")
            return
        if trick.taken:
            self._peer.take(content, unheard=not trick.heard)
        self._play(trick)

    def _answer(self, stage: str, usual: bytes) -> None:
        trick = self._peer.due(stage)
        if trick is None:
            self._say(usual)
        else:
            self._play(trick)

    def _play(self, trick: Trick) -> None:
        if trick.words:
            self._say(trick.words)
        if trick.act == "":
            return
        if trick.act == "hang":
            self._hang()
        elif trick.act == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.request.close()
        elif trick.act in ("line", "lines"):
            block = b"250-and so on\r\n" * 500 if trick.act == "lines" else b"x" * 8000
            end = time.monotonic() + _ENDLESS_S
            while time.monotonic() < end:
                self._say(block)
        raise _Over

    def _hang(self) -> None:
        """Neither read nor say anything until the other side goes away."""
        self._peer.hanging += 1
        try:
            gone = b"" if self._is_gone() else None
            while gone is None:
                time.sleep(0.05)
                gone = b"" if self._is_gone() else None
        finally:
            self._peer.hanging -= 1

    def _is_gone(self) -> bool:
        """Whether the connection was closed, as the system sees it: what was sent before need not be read for that."""
        state = self.request.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state != 1  # not ESTABLISHED

    def _say(self, octets: bytes) -> None:
        self.request.sendall(octets)

    def _line(self) -> bytes | None:
        """With its end; None at the end of the connection."""
        while b"\n" not in self._unread:
            more = self.request.recv(65_536)
            if not more:
                return None
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line + b"\n"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    peer: Peer


@contextlib.contextmanager
def serving(peer: Peer, address: str, port: int) -> Iterator[None]:
    """The peer listens there within the block."""
    with _Server((address, port), _Conversation) as server:
        server.peer = peer
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
