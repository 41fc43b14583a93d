"""Group commit: who shares a sync, whose error is whose, and what happens when the disk fails."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
import pytest

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.storage.sqlite.commit import CommitEngine, Item, Verb
from postroad.storage.sqlite.database import DatabaseKind, open_database
from postroad.storage.sqlite.writer import Reader, ThreadedWriter, Writer, make_reader, make_writer
from postroad.vocabulary.limits import CHECKPOINT_PAGES, READS_WAITING, WRITER_QUEUE
from tests.storage.another_process import another_process, lines_of
from tests.storage.failing_disk import FailingDisk, failing_disk

DEADLINE_S = 30.0


def the_kind(folder: Path) -> DatabaseKind:
    (folder / "sql").mkdir(exist_ok=True)
    (folder / "sql" / "0001_things.sql").write_text("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL);")
    return DatabaseKind("toy", 0x50527478, folder / "sql")


def connector(folder: Path, vfs: str | None = None) -> Callable[[], apsw.Connection]:
    return partial(open_database, folder / "a.db", the_kind(folder), vfs=vfs)


def an_engine(folder: Path, vfs: str | None = None) -> CommitEngine:
    engine = CommitEngine(connector(folder, vfs))
    engine.open()
    return engine


def write_thing(connection: apsw.Connection, thing: tuple[int, str | None]) -> int:
    connection.execute("INSERT INTO thing VALUES (?, ?)", thing)
    return thing[0]


def names(connection: apsw.Connection, _: object = None) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in connection.execute("SELECT id, name FROM thing ORDER BY id")]


PUT = Verb(write_thing)


async def until_accepted(writer: Writer, thing: tuple[int, str]) -> None:
    """Offer it until the writer takes it again."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await writer.submit(PUT, thing)
            except StoreUnavailable:
                await asyncio.sleep(0)
            else:
                return


@pytest.mark.parametrize("direct", [False, True])
def test_a_write_is_seen_by_the_reader_when_its_future_is_done(tmp_path: Path, direct: bool) -> None:
    async def scene() -> None:
        writer = make_writer(an_engine(tmp_path), direct=direct)
        reader: Reader = make_reader(connector(tmp_path), direct=direct)
        for n in range(20):
            assert await writer.submit(PUT, (n, "x")) == n
            assert len(await reader.read(names, None)) == n + 1
        with pytest.raises(StoreUnavailable):
            await reader.read(lambda connection, _: connection.execute("SELECT * FROM nowhere"), None)
        await reader.close()
        await writer.close()
        for refused in (lambda: writer.submit(PUT, (99, "x")), lambda: reader.read(names, None)):
            with pytest.raises(StoreUnavailable):
                refused()

    asyncio.run(scene())


def test_items_that_come_during_a_commit_share_the_next(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        engine = an_engine(tmp_path, disk.name)
        begun, go_on = threading.Event(), threading.Event()

        def wait(connection: apsw.Connection, _: object) -> None:
            begun.set()
            assert go_on.wait(DEADLINE_S)

        writer = ThreadedWriter(engine)
        first = writer.submit(Verb(wait), None)
        await asyncio.to_thread(begun.wait, DEADLINE_S)
        futures = [writer.submit(PUT, (n, "x")) for n in range(100)]
        before = disk.syncs
        go_on.set()
        await first
        await asyncio.wait(futures)
        assert disk.syncs == before + 1
        await writer.close()

    with failing_disk("batches") as disk:
        asyncio.run(scene(disk))


def test_of_a_batch_only_the_items_that_fail_fail(tmp_path: Path) -> None:
    def refuse(connection: apsw.Connection, thing: tuple[int, str]) -> None:
        write_thing(connection, thing)
        raise LookupError("no such thing")

    engine = an_engine(tmp_path)
    batch: list[Item] = [(PUT, (1, "a")), (PUT, (1, "b")), (Verb(refuse), (2, "c")), (PUT, (3, None)), (PUT, (4, "d"))]
    results = engine.commit(batch)
    assert [type(result) for result in results] == [int, StoreUnavailable, LookupError, StoreUnavailable, int]
    assert names(engine.connection) == [(1, "a"), (4, "d")]
    engine.close()


def test_a_form_for_many_gives_way_to_single_items_when_it_fails(tmp_path: Path) -> None:
    def many(connection: apsw.Connection, things: object) -> list[int]:
        connection.execute("INSERT INTO thing VALUES (50, 'half done')")
        raise LookupError("one of these, who knows which")

    engine = an_engine(tmp_path)
    assert engine.commit([(Verb(write_thing, many), (1, "a")), (PUT, (2, "b"))]) == [1, 2]
    assert names(engine.connection) == [(1, "a"), (2, "b")]
    engine.close()


def test_a_hook_that_fails_fails_the_batch_and_no_other(tmp_path: Path) -> None:
    broken = [True, False]

    def finish(connection: apsw.Connection, done: object) -> None:
        if broken.pop(0):
            raise LookupError("a mistake of ours")

    engine = CommitEngine(connector(tmp_path), finish_batch=finish)
    engine.open()
    (result,) = engine.commit([(PUT, (1, "a"))])
    assert isinstance(result, StoreUnavailable)
    assert engine.commit([(PUT, (2, "b"))]) == [2]
    assert names(engine.connection) == [(2, "b")]
    engine.close()


def test_a_full_disk_is_told_and_the_database_stays_usable(tmp_path: Path) -> None:
    engine = an_engine(tmp_path)
    engine.connection.pragma("max_page_count", 40)
    results = engine.commit([(PUT, (n, "x" * 20_000)) for n in range(20)])
    # SQLite gives the whole transaction up then: nobody may be told that his part of it was written.
    assert [type(result) for result in results] == [StoreFull] * 20
    assert engine.is_open
    assert names(engine.connection) == []
    assert engine.commit([(PUT, (98, "x" * 20_000))]) == [98]
    engine.connection.pragma("max_page_count", 4000)
    assert engine.commit([(PUT, (n, "x" * 20_000)) for n in range(20)]) == list(range(20))
    engine.close()


def test_a_failed_sync_fails_the_whole_batch_and_the_file_is_opened_again(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        writer = make_writer(an_engine(tmp_path, disk.name), direct=False)
        reader = make_reader(connector(tmp_path), direct=False)
        await writer.submit(PUT, (1, "before"))
        disk.syncs_to_fail, disk.opens_to_fail = 1, 2
        futures = [writer.submit(PUT, (n, "lost")) for n in range(100, 150)]
        await asyncio.wait(futures)
        assert {type(future.exception()) for future in futures} == {StoreUnavailable}
        assert await reader.read(names, None) == [(1, "before")]
        await until_accepted(writer, (2, "after"))
        assert disk.opens_to_fail == 0
        assert await reader.read(names, None) == [(1, "before"), (2, "after")]
        await reader.close()
        await writer.close()

    with failing_disk("failing") as disk:
        asyncio.run(scene(disk))


def test_without_threads_the_next_item_opens_the_file_again(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        writer = make_writer(an_engine(tmp_path, disk.name), direct=True)
        disk.syncs_to_fail = 1
        with pytest.raises(StoreUnavailable):
            await writer.submit(PUT, (1, "lost"))
        assert await writer.submit(PUT, (2, "after")) == 2
        await writer.close()

    with failing_disk("failing directly") as disk:
        asyncio.run(scene(disk))


def test_closing_while_the_disk_is_away_ends_at_once(tmp_path: Path) -> None:
    async def scene(disk: FailingDisk) -> None:
        writer = make_writer(an_engine(tmp_path, disk.name), direct=False)
        disk.syncs_to_fail, disk.opens_to_fail = 1, 1_000_000
        with pytest.raises(StoreUnavailable):
            await writer.submit(PUT, (1, "lost"))
        async with asyncio.timeout(DEADLINE_S):
            await writer.close()

    with failing_disk("gone") as disk:
        asyncio.run(scene(disk))


FAIL_AND_DIE = """
import sys
from pathlib import Path
from tests.storage import test_writer as t
with t.failing_disk("dying") as disk:
    t.fail_and_die(disk, Path(sys.argv[1]))
"""


def fail_and_die(disk: FailingDisk, folder: Path) -> None:
    """In another process: one batch is written, one is lost, the file is opened again, the process is killed."""
    engine = an_engine(folder, disk.name)
    engine.commit([(PUT, (1, "written"))])
    disk.syncs_to_fail = 1
    (result,) = engine.commit([(PUT, (2, "lost"))])
    assert isinstance(result, StoreUnavailable)
    engine.open()
    print("open again", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_lost_does_not_come_back_after_a_crash(tmp_path: Path) -> None:
    with another_process(FAIL_AND_DIE, tmp_path) as process:
        assert list(lines_of(process)) == ["open again"]
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
    engine = an_engine(tmp_path)
    assert names(engine.connection) == [(1, "written")]
    engine.close()


class BrokenEngine(CommitEngine):
    """An engine with a defect."""

    def checkpoint_if_due(self) -> None:
        raise RuntimeError("a defect")


def test_a_defect_in_an_engine_is_reported_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    told: list[dict[str, object]] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        engine = BrokenEngine(connector(tmp_path))
        engine.open()
        writer = make_writer(engine, direct=False, name="the writer")
        async with asyncio.timeout(DEADLINE_S):
            first = writer.submit(PUT, (1, "x"))
            others = [writer.submit(PUT, (n, "x")) for n in range(2, 600)]
            await first
            ends = await asyncio.gather(*others, return_exceptions=True)
            assert isinstance(ends[-1], StoreUnavailable)
            with pytest.raises(StoreUnavailable):
                writer.submit(PUT, (600, "x"))
            await writer.close()

    asyncio.run(scene())
    assert [(context["message"], str(context["exception"])) for context in told] == [
        ("the writer gives up", "a defect")
    ]


def test_the_queue_of_the_writer_is_bounded(tmp_path: Path) -> None:
    async def scene() -> None:
        begun, go_on = threading.Event(), threading.Event()

        def wait(connection: apsw.Connection, _: object) -> None:
            begun.set()
            assert go_on.wait(DEADLINE_S)

        writer = make_writer(an_engine(tmp_path), direct=False)
        first = writer.submit(Verb(wait), None)
        await asyncio.to_thread(begun.wait, DEADLINE_S)
        echo: Verb[int, int] = Verb(lambda connection, n: n)
        futures = [writer.submit(echo, n) for n in range(WRITER_QUEUE)]
        with pytest.raises(StoreUnavailable):
            writer.submit(PUT, (1, "one too many"))
        go_on.set()
        await first
        assert await futures[-1] == WRITER_QUEUE - 1
        await writer.submit(PUT, (1, "room again"))
        await writer.close()

    asyncio.run(scene())


def test_the_queue_of_the_reader_is_bounded(tmp_path: Path) -> None:
    async def scene() -> None:
        go_on = threading.Event()
        reader = make_reader(connector(tmp_path), direct=False)
        futures = [reader.read(lambda connection, _: go_on.wait(DEADLINE_S), None) for _ in range(READS_WAITING)]
        with pytest.raises(StoreUnavailable):
            reader.read(names, None)
        go_on.set()
        await asyncio.wait(futures)
        assert await reader.read(names, None) == []
        await reader.close()

    asyncio.run(scene())


def test_the_log_is_carried_over_now_and_then_and_emptied_at_the_end(tmp_path: Path) -> None:
    engine = an_engine(tmp_path)
    log = tmp_path / "a.db-wal"
    sizes = []
    for n in range(3 * CHECKPOINT_PAGES // 50):
        engine.commit([(PUT, (1000 * n + m, "x" * 4000)) for m in range(50)])
        engine.checkpoint_if_due()
        sizes.append(log.stat().st_size)
    assert max(sizes) < 2 * CHECKPOINT_PAGES * 4096
    assert (tmp_path / "a.db").stat().st_size > CHECKPOINT_PAGES * 4096
    engine.close()
    assert not log.exists()


def test_a_loop_that_is_gone_does_not_keep_the_thread(tmp_path: Path) -> None:
    async def scene() -> ThreadedWriter:
        writer = ThreadedWriter(an_engine(tmp_path), "orphan")
        writer.submit(PUT, (1, "x"))
        return writer

    loop = asyncio.new_event_loop()
    writer = loop.run_until_complete(scene())
    loop.close()
    # Whether the first answer came before or after the end of the loop: the second cannot be given.
    writer._items.put((PUT, (2, "y"), None))  # type: ignore[arg-type]
    writer._thread.join(DEADLINE_S)
    assert not writer._thread.is_alive()
