"""What an administrator's command talks to: the running server, or the stores themselves where it is stopped.

Verbs about the queue go to whoever owns the shards. All others work on files that any process may open
beside the server, so they are done here.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from postroad.app.archive_access import ARCHIVE_VERBS, open_archive_operator
from postroad.app.configuration import Configuration
from postroad.app.control import ControlClient, connect_or_none
from postroad.app.errors import TRY_AGAIN, CannotServe
from postroad.app.folder import prepare, server_pid
from postroad.app.identity import ROOT, become_owner_of
from postroad.app.stores import open_operator
from postroad.contracts.errors import StoreUnavailable
from postroad.services.operations.operator import Operator, needs_it_running, needs_the_server
from postroad.services.operations.performer import OperationFailed, Performer, PlainObject
from postroad.vocabulary.limits import SHARD_WAIT_S

_NOT_YOURS = "is not for this user; become root or the server's user"


def server_is_running(configuration: Configuration) -> bool:
    """Whether a server has this data folder. Raises OperationFailed where we may not look."""
    try:
        return server_pid(configuration.data_folder) is not None
    except PermissionError as error:
        raise OperationFailed(f"{error.filename} {_NOT_YOURS}") from None


async def open_performer(configuration: Configuration) -> Performer:
    """To be closed by the caller. As root it becomes the owner of the data first, for good.

    Raises OperationFailed."""
    take_the_owners_place(configuration)
    return Console(configuration)


def take_the_owners_place(configuration: Configuration) -> None:
    """Everything a command makes belongs to whoever serves. Nothing is made where there is no folder yet, but
    the folder: `domain add` and `account add` may be the first to come."""
    data = configuration.data_folder
    user = configuration.processes.user
    try:
        if os.geteuid() == 0 or not data.exists():
            prepare(data, user if user != ROOT else "")
        become_owner_of(data)
    except CannotServe as error:
        raise OperationFailed(str(error), error.exit_status) from None
    if not os.access(configuration.run_folder, os.W_OK | os.X_OK):
        raise OperationFailed(f"{data} {_NOT_YOURS}")
    os.umask(0o077)


class Console:
    """A Performer that finds out, verb by verb, who can do it. Stores are opened when the first verb needs them."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._opened = AsyncExitStack()
        self._client: ControlClient | None = None
        self._operator: Operator | None = None
        self._owner: Operator | None = None
        self._archive: Operator | None = None

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        if verb.startswith(ARCHIVE_VERBS):
            return await (await self._archivist()).perform(verb, arguments)
        if not needs_the_server(verb):
            return await (await self._any_operator()).perform(verb, arguments)
        if self._client is None and self._owner is None:
            self._client = await connect_or_none(self._configuration.control_socket)
        if self._client is not None:
            return await self._client.perform(verb, arguments)
        if needs_it_running(verb):
            raise OperationFailed("The server is not running; only a running one can do this.", 69)
        if self._owner is None:
            self._owner = await self._owning_operator()
        return await self._owner.perform(verb, arguments)

    async def _archivist(self) -> Operator:
        """One for the archive alone."""
        if self._archive is None:
            self._archive = await self._opened.enter_async_context(open_archive_operator(self._configuration))
        return self._archive

    async def _any_operator(self) -> Operator:
        """One without the queue."""
        if self._operator is None:
            try:
                self._operator = await self._opened.enter_async_context(open_operator(self._configuration))
            except StoreUnavailable as error:
                raise OperationFailed(str(error), TRY_AGAIN) from error
        return self._operator

    async def _owning_operator(self) -> Operator:
        """One that owns every shard, for as long as the command lasts."""
        if server_is_running(self._configuration):
            raise OperationFailed("The server is being started or stopped. Try again.", TRY_AGAIN)
        loop = asyncio.get_running_loop()
        until = loop.time() + SHARD_WAIT_S
        while True:
            try:
                return await self._opened.enter_async_context(open_operator(self._configuration, with_queue=True))
            except StoreUnavailable as error:
                if loop.time() > until:
                    raise OperationFailed(str(error), TRY_AGAIN) from error
                await asyncio.sleep(_SHARD_LOOK_S)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        await self._opened.aclose()


_SHARD_LOOK_S = 0.2
"""Another command may have the shard for an instant."""


def perform_here(configuration: Configuration, *requests: tuple[str, PlainObject]) -> list[list[PlainObject]]:
    """Carry verbs out one after another, in a loop of its own. Raises OperationFailed."""

    async def all_of_them() -> list[list[PlainObject]]:
        performer = await open_performer(configuration)
        try:
            return [await performer.perform(verb, arguments) for verb, arguments in requests]
        finally:
            await performer.close()

    return asyncio.run(all_of_them())
