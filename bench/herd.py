"""python -m bench.herd KIND PORT COUNT: many clients in one process, for a server in another.

    idle      says EHLO and then nothing
    idle-tls  EHLO, STARTTLS, EHLO inside, and then nothing
    loris     an octet now and then, at a stage of the session that differs from client to client; comes again when
              it is sent away

When all are where they should be it prints one JSON object, then waits for the end of its standard input. Clients come
from several addresses of the loopback network, so that there are ports enough.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
from typing import cast

import uvloop

from bench.processes import raise_descriptors

_SOURCES = 20
_AT_ONCE = 200
"""Connections that are being opened at the same time: fewer than a listener's backlog."""

_DRIP_S = (2.0, 20.0)
_BEFORE_CONTENT = b"EHLO loris.example\r\nMAIL FROM:<loris@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n"
_STAGES = (
    b"",
    b"EHLO loris.example\r\n",
    b"EHLO loris.example\r\nMAIL FROM:<loris@a.example>\r\n",
    _BEFORE_CONTENT,
    b"EHLO loris.example\r\nSTARTTLS\r\n",
)
_CLIENT_HELLO = b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03"


class Client(asyncio.Protocol):
    """Says `words` at once, and is ready when all of it was answered by a line that begins with `last`."""

    def __init__(self, words: bytes, last: bytes) -> None:
        self.words = words
        self.transport: asyncio.Transport
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last = last
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.words)

    def data_received(self, data: bytes) -> None:
        self._heard = (self._heard + data)[-4096:]
        line = self._heard[self._heard.rfind(b"\n", 0, -1) + 1 :]
        if line.endswith(b"\r\n") and line.startswith(self._last) and not self.ready.done():
            self.ready.set_result(None)

    def listen_again(self, last: bytes) -> None:
        self._heard, self._last = b"", last
        self.ready = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        for waited in (self.ready, self.gone):
            if not waited.done():
                waited.set_result(None)


async def connected(port: int, number: int, words: bytes, last: bytes) -> Client:
    source = f"127.77.{number % _SOURCES}.1"
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(words, last), "127.0.0.1", port, local_addr=(source, 0)
    )
    await client.ready
    return client


async def idle(port: int, number: int, context: ssl.SSLContext | None) -> Client:
    if context is None:
        return await connected(port, number, b"EHLO idle.example\r\n", b"250 ")
    client = await connected(port, number, b"EHLO idle.example\r\nSTARTTLS\r\n", b"220 2.0.0")
    secured = await asyncio.get_running_loop().start_tls(client.transport, client, context)
    assert secured is not None
    client.transport = secured
    client.listen_again(b"250 ")
    secured.write(b"EHLO idle.example\r\n")
    await client.ready
    return client


async def loris(port: int, number: int, chance: random.Random, seen: dict[str, int]) -> None:
    """Until cancelled."""
    stage = number % len(_STAGES)
    while True:
        try:
            words = _STAGES[stage]
            client = await connected(
                port, number, words, b"220" if stage in (0, 4) else b"354" if stage == 3 else b"250"
            )
        except OSError:
            seen["refused"] += 1
            await asyncio.sleep(1)
            continue
        seen["open"] += 1
        drops = iter(_CLIENT_HELLO) if stage == 4 else None
        while not client.gone.done():
            await asyncio.wait([client.gone], timeout=chance.uniform(*_DRIP_S))
            if not client.gone.done():
                octet = b"x" if drops is None else bytes([next(drops, 0)])
                client.transport.write(octet)
                seen["dripped"] += 1
        seen["open"] -= 1
        seen["sent away"] += 1


async def gather(kind: str, port: int, count: int) -> list[object]:
    turns = asyncio.Semaphore(_AT_ONCE)
    context = None
    if kind == "idle-tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

    async def one(number: int) -> object:
        async with turns:
            return await idle(port, number, context)

    if kind.startswith("idle"):
        clients: list[object] = list(await asyncio.gather(*(one(number) for number in range(count))))
        assert all(not cast(Client, client).gone.done() for client in clients), "some were sent away"
        return clients
    chance = random.Random(5321)
    seen = {"open": 0, "dripped": 0, "sent away": 0, "refused": 0}
    tasks: list[object] = []
    for number in range(count):
        tasks.append(asyncio.create_task(loris(port, number, chance, seen)))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0.1)
    while seen["open"] < count * 0.99:
        await asyncio.sleep(0.1)
    return [seen, *tasks]


async def main(kind: str, port: int, count: int) -> None:
    kept = await gather(kind, port, count)
    print(json.dumps({"ready": count}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    if kind == "loris":
        print(json.dumps(kept[0]), flush=True)
        for task in kept[1:]:
            cast("asyncio.Task[None]", task).cancel()
    else:
        print(json.dumps({"sent away": sum(cast(Client, client).gone.done() for client in kept)}), flush=True)


if __name__ == "__main__":
    raise_descriptors()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
