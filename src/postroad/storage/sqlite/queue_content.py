"""Content of the queue: small in its row, large in a file of its own, written as it comes.

A file is `<queue id>.part` while it is written, and has its one final name, the queue id, from `seal` on. What
no row names is an orphan: its message was never accepted, or its last group was settled just before a crash.
Orphans are swept when a shard is taken, before it accepts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import TypeVar

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.database import make_folder, translated
from postroad.vocabulary.limits import FILE_THREADS, READ_BYTES, SPOOL_AHEAD_BYTES
from postroad.vocabulary.queue_id import QueueId

R = TypeVar("R")


class FileThreads:
    """A few threads for the content files; in a simulation (`direct`) the caller itself.

    What waits for them is bounded by who asks: each spool and each reader has one call under way at a time.
    """

    def __init__(self, *, direct: bool, name: str) -> None:
        self._threads = None if direct else ThreadPoolExecutor(FILE_THREADS, thread_name_prefix=name)

    def call(self, function: Callable[[], R]) -> asyncio.Future[R]:
        """From the loop's thread; the future has what the function returned or raised."""
        loop = asyncio.get_running_loop()
        if self._threads is not None:
            return loop.run_in_executor(self._threads, function)
        future: asyncio.Future[R] = loop.create_future()
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)
        return future

    def remove(self, paths: list[str]) -> None:
        """Unlink them in a while, from any thread. One that stays behind is an orphan and swept later."""
        if self._threads is not None:
            self._threads.submit(_unlink, paths)
        else:
            _unlink(paths)

    def close(self) -> None:
        """Wait for what is under way. Blocks."""
        if self._threads is not None:
            self._threads.shutdown()


def _unlink(paths: list[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except OSError:
            # Gone already, or the disk will not: the sweep at the next opening sees to it.
            continue


class FileContent:
    """Content in a file, complete and synced. `queue_id` is the message that the file is named for."""

    __slots__ = ("_path", "_size_bytes", "_threads", "is_claimed", "queue_id")

    def __init__(self, path: str, queue_id: QueueId, size_bytes: int, threads: FileThreads) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._threads = threads
        self.queue_id = queue_id
        self.is_claimed = False
        """Whether `accept` has been asked to take it: from then on the store alone removes the file."""

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def in_memory(self) -> bytes | None:
        return None

    def file_path(self) -> str | None:
        return self._path

    async def chunks(self) -> AsyncIterator[bytes]:
        missing = self._size_bytes
        file = await self._call(lambda: FileIO(self._path))
        try:
            while octets := await self._call(lambda: file.read(READ_BYTES)):
                missing -= len(octets)
                yield octets
        finally:
            file.close()
        if missing:
            raise StoreUnavailable(f"{self._path}: the file is damaged: its size is not what it was at acceptance.")

    async def _call(self, function: Callable[[], R]) -> R:
        try:
            return await self._threads.call(function)
        except OSError as error:
            raise translated(error, self._path) from error


class FileSpool:
    """Content on its way into a file (`contracts.queue_store.Spool`). The file is made with the first octets."""

    def __init__(self, folder: Path, queue_id: QueueId, threads: FileThreads) -> None:
        self._folder = folder
        self._queue_id = queue_id
        self._part = folder / f"{queue_id}.part"
        self._threads = threads
        self._file: FileIO | None = None
        self._waiting: list[bytes] = []
        self._ahead_bytes = 0
        self._size_bytes = 0
        self._writing: asyncio.Future[int] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._error: StoreUnavailable | None = None
        self._finishing: asyncio.Future[None] | None = None
        self._sealed: FileContent | None = None
        self._is_discarded = False

    def write(self, data: bytes) -> bool:
        assert self._finishing is None, "written after seal"
        if self._error is not None or self._is_discarded:
            return False
        self._waiting.append(data)
        self._ahead_bytes += len(data)
        self._size_bytes += len(data)
        if self._writing is None:
            self._write_on()
        return self._ahead_bytes < SPOOL_AHEAD_BYTES

    def _write_on(self) -> None:
        """Give all that waits to a thread; what comes meanwhile goes together with the next call."""
        chunks, self._waiting = self._waiting, []
        self._writing = self._threads.call(lambda: self._write_chunks(chunks))
        self._writing.add_done_callback(self._written)

    def _write_chunks(self, chunks: list[bytes]) -> int:
        if self._file is None:
            make_folder(self._folder)
            descriptor = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            self._file = FileIO(descriptor, "wb")
        octets = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        view = memoryview(octets)
        while view:  # a write to a file may be short when the disk is filling up
            view = view[self._file.write(view) :]
        return len(octets)

    def _written(self, writing: asyncio.Future[int]) -> None:
        self._writing = None
        error = writing.exception()
        if error is not None:
            self._error = self._translated(error)
        if self._error is not None or self._is_discarded:  # the rest is not written: nobody may wait for it
            self._waiting.clear()
            self._ahead_bytes = 0
        else:
            self._ahead_bytes -= writing.result()
        if self._is_discarded:
            self._remove()
        elif self._waiting:
            self._write_on()
        if self._drained is not None and self._ahead_bytes <= SPOOL_AHEAD_BYTES // 2:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    def _translated(self, error: BaseException) -> StoreUnavailable:
        if isinstance(error, OSError):
            return translated(error, str(self._part))
        return StoreUnavailable(f"{self._part}: {error!r}")

    async def drained(self) -> None:
        while self._error is None and self._ahead_bytes > SPOOL_AHEAD_BYTES // 2:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)
        if self._error is not None:
            raise type(self._error)(*self._error.args)

    async def seal(self) -> FileContent:
        assert self._finishing is None, "sealed twice"
        assert not self._is_discarded, "sealed after discard"
        while self._writing is not None:
            await asyncio.wait([self._writing])
            # `_written` may not have run yet: let the loop come to it.
            await asyncio.sleep(0)
        if self._error is not None:
            raise type(self._error)(*self._error.args)
        self._finishing = self._threads.call(self._finish)
        try:
            # A caller that gives up does not stop the thread; `discard` then waits for it.
            await asyncio.shield(self._finishing)
        except OSError as error:
            self._error = translated(error, str(self._part))
            raise self._error from error
        self._sealed = FileContent(self._path(), self._queue_id, self._size_bytes, self._threads)
        return self._sealed

    def _path(self) -> str:
        return str(self._folder / self._queue_id)

    def _finish(self) -> None:
        if self._file is None:
            self._write_chunks([b""])
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        os.rename(self._part, self._path())
        sync_folder(self._folder)

    def discard(self) -> None:
        if self._sealed is not None and self._sealed.is_claimed:
            return
        self._is_discarded = True
        if self._finishing is not None and not self._finishing.done():
            self._finishing.add_done_callback(self._finished_in_vain)
        elif self._writing is None:
            self._remove()

    def _finished_in_vain(self, finishing: asyncio.Future[None]) -> None:
        finishing.exception()  # whatever it was, the content is not wanted any more
        self._remove()

    def _remove(self) -> None:
        if self._file is not None:
            self._file.close()
            self._threads.remove([str(self._part), self._path()])


def sweep_orphans(folder: Path, is_known: Callable[[str], bool]) -> int:
    """Remove every file of the folder that `is_known` does not know by its name. Blocks. Returns how many.
    For the owner of a shard only, before it accepts. Raises OSError."""
    if not folder.is_dir():
        return 0
    orphans = [entry.path for entry in os.scandir(folder) if not is_known(entry.name)]
    for path in orphans:
        os.unlink(path)
    return len(orphans)
