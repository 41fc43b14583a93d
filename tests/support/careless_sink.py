"""A next hop that takes any line end for one, and any dot between two for the end of the data: whom smuggling fools."""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import cast

_LINE = re.compile(rb"(.*?)(?:\r\n|\r(?!\n)|\n)", re.DOTALL)


class CarelessSink:
    """`contents` are the messages as this server understands them, each with all that was on the wire up to its dot."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.contents: list[bytes] = []


class _Conversation(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        sink = cast(_Server, self.server).sink
        self._unread = b""
        self._say(b"220 careless.example\r\n")
        while (line := self._line()) is not None:
            verb = line.strip().upper()
            if verb.startswith(b"DATA"):
                self._say(b"354 go on\r\n")
                content = b""
                while (line := self._line()) is not None:
                    content += line
                    if line.strip(b"\r\n") == b".":
                        break
                sink.contents.append(content)
                self._say(b"250 2.0.0 taken\r\n")
            elif verb.startswith(b"QUIT"):
                self._say(b"221 bye\r\n")
                return
            else:
                self._say(b"250 careless.example\r\n")

    def _say(self, octets: bytes) -> None:
        self.request.sendall(octets)

    def _line(self) -> bytes | None:
        """With its end; a CR at the end of what came waits for what follows it."""
        while True:
            found = _LINE.match(self._unread)
            if (found is not None and found.end() < len(self._unread)) or (
                self._unread.endswith(b"\n") and found is not None
            ):
                self._unread = self._unread[found.end() :]
                return found[0]
            try:
                more = self.request.recv(65_536)
            except OSError:
                return None
            if not more:
                return None
            self._unread += more


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    sink: CarelessSink


@contextlib.contextmanager
def careless_sink() -> Iterator[CarelessSink]:
    with _Server(("127.0.0.1", 0), _Conversation) as server:
        server.sink = CarelessSink(int(server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.sink
        finally:
            server.shutdown()
            thread.join()
