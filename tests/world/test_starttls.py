"""STARTTLS on real sockets: what came in plain text is never executed inside TLS (RFC 3207 section 4)."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from postroad.contracts.errors import TlsFailed
from postroad.vocabulary.endpoint import Endpoint
from postroad.world.binding import bind_listener
from postroad.world.tcp import RealNetwork
from postroad.world.tls import TlsClient, TlsIdentity, make_self_signed, write_identity
from tests.contract.network_contract import DEADLINE_S, Talker

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_identity(folder / "cert.pem", folder / "key.pem", make_self_signed("mx.a.example", "127.0.0.1"))
    return folder


@pytest.fixture(scope="module")
def identity(keys: Path) -> TlsIdentity:
    return TlsIdentity(keys / "cert.pem", keys / "key.pem")


class Server(Talker):
    """The least of a server with STARTTLS: it keeps each command with the layer that it came in."""

    def __init__(self, network: RealNetwork, group: asyncio.TaskGroup) -> None:
        super().__init__()
        self.commands: list[tuple[str, bytes]] = []
        self.failure = ""
        self._network = network
        self._group = group
        self._buffer = b""
        self._layer = "plain"
        self._waits_for_tls = False

    def data_received(self, data: bytes) -> None:
        if self._waits_for_tls:
            return  # behind STARTTLS, before the handshake: dropped
        self._buffer += data
        while b"\r\n" in self._buffer and not self._waits_for_tls:
            command, _, self._buffer = self._buffer.partition(b"\r\n")
            self.commands.append((self._layer, command))
            if command == b"STARTTLS":
                self._waits_for_tls = True
                self.transport.write(b"220 go ahead\r\n")
                self._group.create_task(self._start_tls())
            else:
                self.transport.write(b"250 " + command + b"\r\n")
        self._note("data")

    async def _start_tls(self) -> None:
        try:
            self.transport, _ = await self._network.start_tls_as_server(self.transport, self)
        except TlsFailed as error:
            self.failure = str(error)
            self._note("failed")
            return
        self._buffer = b""
        self._waits_for_tls = False
        self._layer = "tls"
        self._note("tls")


class Meeting:
    """A server, and a client that is connected to it."""

    def __init__(self, network: RealNetwork, server: Server, client: Talker, endpoint: Endpoint) -> None:
        self.network = network
        self.server = server
        self.client = client
        self.endpoint = endpoint

    async def client_tls(self) -> None:
        self.client.transport, _ = await self.network.start_tls_as_client(
            self.client.transport, self.client, server_name="mx.a.example", verify=False
        )


def meet(loop: str, identity: TlsIdentity, play: Callable[[Meeting], object]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), RealNetwork(identity) as network, asyncio.TaskGroup() as group:
            servers: list[Server] = []

            def factory() -> Server:
                servers.append(Server(network, group))
                return servers[-1]

            [sock] = bind_listener("127.0.0.1:0")
            endpoint = Endpoint(*sock.getsockname())
            await network.listen(sock, factory)
            _, client = await network.connect(Talker, endpoint, timeout_s=DEADLINE_S)
            assert isinstance(client, Talker)
            client.transport.write(b"EHLO me.example\r\n")
            await client.has(b"250 EHLO me.example\r\n")
            client.octets.clear()
            played = play(Meeting(network, servers[0], client, endpoint))
            assert asyncio.iscoroutine(played)
            await played
            client.transport.abort()
            await servers[0].saw("lost")

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_commands_in_the_same_segment_as_starttls_are_never_executed(loop: str, identity: TlsIdentity) -> None:
    async def play(m: Meeting) -> None:
        m.client.transport.write(b"STARTTLS\r\nMAIL FROM:<mallory@a.example>\r\nRCPT TO:<ann@a.exa")
        await m.client.has(b"220 go ahead\r\n")
        await m.client_tls()
        m.client.transport.write(b"mple>\r\nEHLO inside.example\r\n")
        await m.server.until(lambda: len(m.server.commands) >= 4)
        assert m.server.commands[1:] == [
            ("plain", b"STARTTLS"),
            ("tls", b"mple>"),
            ("tls", b"EHLO inside.example"),
        ]

    meet(loop, identity, play)


@pytest.mark.parametrize("loop", LOOPS)
def test_plain_commands_after_the_220_end_the_connection(loop: str, identity: TlsIdentity) -> None:
    async def play(m: Meeting) -> None:
        m.client.transport.write(b"STARTTLS\r\n")
        await m.client.has(b"220 go ahead\r\n")
        m.client.transport.write(b"MAIL FROM:<mallory@a.example>\r\n")
        await m.server.saw("failed")
        await m.client.saw("lost")
        assert "does not speak TLS" in m.server.failure
        assert m.server.commands[1:] == [("plain", b"STARTTLS")]

    meet(loop, identity, play)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_hello_glued_to_the_command_is_dropped_with_the_rest(loop: str, identity: TlsIdentity) -> None:
    async def play(m: Meeting) -> None:
        context = TlsClient().unverified
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = context.wrap_bio(incoming, outgoing, server_hostname="mx.a.example")
        with pytest.raises(ssl.SSLWantReadError):
            engine.do_handshake()
        m.client.transport.write(b"STARTTLS\r\n" + outgoing.read())
        await m.client.has(b"220 go ahead\r\n")
        m.client.transport.close()  # the hello is gone: there is nothing the client could do but leave
        await m.server.saw("failed")
        assert m.server.commands[1:] == [("plain", b"STARTTLS")]
        assert m.server.happened.count("tls") == 0

    meet(loop, identity, play)


@pytest.mark.parametrize("loop", LOOPS)
def test_commands_together_with_the_end_of_the_handshake_wait_for_the_session(loop: str, identity: TlsIdentity) -> None:
    async def play(m: Meeting) -> None:
        m.client.transport.write(b"STARTTLS\r\n")
        await m.client.has(b"220 go ahead\r\n")
        m.client.octets.clear()
        await m.client_tls()
        m.client.transport.write(b"EHLO inside.example\r\n")
        await m.client.has(b"250 EHLO inside.example\r\n")
        assert m.server.commands[1:] == [("plain", b"STARTTLS"), ("tls", b"EHLO inside.example")]

    meet(loop, identity, play)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reply_injected_behind_the_220_is_not_inside_tls(loop: str, identity: TlsIdentity) -> None:
    async def play(m: Meeting) -> None:
        m.client.transport.write(b"STARTTLS\r\n")
        m.server.transport.write(b"250 injected\r\n")
        await m.client.until(lambda: m.client.octets.count(b"\r\n") == 2)
        m.client.octets.clear()  # what a session does in tls_started
        await m.client_tls()
        m.client.transport.write(b"NOOP\r\n")
        await m.client.has(b"250 NOOP\r\n")

    meet(loop, identity, play)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_certificate_is_verified_for_its_name_and_no_other(loop: str, identity: TlsIdentity, keys: Path) -> None:
    trusting = RealNetwork(client=TlsClient(keys / "cert.pem"))

    async def play(m: Meeting) -> None:
        m.client.transport.write(b"STARTTLS\r\n")
        await m.client.has(b"220 go ahead\r\n")
        m.client.transport, facts = await trusting.start_tls_as_client(
            m.client.transport, m.client, server_name="mx.a.example", verify=True
        )
        assert facts.verified
        assert facts.peer_name == "mx.a.example"

        _, other = await trusting.connect(Talker, m.endpoint, timeout_s=DEADLINE_S)
        assert isinstance(other, Talker)
        other.transport.write(b"STARTTLS\r\n")
        await other.has(b"220 go ahead\r\n")
        with pytest.raises(TlsFailed, match="certificate was not accepted"):
            await trusting.start_tls_as_client(other.transport, other, server_name="mx.b.example", verify=True)
        await other.saw("lost")

    meet(loop, identity, play)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ["bad\0name", "." * 3, "x" * 300])
def test_a_name_that_cannot_be_one_fails_the_handshake_only(loop: str, name: str, identity: TlsIdentity) -> None:
    async def play(m: Meeting) -> None:
        m.client.transport.write(b"STARTTLS\r\n")
        await m.client.has(b"220 go ahead\r\n")
        with pytest.raises(TlsFailed):
            await m.network.start_tls_as_client(m.client.transport, m.client, server_name=name, verify=True)
        await m.client.saw("lost")

    meet(loop, identity, play)
