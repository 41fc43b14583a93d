"""The supervisor: holds the sockets, keeps the workers alive, passes administrators' orders on.

It parses nothing that comes from the network. Its own loop only waits: for workers, for signals and for the
control socket.

    SIGTERM, SIGINT   workers finish their conversations within STOP_GRACE_S and go; a later one kills them
    SIGHUP            the configuration is read again; if it is good the workers are replaced one by one on the
                      same sockets, else the mistakes are told and the old one goes on
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Any

from postroad import __version__
from postroad.app.configuration import Configuration, load
from postroad.app.control import ControlServer
from postroad.app.errors import CannotServe, ConfigurationError
from postroad.app.lending import Lending
from postroad.app.listening import ACCESS_ROLES, Door
from postroad.app.report import ServerReport
from postroad.app.shards import share_out
from postroad.app.slot import Post, Slot
from postroad.app.speaking import Speaker
from postroad.app.spread import Spread
from postroad.services.operations.performer import PlainObject

NEEDS_RESTART = ("data", "processes", "listen")
"""Sections that take effect only when the server is started anew: the sockets are bound, the rights are gone."""

IMPATIENT_S = 1.0
"""A second signal after this is meant; one at the same time is the first by another way: `timeout` and `make`
send it to the process and to its group."""


class Supervisor:
    """Serves with one process for each post until it is told to stop."""

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
        self._told_at = 0.0
        """When we were told to stop, in the loop's time."""
        self._reload = asyncio.Event()
        self._posts = posts(configuration, doors)
        self._lending = Lending(tuple(post.name for post in self._posts if post.role == "transport"))
        self._slots = tuple(Slot(post, configuration, speaker, self._lending) for post in self._posts)

    async def run(self) -> None:
        """Returns after a stop that was asked for. Raises CannotServe if the first workers cannot."""
        self._take_signals()
        failure: CannotServe | None = None
        async with asyncio.TaskGroup() as group:
            for slot in self._slots:
                group.create_task(slot.run())
            try:
                failure = await self._until_manned()
                if failure is None and not self._stop.is_set():
                    await self._serve()
            finally:
                async with asyncio.TaskGroup() as stopping:
                    for slot in self._slots:
                        stopping.create_task(slot.stop())
        if failure is not None:
            raise failure
        self._speaker.say("stopped")

    async def _until_manned(self) -> CannotServe | None:
        """Wait for the first worker of every slot. The reason when one of them cannot serve."""
        firsts = [slot.first for slot in self._slots]
        async with asyncio.TaskGroup() as group:
            stop = group.create_task(self._stop.wait())
            watched: set[asyncio.Future[Any]] = {stop, *firsts}
            while not stop.done() and any(not first.done() for first in firsts):
                _, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if any(first.done() and first.exception() for first in firsts):
                    break
            stop.cancel()
        return next((error for first in firsts if first.done() and (error := _failure(first))), None)

    async def _serve(self) -> None:
        server = ControlServer(Spread(self._slots, self._facts), self._speaker)
        async with server.serving(self._control):
            for door in self._doors:
                self._speaker.say(f"{door.role} listens on {door.address}")
            processes = ", ".join(f"{slot.name} {slot.facts()['pid']}" for slot in self._slots)
            self._speaker.say(f"started: {self._configuration.hostname}, Postroad {__version__}, processes {processes}")
            self._started()
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._reload_when_asked()), group.create_task(self._lending.run())]
                await self._stop.wait()
                for task in beside:
                    task.cancel()
        self._speaker.say("stopping")

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                configuration = load(self._configuration.path)
            except ConfigurationError as error:
                for problem in error.problems:
                    self._speaker.say(problem)
                self._speaker.say("not reloaded: the configuration from before stays in force")
                continue
            await self._change_to(configuration)

    async def _change_to(self, configuration: Configuration) -> None:
        left = [name for name in NEEDS_RESTART if getattr(configuration, name) != getattr(self._configuration, name)]
        if "data" in left:
            self._speaker.say("not reloaded: the data folder is another one; that needs a restart")
            return
        for done, slot in enumerate(self._slots):
            if not await slot.replace(configuration):
                for changed in self._slots[:done]:
                    await changed.replace(self._configuration)
                self._speaker.say("not reloaded: the configuration from before stays in force")
                return
        self._configuration = configuration
        words = f"; [{'] and ['.join(left)}] changed too, and that needs a restart" if left else ""
        self._speaker.say(f"reloaded{words}")

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _told_to_stop(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._told_at = now
        elif now - self._told_at >= IMPATIENT_S:
            self._speaker.say("told twice: the workers are killed")
            for slot in self._slots:
                slot.kill()
        self._stop.set()

    def _facts(self) -> PlainObject:
        return {**self._report.of(self._configuration), "workers": [slot.facts() for slot in self._slots]}


def _failure(first: asyncio.Future[None]) -> CannotServe | None:
    error = first.exception()
    assert error is None or isinstance(error, CannotServe)
    return error


def posts(configuration: Configuration, doors: tuple[Door, ...]) -> list[Post]:
    """Who is to serve what: the transport workers with their shards, then one for access."""
    shares = share_out(configuration)
    found = [
        Post(
            name=f"t{number}",
            role="transport",
            shards=shards,
            doors=tuple(
                # The local door has one socket, which all share.
                (door.role, door.sockets[min(number, len(door.sockets) - 1)])
                for door in doors
                if door.role not in ACCESS_ROLES
            ),
        )
        for number, shards in enumerate(shares)
    ]
    access = tuple((door.role, door.sockets[0]) for door in doors if door.role in ACCESS_ROLES)
    found.append(Post(name="a0", role="access", shards=(), doors=access))
    return found
