"""The ledger in SQLite: data/ledger/<day>/<process>.db. Implements contracts/ledger.py.

What the queue wrote in its outbox comes by `write` and is synced before the outbox is cleared; a crash between
shows as a blob written twice, which `find` tells once. What no transaction carries comes by `record`, waits in
memory for at most LEDGER_FLUSH_S and is written in one commit; a crash loses it. When the ledger cannot be
written, recorded entries wait, up to LEDGER_QUEUE; mail never waits for them.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.blocking import make_calls
from postroad.storage.sqlite.ledger_reads import drop_days, find_each, find_entries
from postroad.storage.sqlite.ledger_writes import RECORD, WRITE, LedgerDays
from postroad.storage.sqlite.writer import make_writer
from postroad.vocabulary.limits import LEDGER_FLUSH_S, LEDGER_QUEUE
from postroad.vocabulary.story import Entry


class SqliteLedger:
    """`folder` is data/ledger; `process` names this process's files ("t0"): no two processes may share one.
    The day is that of `clock`. To be made on the loop; `direct` for a loop with virtual time; `vfs` is SQLite's
    file layer."""

    def __init__(
        self, folder: Path, process: str, clock: Clock, *, direct: bool = False, vfs: str | None = None
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._writer = make_writer(LedgerDays(folder, process, vfs), direct=direct, name="ledger writer")
        self._reader = make_calls(direct=direct, threads=1, name="ledger reader")
        self._waiting: list[Entry] = []
        self._on_their_way: tuple[Entry, ...] = ()
        self._writing: asyncio.Future[int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._is_closed = False

    @property
    def dropped(self) -> int:
        """Recorded entries that were never written."""
        return self._dropped

    def record(self, entry: Entry) -> None:
        if self._is_closed or len(self._waiting) + len(self._on_their_way) >= LEDGER_QUEUE:
            self._dropped += 1
            return
        self._waiting.append(entry)
        if self._timer is None:
            self._timer = self._loop.call_later(LEDGER_FLUSH_S, self._on_timer)

    async def write(self, blobs: tuple[bytes, ...]) -> None:
        await self._writer.submit(WRITE, (self._today(), blobs))

    async def find(self, key: str, limit: int) -> tuple[Entry, ...]:
        return await self._reader.run(partial(find_entries, self._folder, key), limit)

    async def find_each(self, keys: tuple[str, ...], limit: int, since: datetime) -> dict[str, tuple[Entry, ...]]:
        from_day = since.astimezone(UTC).date()
        return await self._reader.run(partial(find_each, self._folder, keys, from_day), limit)

    async def flush(self) -> None:
        """Raises StoreUnavailable: they go on waiting."""
        # Twice: what is on its way, and what came after it.
        for _ in range(2):
            writing = self._writing or self._begin_writing()
            if writing is None:
                return
            # Not awaited itself: a caller who is cancelled must not cancel it for the others.
            await asyncio.wait((writing,))
            if error := writing.exception():
                raise StoreUnavailable(str(error)) from error

    async def drop_before(self, day: datetime) -> int:
        today = self._today()
        try:
            # An item of today makes the writer close the file of any other day.
            await self._writer.submit(WRITE, (today, ()))
        except StoreUnavailable:
            pass  # closed it is all the same, and on a full disk dropping days is what helps
        return await self._reader.run(partial(drop_days, self._folder), min(day.astimezone(UTC).date(), today))

    async def close(self) -> None:
        """Writes what was recorded; what cannot be written is counted as dropped."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self.flush()
        except StoreUnavailable:
            self._dropped += len(self._waiting)
            self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        await self._writer.close()
        await self._reader.close()

    def _today(self) -> date:
        return self._clock.now().astimezone(UTC).date()

    def _on_timer(self) -> None:
        self._timer = None
        if self._writing is None:
            try:
                self._begin_writing()
            except StoreUnavailable:
                self._try_again_later()

    def _begin_writing(self) -> asyncio.Future[int] | None:
        """None when nothing waits. Raises StoreUnavailable: it goes on waiting."""
        if not self._waiting:
            return None
        entries = tuple(self._waiting)
        writing = self._writer.submit(RECORD, (self._today(), entries))
        self._waiting.clear()
        self._on_their_way, self._writing = entries, writing
        writing.add_done_callback(self._written)
        return writing

    def _written(self, writing: asyncio.Future[int]) -> None:
        entries, self._on_their_way, self._writing = self._on_their_way, (), None
        error = writing.exception()
        if isinstance(error, StoreUnavailable):
            self._waiting[:0] = entries
        elif error is not None:  # a defect; these would fail again
            self._dropped += len(entries)
        else:
            self._dropped += writing.result()
        if self._waiting:
            self._try_again_later()

    def _try_again_later(self) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(LEDGER_FLUSH_S, self._on_timer)
