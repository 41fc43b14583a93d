"""The virtual internet: hosts with addresses, listeners, and the weather on the ways between them.

    internet = VirtualNetwork(seed=7)
    mx = internet.host("192.0.2.25", names=("mx.b.example",))
    mx.listen(25, factory)
    client = internet.host("192.0.2.1")
    transport, protocol = await client.connect(Protocol, Endpoint("192.0.2.25", 25), timeout_s=30)
    internet.set_weather("192.0.2.25", Weather(segment_bytes=1))

A host is what a server is given as its Network (contracts/network.py): it connects from its own address and
shows its own certificate.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from postroad.contracts.errors import ConnectFailed, TlsFailed, Unreachable
from postroad.contracts.network import ProtocolFactory
from postroad.simulation.virtual_end import End, VirtualTransport
from postroad.simulation.virtual_handshake import Certificate, Handshake
from postroad.simulation.virtual_way import Way
from postroad.simulation.weather import FAIR, Weather
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.vocabulary.limits import LISTEN_BACKLOG, TLS_HANDSHAKE_S

_UNIX = Endpoint("unix", 0)
_FIRST_PORT, _LAST_PORT = 32_768, 60_999


class VirtualListener:
    """Implements ListenerHandle. `endpoint` is where it listens."""

    def __init__(self, host: VirtualHost, endpoint: Endpoint, factory: ProtocolFactory, tls: bool) -> None:
        self.endpoint = endpoint
        self.host = host
        self._factory = factory
        self._tls = tls
        self._paused = False
        self._backlog: deque[End] = deque()

    def offer(self, end: End) -> bool:
        """A connection has come. False when the backlog is full."""
        if len(self._backlog) >= LISTEN_BACKLOG:
            return False
        self._backlog.append(end)
        if not self._paused:
            asyncio.get_running_loop().call_soon(self._accept)
        return True

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        for _ in self._backlog:
            asyncio.get_running_loop().call_soon(self._accept)

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        self.host.network.unlisten(self)
        while self._backlog:
            self._backlog.popleft().vanish()  # the kernel resets what nobody has accepted

    def _accept(self) -> None:
        if self._paused or not self._backlog:
            return
        end = self._backlog.popleft()
        if end.lost:
            return
        if self._tls:
            self._handshake_first(end)
        else:
            self._serve(end)

    def _handshake_first(self, end: End) -> None:
        handshake = Handshake(end, server=True, their_certificate=lambda: None)
        if self.host.certificate is None:
            end.close()
            return
        timer = asyncio.get_running_loop().call_later(TLS_HANDSHAKE_S, end.abort)

        def over(done: asyncio.Future[TlsFacts]) -> None:
            timer.cancel()
            if done.exception() is None:
                self._serve(end)

        handshake.done.add_done_callback(over)
        end.begin_handshake(handshake)

    def _serve(self, end: End) -> None:
        if end.lost:
            return
        end.protocol = self._factory()
        end.protocol.connection_made(end.transport)
        end.release()


class VirtualHost:
    """One machine: its addresses, its certificate, its listeners. Implements Network.

    `crash` ends it as a killed process ends; the same host may listen again afterwards.
    """

    def __init__(
        self, network: VirtualNetwork, addresses: tuple[str, ...], certificate: Certificate | None, uid: int
    ) -> None:
        self.network = network
        self.addresses = addresses
        self.certificate = certificate
        self.user_id = uid
        self.ends: dict[End, None] = {}
        self._listeners: list[VirtualListener] = []
        self._port = _FIRST_PORT

    # ---- listening ----

    def listen(self, where: int | Endpoint, factory: ProtocolFactory, *, tls: bool = False) -> VirtualListener:
        """On a port of every address of the host, or on one endpoint (which then must be ours). Raises OSError
        when it is taken."""
        endpoint = Endpoint("", where) if isinstance(where, int) else where
        if endpoint.address and endpoint.address not in self.addresses:
            raise OSError(f"{endpoint} is not an address of this host")
        addresses = (endpoint.address,) if endpoint.address else self.addresses
        listener = VirtualListener(self, Endpoint(addresses[0], endpoint.port), factory, tls)
        for address in addresses:
            self.network.listen((Endpoint(address, endpoint.port), ""), listener)
        self._listeners.append(listener)
        return listener

    def listen_local(self, path: str, factory: ProtocolFactory) -> VirtualListener:
        """On a Unix socket, for `connect_local` of this host."""
        listener = VirtualListener(self, Endpoint(self.addresses[0], 0), factory, False)
        self.network.listen((listener.endpoint, path), listener)
        self._listeners.append(listener)
        return listener

    def crash(self) -> None:
        """The process is killed: no protocol of it is told anything, its peers get a reset."""
        for listener in self._listeners:
            listener.stop()
        self._listeners.clear()
        for end in list(self.ends):
            end.vanish()

    # ---- Network ----

    async def connect(
        self, factory: ProtocolFactory, remote: Endpoint, *, local_address: str = "", timeout_s: float
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        address = local_address or self._address_for(remote)
        if address not in self.addresses:
            raise ConnectFailed(f"{remote}: {address} is not an address of this host")
        weather = self.network.weather(remote.address)
        if weather.black_hole:
            await asyncio.sleep(timeout_s)
            raise Unreachable(f"{remote}: no answer within {timeout_s:g} s")
        await self._travel(remote, 2 * weather.latency_s, timeout_s)
        if weather.unreachable or not self.network.has(remote.address):
            raise Unreachable(f"{remote}: there is no route to this address")
        self._port = self._port + 1 if self._port < _LAST_PORT else _FIRST_PORT
        here = Endpoint(address, self._port)
        return self._establish(factory, (remote, ""), here, remote, weather)

    async def connect_local(
        self, factory: ProtocolFactory, path: str, *, timeout_s: float
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        return self._establish(factory, (Endpoint(self.addresses[0], 0), path), _UNIX, _UNIX, Weather(latency_s=0))

    def remote(self, transport: asyncio.BaseTransport) -> Endpoint:
        return _end_of(transport).remote

    def local(self, transport: asyncio.BaseTransport) -> Endpoint:
        return _end_of(transport).local

    def tls(self, transport: asyncio.BaseTransport) -> TlsFacts | None:
        return _end_of(transport).tls

    def uid(self, transport: asyncio.BaseTransport) -> int | None:
        return _end_of(transport).uid

    async def start_tls_as_server(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol
    ) -> tuple[asyncio.Transport, TlsFacts]:
        end = _end_of(transport)
        if self.certificate is None:
            end.close()
            raise TlsFailed("this host has no certificate")
        return await _shake_hands(end, protocol, Handshake(end, server=True, their_certificate=lambda: None))

    async def start_tls_as_client(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, *, server_name: str, verify: bool
    ) -> tuple[asyncio.Transport, TlsFacts]:
        end = _end_of(transport)
        address = end.remote.address
        handshake = Handshake(
            end,
            server=False,
            their_certificate=lambda: self.network.certificate(address),
            server_name=server_name,
            verify=verify,
        )
        return await _shake_hands(end, protocol, handshake)

    # ---- inside ----

    def forget(self, end: End) -> None:
        """A connection is over at this end."""
        self.ends.pop(end, None)

    def _address_for(self, remote: Endpoint) -> str:
        """Our first address of the other end's family."""
        same = [address for address in self.addresses if (":" in address) == (":" in remote.address)]
        if not same:
            raise ConnectFailed(f"{remote}: there is no route to this address")
        return same[0]

    async def _travel(self, remote: Endpoint, seconds: float, timeout_s: float) -> None:
        await asyncio.sleep(min(seconds, timeout_s))
        if seconds > timeout_s:
            raise Unreachable(f"{remote}: no answer within {timeout_s:g} s")

    def _establish(
        self, factory: ProtocolFactory, key: tuple[Endpoint, str], here: Endpoint, there: Endpoint, weather: Weather
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        listener = self.network.listener(key)
        what = key[1] or str(there)
        if listener is None or weather.refused:
            raise ConnectFailed(f"{what}: the connection was refused")
        host = listener.host
        ours, theirs = _join(weather, self.network.chance, here, there, self.forget, host.forget)
        if key[1]:
            ours.uid, theirs.uid = host.user_id, self.user_id
        if not listener.offer(theirs):
            raise ConnectFailed(f"{what}: too many connections wait there already")
        self.ends[ours] = host.ends[theirs] = None
        protocol = factory()
        assert isinstance(protocol, asyncio.Protocol)
        ours.protocol = protocol
        protocol.connection_made(ours.transport)
        ours.release()
        return ours.transport, protocol


class VirtualNetwork:
    """All hosts and the weather between them. The same seed gives the same run."""

    def __init__(self, *, seed: int = 0, weather: Weather = FAIR) -> None:
        self.chance = random.Random(seed)
        self._fair = weather
        self._weather: dict[str, Weather] = {}
        self._hosts: dict[str, VirtualHost] = {}
        self._listeners: dict[tuple[Endpoint, str], VirtualListener] = {}

    def host(
        self, *addresses: str, names: tuple[str, ...] = (), valid_certificate: bool = True, uid: int = 1000
    ) -> VirtualHost:
        """A new host with these addresses (default 127.0.0.1). With `names` it has a certificate for them.
        Raises ValueError for an address that another host has."""
        addresses = addresses or ("127.0.0.1",)
        taken = [address for address in addresses if address in self._hosts]
        if taken:
            raise ValueError(f"{taken[0]} is the address of another host")
        host = VirtualHost(self, addresses, Certificate(names, valid_certificate) if names else None, uid)
        self._hosts |= dict.fromkeys(addresses, host)
        return host

    def set_weather(self, address: str, weather: Weather | None) -> None:
        """For connections to this address made from now on; None gives it the network's usual weather again."""
        if weather is None:
            self._weather.pop(address, None)
        else:
            self._weather[address] = weather

    def weather(self, address: str) -> Weather:
        return self._weather.get(address, self._fair)

    def has(self, address: str) -> bool:
        return address in self._hosts

    def certificate(self, address: str) -> Certificate | None:
        host = self._hosts.get(address)
        return None if host is None else host.certificate

    def listen(self, key: tuple[Endpoint, str], listener: VirtualListener) -> None:
        if key in self._listeners:
            raise OSError(f"{key[1] or key[0]}: somebody listens there already")
        self._listeners[key] = listener

    def listener(self, key: tuple[Endpoint, str]) -> VirtualListener | None:
        return self._listeners.get(key)

    def unlisten(self, listener: VirtualListener) -> None:
        self._listeners = {key: other for key, other in self._listeners.items() if other is not listener}


def _join(
    weather: Weather,
    chance: random.Random,
    here: Endpoint,
    there: Endpoint,
    ours_gone: Callable[[End], None],
    theirs_gone: Callable[[End], None],
) -> tuple[End, End]:
    """Both ends of a new connection from `here` to `there`, the caller's first."""
    out = Way(weather, chance, weather.cut_after, weather.mute_after)
    back = Way(weather, chance, weather.cut_after_reply, weather.mute_after_reply)
    ours = End(there, here, into=back, out=out, gone=ours_gone)
    theirs = End(here, there, into=out, out=back, gone=theirs_gone)
    ours.peer, theirs.peer = theirs, ours

    def trouble(cut: bool) -> None:
        out.stop()
        back.stop()
        if cut:
            for end in (ours, theirs):
                end.fail(ConnectionResetError("connection reset by peer"))

    out.trouble = back.trouble = trouble
    return ours, theirs


async def _shake_hands(
    end: End, protocol: asyncio.Protocol, handshake: Handshake
) -> tuple[asyncio.Transport, TlsFacts]:
    end.protocol = protocol
    end.begin_handshake(handshake)
    try:
        async with asyncio.timeout(TLS_HANDSHAKE_S):
            facts = await handshake.done
    except TimeoutError:
        end.abort()
        raise TlsFailed(f"the TLS handshake was not over within {TLS_HANDSHAKE_S:g} s")
    except asyncio.CancelledError:
        end.abort()
        end.release()
        raise
    # The caller goes on within this turn of the loop; only then may octets inside TLS come.
    asyncio.get_running_loop().call_soon(end.release)
    return end.transport, facts


def _end_of(transport: asyncio.BaseTransport) -> End:
    assert isinstance(transport, VirtualTransport), "a transport of another network"
    return transport.end
