"""What the virtual network does to connections when it is told to, and how hosts die."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.contracts.errors import ConnectFailed, TlsFailed
from postroad.simulation.virtual_loop import run
from postroad.simulation.virtual_network import VirtualNetwork
from postroad.simulation.weather import Weather
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import LISTEN_BACKLOG, TLS_HANDSHAKE_S
from tests.contract.network_contract import Talker

SERVER = "192.0.2.25"
SMTP = Endpoint(SERVER, 25)


class Scene:
    """A server that echoes, and a client."""

    def __init__(self, weather: Weather, *, seed: int = 0, names: tuple[str, ...] = ()) -> None:
        self.internet = VirtualNetwork(seed=seed)
        self.internet.set_weather(SERVER, weather)
        self.client = self.internet.host("192.0.2.1", "2001:db8::1")
        self.server = self.internet.host(SERVER, names=names)
        self.met: list[Talker] = []
        self.listener = self.server.listen(25, self._meet)

    def _meet(self) -> Talker:
        self.met.append(Talker(echo=True))
        return self.met[-1]

    async def connect(self, timeout_s: float = 30.0) -> Talker:
        _, talker = await self.client.connect(Talker, SMTP, timeout_s=timeout_s)
        assert isinstance(talker, Talker)
        return talker

    async def meet(self) -> Talker:
        """Connect, and wait until the server knows."""
        talker = await self.connect()
        await asyncio.sleep(1)
        return talker


@pytest.mark.parametrize(
    ("weather", "words"),
    [
        (Weather(refused=True), "refused"),
        (Weather(unreachable=True), "no route"),
        (Weather(latency_s=20.0), "no answer within 30 s"),
    ],
)
def test_a_connection_may_fail_at_once(weather: Weather, words: str) -> None:
    async def play() -> None:
        with pytest.raises(ConnectFailed, match=words):
            await Scene(weather).connect()

    run(play())


def test_a_black_hole_answers_nothing_until_the_time_is_up() -> None:
    async def play() -> float:
        with pytest.raises(ConnectFailed, match="no answer within 30 s"):
            await Scene(Weather(black_hole=True)).connect()
        return asyncio.get_running_loop().time()

    assert run(play()) == 30.0


def test_an_address_that_no_host_has_is_unreachable() -> None:
    async def play() -> None:
        scene = Scene(Weather())
        for address in ("203.0.113.1", "2001:db8::99"):
            with pytest.raises(ConnectFailed, match="no route"):
                await scene.client.connect(Talker, Endpoint(address, 25), timeout_s=30)
        with pytest.raises(ConnectFailed, match="no route"):  # a host without IPv6 of its own
            await scene.server.connect(Talker, Endpoint("2001:db8::1", 25), timeout_s=30)

    run(play())


def test_octets_take_their_time() -> None:
    async def play() -> float:
        talker = await Scene(Weather(latency_s=0.5)).connect()
        talker.transport.write(b"EHLO")
        await talker.has(b"EHLO")
        return asyncio.get_running_loop().time()

    assert run(play()) == pytest.approx(1.0 + 1.0)  # there and back to connect, there and back to echo


def test_single_octets_arrive_one_by_one() -> None:
    async def play() -> None:
        scene = Scene(Weather(segment_bytes=1))
        talker = await scene.connect()
        talker.transport.write(b"MAIL FROM:<>\r\n")
        await talker.has(b"MAIL FROM:<>\r\n")
        assert scene.met[0].happened.count("data") == 14

    run(play())


@given(seed=st.integers(0, 10_000), writes=st.lists(st.binary(min_size=1, max_size=3000), max_size=8))
def test_octets_come_in_order_in_any_weather(seed: int, writes: list[bytes]) -> None:
    async def play() -> None:
        chance = random.Random(seed)
        weather = Weather(latency_s=chance.choice([0, 0.1]), segment_bytes=chance.randint(1, 700), ragged=True)
        scene = Scene(weather, seed=seed)
        talker = await scene.connect()
        for octets in writes:
            talker.transport.write(octets)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random())
        talker.transport.write_eof()
        await talker.saw("lost")
        assert bytes(talker.octets) == bytes(scene.met[0].octets) == b"".join(writes)

    run(play(), seed=seed)


@pytest.mark.parametrize("allowed", [0, 1, 7, 12])
def test_a_connection_is_cut_after_so_many_octets(allowed: int) -> None:
    async def play() -> None:
        scene = Scene(Weather(cut_after=allowed))
        talker = await scene.connect()
        talker.transport.write(b"EHLO")
        talker.transport.write(b" me.test\r\nMAIL")
        await talker.saw("lost")
        await scene.met[0].saw("lost")
        assert bytes(scene.met[0].octets) == b"EHLO me.test\r\nMAIL"[:allowed]
        assert isinstance(talker.lost_by, ConnectionResetError)
        assert isinstance(scene.met[0].lost_by, ConnectionResetError)

    run(play())


def test_the_servers_words_may_be_cut_as_well() -> None:
    async def play() -> None:
        scene = Scene(Weather(cut_after_reply=3))
        talker = await scene.connect()
        talker.transport.write(b"250 OK\r\n")
        await talker.saw("lost")
        assert bytes(talker.octets) == b"250"
        assert bytes(scene.met[0].octets) == b"250 OK\r\n"

    run(play())


def test_a_mute_connection_tells_nobody() -> None:
    async def play() -> None:
        scene = Scene(Weather(mute_after=4))
        talker = await scene.connect()
        talker.transport.write(b"EHLO me.example")
        await asyncio.sleep(10_000)
        assert bytes(scene.met[0].octets) == b"EHLO"
        assert talker.happened == ["made"]
        talker.transport.close()
        await talker.saw("lost")
        await asyncio.sleep(10_000)
        assert "lost" not in scene.met[0].happened
        scene.met[0].transport.abort()

    run(play())


def test_weather_may_change_and_clear_up() -> None:
    async def play() -> None:
        scene = Scene(Weather(refused=True))
        with pytest.raises(ConnectFailed):
            await scene.connect()
        scene.internet.set_weather(SERVER, None)
        (await scene.connect()).transport.close()

    run(play())


def test_weather_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError):
        Weather(latency_s=-1)
    with pytest.raises(ValueError):
        Weather(ragged=True)


def test_a_host_that_crashes_tells_its_own_protocols_nothing() -> None:
    async def play() -> None:
        scene = Scene(Weather())
        talker = await scene.connect()
        talker.transport.write(b"DATA")
        await talker.has(b"DATA")
        before = list(scene.met[0].happened)
        scene.server.crash()
        await talker.saw("lost")
        assert isinstance(talker.lost_by, ConnectionResetError)
        assert scene.met[0].happened == before
        with pytest.raises(ConnectFailed, match="refused"):
            await scene.connect()
        scene.server.listen(25, lambda: Talker(echo=True))  # it starts again
        again = await scene.connect()
        again.transport.write(b"EHLO")
        await again.has(b"EHLO")

    run(play())


def test_octets_for_a_closed_end_come_back_as_a_reset() -> None:
    async def play() -> None:
        scene = Scene(Weather())
        _, talker = await scene.client.connect(lambda: Talker(keep_open=True), SMTP, timeout_s=30)
        assert isinstance(talker, Talker)
        await asyncio.sleep(1)
        scene.met[0].transport.close()
        await talker.saw("eof")
        assert "lost" not in talker.happened
        talker.transport.write(b"anybody there?")
        await talker.saw("lost")
        assert isinstance(talker.lost_by, ConnectionResetError)

    run(play())


def test_a_protocol_that_fails_loses_its_connection_and_is_reported() -> None:
    class Broken(Talker):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def play() -> None:
        scene = Scene(Weather())
        scene.server.listen(26, Broken)
        _, talker = await scene.client.connect(Talker, Endpoint(SERVER, 26), timeout_s=30)
        assert isinstance(talker, Talker)
        talker.transport.write(b"EHLO")
        await talker.saw("lost")

    with pytest.raises(ExceptionGroup) as failure:
        run(play())
    assert isinstance(failure.value.exceptions[0], ZeroDivisionError)


def test_the_backlog_of_a_listener_is_bounded() -> None:
    async def play() -> None:
        scene = Scene(Weather(latency_s=0))
        scene.listener.pause()
        waiting = [await scene.connect() for _ in range(LISTEN_BACKLOG)]
        with pytest.raises(ConnectFailed, match="too many"):
            await scene.connect()
        await scene.listener.close()
        for talker in waiting:
            await talker.saw("lost")

    run(play())


def test_one_port_has_one_listener_and_one_address_one_host() -> None:
    async def play() -> None:
        scene = Scene(Weather())
        with pytest.raises(OSError, match="somebody listens"):
            scene.server.listen(25, Talker)
        with pytest.raises(OSError, match="not an address of this host"):
            scene.server.listen(Endpoint("192.0.2.77", 25), Talker)
        with pytest.raises(ValueError, match="another host"):
            scene.internet.host(SERVER)

    run(play())


# ---- TLS ----


async def secured(scene: Scene, client: Talker, *, server_name: str, verify: bool) -> None:
    server = scene.met[-1]

    async def serve() -> None:
        try:
            server.transport, _ = await scene.server.start_tls_as_server(server.transport, server)
        except TlsFailed:
            pass  # the client's word is what is asked for here

    async with asyncio.TaskGroup() as group:
        group.create_task(serve())
        client.transport, facts = await scene.client.start_tls_as_client(
            client.transport, client, server_name=server_name, verify=verify
        )
    assert facts.verified is verify


def test_a_certificate_is_verified_for_its_names_and_no_other() -> None:
    async def play() -> None:
        scene = Scene(Weather(), names=("mx.b.example",))
        talker = await scene.meet()
        await secured(scene, talker, server_name="mx.b.example", verify=True)
        talker.transport.write(b"EHLO")
        await talker.has(b"EHLO")
        other = await scene.meet()
        with pytest.raises(ExceptionGroup) as failure:
            await secured(scene, other, server_name="mx.c.example", verify=True)
        assert failure.group_contains(TlsFailed, match="is for mx.b.example, not for mx.c.example")

    run(play())


def test_a_host_without_certificate_has_no_tls() -> None:
    async def play() -> None:
        scene = Scene(Weather())
        talker = await scene.meet()
        with pytest.raises(TlsFailed, match="no certificate"):
            await scene.server.start_tls_as_server(scene.met[0].transport, scene.met[0])
        await talker.saw("lost")

    run(play())


def test_a_handshake_that_nobody_answers_ends_in_time() -> None:
    class Mute(Scene):
        def _meet(self) -> Talker:
            self.met.append(Talker())
            return self.met[-1]

    async def silent() -> float:
        scene = Mute(Weather(latency_s=0), names=("mx.b.example",))
        talker = await scene.meet()
        with pytest.raises(TlsFailed, match="not over within"):
            await scene.client.start_tls_as_client(talker.transport, talker, server_name="mx.b.example", verify=False)
        return asyncio.get_running_loop().time()

    assert run(silent()) == 1 + TLS_HANDSHAKE_S


def test_the_plain_transport_is_void_after_tls() -> None:
    async def play() -> None:
        scene = Scene(Weather(), names=("mx.b.example",))
        talker = await scene.meet()
        old = talker.transport
        await secured(scene, talker, server_name="mx.b.example", verify=False)
        with pytest.raises(AssertionError, match="after TLS began"):
            old.write(b"in the clear")

    run(play())


def test_tls_seen_by_somebody_without_is_gibberish() -> None:
    async def play() -> None:
        scene = Scene(Weather(), names=("mx.b.example",))
        talker = await scene.meet()
        with pytest.raises(TlsFailed, match="something else"):  # the echo of it, in the clear
            await scene.client.start_tls_as_client(talker.transport, talker, server_name="mx.b.example", verify=False)
        assert scene.met[0].octets[:2] == b"\x16\x03"
        await talker.saw("lost")

    run(play())


def test_a_host_without_an_address_given_is_this_machine() -> None:
    assert VirtualNetwork().host().addresses == ("127.0.0.1",)
