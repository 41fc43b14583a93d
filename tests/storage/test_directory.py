"""The directory in SQLite: what its cache may remember, for how long, and what damage looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroad.contracts.directory import Account
from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.simulation.virtual_loop import VirtualLoop
from postroad.storage.sqlite import directory_store
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import DIRECTORY_RECHECK_S
from tests.contract.directory_contract import ANN, BOB, HERE


def play(path: Path, scene: Callable[[SqliteDirectory, SqliteDirectory], Coroutine[Any, Any, None]]) -> None:
    """A scene with two directories on one file, as two processes have them, in virtual time."""

    async def with_directories() -> None:
        directories = [SqliteDirectory(path, direct=True) for _ in range(2)]
        try:
            await scene(*directories)
        finally:
            for directory in directories:
                await directory.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(with_directories())


def test_another_s_change_is_noticed_by_the_loop_s_time(tmp_path: Path) -> None:
    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        await mine.add_domain(HERE)
        assert mine.account(BOB.address) is None
        bob = await other.add_account(BOB)
        assert mine.account(BOB.address) is None, "asked again too early, the cache would be of no use"
        loop = asyncio.get_running_loop()
        noticed = loop.create_future()
        loop.call_later(DIRECTORY_RECHECK_S, lambda: noticed.set_result(mine.account(BOB.address)))
        assert await noticed == bob

    play(tmp_path / "directory.db", scene)


def test_one_s_own_change_is_seen_at_once(tmp_path: Path) -> None:
    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        await mine.add_domain(HERE)
        assert mine.account(ANN.address) is None
        assert mine.account_by_unix_user("ann") is None
        ann = await mine.add_account(ANN)
        assert mine.account(ANN.address) == mine.account_by_unix_user("ann") == ann

    play(tmp_path / "directory.db", scene)


def test_guessing_names_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_store, "DIRECTORY_CACHE_ENTRIES", 10)

    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        await mine.add_domain(HERE)
        bob = await mine.add_account(BOB)
        for n in range(35):
            assert mine.account(Mailbox(f"guess{n}", "a.example")) is None
            assert mine.domain(f"guess{n}.example") is None
            assert mine.account(BOB.address) == bob
        assert len(mine._accounts) <= 10
        assert len(mine._domains) <= 10

    play(tmp_path / "directory.db", scene)


def test_changes_made_at_once_by_two_processes_all_count(tmp_path: Path) -> None:
    async def scene() -> None:
        directories = [SqliteDirectory(tmp_path / "directory.db") for _ in range(2)]
        await directories[0].add_domain(HERE)
        async with asyncio.TaskGroup() as group:
            for n in range(40):
                account = Account(id=0, address=Mailbox(f"user{n}", "a.example"))
                group.create_task(directories[n % 2].add_account(account))
        accounts = directories[1].accounts()
        assert len({account.id for account in accounts}) == 40
        for directory in directories:
            await directory.close()

    asyncio.run(scene())


def test_a_refused_change_leaves_no_trace(tmp_path: Path) -> None:
    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        await mine.add_domain(HERE)
        mine._reading.run(lambda connection, _: connection.execute(BREAK_GRANTS), None)
        with pytest.raises(StoreUnavailable):
            await mine.add_account(ANN)
        assert mine.accounts() == ()

    play(tmp_path / "directory.db", scene)


BREAK_GRANTS = "CREATE TRIGGER stuck BEFORE INSERT ON send_grant BEGIN SELECT RAISE(ABORT, 'stuck'); END"


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        await mine.add_domain(HERE)
        mine._writer._engine.connection.pragma("max_page_count", 1)  # type: ignore[attr-defined]
        with pytest.raises(StoreFull):
            await mine.add_account(msgspec.structs.replace(BOB, display_name="x" * 200_000))
        assert mine.domain("a.example") == HERE

    play(tmp_path / "directory.db", scene)


def test_a_closed_directory_refuses(tmp_path: Path) -> None:
    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        await mine.close()
        with pytest.raises(StoreUnavailable):
            mine.account(ANN.address)
        with pytest.raises(StoreUnavailable):
            await mine.add_domain(HERE)

    play(tmp_path / "directory.db", scene)
