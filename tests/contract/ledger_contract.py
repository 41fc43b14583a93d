"""What every ledger owes to those who ask for a story. A runner subclasses this and says how one is opened."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from postroad.contracts.ledger import Ledger
from postroad.vocabulary.limits import TRACE_ENTRIES
from postroad.vocabulary.story import Acted, Entry, to_bytes

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
QUEUE_ID = "0000000000A0"

DEADLINE_S = 30.0


def an_entry(
    queue_id: str = QUEUE_ID, *, at: datetime = T0, action: str = "retry", more: tuple[str, ...] = ()
) -> Entry:
    return Entry(queue_id, (queue_id, *more), (Acted(at=at, action=action, by="root"),))


class LedgerContract:
    @abstractmethod
    def open_ledger(self, data: Path, process: str) -> Ledger:
        """The ledger on `data` as the process of that name writes it."""

    @abstractmethod
    def set_time(self, now: datetime) -> None:
        """What the clock of the ledgers opened by this test says from now on."""

    def run(self, data: Path, scene: Callable[[Ledger], Coroutine[Any, Any, None]]) -> None:
        self.set_time(T0)

        async def play() -> None:
            async with asyncio.timeout(DEADLINE_S), self.opened(data) as ledger:
                await scene(ledger)

        asyncio.run(play())

    @asynccontextmanager
    async def opened(self, data: Path, process: str = "t0") -> AsyncIterator[Ledger]:
        ledger = self.open_ledger(data, process)
        try:
            yield ledger
        finally:
            await ledger.close()

    def test_a_written_story_is_found_by_each_of_its_keys(self, tmp_path: Path) -> None:
        entry = an_entry(more=("ann@a.example", "<1@a.example>"))

        async def scene(ledger: Ledger) -> None:
            await ledger.write((to_bytes((an_entry("0000000000B0"), entry)),))
            for key in (QUEUE_ID, "ann@a.example", "<1@a.example>"):
                assert await ledger.find(key, TRACE_ENTRIES) == (entry,)
            assert await ledger.find("bob@a.example", TRACE_ENTRIES) == ()

        self.run(tmp_path, scene)

    def test_what_was_recorded_is_found_after_a_flush(self, tmp_path: Path) -> None:
        async def scene(ledger: Ledger) -> None:
            for n in range(3):
                ledger.record(an_entry(at=T0 + timedelta(seconds=n)))
            await ledger.flush()
            async with self.opened(tmp_path, "a0") as another:
                assert len(await another.find(QUEUE_ID, TRACE_ENTRIES)) == 3
            assert ledger.dropped == 0

        self.run(tmp_path, scene)

    def test_what_was_recorded_is_there_after_closing(self, tmp_path: Path) -> None:
        async def before(ledger: Ledger) -> None:
            ledger.record(an_entry())

        async def after(ledger: Ledger) -> None:
            assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == (an_entry(),)

        self.run(tmp_path, before)
        self.run(tmp_path, after)

    def test_a_blob_written_twice_is_told_once(self, tmp_path: Path) -> None:
        blob = to_bytes((an_entry(), an_entry(at=T0 + DAY)))

        async def scene(ledger: Ledger) -> None:
            await ledger.write((blob,))
            self.set_time(T0 + DAY)
            await ledger.write((blob, blob))
            assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == (an_entry(), an_entry(at=T0 + DAY))
            assert await ledger.find(QUEUE_ID, 2) == (an_entry(), an_entry(at=T0 + DAY))

        self.run(tmp_path, scene)

    def test_a_story_is_told_in_order_over_days_and_processes(self, tmp_path: Path) -> None:
        steps = [an_entry(at=T0 + n * DAY / 2, action=str(n)) for n in range(6)]

        async def scene(ledger: Ledger) -> None:
            async with self.opened(tmp_path, "a0") as another:
                for n, step in enumerate(steps):
                    self.set_time(T0 + n * DAY / 2)
                    await (another if n % 2 else ledger).write((to_bytes((step,)),))
                assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == tuple(steps)
                assert await another.find(QUEUE_ID, TRACE_ENTRIES) == tuple(steps)

        self.run(tmp_path, scene)

    def test_of_too_many_the_newest_are_told_oldest_first(self, tmp_path: Path) -> None:
        steps = [an_entry(f"{n:012d}", at=T0 + n * DAY / 4, more=("ann@a.example",)) for n in range(12)]

        async def scene(ledger: Ledger) -> None:
            for n, step in enumerate(steps):
                self.set_time(T0 + n * DAY / 4)
                await ledger.write((to_bytes((step,)),))
            assert await ledger.find("ann@a.example", 5) == tuple(steps[-5:])

        self.run(tmp_path, scene)

    def test_old_days_are_dropped_whole_and_today_never(self, tmp_path: Path) -> None:
        steps = [an_entry(at=T0 + n * DAY) for n in range(4)]

        async def scene(ledger: Ledger) -> None:
            async with self.opened(tmp_path, "a0") as another:
                for n, step in enumerate(steps):
                    self.set_time(T0 + n * DAY)
                    await ledger.write((to_bytes((step,)),))
                await another.write((to_bytes((steps[3],)),))
                assert await ledger.drop_before(T0 + 2 * DAY) == 2
                assert await another.find(QUEUE_ID, TRACE_ENTRIES) == tuple(steps[2:])
                assert await ledger.drop_before(T0 + 9 * DAY) == 1
                assert await ledger.drop_before(T0 + 9 * DAY) == 0
                assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == (steps[3],)
                await ledger.write((to_bytes((an_entry(at=T0 + 4 * DAY),)),))
                assert len(await another.find(QUEUE_ID, TRACE_ENTRIES)) == 2

        self.run(tmp_path, scene)
