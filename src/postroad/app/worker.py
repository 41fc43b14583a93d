"""A worker process: `python -m postroad.app.worker FD`, started by the supervisor and by nobody else.

FD is the channel. The first line on it says what to be; the sockets and the configuration's text are inherited
descriptors. The worker answers {"ready"} or {"failed"}, then carries out what is asked until it is told to
stop or the channel ends, which is the death of the supervisor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from postroad.app.assemble import Node, open_access
from postroad.app.borrowing import Borrowing
from postroad.app.channel import ChannelBroken, answer, failure_line, line, read_line
from postroad.app.configuration import Configuration, parse
from postroad.app.errors import TRY_AGAIN, CannotServe, ConfigurationError
from postroad.app.identity import forbid_new_privileges
from postroad.app.loop import run_in_loop
from postroad.app.speaking import Speaker
from postroad.app.transport import open_transport
from postroad.contracts.errors import StoreUnavailable
from postroad.services.operations.performer import PlainObject
from postroad.vocabulary.limits import CONTROL_LINE_BYTES
from postroad.vocabulary.listener import ListenerRole

Doors = tuple[tuple[ListenerRole, socket.socket], ...]


class Channel:
    """The worker's end: one writer, whole lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, *lines: bytes) -> None:
        """Raises nothing when the supervisor is gone: the reader will tell."""
        try:
            for octets in lines:
                self._writer.write(octets)
                await self._writer.drain()
        except ConnectionError:
            pass

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass


async def work(descriptor: int) -> int:
    """The life of a worker. Returns the exit status."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor), limit=CONTROL_LINE_BYTES)
    channel = Channel(reader, writer)
    first = await read_line(reader)
    if first is None or "start" not in first:
        return 1
    start = first["start"]
    words: list[list[Any]] = []
    for _ in range(start["first_lines"]):
        words += (await read_line(reader) or {}).get("limits", [])
    borrowing = Borrowing(writer, workers=start["workers"], first=words)
    doors = tuple((ListenerRole(role), socket.socket(fileno=fd)) for role, fd in start["doors"])
    configuration = _configuration(start)
    speaker = Speaker(start["name"], configuration.run_folder / "errors.log", debug=start["debug"])
    speaker.hear_logging()
    asyncio.get_running_loop().set_exception_handler(speaker.loop_handler())
    try:
        await _serve(start, configuration, doors, speaker, channel, borrowing)
    except Exception as error:
        return await _tell_why(error, speaker, channel)
    finally:
        await channel.close()
    return 0


async def _tell_why(error: Exception, speaker: Speaker, channel: Channel) -> int:
    """What ended the worker, for the supervisor; the exit status."""
    cause = _innermost(error)
    if isinstance(cause, (CannotServe, ConfigurationError)):
        await channel.send(failure_line(str(cause), cause.exit_status, failed=str(cause)))
        return cause.exit_status
    if isinstance(cause, StoreUnavailable):
        await channel.send(failure_line(str(cause), TRY_AGAIN, failed=str(cause)))
        return TRY_AGAIN
    speaker.unexpected("the worker ends", error)
    await channel.send(failure_line(str(cause), 70, failed=f"unexpected {type(cause).__name__}: {cause}"))
    return 70


def _innermost(error: Exception) -> Exception:
    """What a group of one is about."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _configuration(start: PlainObject) -> Configuration:
    """The text that the supervisor has checked, and not the file, which may have changed since."""
    descriptor = start["configuration"]
    octets = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    return parse(octets.decode(), Path(start["path"]))


async def _serve(
    start: PlainObject,
    configuration: Configuration,
    doors: Doors,
    speaker: Speaker,
    channel: Channel,
    borrowing: Borrowing,
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    opening: AbstractAsyncContextManager[Node]
    shared = borrowing.shared
    if start["role"] == "transport":
        opening = open_transport(
            configuration,
            name=start["name"],
            shards=tuple(start["shards"]),
            doors=doors,
            speaker=speaker,
            shared_limits=shared,
        )
    else:
        opening = open_access(configuration, name=start["name"], doors=doors, speaker=speaker, shared_limits=shared)
    async with asyncio.TaskGroup() as listening:
        async with opening as node:
            await channel.send(line({"ready": True}))
            async with asyncio.TaskGroup() as group:
                orders = listening.create_task(_take_orders(channel, node, group, stop, borrowing))
                await stop.wait()
                node.let_go()
        # While conversations came to their end the others' limits were still heard of.
        orders.cancel()


async def _take_orders(
    channel: Channel, node: Node, group: asyncio.TaskGroup, stop: asyncio.Event, borrowing: Borrowing
) -> None:
    """Requests are carried out beside each other; the supervisor bounds how many there are."""

    async def carry_out(request: dict[str, Any]) -> None:
        await channel.send(*await answer(node.performer, request, id=request["id"]))

    try:
        while (order := await read_line(channel.reader)) is not None:
            if "limits" in order:
                borrowing.heard(order["limits"])
            elif "stop" in order:
                stop.set()
            elif stop.is_set():
                await channel.send(failure_line("the process is being stopped; try again", TRY_AGAIN, id=order["id"]))
            else:
                group.create_task(carry_out(order))
    except ChannelBroken:
        pass  # as good as its end
    stop.set()


def main() -> None:
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forbid_new_privileges()
    sys.exit(run_in_loop(work(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
