"""What the services of SMTP and POP3 have in common: a house full of connections, and how it is opened and closed."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from postroad.contracts.network import Network
from postroad.rules.networks import NetworkSet
from postroad.rules.ruling import Ruling
from postroad.services.connection import Connection
from postroad.services.doorkeeper import Doorkeeper
from postroad.services.errands import Errands
from postroad.services.overload import Overload
from postroad.services.sweep import Sweep


class Conversations:
    """Open inside `async with`; its tasks are waited for when the block ends.

    `overload` pauses the listeners it is told to watch while the loop lags.
    """

    def __init__(self, *, network: Network, sessions_max: int, of_client_max: int, exempt: NetworkSet) -> None:
        self.network = network
        self.overload = Overload()
        self.sweep = Sweep(self.overload.measured)
        self.stopping = False
        self._door = Doorkeeper(sessions_max=sessions_max, of_client_max=of_client_max, exempt=exempt)
        self._tasks = asyncio.TaskGroup()
        self._sweeping: asyncio.Task[None] | None = None
        self._errands: Errands | None = None
        self._connections: dict[Connection, bool] = {}
        """Each with whether the doorkeeper counted it."""
        self._empty = asyncio.Event()
        self._empty.set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._errands = Errands(self._tasks)
        self._sweeping = self._tasks.create_task(self.sweep.run())
        self.opened(self._errands)
        return self

    def opened(self, errands: Errands) -> None:
        """For a subclass: the loop runs now, and tasks have an owner."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping = True
        for connection in tuple(self._connections):
            connection.abort()
        assert self._sweeping is not None
        self._sweeping.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def sessions(self) -> int:
        """Conversations under way."""
        return self._door.sessions

    @property
    def errands(self) -> Errands:
        assert self._errands is not None, "not inside `async with`"
        return self._errands

    def arrived(self, connection: Connection) -> None:
        """A connection was made; `admit` or a refusal follows, and `left` at its end."""
        self._connections[connection] = False
        self._empty.clear()

    def admit(self, connection: Connection) -> Ruling | None:
        """None: it is one of the sessions now."""
        ruling = self._door.admit(connection.remote.address)
        self._connections[connection] = ruling is None
        return ruling

    def left(self, connection: Connection) -> None:
        if self._connections.pop(connection, False):
            self._door.leave(connection.remote.address)
        if not self._connections:
            self._empty.set()

    async def stop(self, grace_s: float) -> None:
        """No new conversation. Those under way are ended at the next good moment, and cut when `grace_s`
        seconds have passed. What was handed to a store by then stays with it."""
        self.stopping = True
        for connection in tuple(self._connections):
            connection.stop()
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
