"""Who runs what blocks but is no query of one connection: reading files, searching many databases.

    calls = make_calls(direct=False, threads=2, name="mail files")
    octets = await calls.run(read_it, path)

Threads in the world; in a simulation the caller itself, for a loop with virtual time cannot wait for a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from postroad.contracts.errors import StoreUnavailable
from postroad.vocabulary.limits import READS_WAITING

A = TypeVar("A")
R = TypeVar("R")


class Calls(Protocol):
    async def run(self, function: Callable[[A], R], argument: A) -> R:
        """What the function returns or raises. Raises StoreUnavailable at once when READS_WAITING calls wait
        or after `close`."""
        ...

    async def close(self, last: Callable[[], None] | None = None) -> None:
        """Wait for the calls under way, and let `last` be the last of them. Harmless when repeated."""
        ...


class ThreadedCalls:
    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting = 0
        self._is_closed = False

    async def run(self, function: Callable[[A], R], argument: A) -> R:
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        if self._waiting >= READS_WAITING:
            raise StoreUnavailable(f"{READS_WAITING} reads are waiting already.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, argument)
        finally:
            self._waiting -= 1

    async def close(self, last: Callable[[], None] | None = None) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if last is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, last)
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)


class DirectCalls:
    def __init__(self) -> None:
        self._is_closed = False

    async def run(self, function: Callable[[A], R], argument: A) -> R:
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        return function(argument)

    async def close(self, last: Callable[[], None] | None = None) -> None:
        if not self._is_closed:
            self._is_closed = True
            if last is not None:
                last()


def make_calls(*, direct: bool, threads: int, name: str) -> Calls:
    return DirectCalls() if direct else ThreadedCalls(threads, name)
