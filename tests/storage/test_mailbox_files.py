"""Large content in mailboxes: one file for all recipients, none left over, none missed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.content_shard import Removed
from postroad.storage.sqlite.mailbox_shard import DELIVER, SWEEP, MailboxShard
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from tests.contract.mailbox_store_contract import HEAD, LARGE, SealedFile, a_delivery, whole


def play(folder: Path, scene: Callable[[SqliteMailboxStore], Coroutine[Any, Any, None]]) -> None:
    async def with_store() -> None:
        async with asyncio.timeout(30):
            store = SqliteMailboxStore(folder)
            try:
                await scene(store)
            finally:
                await store.close()

    asyncio.run(with_store())


def content_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "content").rglob("*") if path.is_file())


@pytest.fixture
def sealed(tmp_path: Path) -> SealedFile:
    return SealedFile(tmp_path / "queue file", LARGE)


def test_one_file_serves_all_recipients_and_goes_with_the_last(tmp_path: Path, sealed: SealedFile) -> None:
    folder = tmp_path / "mail"
    account_ids = (1, 2, 1 + 64)

    async def scene(store: SqliteMailboxStore) -> None:
        futures = [store.deliver(a_delivery(f"0000000000A0/{n}", account_id=n, content=sealed)) for n in account_ids]
        uids = [await future for future in futures]
        assert len({path.stat().st_ino for path in content_files(folder)}) == 1
        assert Path(sealed.file_path() or "").stat().st_nlink == 4
        os.unlink(sealed.file_path() or "")
        for account_id, uid in zip(account_ids, uids, strict=True):
            assert await whole(await store.content(account_id, uid)) == HEAD + LARGE
            async with store.open_maildrop(account_id) as maildrop:
                await maildrop.remove((uid,))
        assert content_files(folder) == []

    play(folder, scene)


def test_the_files_of_a_removed_mailbox_go(tmp_path: Path, sealed: SealedFile) -> None:
    folder = tmp_path / "mail"

    async def scene(store: SqliteMailboxStore) -> None:
        for n in range(3):
            await store.deliver(a_delivery(f"{n:012d}/a", content=sealed))
        async with store.open_maildrop(1):
            assert await store.remove_mailbox(1) == 3
        assert content_files(folder) == []
        assert await store.remove_mailbox(1) == 0
        assert list((folder / "locks").iterdir()) == []

    play(folder, scene)


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_where_no_link_can_be_made_a_copy_is(
    tmp_path: Path, sealed: SealedFile, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def no_link(source: str, name: str) -> None:
        raise OSError(reason, os.strerror(reason))

    async def scene(store: SqliteMailboxStore) -> None:
        monkeypatch.setattr(os, "link", no_link)
        uid = await store.deliver(a_delivery(content=sealed))
        assert Path(sealed.file_path() or "").stat().st_nlink == 1
        assert await whole(await store.content(1, uid)) == HEAD + LARGE

    play(tmp_path / "mail", scene)


def test_a_delivery_whose_content_is_gone_fails_alone(tmp_path: Path, sealed: SealedFile) -> None:
    """The rest of its batch is run again, and the first run's links do not stay behind."""
    gone = SealedFile(tmp_path / "gone", LARGE)
    (tmp_path / "gone").unlink()
    shard = MailboxShard(1, tmp_path / "mail")
    contents = (sealed, gone, sealed)
    results = shard.commit(
        [(DELIVER, (shard, a_delivery(f"{n:012d}/a", content=content))) for n, content in enumerate(contents)]
    )
    shard.engine.close()
    assert results[0] == 1
    assert isinstance(results[1], StoreUnavailable)
    assert results[2] == 2
    assert len(content_files(tmp_path / "mail")) == 2


def test_the_sweep_takes_orphans_and_nothing_else(tmp_path: Path, sealed: SealedFile) -> None:
    folder = tmp_path / "mail"

    async def scene(store: SqliteMailboxStore) -> None:
        uid = await store.deliver(a_delivery(content=sealed))
        assert await store.sweep_content() == 0
        (folder / "content" / "01" / "orphan").write_bytes(b"of a crash")
        (folder / "content" / "01" / "another").write_bytes(b"of a crash")
        assert await store.sweep_content() == 2
        assert await whole(await store.content(1, uid)) == HEAD + LARGE

    play(folder, scene)


def test_a_file_that_got_its_row_meanwhile_is_spared_by_the_sweep(tmp_path: Path, sealed: SealedFile) -> None:
    """What looked like an orphan before the write transaction may be a delivery that was on its way."""
    shard = MailboxShard(1, tmp_path / "mail")
    assert shard.commit([(DELIVER, (shard, a_delivery(content=sealed)))]) == [1]
    (file,) = content_files(tmp_path / "mail")
    assert shard.commit([(SWEEP, (shard, (file.name, "orphan")))]) == [Removed(0, ("orphan",))]
    shard.engine.close()
    assert file.exists()
