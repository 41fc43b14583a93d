"""The resolver against our own name server: the contract, the cache, and what strangers may send."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from postroad.contracts.errors import DnsTemporary
from postroad.contracts.resolver import MxRecord, Resolver
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import DNS_FAILURE_TTL_S
from postroad.vocabulary.zone import Record, RecordType, a, mx
from postroad.world import dns_exchange
from postroad.world.dns import DnsResolver
from postroad.world.dns_exchange import parse_server, system_servers
from postroad.world.dns_server import DnsServer
from postroad.world.dns_wire import Found, Query
from tests.contract import resolver_contract as contract

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Watch:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def served(zones: dict[str, list[Record]]) -> AsyncIterator[tuple[DnsServer, str]]:
    server = DnsServer(zones)
    endpoint = await server.start()
    try:
        yield server, str(endpoint)
    finally:
        await server.stop()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Callable[[Resolver], Awaitable[None]], loop: str) -> None:
    async def play() -> None:
        async with served(contract.ZONES) as (server, address):
            server.failing.add(contract.FAILING)
            server.proved |= contract.PROVED
            await check(DnsResolver([address]))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())


def zone(ttl_s: int = 300) -> dict[str, list[Record]]:
    return {
        "c.example": [
            mx("c.example", 10, "mx.c.example", ttl_s=ttl_s),
            Record("c.example", RecordType.SOA, "ns.c.example. hostmaster.c.example. 1 3600 600 86400 30", ttl_s=600),
        ]
    }


def test_an_answer_is_kept_as_long_as_it_says() -> None:
    async def play() -> None:
        async with served(zone(ttl_s=300)) as (server, address):
            watch = Watch()
            resolver = DnsResolver([address], monotonic=watch)
            for _ in range(3):
                await resolver.mx("c.example")
            watch.now += 299
            await resolver.mx("C.EXAMPLE")
            assert server.asked["c.example", "MX"] == 1
            watch.now += 2
            await resolver.mx("c.example")
            assert server.asked["c.example", "MX"] == 2

    asyncio.run(play())


def test_no_is_remembered_as_long_as_the_zone_says() -> None:
    async def play() -> None:
        async with served(zone()) as (server, address):
            watch = Watch()
            resolver = DnsResolver([address], monotonic=watch)
            assert not await resolver.exists("nobody.c.example")
            watch.now += 29
            assert not await resolver.exists("nobody.c.example")
            assert server.asked["nobody.c.example", "MX"] == 1
            server.zones = {"c.example": [mx("nobody.c.example", 10, "mx.c.example")]}
            watch.now += 2
            assert await resolver.mx("nobody.c.example") == (MxRecord(10, "mx.c.example"),)

    asyncio.run(play())


def test_an_answer_without_a_lifetime_is_not_kept() -> None:
    async def play() -> None:
        async with served(zone(ttl_s=0)) as (server, address):
            resolver = DnsResolver([address])
            await resolver.mx("c.example")
            await resolver.mx("c.example")
            assert server.asked["c.example", "MX"] == 2

    asyncio.run(play())


def test_a_failure_is_asked_again_after_a_moment() -> None:
    async def play() -> None:
        async with served(zone()) as (server, address):
            watch = Watch()
            resolver = DnsResolver([address], monotonic=watch)
            server.failing.add("c.example")
            for _ in range(2):
                with pytest.raises(DnsTemporary, match="SERVFAIL"):
                    await resolver.mx("c.example")
            asked = server.asked["c.example", "MX"]
            server.failing.clear()
            watch.now += DNS_FAILURE_TTL_S
            assert await resolver.mx("c.example") == (MxRecord(10, "mx.c.example"),)
            assert server.asked["c.example", "MX"] == asked + 1

    asyncio.run(play())


@pytest.mark.parametrize("ttl_s", [0, 300])
def test_the_same_question_at_the_same_time_is_asked_once(ttl_s: int) -> None:
    async def play() -> None:
        async with served(zone(ttl_s)) as (server, address):
            resolver = DnsResolver([address])
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(resolver.mx("c.example")) for _ in range(100)]
            assert {task.result() for task in asked} == {(MxRecord(10, "mx.c.example"),)}
            assert server.asked["c.example", "MX"] == 1

    asyncio.run(play())


def test_one_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    async def play() -> None:
        async with served(zone()) as (_, address):
            resolver = DnsResolver([address])
            async with asyncio.TaskGroup() as group:
                first = group.create_task(resolver.mx("c.example"))
                others = [group.create_task(resolver.mx("c.example")) for _ in range(3)]
                await asyncio.sleep(0)
                first.cancel()
            assert first.cancelled()
            assert all(task.result() for task in others)

    asyncio.run(play())


def test_the_cache_forgets_what_was_not_used_longest() -> None:
    async def play() -> None:
        names = [f"host{n}.c.example" for n in range(4)]
        async with served({"c.example": [mx(name, 10, "mx.c.example") for name in names]}) as (server, address):
            resolver = DnsResolver([address], cache_entries=3)
            for name in (*names[:3], names[0], names[3], names[0], names[1]):
                await resolver.mx(name)
            assert [server.asked[name, "MX"] for name in names] == [1, 2, 1, 1]

    asyncio.run(play())


def test_a_silent_server_is_passed_over_and_then_asked_last() -> None:
    async def play() -> None:
        async with served(zone()) as (deaf, first), served(zone()) as (server, second):
            deaf.silent.update(("c.example", "mx.c.example"))
            resolver = DnsResolver([first, second], query_s=0.1)
            assert await resolver.mx("c.example") != ()
            assert await resolver.addresses("mx.c.example") == ()
            assert deaf.asked["c.example", "MX"] == 1
            assert deaf.asked["mx.c.example", "A"] == 0
            assert server.asked["mx.c.example", "A"] == 1

    asyncio.run(play())


def test_nobody_there_is_temporary() -> None:
    async def play() -> None:
        async with served(zone()) as (_, address):
            pass
        with pytest.raises(DnsTemporary, match="refused"):
            await DnsResolver([address]).mx("c.example")

    asyncio.run(play())


def test_one_family_that_fails_does_not_hide_the_other() -> None:
    class HalfServer(DnsServer):
        def _answer(self, wire: bytes, most: int | None) -> bytes | None:
            # The type of the question stands before the class, 4 octets from its end: the OPT record has 11.
            aaaa = wire[-15:-13] == b"\0\x1c"
            self.failing = {"mx.c.example"} if aaaa else set()
            return super()._answer(wire, most)

    async def play() -> None:
        server = HalfServer({"c.example": [a("mx.c.example", "192.0.2.1")]})
        endpoint = await server.start()
        resolver = DnsResolver([str(endpoint)])
        assert await resolver.addresses("mx.c.example") == ("192.0.2.1",)
        with pytest.raises(DnsTemporary):  # none of the one, and nobody knows of the other
            await resolver.addresses("other.example")
        await server.stop()

    asyncio.run(play())


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "a..example", "bücher.example", ".".join(["abc"] * 90)])
def test_what_cannot_be_a_name_is_not_there(name: str) -> None:
    async def play() -> None:
        async with served(zone()) as (_, address):
            resolver = DnsResolver([address])
            assert await resolver.mx(name) == ()
            assert await resolver.addresses(name) == ()
            assert not await resolver.exists(name)

    asyncio.run(play())


def test_control_characters_of_a_stranger_come_out_escaped() -> None:
    async def play() -> None:
        async with served({"c.example": [mx("c.example", 1, r"evil\013\010name.c.example")]}) as (_, address):
            [record] = await DnsResolver([address]).mx("c.example")
            assert record.host.isprintable()
            assert record.host == r"evil\013\010name.c.example"

    asyncio.run(play())


class Liar(asyncio.DatagramProtocol):
    """Sends forged datagrams before the true answer of a real server's making."""

    def __init__(self, forge: Callable[[bytes], list[bytes]]) -> None:
        self._forge = forge

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for datagram in self._forge(data):
            self._transport.sendto(datagram, addr)


@asynccontextmanager
async def lying(forge: Callable[[bytes], list[bytes]]) -> AsyncIterator[DnsResolver]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Liar(forge), local_addr=("127.0.0.1", 0)
    )
    host, port = transport.get_extra_info("sockname")
    try:
        yield DnsResolver([f"{host}:{port}"], query_s=0.3)
    finally:
        transport.close()


def test_replies_that_do_not_fit_the_question_are_passed_over() -> None:
    def forge(query: bytes) -> list[bytes]:
        true = DnsServer(zone())._answer(query, 1232)
        assert true is not None
        wrong_id = bytes([true[0] ^ 1]) + true[1:]
        wrong_question = true.replace(b"\x01c\x07example", b"\x01d\x07example", 1)
        return [b"", b"x", query, wrong_id, wrong_question, true]

    async def play() -> None:
        async with lying(forge) as resolver:
            assert await resolver.mx("c.example") == (MxRecord(10, "mx.c.example"),)

    asyncio.run(play())


def test_a_flood_of_guesses_ends_the_query() -> None:
    def forge(query: bytes) -> list[bytes]:
        return [bytes([query[0] ^ n % 255 + 1]) + query[1:] for n in range(200)]

    async def play() -> None:
        async with lying(forge) as resolver:
            with pytest.raises(DnsTemporary, match="guessing"):
                await resolver.mx("c.example")

    asyncio.run(play())


def test_rubbish_behind_a_fitting_header_is_temporary() -> None:
    def forge(query: bytes) -> list[bytes]:
        return [query[:2] + b"\x81\x80" + query[4:6] + b"\xff\xff\0\0\0\0" + query[12:-11] + b"\xc0\x0c" * 30]

    async def play() -> None:
        async with lying(forge) as resolver:
            with pytest.raises(DnsTemporary):
                await resolver.mx("c.example")

    asyncio.run(play())


def test_servers_are_read_from_text_and_from_resolv_conf(tmp_path: Path) -> None:
    assert parse_server("127.0.0.1:5353") == Endpoint("127.0.0.1", 5353)
    assert parse_server("192.0.2.1") == Endpoint("192.0.2.1", 53)
    assert parse_server("[::1]:5353") == Endpoint("::1", 5353)
    assert parse_server("::1") == Endpoint("::1", 53)
    for text in ("", "localhost", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:70000", "[::1]x:5"):
        with pytest.raises(ValueError, match="name server"):
            parse_server(text)
    file = tmp_path / "resolv.conf"
    file.write_text("# by hand\nsearch example\nnameserver ::1\nnameserver nonsense\nnameserver 192.0.2.1\n")
    assert system_servers(file) == (Endpoint("::1", 53), Endpoint("192.0.2.1", 53))
    assert system_servers(tmp_path / "none") == (Endpoint("127.0.0.1", 53),)


def test_an_answer_of_thousands_of_records_does_not_stop_the_house() -> None:
    async def play() -> None:
        records = [mx("c.example", 10, f"mx{n}.c.example") for n in range(2000)]
        async with served({"c.example": records}) as (_, address):
            with pytest.raises(DnsTemporary, match="octets"):
                await DnsResolver([address]).mx("c.example")

    asyncio.run(play())


def test_the_word_of_a_resolver_beyond_this_machine_proves_nothing() -> None:
    """Whoever stands on the way could have said it (RFC 4035 section 4.9.3)."""
    reply = DnsServer({"c.example": [mx("c.example", 10, "mx.c.example")]})
    reply.proved.add("c.example")

    def found(*, proof: bool, edns: bool = True) -> Found:
        query = Query("c.example", RecordType.MX, 4711, proof=proof, edns=edns)
        wire = reply._answer(query.wire, None)
        assert wire is not None
        # Such a resolver may say so unasked.
        return query.read(wire[:3] + bytes([wire[3] | 0x20]) + wire[4:])

    assert found(proof=True).proved
    assert found(proof=True, edns=False).proved
    assert not found(proof=False).proved


def test_only_a_server_on_loopback_is_asked_for_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        asked: list[tuple[str, bytes]] = []

        async def no_answer(server: Endpoint, query: Query) -> bytes:
            asked.append((server.address, query.wire[2:4]))
            raise OSError("nobody there")

        monkeypatch.setattr(dns_exchange, "_over_udp", no_answer)
        resolver = DnsResolver(["192.0.2.53", "127.0.0.1", "[::1]:53"])
        with pytest.raises(DnsTemporary):
            await resolver.mx_answer("c.example")
        plain, proof = b"\x01\x00", b"\x01\x20"
        assert set(asked) == {("192.0.2.53", plain), ("127.0.0.1", proof), ("::1", proof)}

    asyncio.run(play())
