"""A proxy that writes down what a mail client says on the wire, between the client and the server.

It ends the client's TLS with a certificate of its own and begins another to the server, so that what it
records is what was said inside. Its reading of the content is as naive as can be: a second opinion.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 65_536
_DATA = re.compile(rb"\r\nDATA\r\n", re.IGNORECASE)


class RecordingProxy:
    """Listens on 127.0.0.1:`port` with TLS from the first octet, or on a Unix socket in clear."""

    def __init__(self, listening: socket.socket, upstream: str | tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self._listening = listening
        self._upstream = upstream
        self._tls = tls
        self._conversations: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def contents(self) -> list[bytes]:
        """The content of every finished transaction, transparency dots removed, in order."""
        found = []
        for said in map(bytes, self._conversations):
            rest = said
            while start := _DATA.search(rest):
                content, end, rest = rest[start.end() :].partition(b"\r\n.\r\n")
                if end:
                    lines = (content + b"\r\n").split(b"\r\n")
                    found.append(b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines))
        return found

    def close(self) -> None:
        self._listening.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._converse, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _converse(self, plain: socket.socket) -> None:
        said = bytearray()
        self._conversations.append(said)
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            client = opened.enter_context(self._tls.wrap_socket(plain, server_side=True) if self._tls else plain)
            server = opened.enter_context(self._connect())
            answers = threading.Thread(target=_carry, args=(server, client, bytearray()), daemon=True)
            answers.start()
            _carry(client, server, said)
            answers.join(5)

    def _connect(self) -> socket.socket:
        if isinstance(self._upstream, str):
            local = socket.socket(socket.AF_UNIX)
            local.connect(self._upstream)
            return local
        remote = socket.create_connection(self._upstream)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(remote)


def _carry(source: socket.socket, target: socket.socket, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BLOCK):
            record += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tls_proxy(upstream: tuple[str, int], certificate: Path, key: Path) -> Iterator[RecordingProxy]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = RecordingProxy(listening, upstream, context)
    try:
        yield proxy
    finally:
        proxy.close()


@contextlib.contextmanager
def local_proxy(path: Path) -> Iterator[RecordingProxy]:
    """Step in between a Unix socket and those who will connect to it from now on."""
    real = path.with_name("real.sock")
    path.rename(real)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o666)
    listening.listen()
    proxy = RecordingProxy(listening, str(real), None)
    try:
        yield proxy
    finally:
        proxy.close()
        path.unlink()
        real.rename(path)
