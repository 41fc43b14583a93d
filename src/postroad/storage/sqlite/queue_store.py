"""The durable queue in SQLite: one shard, one owner, one file (`contracts.queue_store.QueueStore`).

    queue/<n>.lock   held by the owner
    queue/<n>.db     messages, groups, small content, the outbox
    queue/<n>/       large content, a file each

What is written is in `queue_writes.py`, what is asked in `queue_reads.py`, what the owner keeps in
memory in `queue_notes.py`, what administrators have of it in `queue_orders.py`; here is who calls them when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import apsw

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import (
    NewMessage,
    Settlement,
    StoredContent,
    Work,
)
from postroad.storage.sqlite import queue_reads
from postroad.storage.sqlite.commit import CommitEngine
from postroad.storage.sqlite.database import DatabaseKind, make_folder, open_database, sql_folder, translating
from postroad.storage.sqlite.moments import from_microseconds, to_microseconds
from postroad.storage.sqlite.queue_by_age import QueueByAge
from postroad.storage.sqlite.queue_content import (
    FileContent,
    FileSpool,
    FileThreads,
    sweep_orphans,
)
from postroad.storage.sqlite.queue_notes import OwnersNotes
from postroad.storage.sqlite.queue_orders import QueueForAdministrators
from postroad.storage.sqlite.queue_writes import QueueWrites, Settling
from postroad.storage.sqlite.row_content import ContentInRow
from postroad.storage.sqlite.shard_lock import ShardLock
from postroad.storage.sqlite.writer import make_reader, make_writer
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import QUEUE_IDS_AHEAD_S
from postroad.vocabulary.queue_id import SHARDS_MAX, QueueId, QueueIdSource, from_number, to_number

QUEUE = DatabaseKind("queue", 0x50527175, sql_folder("queue"))
"""The application id spells "PRqu"."""

_IDS_AHEAD = int(QUEUE_IDS_AHEAD_S * 1_000_000) * SHARDS_MAX
"""As a distance between the numbers of queue ids, which count microseconds and shards."""


class SqliteQueueStore(QueueForAdministrators, QueueByAge):
    """See the contract. To be opened with `open`, on the loop it is used on."""

    def __init__(self, folder: Path, shard: int, clock_now: Callable[[], datetime], direct: bool, vfs: str | None):
        self._shard = shard
        self._clock_now = clock_now
        self._direct = direct
        self._files = folder / str(shard)
        self._connect = partial(open_database, folder / f"{shard}.db", QUEUE, vfs=vfs)
        self.lock = ShardLock(folder / f"{shard}.lock")
        self._threads = FileThreads(direct=direct, name=f"queue-{shard}-files")
        self._writes = QueueWrites(self._files, self._threads)
        self._engine = CommitEngine(
            self._connect, self._writes.finish_batch, self._writes.after_commit, self._writes.begin_batch
        )
        self._notes = OwnersNotes()
        self._taking = asyncio.Lock()
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        folder: Path,
        shard: int,
        *,
        clock_now: Callable[[], datetime],
        direct: bool = False,
        vfs: str | None = None,
    ) -> SqliteQueueStore:
        """Take the shard `shard` of the queue in `folder` (data/queue), made if missing.

        Its lock is taken, its epoch raised and orphans of content are swept before it accepts. `direct` does
        everything on the calling thread, for a loop with virtual time; `vfs` is SQLite's file layer.

        Raises StoreUnavailable: another process owns it, or the file cannot be opened; StoreFull.
        """
        store = cls(folder, shard, clock_now, direct, vfs)
        try:
            last_id = store._take_over() if direct else await asyncio.to_thread(store._take_over)
        except BaseException:
            store._engine.close()
            store._threads.close()
            store.lock.release()
            raise
        store._start(last_id)
        return store

    def _take_over(self) -> int:
        """Blocks. Returns the highest id ever given out."""
        make_folder(self._files)
        self._engine.open()
        connection = self._engine.connection
        with translating(connection.filename):
            last_id = self._writes.take_over(connection)
            sweep_orphans(self._files, partial(_has_message, connection))
        return last_id

    def _start(self, last_id: int) -> None:
        self._ids = QueueIdSource(self._shard, last_id)
        self._newest_id = from_number(last_id)
        self._remember_after = QueueId("")
        self._writer = make_writer(self._engine, direct=self._direct, name=f"queue-{self._shard}-writer")
        self._reader = make_reader(self._connect, direct=self._direct, name=f"queue-{self._shard}-reader")

    @property
    def shard(self) -> int:
        return self._shard

    @property
    def epoch(self) -> int:
        return self._writes.epoch

    # ---- taking mail in ----

    def new_id(self, now: datetime) -> QueueId:
        self._newest_id = queue_id = self._ids.next(now)
        if queue_id > self._remember_after:
            self._remember_ids(queue_id)
        return queue_id

    def _remember_ids(self, queue_id: QueueId) -> None:
        """Have it written that all ids up to a while after this one were given out. Whatever is accepted under
        one of them is written later than this, or with it; the next id tries again if this fails."""
        number = to_number(queue_id)
        self._remember_after = from_number(number + _IDS_AHEAD // 2)
        try:
            self._writer.submit(self._writes.remember_ids, number + _IDS_AHEAD).add_done_callback(self._remembered)
        except StoreUnavailable:
            self._remember_after = QueueId("")

    def _remembered(self, future: asyncio.Future[None]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._remember_after = QueueId("")

    def spool(self, queue_id: QueueId) -> FileSpool:
        return FileSpool(self._files, queue_id, self._threads)

    def accept(self, message: NewMessage) -> asyncio.Future[None]:
        if not message.groups:
            raise ValueError(f"{message.queue_id}: a message without recipients")
        self._notes.accepting(message)
        future = self._writer.submit(self._writes.accept, message)
        if type(message.content) is FileContent:
            message.content.is_claimed = True
            future.add_done_callback(partial(self._accepted_file, message.content))
        return future

    def _accepted_file(self, content: FileContent, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._writes.not_accepted(content.queue_id)

    async def keys(self, prefix: str, after: str, limit: int) -> tuple[str, ...]:
        return await self._reader.read(queue_reads.keys, queue_reads.KeyQuestion(prefix, after, limit))

    def forget_keys(self, keys: tuple[str, ...]) -> asyncio.Future[None]:
        return self._writer.submit(self._writes.forget_keys, keys)

    # ---- outcomes ----

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        joined = self._notes.settling(settlement)
        for message in settlement.enqueue:
            if type(message.content) is FileContent:
                message.content.is_claimed = True
        now = 0
        if settlement.moved:
            at = self._clock_now()
            self._notes.moving(settlement, at)
            now = to_microseconds(at)
        future = self._writer.submit(self._writes.settle, Settling(settlement, joined, now))
        if joined:
            key = (settlement.queue_id, settlement.destination)
            future.add_done_callback(partial(self._notes.settled, key, joined))
        return future

    # ---- work ----

    async def take_due(
        self,
        now: datetime,
        limit: int,
        taken: Callable[[QueueId, Destination], bool],
        without: frozenset[Destination] = frozenset(),
    ) -> tuple[Work, ...]:
        moment = to_microseconds(now)
        texts = frozenset(map(str, without))
        async with self._taking:
            with self._notes.looking(moment) as touched:
                # What was submitted until now is committed before the look; `touched` has what comes from now on.
                await self._writer.submit(self._writes.wait_for_earlier, None)
                found = await self._reader.read(
                    queue_reads.due_work, queue_reads.DueQuestion(moment, limit, taken, texts, self.epoch)
                )
        return self._notes.hand_out(found, touched, taken)

    async def next_due_at(self) -> datetime | None:
        due = await self._reader.read(queue_reads.next_due, self._notes.looked_up_to)
        return None if due is None else from_microseconds(due)

    async def content(self, queue_id: QueueId) -> StoredContent:
        try:
            number = to_number(queue_id)
        except ValueError:
            raise KeyError(queue_id) from None
        row = await self._reader.read(queue_reads.content_of, number)
        if row is None:
            raise KeyError(queue_id)
        if row.octets is not None:
            return ContentInRow(row.octets)
        return FileContent(str(self._files / queue_id), queue_id, row.size_bytes, self._threads)

    async def known(self, queue_ids: tuple[QueueId, ...]) -> frozenset[QueueId]:
        ids = {to_number(queue_id): queue_id for queue_id in queue_ids}
        found = await self._reader.read(queue_reads.known, list(ids))
        return frozenset(ids[number] for number in found)

    # ---- the ledger's copy ----

    async def outbox(self, limit: int) -> tuple[tuple[int, bytes], ...]:
        return await self._reader.read(queue_reads.outbox, limit)

    def clear_outbox(self, up_to: int) -> asyncio.Future[None]:
        return self._writer.submit(self._writes.clear_outbox, up_to)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        # Callbacks of futures that are done already may have something to say to the last commit.
        await asyncio.sleep(0)
        try:
            await self._writer.submit(self._writes.remember_ids, to_number(self._newest_id))
        except StoreUnavailable:
            # The ids remembered ahead stand; the next owner begins after those.
            pass
        await self._writer.close()
        await self._reader.close()
        if self._direct:
            self._threads.close()
        else:
            await asyncio.to_thread(self._threads.close)
        self.lock.release()


def _has_message(connection: apsw.Connection, name: str) -> bool:
    """Whether a file of this name is the content of a message."""
    try:
        number = to_number(name)
    except ValueError:
        return False
    row = queue_reads.content_of(connection, number)
    return row is not None and row.octets is None
