"""The real network keeps the contract, on asyncio's own loop and on uvloop."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from postroad.contracts.network import ListenerHandle, Network, ProtocolFactory
from postroad.vocabulary.endpoint import Endpoint
from postroad.world.binding import bind_listener, bind_local
from postroad.world.tcp import RealNetwork
from postroad.world.tls import TlsIdentity, make_self_signed, write_identity
from tests.contract import network_contract as contract

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> TlsIdentity:
    folder = tmp_path_factory.mktemp("keys")
    write_identity(folder / "cert.pem", folder / "key.pem", make_self_signed(contract.SERVER_NAME))
    return TlsIdentity(folder / "cert.pem", folder / "key.pem")


class RealWorld:
    """Both machines are this one."""

    def __init__(self, network: RealNetwork, folder: Path) -> None:
        self._network = network
        self._folder = folder

    @property
    def client(self) -> Network:
        return self._network

    @property
    def server(self) -> Network:
        return self._network

    async def listen(self, factory: ProtocolFactory, *, tls: bool = False) -> tuple[ListenerHandle, Endpoint]:
        [sock] = bind_listener("127.0.0.1:0")
        endpoint = Endpoint(*sock.getsockname())
        return await self._network.listen(sock, factory, tls=tls), endpoint

    async def listen_local(self, factory: ProtocolFactory) -> tuple[ListenerHandle, str]:
        path = str(self._folder / "submit.sock")
        return await self._network.listen(bind_local(path), factory), path

    def dead_end(self) -> Endpoint:
        [sock] = bind_listener("127.0.0.1:0")
        with sock:
            return Endpoint(*sock.getsockname())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(
    check: Callable[[contract.World], Awaitable[None]], loop: str, identity: TlsIdentity, tmp_path: Path
) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        complaints: list[object] = []
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))

        async def play() -> None:
            async with RealNetwork(identity) as network:
                await check(RealWorld(network, tmp_path))

        runner.run(play())
    assert complaints == []
