"""`serve --single-process`: everything in one process and one loop, with the same doors and the same control socket."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from postroad import __version__
from postroad.app.assemble import Node, open_access
from postroad.app.configuration import Configuration, load
from postroad.app.control import ControlServer
from postroad.app.errors import CannotServe, ConfigurationError
from postroad.app.listening import ACCESS_ROLES, Door
from postroad.app.report import ServerReport
from postroad.app.shards import all_shards
from postroad.app.speaking import Speaker
from postroad.app.spread import Spread
from postroad.app.transport import open_transport
from postroad.contracts.errors import StoreUnavailable
from postroad.services.operations.performer import PlainObject
from postroad.services.shared_limits import SharedLimits


class Inside:
    """A node of this process as one that can be asked."""

    def __init__(self, name: str, role: str, node: Node) -> None:
        self.name = name
        self.role = role
        self._node = node

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        return await self._node.performer.perform(verb, arguments)


class SingleProcess:
    def __init__(
        self,
        configuration: Configuration,
        doors: tuple[Door, ...],
        control: socket.socket,
        speaker: Speaker,
        started: Callable[[], None],
    ) -> None:
        self._configuration = configuration
        self._doors = doors
        self._control = control
        self._speaker = speaker
        self._started = started
        self._report = ServerReport(doors)
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. SIGHUP opens everything anew with the configuration read again."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._speaker.loop_handler())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        while not self._stop.is_set():
            self._reload.clear()
            await self._serve()
            if not self._stop.is_set():
                self._read_again()
        self._speaker.say("stopped")

    async def _serve(self) -> None:
        """One configuration's time."""
        try:
            async with AsyncExitStack() as opened:
                shared = SharedLimits()
                nodes = [
                    Inside("t0", "transport", await opened.enter_async_context(self._transport(shared))),
                    Inside("a0", "access", await opened.enter_async_context(self._access(shared))),
                ]
                server = ControlServer(Spread(nodes, self._facts), self._speaker)
                await opened.enter_async_context(server.serving(self._control.dup()))
                for door in self._doors:
                    self._speaker.say(f"{door.role} listens on {door.address}")
                self._speaker.say(f"started: {self._configuration.hostname}, Postroad {__version__}, one process")
                self._started()
                async with asyncio.TaskGroup() as group:
                    ends = [group.create_task(self._stop.wait()), group.create_task(self._reload.wait())]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    for end in ends:
                        end.cancel()
                self._speaker.say("stopping")
        except StoreUnavailable as error:
            raise CannotServe(str(error)) from error

    def _transport(self, shared: SharedLimits) -> AbstractAsyncContextManager[Node]:
        return open_transport(
            self._configuration,
            name="t0",
            shards=all_shards(self._configuration),
            doors=tuple((door.role, door.sockets[0].dup()) for door in self._doors if door.role not in ACCESS_ROLES),
            speaker=self._speaker,
            shared_limits=shared,
        )

    def _access(self, shared: SharedLimits) -> AbstractAsyncContextManager[Node]:
        return open_access(
            self._configuration,
            name="a0",
            doors=tuple((door.role, door.sockets[0].dup()) for door in self._doors if door.role in ACCESS_ROLES),
            speaker=self._speaker,
            shared_limits=shared,
        )

    def _read_again(self) -> None:
        try:
            configuration = load(self._configuration.path)
        except ConfigurationError as error:
            for problem in error.problems:
                self._speaker.say(problem)
            self._speaker.say("not reloaded: the configuration from before stays in force")
            return
        if configuration.data_folder != self._configuration.data_folder:
            self._speaker.say("not reloaded: the data folder is another one; that needs a restart")
            return
        self._configuration = configuration
        self._speaker.say("reloaded")

    def _facts(self) -> PlainObject:
        return self._report.of(self._configuration)
