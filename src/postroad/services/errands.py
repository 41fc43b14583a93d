"""Tasks on behalf of a connection: owned by one group, their failure told to whoever asked and to nobody else.

A `TaskGroup` takes an exception of any member for the failure of all; one broken look-up or a full disk must
not end every conversation of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Errands:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    def start(self, errand: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run it in the group; the future carries its result or its exception, and is cancelled with it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._tasks.create_task(_run(errand, future))
        return future

    def after(self, delay_s: float) -> asyncio.Future[None]:
        """A future that is done in `delay_s` seconds; no task."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_later(delay_s, _finish, future)
        return future


async def _run(errand: Coroutine[Any, Any, T], future: asyncio.Future[T]) -> None:
    try:
        result = await errand
    except asyncio.CancelledError:
        future.cancel()
        raise
    except Exception as failure:
        if not future.done():
            future.set_exception(failure)
    else:
        if not future.done():
            future.set_result(result)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
