"""What the services of SMTP and POP3 have in common: a house full of connections, and how it is opened and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import Enum
from types import TracebackType
from typing import Any, Self

from postroad.contracts.network import Network
from postroad.rules.networks import NetworkSet
from postroad.rules.ruling import Ruling
from postroad.services.connection import Connection
from postroad.services.door_portions import DoorPortions
from postroad.services.doorkeeper import Doorkeeper
from postroad.services.errands import Errands
from postroad.services.overload import Overload
from postroad.services.portions import Portions
from postroad.services.sweep import Sweep


class Standing(Enum):
    """What the doorkeeper makes of a connection."""

    OUTSIDE = "not counted"
    ADMITTED = "one of the sessions"
    VOUCHED = "one that has logged in"


_NOT_COUNTED = Standing.OUTSIDE
_OUTSIDE = (_NOT_COUNTED, "")


class Conversations:
    """Open inside `async with`; its tasks are waited for when the block ends.

    `overload` pauses the listeners it is told to watch while the loop lags. With `portions` the limits hold over
    several processes, `sessions_of_all` among them.
    """

    def __init__(
        self,
        *,
        network: Network,
        sessions_max: int,
        of_client_max: int,
        exempt: NetworkSet,
        per_minute: int = 0,
        portions: Portions | None = None,
        sessions_of_all: int = 0,
    ) -> None:
        self.network = network
        self.overload = Overload()
        self.sweep = Sweep(self.overload.measured)
        self.stopping = False
        self.loop: asyncio.AbstractEventLoop
        """The one that it was entered in. Asking for the running loop is a system call, three for each connection."""
        shared = None
        if portions is not None:
            most = sessions_of_all or sessions_max
            shared = DoorPortions(portions, sessions_max=most, of_client_max=of_client_max, per_minute=per_minute)
        self._door = Doorkeeper(
            sessions_max=sessions_max,
            of_client_max=of_client_max,
            exempt=exempt,
            per_minute=per_minute,
            portions=shared,
        )
        self._tasks = asyncio.TaskGroup()
        self._background: list[asyncio.Task[None]] = []
        self._errands: Errands | None = None
        self._connections: dict[Connection, tuple[Standing, str]] = {}
        """Each with the address that it was counted under; a front end may have told another since."""
        self._empty = asyncio.Event()
        self._empty.set()

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        self._errands = Errands(self._tasks)
        self.run_beside(self.sweep.run())
        self.opened(self._errands)
        return self

    def opened(self, errands: Errands) -> None:
        """For a subclass: the loop runs now, and tasks have an owner."""

    def run_beside(self, service: Coroutine[Any, Any, None]) -> None:
        """Run it until the block ends; then it is cancelled, and may finish what it must."""
        self._background.append(self._tasks.create_task(service))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping = True
        for connection in tuple(self._connections):
            connection.abort()
        for each in self._background:
            each.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def sessions(self) -> int:
        """Conversations under way."""
        return self._door.sessions

    @property
    def errands(self) -> Errands:
        assert self._errands is not None, "not inside `async with`"
        return self._errands

    def room_for(self, connection: Connection) -> asyncio.Future[None] | None:
        """What to wait for before it is looked at: whether the other processes leave room for it. To be asked again
        then; None: nothing."""
        room = self._door.wanting(connection.remote.address, self.loop.time())
        if room is not None:
            self.arrived(connection)
        return room

    def arrived(self, connection: Connection) -> None:
        """A connection was made; `admit` or a refusal follows, and `left` at its end."""
        self._connections[connection] = _OUTSIDE
        self._empty.clear()

    def admit(self, connection: Connection, *, ours: bool = True) -> Ruling | None:
        """None: it is one of the sessions now. `ours` may take the last of them (`Doorkeeper.admit`)."""
        address = connection.remote.address
        ruling = self._door.admit(address, self.loop.time(), ours=ours)
        if ruling is None:
            self._connections[connection] = (Standing.ADMITTED, address)
        return ruling

    @property
    def connections(self) -> int:
        """Those too that are not, or not yet, one of the sessions."""
        return len(self._connections)

    def forget(self, connection: Connection) -> None:
        """It is no longer counted as the client that it was; `arrived` and `admit` follow for another."""
        standing, address = self._connections.get(connection, _OUTSIDE)
        if standing is not _NOT_COUNTED:
            self._connections[connection] = _OUTSIDE
            self._door.leave(address, vouched=standing is Standing.VOUCHED)

    def vouched(self, connection: Connection) -> None:
        """It has logged in. Harmless when repeated, or for one that has left."""
        standing, address = self._connections.get(connection, _OUTSIDE)
        if standing is Standing.ADMITTED:
            self._connections[connection] = (Standing.VOUCHED, address)
            self._door.vouched(address)

    def left(self, connection: Connection) -> None:
        standing, address = self._connections.pop(connection, _OUTSIDE)
        if standing is not _NOT_COUNTED:
            self._door.leave(address, vouched=standing is Standing.VOUCHED)
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
