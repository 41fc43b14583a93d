"""A next hop that takes every message, each after a while, and knows how many connections it had at once."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import cast


class SlowSink:
    """`arrived_s` are the moments (time.monotonic) at which messages were taken; `open_most` the most connections."""

    def __init__(self, port: int, message_s: float) -> None:
        self.port = port
        self.message_s = message_s
        self.arrived_s: list[float] = []
        self.open_now = 0
        self.open_most = 0
        self.lock = threading.Lock()


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        sink = cast(_Server, self.server).sink
        with sink.lock:
            sink.open_now += 1
            sink.open_most = max(sink.open_most, sink.open_now)
        self._is_counted = True
        try:
            self._converse(sink)
        except OSError:
            pass
        finally:
            self._leave(sink)

    def _leave(self, sink: SlowSink) -> None:
        with sink.lock:
            sink.open_now -= self._is_counted
        self._is_counted = False

    def _converse(self, sink: SlowSink) -> None:
        self._say(b"220 sink.example\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say(b"354 go on\r\n")
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    pass
                threading.Event().wait(sink.message_s)
                with sink.lock:
                    sink.arrived_s.append(time.monotonic())
                self._say(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                self._leave(sink)  # before the client can know that it is over
                self._say(b"221 bye\r\n")
                return
            else:
                self._say(b"250 sink.example\r\n")

    def _say(self, octets: bytes) -> None:
        self.request.sendall(octets)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    sink: SlowSink


@contextlib.contextmanager
def slow_sink(message_s: float, port: int = 0) -> Iterator[SlowSink]:
    with _Server(("127.0.0.1", port), _Conversation) as server:
        server.sink = SlowSink(int(server.server_address[1]), message_s)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.sink
        finally:
            server.shutdown()
            thread.join()
