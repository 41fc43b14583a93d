"""The ledger in SQLite: what a crash may cost, what a failing disk may cost, and what is never confused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.contracts.errors import StoreUnavailable
from postroad.simulation.virtual_loop import VirtualLoop
from postroad.storage.sqlite import ledger_reads, ledger_store, ledger_writes
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.vocabulary.limits import LEDGER_FLUSH_S, TRACE_ENTRIES
from postroad.vocabulary.story import Entry, entries_with, keys_in, to_bytes
from tests.contract.ledger_contract import DAY, QUEUE_ID, T0, an_entry
from tests.contract.test_sqlite_ledger import SetClock
from tests.storage.another_process import another_process, kill, lines_of

WRITER = """
import asyncio, sys
from pathlib import Path
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.vocabulary.story import to_bytes
from tests.contract.ledger_contract import an_entry
from tests.contract.test_sqlite_ledger import SetClock

async def write(folder, count):
    ledger = SqliteLedger(folder, "t0", SetClock())
    for n in range(count):
        ledger.record(an_entry("recorded"))
        await ledger.write((to_bytes((an_entry(f"{n:012d}", more=("ann@a.example",)),)),))
        print(n, flush=True)
    await ledger.close()

asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
"""


def play(
    folder: Path, scene: Callable[[SqliteLedger, SetClock], Coroutine[Any, Any, None]], *, virtual: bool = True
) -> None:
    async def with_ledger() -> None:
        clock = SetClock()
        ledger = SqliteLedger(folder, "a0", clock, direct=virtual)
        try:
            await scene(ledger, clock)
        finally:
            await ledger.close()

    with asyncio.Runner(loop_factory=VirtualLoop if virtual else asyncio.new_event_loop) as runner:
        runner.run(with_ledger())


async def elapse(seconds: float) -> None:
    """Virtual time goes by."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(seconds, over.set_result, None)
    await over


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_record_is_written_within_its_time_without_being_asked(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        ledger.record(an_entry())
        assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == ()
        await elapse(LEDGER_FLUSH_S)
        assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == (an_entry(),)

    play(tmp_path, scene)


def test_too_many_records_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_store, "LEDGER_QUEUE", 100)
    entries = [an_entry(at=T0 + timedelta(seconds=n)) for n in range(130)]

    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        for entry in entries:
            ledger.record(entry)
        assert ledger.dropped == 30
        await ledger.flush()
        assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == tuple(entries[:100])
        ledger.record(entries[100])
        await ledger.flush()
        assert len(await ledger.find(QUEUE_ID, TRACE_ENTRIES)) == 101

    play(tmp_path, scene)


def test_records_wait_for_a_disk_that_fails_and_the_mover_is_told(tmp_path: Path) -> None:
    in_the_way = tmp_path / T0.date().isoformat()

    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        in_the_way.write_text("no folder")
        ledger.record(an_entry(action="first"))
        with pytest.raises(StoreUnavailable):
            await ledger.flush()
        with pytest.raises(StoreUnavailable):
            await ledger.write((to_bytes((an_entry(),)),))
        ledger.record(an_entry(at=T0 + DAY, action="second"))
        await elapse(3 * LEDGER_FLUSH_S)
        in_the_way.unlink()
        await elapse(LEDGER_FLUSH_S)
        found = await ledger.find(QUEUE_ID, TRACE_ENTRIES)
        assert found == (an_entry(action="first"), an_entry(at=T0 + DAY, action="second"))
        assert ledger.dropped == 0

    play(tmp_path, scene)


def test_old_days_can_be_dropped_when_nothing_can_be_written(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        await ledger.write((to_bytes((an_entry(),)),))
        clock.time = T0 + 2 * DAY
        (tmp_path / clock.time.date().isoformat()).write_text("no folder")
        assert await ledger.drop_before(clock.time) == 1
        (tmp_path / clock.time.date().isoformat()).unlink()

    play(tmp_path, scene)


def test_what_cannot_be_written_at_the_end_is_counted(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        (tmp_path / T0.date().isoformat()).write_text("no folder")
        ledger.record(an_entry())
        await ledger.close()
        assert ledger.dropped == 1
        ledger.record(an_entry())
        assert ledger.dropped == 2

    play(tmp_path, scene)


def test_an_entry_that_is_no_entry_goes_alone(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        ledger.record(an_entry())
        ledger.record(an_entry(action="\udc80"))
        ledger.record(an_entry(at=T0 + DAY))
        await ledger.flush()
        assert ledger.dropped == 1
        assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == (an_entry(), an_entry(at=T0 + DAY))

    play(tmp_path, scene)


def test_a_blob_that_cannot_be_read_holds_up_nobody(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        await ledger.write((b"\xc1", to_bytes((an_entry(),)), b""))
        assert await ledger.find(QUEUE_ID, TRACE_ENTRIES) == (an_entry(),)

    play(tmp_path, scene)


def test_keys_with_the_same_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ledger_reads, ledger_writes):
        monkeypatch.setattr(module, "key_hash", lambda key: 7)

    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        await ledger.write((to_bytes((an_entry("one", more=("ann@a.example",)), an_entry("two"))),))
        await ledger.write((to_bytes((an_entry("three"),)),))
        assert await ledger.find("ann@a.example", TRACE_ENTRIES) == (an_entry("one", more=("ann@a.example",)),)
        assert await ledger.find("three", TRACE_ENTRIES) == (an_entry("three"),)
        assert await ledger.find("four", TRACE_ENTRIES) == ()

    play(tmp_path, scene)


def test_a_story_is_found_in_whichever_chapter_of_a_day_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (ledger_reads, ledger_writes):
        monkeypatch.setattr(module, "CHAPTER_MENTIONS", 5)
    entries = [an_entry(f"{n:012d}", at=T0 + timedelta(seconds=n), more=("ann@a.example",)) for n in range(40)]

    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        for start in range(0, 40, 3):
            await ledger.write((to_bytes(tuple(entries[start : start + 3])),))
        for entry in entries:
            assert await ledger.find(entry.queue_id, TRACE_ENTRIES) == (entry,)
        assert await ledger.find("ann@a.example", TRACE_ENTRIES) == tuple(entries)
        assert await ledger.find("ann@a.example", 7) == tuple(entries[-7:])

    play(tmp_path, scene)


def test_the_file_of_a_day_that_is_over_is_closed_and_stays_tidy(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        await ledger.write((to_bytes((an_entry(),)),))
        clock.time = T0 + DAY
        await ledger.write((to_bytes((an_entry(at=T0 + DAY),)),))
        assert [name for name in files_of(tmp_path) if name.startswith("2026-11-23")] == ["2026-11-23/a0.db"]
        assert len(await ledger.find(QUEUE_ID, TRACE_ENTRIES)) == 2
        await ledger.close()
        assert files_of(tmp_path) == ["2026-11-23/a0.db", "2026-11-24/a0.db"]

    play(tmp_path, scene)


def test_a_search_finds_what_another_process_has_just_written(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        with another_process(WRITER, tmp_path, 200) as other:
            told = lines_of(other)
            while number := await asyncio.to_thread(next, told, ""):
                if int(number) % 10 == 0:
                    assert len(await ledger.find(f"{int(number):012d}", TRACE_ENTRIES)) == 1
            assert other.wait() == 0
        assert len(await ledger.find("ann@a.example", TRACE_ENTRIES)) == 200

    play(tmp_path, scene, virtual=False)


def test_a_kill_loses_no_story_that_was_synced(tmp_path: Path) -> None:
    async def scene(ledger: SqliteLedger, clock: SetClock) -> None:
        with another_process(WRITER, tmp_path, 100_000) as other:
            told = lines_of(other)
            written = [int(next(told)) for _ in range(101)][-1]
            kill(other)
        found = {entry.queue_id for entry in await ledger.find("ann@a.example", TRACE_ENTRIES)}
        assert found >= {f"{n:012d}" for n in range(written + 1)}

    play(tmp_path, scene)


@given(
    st.lists(
        st.builds(
            lambda queue_id, more: Entry(queue_id, (queue_id, *more), an_entry().facts),
            st.text(max_size=4),
            st.lists(st.text(max_size=3), max_size=3),
        ),
        max_size=6,
    )
)
def test_a_blob_gives_its_keys_and_what_each_stands_for(entries: list[Entry]) -> None:
    octets = to_bytes(tuple(entries))
    keys = keys_in(octets)
    assert keys == {key for entry in entries for key in entry.keys}
    for key in keys:
        assert entries_with(key, octets) == [entry for entry in entries if key in entry.keys]
    assert entries_with("no such key", octets) == []
