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

from postroad.app.assemble import Node, open_access, open_transport
from postroad.app.channel import ChannelBroken, answer, failure_line, line, read_line
from postroad.app.configuration import Configuration, parse
from postroad.app.errors import TRY_AGAIN, CannotServe, ConfigurationError
from postroad.app.identity import forbid_new_privileges
from postroad.app.loop import run_in_loop
from postroad.app.speaking import Speaker
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
    doors = tuple((ListenerRole(role), socket.socket(fileno=fd)) for role, fd in start["doors"])
    configuration = _configuration(start)
    speaker = Speaker(start["name"], configuration.run_folder / "errors.log", debug=start["debug"])
    speaker.hear_logging()
    asyncio.get_running_loop().set_exception_handler(speaker.loop_handler())
    try:
        await _serve(start, configuration, doors, speaker, channel)
    except (CannotServe, ConfigurationError) as error:
        await channel.send(failure_line(str(error), error.exit_status, failed=str(error)))
        return error.exit_status
    except StoreUnavailable as error:
        await channel.send(failure_line(str(error), TRY_AGAIN, failed=str(error)))
        return TRY_AGAIN
    except Exception as error:
        speaker.unexpected("the worker ends", error)
        cause = _innermost(error)
        await channel.send(failure_line(str(cause), 70, failed=f"unexpected {type(cause).__name__}: {cause}"))
        return 70
    finally:
        await channel.close()
    return 0


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
    start: PlainObject, configuration: Configuration, doors: Doors, speaker: Speaker, channel: Channel
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    opening: AbstractAsyncContextManager[Node]
    if start["role"] == "transport":
        opening = open_transport(
            configuration, name=start["name"], shards=tuple(start["shards"]), doors=doors, speaker=speaker
        )
    else:
        opening = open_access(configuration, name=start["name"], doors=doors, speaker=speaker)
    async with opening as node:
        await channel.send(line({"ready": True}))
        async with asyncio.TaskGroup() as group:
            orders = group.create_task(_take_orders(channel, node, group, stop))
            await stop.wait()
            orders.cancel()
            node.let_go()


async def _take_orders(channel: Channel, node: Node, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
    """Requests are carried out beside each other; the supervisor bounds how many there are."""

    async def carry_out(request: dict[str, Any]) -> None:
        await channel.send(*await answer(node.performer, request, id=request["id"]))

    try:
        while (order := await read_line(channel.reader)) is not None and "stop" not in order:
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
