"""Who runs the writes and the reads of a database: threads in the world, the caller itself in a simulation.

    writer = ThreadedWriter(engine)          one thread; items that come while a commit is under way share the next
    future = writer.submit(verb, argument)   from the loop's thread; done after the sync
    reader = ThreadedReader(connect)         one thread with a connection of its own

`DirectWriter` and `DirectReader` have the same methods and no threads: a loop with virtual time cannot wait for
one. Their futures are done when they are returned.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import apsw

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.commit import Item, Result, Verb
from postroad.storage.sqlite.database import close_database, is_suspect, translated
from postroad.vocabulary.limits import (
    COMMIT_BATCH,
    READS_WAITING,
    REOPEN_WAIT_FIRST_S,
    REOPEN_WAIT_MAX_S,
    WRITER_QUEUE,
)

A = TypeVar("A")
R = TypeVar("R")

_Waiting = tuple[Verb[Any, Any], Any, "asyncio.Future[Any]"]


class Engine(Protocol):
    """What carries batches out: a `CommitEngine`, or several of them behind one front. One thread at a time."""

    def open(self) -> None: ...

    @property
    def is_open(self) -> bool: ...

    def commit(self, batch: Sequence[Item]) -> list[Result]: ...

    def checkpoint_if_due(self) -> None: ...

    def close(self) -> None: ...


class Writer(Protocol):
    def submit(self, verb: Verb[A, R], argument: A) -> asyncio.Future[R]:
        """Write it with the next commit; the future is done after the sync, with what the verb returned or raised,
        or with StoreFull or StoreUnavailable. To be called from the loop's thread. A cancelled future takes
        nothing back. Raises StoreUnavailable at once when WRITER_QUEUE items wait, the disk has failed and is
        not back yet, or the writer is closed."""
        ...

    async def close(self) -> None:
        """Write what was submitted, checkpoint, close. Harmless when repeated."""
        ...


class Reader(Protocol):
    def read(self, query: Callable[[apsw.Connection, A], R], argument: A) -> asyncio.Future[R]:
        """Run the query; it sees all commits whose futures were done before. The future raises what the query
        raises, StoreUnavailable in place of the driver's errors. Raises StoreUnavailable at once when
        READS_WAITING queries wait or the reader is closed."""
        ...

    async def close(self) -> None: ...


def _resolve(future: asyncio.Future[Any], result: Result) -> None:
    if future.done():  # its caller gave up waiting; what was written stays written
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


class ThreadedWriter:
    """A thread that owns an engine. To be made on the loop, with the engine open. `batch` is the most items
    of one call of `commit`."""

    def __init__(self, engine: Engine, name: str = "writer", batch: int = COMMIT_BATCH) -> None:
        self._engine = engine
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self._items: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._refusal = ""
        self._closed = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, verb: Verb[A, R], argument: A) -> asyncio.Future[R]:
        if self._refusal:
            raise StoreUnavailable(self._refusal)
        if self._items.qsize() >= WRITER_QUEUE:
            raise StoreUnavailable(f"{WRITER_QUEUE} writes are waiting already.")
        future: asyncio.Future[R] = self._loop.create_future()
        self._items.put((verb, argument, future))
        return future

    async def close(self) -> None:
        if not self._stopping.is_set():
            self._refusal = "The store is closed."
            self._stopping.set()
            self._items.put(None)
        await asyncio.shield(self._closed)
        self._thread.join()

    # ---- in the thread ----

    def _run(self) -> None:
        batch: list[_Waiting] = []
        try:
            while batch := self._next_batch():
                self._write(batch)
        except Exception as error:
            self._refuse_all(batch, error)
        self._engine.close()
        self._tell(self._closed.set_result, None)

    def _write(self, batch: list[_Waiting]) -> None:
        results = self._engine.commit([(verb, argument) for verb, argument, _ in batch])
        self._tell(self._report, batch, results)
        if self._engine.is_open:
            self._engine.checkpoint_if_due()
        else:
            self._come_back()

    def _refuse_all(self, batch: list[_Waiting], error: Exception) -> None:
        """A defect of ours, which no engine is to have: it is reported, and nobody waits for a thread that is gone."""
        self._refusal = f"The store does not write any more, after an unexpected error: {error!r}"
        context = {"message": f"{self._thread.name} gives up", "exception": error}
        self._tell(self._loop.call_exception_handler, context)
        while batch:
            self._tell(self._report, batch, [StoreUnavailable(self._refusal) for _ in batch])
            batch = self._next_batch()

    def _next_batch(self) -> list[_Waiting]:
        """Wait for an item and take with it all that are there, at most `batch`; empty at the end."""
        batch: list[_Waiting] = []
        item = self._items.get()
        try:
            while item is not None:
                batch.append(item)
                if len(batch) == self._batch:
                    return batch
                item = self._items.get_nowait()
        except queue.Empty:
            return batch
        if batch:  # the end comes once more, after this batch
            self._items.put(None)
        return batch

    def _report(self, batch: list[_Waiting], results: list[Result]) -> None:
        for (_, _, future), result in zip(batch, results, strict=True):
            _resolve(future, result)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left who could wait for these futures, or close us.
            self._stopping.set()
            self._items.put(None)

    def _come_back(self) -> None:
        """The disk failed: answer everybody no until the file could be opened and written again."""
        self._refusal = "The disk failed; the store opens its file again as soon as it can."
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            wait_s = min(max(2 * wait_s, REOPEN_WAIT_FIRST_S), REOPEN_WAIT_MAX_S)
            try:
                self._engine.open()
            except StoreUnavailable as error:
                self._refusal = str(error)
                self._refuse_waiting(error)
            else:
                self._tell(self._accept_again)
                return

    def _refuse_waiting(self, error: StoreUnavailable) -> None:
        waiting: list[_Waiting] = []
        while not self._items.empty():
            item = self._items.get_nowait()
            if item is None:  # the end has come: `_run` must see it
                self._items.put(None)
                break
            waiting.append(item)
        self._tell(self._report, waiting, [type(error)(*error.args) for _ in waiting])

    def _accept_again(self) -> None:
        if not self._stopping.is_set():
            self._refusal = ""


class DirectWriter:
    """The same without a thread: `submit` commits before it returns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_closed = False

    def submit(self, verb: Verb[A, R], argument: A) -> asyncio.Future[R]:
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        if not self._engine.is_open:
            self._engine.open()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        _resolve(future, self._engine.commit([(verb, argument)])[0])
        if self._engine.is_open:
            self._engine.checkpoint_if_due()
        return future

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._engine.close()


class ReadingConnection:
    """A connection that is opened when it is first needed, and again after the disk failed."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._connection: apsw.Connection | None = None

    def run(self, query: Callable[[apsw.Connection, A], R], argument: A) -> R:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        try:
            return query(connection, argument)
        except apsw.Error as error:
            unavailable = translated(error, connection.filename, connection.system_errno)
            if is_suspect(error):
                self.close()
            raise unavailable from error

    def close(self) -> None:
        if self._connection is not None:
            close_database(self._connection)
            self._connection = None


class ThreadedReader:
    """One thread, one query after the other. A query fetches all its rows: an open one would stop checkpoints."""

    def __init__(self, connect: Callable[[], apsw.Connection], name: str = "reader") -> None:
        self._reading = ReadingConnection(connect)
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting = 0
        self._is_closed = False

    def read(self, query: Callable[[apsw.Connection, A], R], argument: A) -> asyncio.Future[R]:
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        if self._waiting >= READS_WAITING:
            raise StoreUnavailable(f"{READS_WAITING} reads are waiting already.")
        self._waiting += 1
        future = self._loop.run_in_executor(self._threads, self._reading.run, query, argument)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            await self._loop.run_in_executor(self._threads, self._reading.close)
            self._threads.shutdown()


class DirectReader:
    """The same without a thread."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._reading = ReadingConnection(connect)
        self._is_closed = False

    def read(self, query: Callable[[apsw.Connection, A], R], argument: A) -> asyncio.Future[R]:
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._reading.run(query, argument))
        except Exception as error:
            future.set_exception(error)
        return future

    async def close(self) -> None:
        self._is_closed = True
        self._reading.close()


def make_writer(engine: Engine, *, direct: bool, name: str = "writer", batch: int = COMMIT_BATCH) -> Writer:
    """The writer of an open engine; `direct` for a simulation."""
    return DirectWriter(engine) if direct else ThreadedWriter(engine, name, batch)


def make_reader(connect: Callable[[], apsw.Connection], *, direct: bool, name: str = "reader") -> Reader:
    return DirectReader(connect) if direct else ThreadedReader(connect, name)
