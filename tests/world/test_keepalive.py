"""A peer that vanished without a word is known to be dead within two minutes, so that its maildrop is free again."""

from __future__ import annotations

import asyncio
import socket

import pytest

from postroad.vocabulary.endpoint import Endpoint
from postroad.world.binding import bind_listener
from postroad.world.tcp import RealNetwork
from tests.contract.network_contract import DEADLINE_S, Talker
from tests.world.test_listening import LOOPS

TWO_MINUTES_S = 120


@pytest.mark.parametrize("loop", LOOPS)
def test_the_kernel_looks_after_every_connection_that_is_accepted(loop: str) -> None:
    accepted: list[socket.socket] = []

    class Accepted(Talker):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.append(transport.get_extra_info("socket"))

    async def play() -> None:
        async with RealNetwork() as network:
            [sock] = bind_listener("127.0.0.1:0")
            endpoint = Endpoint(*sock.getsockname())
            await network.listen(sock, lambda: Accepted(echo=True))
            _, client = await network.connect(Talker, endpoint, timeout_s=DEADLINE_S)
            assert isinstance(client, Talker)
            client.transport.write(b"anybody there?")
            await client.has(b"anybody there?")
            [theirs] = accepted
            assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle_s, every_s, tries, patience_ms = (
                theirs.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
            assert idle_s + every_s * tries <= TWO_MINUTES_S
            assert 0 < patience_ms <= TWO_MINUTES_S * 1000
            client.transport.abort()
            await client.saw("lost")

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())
