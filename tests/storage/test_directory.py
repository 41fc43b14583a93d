"""The directory in SQLite: what its cache may remember, for how long, and what damage looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any

import msgspec
import pytest

from postroad.contracts.directory import Account, Domain, DomainKind
from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.simulation.virtual_loop import VirtualLoop
from postroad.storage.sqlite import directory_store
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import DIRECTORY_RECHECK_S
from postroad.vocabulary.usage import Sent, Usage
from tests.contract.directory_contract import ANN, BOB, HERE, KEYS, NOON

OLDER = Path(__file__).parent / "older"


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


def test_counters_do_not_make_anybody_forget_accounts(tmp_path: Path) -> None:
    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        async def seen_later() -> Account | None:
            loop = asyncio.get_running_loop()
            seen: asyncio.Future[Account | None] = loop.create_future()
            loop.call_later(DIRECTORY_RECHECK_S, lambda: seen.set_result(other.account(ANN.address)))
            return await seen

        await mine.add_domain(HERE)
        ann = await mine.add_account(ANN)
        remembered = await seen_later()
        await mine.add_usage((Sent(ann.id, 1, 1, NOON),))
        assert await seen_later() is remembered
        await mine.change_account(ann)
        assert await seen_later() is not remembered

    play(tmp_path / "directory.db", scene)


def test_a_directory_of_the_first_version_is_taken_over_with_all_it_holds(tmp_path: Path) -> None:
    """older/directory-0001.db was written by the version that knew migration 0001 alone."""
    path = tmp_path / "directory.db"
    copyfile(OLDER / "directory-0001.db", path)

    async def scene(mine: SqliteDirectory, other: SqliteDirectory) -> None:
        assert mine.domains() == (
            Domain(name="a.example"),
            Domain(name="b.example", kind=DomainKind.RELAY, relay_to="mx.b.example:25"),
        )
        ann, bob = mine.accounts()
        assert ann == Account(
            id=2,
            address=Mailbox("Ann", "a.example"),
            display_name="Ann Author",
            password="$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA",
            unix_user="ann",
            grants=(Mailbox("sales", "a.example"), Mailbox("info", "a.example")),
        )
        assert bob == Account(id=3, address=Mailbox("bob", "a.example"), disabled=True)
        assert mine.usage(ann.id) == Usage()
        assert mine.standing_orders() == ()
        assert len(mine.fake_salt_key()) == 32
        assert mine.fake_salt_key() == other.fake_salt_key()
        await mine.change_account(msgspec.structs.replace(ann, scram=KEYS, messages_per_hour=5))
        await mine.add_usage((Sent(ann.id, 1, 2, datetime(2026, 5, 4, tzinfo=UTC)),))
        new = await mine.add_account(Account(id=0, address=Mailbox("eve", "a.example")))
        assert new.id == 4, "the id of the account that was removed before must not come back"
        assert other.account(Mailbox("ann", "a.example")) == mine.account(ann.address)

    play(path, scene)
