"""Holds in SQLite: data/hold/<hash of the domain>.db. Implements contracts/hold_store.py.

One thread writes all holds of this process, a commit for each that a batch touches. Other processes write the same
files: every write transaction begins IMMEDIATE and waits for the other's end, at most DATABASE_BUSY_S. Who empties
a hold has `flock` on <hash>.lock.

Crash states of a delivery with large content are those of a mailbox's (mailbox_store.py): a linked file without a
row is an orphan and swept; a committed delivery that the queue repeats is made once by its keys.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from postroad.contracts.errors import MaildropLocked, StoreUnavailable
from postroad.contracts.hold_store import (
    HeldMessage,
    Hold,
    HoldDelivery,
    HoldLocked,
    HoldSettlement,
    HoldSummary,
    Report,
)
from postroad.contracts.queue_store import StoredContent
from postroad.storage.sqlite.blocking import make_calls
from postroad.storage.sqlite.commit import Item, Result, Verb
from postroad.storage.sqlite.database import make_folder, translating
from postroad.storage.sqlite.hold_reads import HoldReads
from postroad.storage.sqlite.hold_shard import (
    CLEAR_OUTBOX,
    DELIVER,
    FORGET_KEYS,
    REPORTED,
    SETTLE,
    SWEEP,
    HoldShard,
)
from postroad.storage.sqlite.mailbox_content import ContentInFile
from postroad.storage.sqlite.maildrop_lock import MaildropLock
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.row_content import ContentInRow
from postroad.storage.sqlite.writer import make_writer
from postroad.vocabulary.limits import CONTENT_READERS, DELIVERY_KEYS_PER_COMMIT, HOLDS, HOLDS_OPEN
from postroad.vocabulary.story import Entry

A = TypeVar("A")
R = TypeVar("R")


class HoldEngine:
    """The holds as one engine for the writer's thread. At most HOLDS_OPEN are open between two batches."""

    is_open = True

    def __init__(self) -> None:
        self._open: OrderedDict[HoldShard, None] = OrderedDict()
        self._touched: tuple[HoldShard, ...] = ()

    def open(self) -> None:
        """Nothing: each hold is opened when it is first written."""

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        positions: dict[HoldShard, list[int]] = {}
        for position, (_, argument) in enumerate(batch):
            positions.setdefault(argument[0], []).append(position)
        results: list[Result] = [None] * len(batch)
        for hold, places in positions.items():
            for place, result in zip(places, hold.commit([batch[place] for place in places]), strict=True):
                results[place] = result
            self._open[hold] = None
            self._open.move_to_end(hold)
        self._touched = tuple(positions)
        return results

    def checkpoint_if_due(self) -> None:
        for hold in self._touched:
            hold.engine.checkpoint_if_due()
        while len(self._open) > HOLDS_OPEN:
            self._open.popitem(last=False)[0].engine.close()

    def close(self) -> None:
        while self._open:
            self._open.popitem()[0].engine.close()


class SqliteHoldStore:
    """`folder` is data/hold. To be made on the loop; `direct` for a loop with virtual time. `vfs` is SQLite's
    file layer. Raises StoreUnavailable when the folder cannot be made."""

    def __init__(self, folder: Path, *, direct: bool = False, vfs: str | None = None) -> None:
        self._folder = folder
        self._vfs = vfs
        with translating(str(folder)):
            make_folder(folder)
        self._holds: dict[str, HoldShard] = {}
        self._writer = make_writer(HoldEngine(), direct=direct, name="hold writer")
        self._reads = HoldReads(HOLDS_OPEN)
        self._reader = make_calls(direct=direct, threads=1, name="hold reader")
        self._files = make_calls(direct=direct, threads=CONTENT_READERS, name="hold content")

    def deliver(self, delivery: HoldDelivery) -> asyncio.Future[None]:
        return self._submit(DELIVER, self._hold(delivery.domain), delivery)

    def open_hold(self, domain: str) -> AbstractAsyncContextManager[Hold]:
        return self._open_hold(domain)

    @asynccontextmanager
    async def _open_hold(self, domain: str) -> AsyncIterator[Hold]:
        hold = self._hold(domain)
        # Taken on the loop: it never waits, and nobody can be cancelled between taking and keeping it.
        with translating(str(hold.lock_path)):
            try:
                lock = MaildropLock(hold.lock_path)
            except MaildropLocked:
                raise HoldLocked(f"mail for {domain} is on its way already") from None
        try:
            yield SqliteHold(self, domain)
        finally:
            lock.release()

    async def messages(self, domain: str, after: int, limit: int) -> tuple[HeldMessage, ...]:
        return await self._reader.run(self._reads.messages, (self._hold(domain), after, limit))

    async def overdue(self, domain: str, now: datetime, limit: int) -> tuple[HeldMessage, ...]:
        return await self._reader.run(self._reads.overdue, (self._hold(domain), to_microseconds(now), limit))

    async def content(self, domain: str, number: int) -> StoredContent:
        hold = self._hold(domain)
        row = await self._reader.run(self._reads.content, (hold, number))
        if row is None:
            raise KeyError(number)
        file, octets, size_bytes = row
        if octets is not None:
            return ContentInRow(octets)
        assert file is not None
        return ContentInFile(b"", hold.files.path(file), b"", size_bytes, self._files)

    async def summary(self, domain: str) -> HoldSummary:
        return await self._reader.run(self._reads.summary, self._hold(domain))

    async def domains(self) -> tuple[str, ...]:
        known = {hold.path.name: domain for domain, hold in self._holds.items()}
        found: list[str] = []
        with translating(str(self._folder)):
            names = sorted(path.name for path in self._folder.glob("*.db"))[:HOLDS]
        for name in names:
            domain = known.get(name) or await self._reader.run(self._reads.domain, self._nameless(name))
            if domain is not None:
                found.append(domain)
        return tuple(found)

    def _nameless(self, file: str) -> HoldShard:
        """A hold whose domain is yet to be read from its file."""
        hold = HoldShard("", self._folder, self._vfs)
        hold.path = self._folder / file
        return hold

    async def reports(self, domain: str, limit: int) -> tuple[Report, ...]:
        return await self._reader.run(self._reads.reports, (self._hold(domain), limit))

    def settle(self, domain: str, settlement: HoldSettlement) -> asyncio.Future[None]:
        return _without_result(self._submit(SETTLE, self._hold(domain), settlement))

    def reported(self, domain: str, number: int, story: Entry | None) -> asyncio.Future[None]:
        return _without_result(self._submit(REPORTED, self._hold(domain), (number, story)))

    async def outbox(self, domain: str, limit: int) -> tuple[tuple[int, bytes], ...]:
        return await self._reader.run(self._reads.outbox, (self._hold(domain), limit))

    def clear_outbox(self, domain: str, up_to: int) -> asyncio.Future[None]:
        return self._submit(CLEAR_OUTBOX, self._hold(domain), up_to)

    async def delivery_keys(self, domain: str, after: str, older_than: datetime, limit: int) -> tuple[str, ...]:
        return await self._reader.run(self._reads.keys, (self._hold(domain), after, to_microseconds(older_than), limit))

    async def forget_keys(self, domain: str, keys: tuple[str, ...]) -> None:
        for start in range(0, len(keys), DELIVERY_KEYS_PER_COMMIT):
            await self._submit(FORGET_KEYS, self._hold(domain), keys[start : start + DELIVERY_KEYS_PER_COMMIT])

    async def sweep_content(self) -> int:
        removed = 0
        for domain in await self.domains():
            hold = self._hold(domain)
            if unknown := await self._reader.run(self._reads.unknown_files, hold):
                removed += len((await self._submit(SWEEP, hold, unknown)).files)
        return removed

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close(self._reads.close)
        await self._files.close()

    def _submit(self, verb: Verb[tuple[HoldShard, A], R], hold: HoldShard, argument: A) -> asyncio.Future[R]:
        """As the contract has it, a refusal comes by the future too."""
        try:
            return self._writer.submit(verb, (hold, argument))
        except StoreUnavailable as error:
            refused: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused

    def _hold(self, domain: str) -> HoldShard:
        hold = self._holds.get(domain)
        if hold is None:
            if len(self._holds) >= 2 * HOLDS:
                raise StoreUnavailable(f"There are {len(self._holds)} holds already.")
            hold = self._holds[domain] = HoldShard(domain, self._folder, self._vfs)
        return hold


class SqliteHold:
    """What `open_hold` gives."""

    def __init__(self, store: SqliteHoldStore, domain: str) -> None:
        self._store = store
        self._domain = domain

    @property
    def domain(self) -> str:
        return self._domain

    async def messages(self, after: int, limit: int) -> tuple[HeldMessage, ...]:
        return await self._store.messages(self._domain, after, limit)

    async def overdue(self, now: datetime, limit: int) -> tuple[HeldMessage, ...]:
        return await self._store.overdue(self._domain, now, limit)

    async def content(self, number: int) -> StoredContent:
        return await self._store.content(self._domain, number)

    def settle(self, settlement: HoldSettlement) -> asyncio.Future[None]:
        return self._store.settle(self._domain, settlement)


def _without_result(future: asyncio.Future[R]) -> asyncio.Future[None]:
    """The same end, without what the store keeps to itself."""
    told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(done: asyncio.Future[R]) -> None:
        if told.done():
            return
        if done.cancelled():
            told.cancel()
        elif (error := done.exception()) is not None:
            told.set_exception(error)
        else:
            told.set_result(None)

    if future.done():
        tell(future)
    else:
        future.add_done_callback(tell)
    return told
