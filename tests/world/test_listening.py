"""Listeners come to life again when the loop gave them up, and a machine without descriptors does not spin."""

import asyncio
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest
import uvloop

from postroad.vocabulary.endpoint import Endpoint
from postroad.world import listening
from postroad.world.binding import bind_listener
from postroad.world.tcp import RealNetwork
from tests.contract.network_contract import DEADLINE_S, Talker

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_listener_that_the_loop_gave_up_listens_again(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "ACCEPT_RETRY_S", 0.02)

    async def play() -> None:
        async with RealNetwork() as network:
            [sock] = bind_listener("127.0.0.1:0")
            endpoint = Endpoint(*sock.getsockname())
            listener = await network.listen(sock, lambda: Talker(echo=True))
            assert listener._server is not None
            listener._server.close()  # what uvloop does when accept fails
            _, client = await network.connect(Talker, endpoint, timeout_s=DEADLINE_S)
            assert isinstance(client, Talker)
            client.transport.write(b"anybody there?")
            await client.has(b"anybody there?")
            client.transport.abort()
            await client.saw("lost")

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


CROWDED = textwrap.dedent("""
    import asyncio, resource, sys, time
    import uvloop
    from postroad.world.binding import bind_listener
    from postroad.world.tcp import RealNetwork

    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)
            if data == b"quit":
                self.last = True
                self.transport.close()

        def connection_lost(self, exc):
            if self.last:
                over.set()

        last = False

    async def main():
        global over
        over = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with RealNetwork() as network:
            [sock] = bind_listener("127.0.0.1:0")
            print(sock.getsockname()[1], flush=True)
            await network.listen(sock, Echo)
            begun = time.process_time()
            await over.wait()
            print(time.process_time() - begun, flush=True)

    factory = uvloop.new_event_loop if sys.argv[1] == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
""")


@pytest.mark.parametrize("loop", LOOPS)
def test_without_file_descriptors_a_listener_waits_and_recovers(loop: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CROWDED, loop], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline())
            crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
            crowd[0].sendall(b"served")
            assert crowd[0].recv(100) == b"served"
            for sock in crowd:
                sock.close()
            assert said_once_there_is_room(port, b"quit") == b"quit"
            assert float(child.stdout.readline()) < 1.0  # seconds of CPU: it did not spin
            assert child.wait(DEADLINE_S) == 0
        finally:
            child.kill()


def said_once_there_is_room(port: int, octets: bytes) -> bytes:
    """What comes back. Until the server has seen the crowd leave, uvloop takes a connection only to close it."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(DEADLINE_S)
            try:
                sock.sendall(octets)
                if answer := sock.recv(100):
                    return answer
            except ConnectionError:
                pass  # closed before it was served
    raise AssertionError("the listener has not recovered")


@pytest.mark.parametrize("loop", LOOPS)
def test_leaving_the_network_closes_its_listeners(loop: str) -> None:
    async def play() -> None:
        async with RealNetwork() as network:
            [sock] = bind_listener("127.0.0.1:0")
            await network.listen(sock, Talker)
        assert sock.fileno() == -1
        with pytest.raises(RuntimeError, match="enter"):
            await network.listen(sock, Talker)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


@pytest.mark.parametrize("loop", LOOPS)
def test_an_ipv4_client_of_a_dual_stack_socket_is_known_by_its_ipv4_address(loop: str) -> None:
    async def play() -> None:
        met: asyncio.Queue[Endpoint] = asyncio.Queue()

        class Door(Talker):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                met.put_nowait(network.remote(transport))

        async with RealNetwork() as network:
            [sock] = bind_listener("[::]:0")
            await network.listen(sock, Door)
            port = sock.getsockname()[1]
            transport, _ = await network.connect(
                Talker, Endpoint("127.0.0.1", port), local_address="127.0.0.7", timeout_s=DEADLINE_S
            )
            assert (await met.get()).address == "127.0.0.7"
            transport.abort()
            if sock.family == socket.AF_INET6:
                transport, _ = await network.connect(Talker, Endpoint("::1", port), timeout_s=DEADLINE_S)
                assert (await met.get()).address == "::1"
                transport.abort()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())
