"""The virtual network keeps the contract of the real one, in fair weather and in small pieces."""

from collections.abc import Awaitable, Callable

import pytest

from postroad.contracts.network import ListenerHandle, ProtocolFactory
from postroad.simulation.virtual_loop import run
from postroad.simulation.virtual_network import VirtualNetwork
from postroad.simulation.weather import Weather
from postroad.vocabulary.endpoint import Endpoint
from tests.contract import network_contract as contract

SERVER = "192.0.2.25"

WEATHERS = {
    "fair": Weather(),
    "no latency": Weather(latency_s=0),
    "ragged": Weather(latency_s=0.02, segment_bytes=5000, ragged=True),
}


class VirtualWorld:
    def __init__(self, weather: Weather, seed: int) -> None:
        internet = VirtualNetwork(seed=seed, weather=weather)
        self.client = internet.host("192.0.2.1")
        # The certificate is signed by nobody, like the one of the real suite.
        self.server = internet.host(SERVER, names=(contract.SERVER_NAME,), valid_certificate=False)

    async def listen(self, factory: ProtocolFactory, *, tls: bool = False) -> tuple[ListenerHandle, Endpoint]:
        listener = self.server.listen(25, factory, tls=tls)
        return listener, listener.endpoint

    async def listen_local(self, factory: ProtocolFactory) -> tuple[ListenerHandle, str]:
        return self.client.listen_local("/run/submit.sock", factory), "/run/submit.sock"

    def dead_end(self) -> Endpoint:
        return Endpoint(SERVER, 9)


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Callable[[contract.World], Awaitable[None]], weather: str, seed: int | None) -> None:
    async def play() -> None:
        await check(VirtualWorld(WEATHERS[weather], seed or 0))

    run(play(), seed=seed)
