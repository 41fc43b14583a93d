"""What every Network must do, real or virtual: run by tests/world and tests/simulation on their own.

Each check gets a `World` with one server address and speaks through it; no check knows which kind it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import pytest

from postroad.contracts.errors import ConnectFailed, TlsFailed
from postroad.contracts.network import ListenerHandle, Network, ProtocolFactory
from postroad.vocabulary.endpoint import Endpoint, TlsFacts

DEADLINE_S = 10.0
SERVER_NAME = "mx.a.example"


class World(Protocol):
    """`client` and `server` are the networks of the two machines (in the real world the same)."""

    @property
    def client(self) -> Network: ...

    @property
    def server(self) -> Network: ...

    async def listen(self, factory: ProtocolFactory, *, tls: bool = False) -> tuple[ListenerHandle, Endpoint]: ...

    async def listen_local(self, factory: ProtocolFactory) -> tuple[ListenerHandle, str]: ...

    def dead_end(self) -> Endpoint:
        """An endpoint where nobody listens."""
        ...


class Talker(asyncio.Protocol):
    """Keeps all that happens to it, in order, and lets a check wait for it."""

    def __init__(self, *, keep_open: bool = False, echo: bool = False) -> None:
        self.happened: list[str] = []
        self.octets = bytearray()
        self.lost_by: Exception | None = None
        self._keep_open = keep_open
        self._echo = echo
        self._changed = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._note("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.octets += data
        if self._echo:
            self.transport.write(data)
        self._note("data")

    def eof_received(self) -> bool:
        self._note("eof")
        return self._keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost_by = exc
        self._note("lost")

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def _note(self, what: str) -> None:
        self.happened.append(what)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def has(self, octets: bytes) -> None:
        await self.until(lambda: len(self.octets) >= len(octets))
        assert bytes(self.octets) == octets

    async def saw(self, what: str) -> None:
        await self.until(lambda: what in self.happened)


class Pair:
    """A client and the server's protocol it is connected to."""

    def __init__(self, client: Talker, server: Talker, listener: ListenerHandle, endpoint: Endpoint) -> None:
        self.client = client
        self.server = server
        self.listener = listener
        self.endpoint = endpoint

    async def close(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()
        await self.client.saw("lost")
        await self.server.saw("lost")
        await self.listener.close()


async def pair(world: World, *, keep_open: bool = False, echo: bool = False) -> Pair:
    met: asyncio.Queue[Talker] = asyncio.Queue()

    def factory() -> Talker:
        talker = Talker(keep_open=keep_open, echo=echo)
        met.put_nowait(talker)
        return talker

    listener, endpoint = await world.listen(factory)
    _, client = await world.client.connect(lambda: Talker(keep_open=keep_open), endpoint, timeout_s=DEADLINE_S)
    assert isinstance(client, Talker)
    server = await asyncio.wait_for(met.get(), DEADLINE_S)
    await server.saw("made")
    return Pair(client, server, listener, endpoint)


async def check_octets_come_back_from_an_echo_in_order(world: World) -> None:
    p = await pair(world, echo=True)
    said = b"".join(b"line %d\r\n" % n for n in range(2000))
    for n in range(2000):
        p.client.transport.write(b"line %d\r\n" % n)
    await p.client.has(said)
    await p.close()


async def check_both_ends_know_each_other(world: World) -> None:
    p = await pair(world)
    assert world.client.remote(p.client.transport) == p.endpoint
    assert world.server.local(p.server.transport) == p.endpoint
    assert world.client.local(p.client.transport) == world.server.remote(p.server.transport)
    assert world.client.tls(p.client.transport) is None
    assert world.client.uid(p.client.transport) is None
    assert world.server.uid(p.server.transport) is None
    await p.close()


async def check_close_sends_what_was_written_and_then_the_end(world: World) -> None:
    p = await pair(world)
    said = b"x" * 1_000_000
    p.server.transport.write(said)
    p.server.transport.close()
    await p.client.has(said)
    await p.client.saw("lost")
    await p.server.saw("lost")
    assert p.client.happened[-2:] == ["eof", "lost"]
    assert p.client.lost_by is None
    assert p.server.lost_by is None
    assert p.client.transport.is_closing()
    await p.close()


async def check_nothing_is_read_after_close(world: World) -> None:
    p = await pair(world)
    p.server.transport.close()
    p.client.transport.write(b"too late")
    await p.server.saw("lost")
    await p.client.saw("lost")
    assert p.server.octets == b""
    await p.close()


async def check_the_end_of_one_direction_leaves_the_other_open(world: World) -> None:
    p = await pair(world, keep_open=True)
    p.client.transport.write(b"question")
    p.client.transport.write_eof()
    await p.server.saw("eof")
    assert bytes(p.server.octets) == b"question"
    p.server.transport.write(b"answer")
    await p.client.has(b"answer")
    p.server.transport.close()
    await p.client.saw("eof")
    assert "lost" not in p.client.happened
    await p.close()


async def check_writing_after_the_end_is_our_own_mistake(world: World) -> None:
    p = await pair(world, keep_open=True)
    p.client.transport.write_eof()
    with pytest.raises(RuntimeError):
        p.client.transport.write(b"more")
    await p.close()


async def check_abort_tells_both_ends(world: World) -> None:
    p = await pair(world)
    p.client.transport.abort()
    await p.client.saw("lost")
    await p.server.saw("lost")
    assert p.client.happened.count("lost") == p.server.happened.count("lost") == 1
    await p.close()


async def check_a_slow_reader_makes_the_writer_pause(world: World) -> None:
    p = await pair(world)
    p.server.transport.pause_reading()
    written = 0
    while "pause" not in p.client.happened:
        p.client.transport.write(b"x" * 65_536)
        written += 65_536
        assert written < 100_000_000
    assert p.client.transport.get_write_buffer_size() > 0
    assert "resume" not in p.client.happened
    p.server.transport.resume_reading()
    await p.client.saw("resume")
    await p.server.until(lambda: len(p.server.octets) == written)
    await p.close()


async def check_a_paused_reader_gets_nothing(world: World) -> None:
    p = await pair(world, echo=True)
    p.client.transport.pause_reading()
    assert not p.client.transport.is_reading()
    p.client.transport.write(b"hello")
    await p.server.has(b"hello")
    assert p.client.octets == b""
    p.client.transport.resume_reading()
    await p.client.has(b"hello")
    await p.close()


async def check_nobody_listening_is_a_refusal_in_words(world: World) -> None:
    with pytest.raises(ConnectFailed, match="refused"):
        await world.client.connect(Talker, world.dead_end(), timeout_s=DEADLINE_S)


async def check_a_closed_listener_refuses_and_leaves_the_others_alone(world: World) -> None:
    p = await pair(world, echo=True)
    await p.listener.close()
    with pytest.raises(ConnectFailed, match="refused"):
        await world.client.connect(Talker, p.endpoint, timeout_s=DEADLINE_S)
    p.client.transport.write(b"still here")
    await p.client.has(b"still here")
    await p.close()


async def check_a_paused_listener_lets_connections_wait(world: World) -> None:
    met: list[Talker] = []

    def factory() -> Talker:
        met.append(Talker(echo=True))
        return met[-1]

    listener, endpoint = await world.listen(factory)
    listener.pause()
    _, client = await world.client.connect(Talker, endpoint, timeout_s=DEADLINE_S)
    assert isinstance(client, Talker)
    client.transport.write(b"anybody there?")
    for _ in range(20):
        await asyncio.sleep(0)
    assert met == []
    listener.resume()
    await client.has(b"anybody there?")
    assert len(met) == 1
    client.transport.abort()
    await met[0].saw("lost")
    await listener.close()


async def check_an_address_that_is_not_ours_cannot_be_our_end(world: World) -> None:
    p = await pair(world)
    with pytest.raises(ConnectFailed):
        await world.client.connect(Talker, p.endpoint, local_address="203.0.113.9", timeout_s=DEADLINE_S)
    await p.close()


async def check_a_local_socket_knows_its_user(world: World) -> None:
    met: asyncio.Queue[Talker] = asyncio.Queue()

    def factory() -> Talker:
        talker = Talker(echo=True)
        met.put_nowait(talker)
        return talker

    listener, path = await world.listen_local(factory)
    transport, client = await world.client.connect_local(Talker, path, timeout_s=DEADLINE_S)
    assert isinstance(client, Talker)
    server = await asyncio.wait_for(met.get(), DEADLINE_S)
    await server.saw("made")
    assert isinstance(world.server.uid(server.transport), int)
    assert world.server.remote(server.transport) == Endpoint("unix", 0)
    assert world.client.local(transport) == Endpoint("unix", 0)
    transport.write(b"hello")
    await client.has(b"hello")
    transport.abort()
    await server.saw("lost")
    await listener.close()
    with pytest.raises(ConnectFailed):
        await world.client.connect_local(Talker, path, timeout_s=DEADLINE_S)


# ---- TLS ----


async def both_start_tls(world: World, p: Pair, *, verify: bool = False) -> tuple[TlsFacts, TlsFacts]:
    async def serve() -> TlsFacts:
        p.server.transport, facts = await world.server.start_tls_as_server(p.server.transport, p.server)
        return facts

    async def ask() -> TlsFacts:
        p.client.transport, facts = await world.client.start_tls_as_client(
            p.client.transport, p.client, server_name=SERVER_NAME, verify=verify
        )
        p.client.transport.write(b"inside")
        return facts

    async with asyncio.TaskGroup() as group:
        server, client = group.create_task(serve()), group.create_task(ask())
    return server.result(), client.result()


async def check_tls_carries_octets_and_tells_its_facts(world: World) -> None:
    p = await pair(world, echo=True)
    old = p.client.transport
    server, client = await both_start_tls(world, p)
    await p.server.has(b"inside")
    await p.client.has(b"inside")
    assert p.client.transport is not old
    assert client.version == server.version == "TLSv1.3"
    assert client.cipher == server.cipher != ""
    assert not client.verified
    assert world.client.tls(p.client.transport) == client
    assert world.server.tls(p.server.transport) == server
    assert p.client.happened.count("made") == 1
    assert world.client.remote(p.client.transport) == p.endpoint
    p.server.transport.close()
    await p.client.saw("lost")
    await p.server.saw("lost")
    assert p.client.lost_by is None
    await p.close()


async def check_much_goes_through_tls(world: World) -> None:
    p = await pair(world)
    await both_start_tls(world, p)
    said = b"y" * 3_000_000
    p.server.transport.write(said)
    p.server.transport.close()
    await p.client.has(said)
    await p.client.saw("lost")
    await p.close()


async def check_the_caller_knows_of_tls_before_octets_come(world: World) -> None:
    p = await pair(world)
    known_at: list[str] = []
    received = p.server.data_received

    def data_received(data: bytes) -> None:
        known_at.append("data")
        received(data)

    p.server.data_received = data_received  # type: ignore[method-assign]

    async def serve() -> None:
        p.server.transport, _ = await world.server.start_tls_as_server(p.server.transport, p.server)
        known_at.append("known")

    async def ask() -> None:
        transport, _ = await world.client.start_tls_as_client(
            p.client.transport, p.client, server_name=SERVER_NAME, verify=False
        )
        p.client.transport = transport
        transport.write(b"at once")

    async with asyncio.TaskGroup() as group:
        group.create_task(serve())
        group.create_task(ask())
    await p.server.has(b"at once")
    assert known_at[:2] == ["known", "data"]
    await p.close()


async def check_plain_octets_instead_of_tls_fail_the_handshake(world: World) -> None:
    p = await pair(world)
    p.server.transport.pause_reading()
    p.client.transport.write(b"EHLO plain.example\r\nMAIL FROM:<ann@a.example>\r\n")
    with pytest.raises(TlsFailed):
        async with asyncio.timeout(DEADLINE_S):
            await world.server.start_tls_as_server(p.server.transport, p.server)
    await p.server.saw("lost")
    await p.client.saw("lost")
    assert p.server.octets == b""
    assert p.server.happened.count("lost") == 1
    await p.listener.close()


async def check_a_peer_that_goes_away_fails_the_handshake(world: World) -> None:
    p = await pair(world)

    async def ask() -> None:
        with pytest.raises(TlsFailed):
            await world.client.start_tls_as_client(p.client.transport, p.client, server_name=SERVER_NAME, verify=False)

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(ask())
        p.server.transport.close()
    await p.client.saw("lost")
    await p.server.saw("lost")
    assert p.client.happened.count("lost") == 1
    await p.listener.close()


async def check_a_certificate_that_nobody_signed_is_not_verified(world: World) -> None:
    p = await pair(world)

    async def serve() -> None:
        try:
            await world.server.start_tls_as_server(p.server.transport, p.server)
        except TlsFailed:
            pass  # whether the server sees it in the handshake or just after depends on the version of TLS

    async def ask() -> None:
        with pytest.raises(TlsFailed, match="certificate"):
            await world.client.start_tls_as_client(p.client.transport, p.client, server_name=SERVER_NAME, verify=True)

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(serve())
        group.create_task(ask())
    await p.client.saw("lost")
    await p.server.saw("lost")
    await p.listener.close()


async def check_a_listener_may_speak_tls_from_the_first_octet(world: World) -> None:
    met: asyncio.Queue[Talker] = asyncio.Queue()

    def factory() -> Talker:
        talker = Talker(echo=True)
        met.put_nowait(talker)
        return talker

    listener, endpoint = await world.listen(factory, tls=True)
    transport, client = await world.client.connect(Talker, endpoint, timeout_s=DEADLINE_S)
    assert isinstance(client, Talker)
    transport, _ = await world.client.start_tls_as_client(transport, client, server_name=SERVER_NAME, verify=False)
    transport.write(b"hello")
    await client.has(b"hello")
    server = met.get_nowait()
    assert world.server.tls(server.transport) is not None
    assert world.server.local(server.transport) == endpoint
    transport.abort()
    await server.saw("lost")
    await client.saw("lost")
    await listener.close()


async def check_a_cancelled_handshake_leaves_a_closed_connection(world: World) -> None:
    p = await pair(world)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await world.server.start_tls_as_server(p.server.transport, p.server)
    await p.client.saw("lost")
    await p.server.saw("lost")
    await p.listener.close()


CHECKS: list[Callable[[World], Awaitable[None]]] = [
    check for name, check in sorted(globals().items()) if name.startswith("check_")
]
