"""python -m bench.sender PORT MESSAGES SESSIONS clear|tls|tls-reused: hands messages in, as smtp-source does, which
cannot speak TLS. Prints how many seconds it took.

With `tls` each message has a connection and a handshake of its own, with `tls-reused` each session has one.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time

import uvloop

from bench.herd import Client

_EHLO = b"EHLO client.a.example\r\n"
_MAIL = b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n"
_CONTENT = (
    b"From: ann@a.example\r\nSubject: measured\r\n\r\n" + b"It rains, and the post is on the road.\r\n" * 100 + b".\r\n"
)


async def opened(port: int, context: ssl.SSLContext | None) -> Client:
    """Greeted, inside TLS or not."""
    loop = asyncio.get_running_loop()
    words, last = (_EHLO, b"250 ") if context is None else (_EHLO + b"STARTTLS\r\n", b"220 2.0.0")
    _, client = await loop.create_connection(lambda: Client(words, last), "127.0.0.1", port)
    await client.ready
    if context is not None:
        secured = await loop.start_tls(client.transport, client, context)
        assert secured is not None
        client.transport = secured
        await say(client, _EHLO, b"250 ")
    return client


async def say(client: Client, words: bytes, last: bytes) -> None:
    client.listen_again(last)
    client.transport.write(words)
    await client.ready
    assert not client.gone.done(), "the server closed the connection"


async def session(port: int, messages: int, context: ssl.SSLContext | None, *, reuse: bool) -> None:
    client: Client | None = None
    for _ in range(messages):
        client = client or await opened(port, context)
        await say(client, _MAIL, b"354")
        await say(client, _CONTENT, b"250")
        if not reuse:
            client.transport.close()
            client = None
    if client is not None:
        client.transport.close()


async def main(port: int, messages: int, sessions: int, way: str) -> None:
    context = None
    if way != "clear":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    begin = time.monotonic()
    share, reuse = messages // sessions, way.endswith("reused")
    await asyncio.gather(*(session(port, share, context, reuse=reuse) for _ in range(sessions)))
    print(time.monotonic() - begin)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
