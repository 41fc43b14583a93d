"""run/control.sock: where administrators' commands reach the running server.

Only root and the server's own user get in (0600, and the peer's credentials are asked for). One connection
carries any number of requests, one after another.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from postroad.app.channel import Answer, ChannelBroken, answer, failure_line, line, read_line
from postroad.app.errors import TRY_AGAIN
from postroad.services.operations.performer import OperationFailed, Performer, PlainObject
from postroad.vocabulary.limits import CONTROL_ANSWER_S, CONTROL_CLIENTS, CONTROL_LINE_BYTES, STOP_MARGIN_S

_CREDENTIALS = struct.Struct("3i")


class Spoken(Protocol):
    """What the server says when something of ours is wrong."""

    def unexpected(self, what: str, error: BaseException | None) -> None: ...


class ControlServer:
    def __init__(self, performer: Performer, spoken: Spoken) -> None:
        self._performer = performer
        self._spoken = spoken

    @asynccontextmanager
    async def serving(self, listening: socket.socket) -> AsyncIterator[None]:
        """Answer on this socket; it stays the caller's and is closed with the server."""
        conversations: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = group.create_task(self._converse(reader, writer, len(conversations)))
                conversations.add(task)
                task.add_done_callback(conversations.discard)
                task.add_done_callback(lambda _: writer.close())

            server = await asyncio.start_unix_server(connected, sock=listening, limit=CONTROL_LINE_BYTES)
            try:
                yield
            finally:
                server.close()
                for conversation in conversations:
                    conversation.cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, others: int) -> None:
        try:
            refusal = self._refusal(writer.get_extra_info("socket"), others)
            if refusal:
                writer.write(failure_line(*refusal))
            else:
                await self._answer_all(reader, writer)
        except (ChannelBroken, ConnectionError, TimeoutError):
            pass  # the command was interrupted; nothing of ours depends on it
        except Exception as error:
            self._spoken.unexpected("at the control socket", error)

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await read_line(reader)) is not None:
            for octets in await answer(self._performer, request):
                writer.write(octets)
                async with asyncio.timeout(CONTROL_ANSWER_S):
                    await writer.drain()

    def _refusal(self, peer: socket.socket, others: int) -> tuple[str, int] | None:
        uid = peer_uid(peer)
        if uid not in (0, os.geteuid()):
            return f"user {uid} may not administer this server; become root or its user", 1
        if others >= CONTROL_CLIENTS:
            return f"{CONTROL_CLIENTS} commands are at work already; try again", TRY_AGAIN
        return None


def peer_uid(peer: socket.socket) -> int:
    """The user at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


class ControlClient:
    """A Performer at the other end of the socket. Use it inside one event loop; requests go one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._one = asyncio.Lock()

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        """Raises OperationFailed: the server's, or 75 when it goes away."""
        request = line({"verb": verb, "arguments": arguments})
        async with self._one:
            try:
                async with asyncio.timeout(CONTROL_ANSWER_S + STOP_MARGIN_S):
                    self._writer.write(request)
                    return await self._collect()
            except TimeoutError:
                raise OperationFailed("The server is too slow to answer. Try again.", TRY_AGAIN) from None
            except (ChannelBroken, ConnectionError) as error:
                raise OperationFailed(f"The server did not answer: {error}. Try again.", TRY_AGAIN) from None

    async def _collect(self) -> list[PlainObject]:
        collected = Answer()
        while (content := await read_line(self._reader)) is not None:
            if collected.take(content):
                return collected.result
        raise ChannelBroken("it closed the connection")

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass  # the server was the first to go


async def connect_or_none(path: Path) -> ControlClient | None:
    """The server behind this socket; None when there is none. Raises OperationFailed where we may not ask it."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=CONTROL_LINE_BYTES)
    except PermissionError:
        raise OperationFailed(f"{path} is not for this user; become root or the server's user") from None
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise OperationFailed(f"{path}: {error.strerror}", TRY_AGAIN) from None
    return ControlClient(reader, writer)
