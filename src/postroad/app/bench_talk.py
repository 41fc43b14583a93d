"""The load of `postroad bench`: clients that hand mail in and fetch it, and a next hop that throws mail away.

As simple as they can be, so that the server that is measured has the machine for itself. They speak RFC 5321 with
pipelining (RFC 2920), and RFC 1939.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

EHLO = b"EHLO client.a.example\r\n"
CONTENT = (
    b"From: ann@a.example\r\nSubject: measured\r\n\r\n" + b"It rains, and the post is on the road.\r\n" * 100 + b".\r\n"
)
"""With the dot that ends it; 4 KiB."""

_HEARD_BYTES = 4096
_BAD = (b"4", b"5", b"-ERR")
_COMMAND_BYTES_MAX = 4096


class Refused(Exception):
    """The server said no, or went away; in its words."""


class Talk(asyncio.Protocol):
    """One connection: says something, and waits for a complete line that begins as it should."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._heard = b""
        self._last = b""
        self._answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard = (self._heard + data)[-_HEARD_BYTES:]
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if not self._answered.done():
            self._answered.set_exception(Refused("the server closed the connection"))
            self._answered.exception()  # nobody may be waiting for it

    def _look(self) -> None:
        line = self._heard[self._heard.rfind(b"\n", 0, -1) + 1 :]
        if self._answered.done() or not self._last or not line.endswith(b"\r\n"):
            return
        if line.startswith(self._last):
            self._answered.set_result(line)
        elif line.startswith(_BAD):
            self._answered.set_exception(Refused(line.decode("ascii", "replace").strip()))

    async def say(self, words: bytes, last: bytes) -> bytes:
        """The line that begins with `last`, when it is the last one heard. Raises Refused."""
        if self._gone:
            raise Refused("the server closed the connection")
        self._answered = asyncio.get_running_loop().create_future()
        self._last = last
        if words:
            self._heard = b""
            self.transport.write(words)
        self._look()
        line = await self._answered
        self._last = b""
        return line


async def opened(port: int, context: ssl.SSLContext | None = None) -> Talk:
    """Greeted, inside TLS where there is a context. Raises Refused, OSError."""
    loop = asyncio.get_running_loop()
    _, talk = await loop.create_connection(Talk, "127.0.0.1", port)
    await talk.say(b"", b"220 ")
    await talk.say(EHLO, b"250 ")
    if context is not None:
        await talk.say(b"STARTTLS\r\n", b"220 ")
        secured = await loop.start_tls(talk.transport, talk, context)
        assert secured is not None
        talk.transport = secured
        await talk.say(EHLO, b"250 ")
    return talk


async def hand_in(
    port: int, recipients: list[str], *, reuse: bool, context: ssl.SSLContext | None = None, content: bytes = CONTENT
) -> None:
    """A message to each of them, one after another, over one connection or over one each. Raises Refused, OSError."""
    talk: Talk | None = None
    for recipient in recipients:
        talk = talk or await opened(port, context)
        envelope = f"MAIL FROM:<ann@a.example>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        await talk.say(envelope.encode(), b"354")
        await talk.say(content, b"250")
        if not reuse:
            talk.transport.close()
            talk = None
    if talk is not None:
        talk.transport.close()


async def fetch(port: int, user: str, password: str, messages: int) -> None:
    """Log in, and fetch all of the maildrop, which has so many messages. Raises Refused, OSError."""
    _, talk = await asyncio.get_running_loop().create_connection(Talk, "127.0.0.1", port)
    await talk.say(b"", b"+OK")
    await talk.say(f"USER {user}\r\n".encode(), b"+OK")
    await talk.say(f"PASS {password}\r\n".encode(), b"+OK")
    stat = await talk.say(b"STAT\r\n", b"+OK ")
    if int(stat.split()[1]) != messages:
        raise Refused(f"{user} should have {messages} messages: {stat.decode('ascii', 'replace').strip()}")
    for number in range(1, messages + 1):
        await talk.say(f"RETR {number}\r\n".encode(), b".\r\n")
    await talk.say(b"QUIT\r\n", b"+OK")
    talk.transport.close()


class NextHop:
    """Takes all mail, throws it away and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Taker(self), "127.0.0.1", 0, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()


class _Taker(asyncio.Protocol):
    """One connection of the next hop."""

    def __init__(self, next_hop: NextHop) -> None:
        self._next_hop = next_hop
        self._transport: asyncio.Transport
        self._left = b""
        self._in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 next.example\r\n")

    def data_received(self, data: bytes) -> None:
        self._left += data
        replies: list[bytes] = []
        while self._left:
            if self._in_content:
                end = self._left.find(b"\r\n.\r\n")
                if end < 0:
                    self._left = self._left[-4:]  # an end may have begun
                    break
                self._left, self._in_content = self._left[end + 5 :], False
                self._next_hop.count += 1
                replies.append(b"250 2.0.0 thrown away\r\n")
                continue
            line, found, rest = self._left.partition(b"\r\n")
            if not found:
                if len(line) > _COMMAND_BYTES_MAX:
                    self._transport.abort()
                break
            self._left = rest
            replies.append(self._reply(line[:4].upper()))
        if replies:
            self._transport.write(b"".join(replies))
            if replies[-1].startswith(b"221"):
                self._transport.close()

    def _reply(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return b"250-next.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n"
        if verb == b"DATA":
            self._in_content = True
            return b"354 go on\r\n"
        return b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n"
