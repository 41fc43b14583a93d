"""Mailboxes when the disk is full or a write fails: nothing half done, and nobody hurt who need not be."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.storage.sqlite.content_shard import Removed
from postroad.storage.sqlite.database import open_database
from postroad.storage.sqlite.mailbox_shard import DELIVER, MAILBOXES, REMOVE, MailboxShard
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from tests.contract.mailbox_store_contract import HEAD, LARGE, SMALL, SealedFile, a_delivery, uids, whole
from tests.storage.test_mailbox_files import content_files, play


def break_removal(path: Path, uid: int) -> None:
    """From now on the message with this UID cannot be removed."""
    connection = open_database(path, MAILBOXES)
    connection.execute(
        f"CREATE TRIGGER stuck BEFORE DELETE ON message WHEN OLD.uid = {uid} BEGIN SELECT RAISE(ABORT, 'stuck'); END"
    )
    connection.close()


def limit_size(shard: MailboxShard, pages: int) -> None:
    """The shard's file can grow to so many pages: what a full disk looks like from inside."""
    shard.engine.connection.pragma("max_page_count", pages)


def test_a_removal_that_fails_at_one_message_removes_none(tmp_path: Path) -> None:
    sealed = SealedFile(tmp_path / "queue file", LARGE)

    async def scene(store: SqliteMailboxStore) -> None:
        for n in range(5):
            await store.deliver(a_delivery(f"{n:012d}/a", content=sealed if n == 0 else SMALL))
        break_removal(tmp_path / "mail" / "01.db", 4)
        async with store.open_maildrop(1) as maildrop:
            with pytest.raises(StoreUnavailable):
                await maildrop.remove((1, 2, 3, 4, 5))
        assert await uids(store) == [1, 2, 3, 4, 5]
        assert await whole(await store.content(1, 1)) == HEAD + LARGE
        async with store.open_maildrop(1) as maildrop:
            await maildrop.remove((1, 2))
        assert await uids(store) == [3, 4, 5]

    play(tmp_path / "mail", scene)


def test_a_full_disk_is_told_apart_and_harms_no_other_mailbox(tmp_path: Path) -> None:
    shards = [MailboxShard(number, tmp_path) for number in (1, 2)]

    def deliver(shard: MailboxShard, n: int) -> object:
        content = bytes([65 + n]) * 60_000 + b"\r\n"
        return shard.commit([(DELIVER, (shard, a_delivery(f"{n:012d}/a", account_id=shard.number, content=content)))])[
            0
        ]

    assert [deliver(shard, 0) for shard in shards] == [1, 1]
    limit_size(shards[0], 60)
    answers = [deliver(shards[0], n) for n in range(1, 9)]
    kept = [answer for answer in answers if isinstance(answer, int)]
    assert isinstance(answers[-1], StoreFull)
    assert all(isinstance(answer, StoreFull) for answer in answers[len(kept) :])
    assert deliver(shards[1], 1) == 2
    # What was refused is delivered once there is room, with the next UID and not twice.
    limit_size(shards[0], 100_000)
    assert deliver(shards[0], 8) == len(kept) + 2
    assert deliver(shards[0], 8) == len(kept) + 2
    for shard in shards:
        shard.engine.close()


def test_of_a_batch_on_a_full_disk_nobody_is_told_yes_who_is_not_in(tmp_path: Path) -> None:
    shard = MailboxShard(1, tmp_path)
    assert shard.commit([(DELIVER, (shard, a_delivery("000000000000/a")))]) == [1]
    limit_size(shard, 40)
    batch = [(DELIVER, (shard, a_delivery(f"{n:012d}/a", content=b"x" * 30_000 + b"\r\n"))) for n in range(1, 9)]
    results = shard.commit(batch)
    assert any(isinstance(result, StoreFull) for result in results)
    promised = [1, *(result for result in results if isinstance(result, int))]
    rows = shard.engine.connection.execute("SELECT uid FROM message ORDER BY uid")
    assert [uid for (uid,) in rows] == promised
    # A removal makes room again.
    limit_size(shard, 100_000)
    assert shard.commit([(REMOVE, (shard, (1, tuple(promised))))]) == [Removed(len(promised), ())]
    shard.engine.close()


def test_no_room_for_a_large_file_is_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(source: str, name: str) -> None:
        raise OSError(28, os.strerror(28))

    async def scene(store: SqliteMailboxStore) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "link", no_room)
            with pytest.raises(StoreFull):
                await store.deliver(a_delivery(content=SealedFile(tmp_path / "queue file", LARGE)))
        assert await store.deliver(a_delivery()) == 1
        assert content_files(tmp_path / "mail") == []

    play(tmp_path / "mail", scene)


def test_content_whose_file_was_cut_or_lost_is_unavailable(tmp_path: Path) -> None:
    async def scene(store: SqliteMailboxStore) -> None:
        uid = await store.deliver(a_delivery(content=LARGE))
        content = await store.content(1, uid)
        (file,) = content_files(tmp_path / "mail")
        file.write_bytes(LARGE[:-1])
        with pytest.raises(StoreUnavailable, match="damaged"):
            await whole(content)
        file.unlink()
        with pytest.raises(StoreUnavailable):
            await whole(content)

    play(tmp_path / "mail", scene)


def test_a_closed_store_refuses(tmp_path: Path) -> None:
    async def scene(store: SqliteMailboxStore) -> None:
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.deliver(a_delivery())
        with pytest.raises(StoreUnavailable):
            await store.list_messages(1)

    play(tmp_path / "mail", scene)


def test_a_foreign_file_in_the_place_of_a_shard_is_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    foreign = apsw.Connection(str(folder / "01.db"))
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()

    async def scene(store: SqliteMailboxStore) -> None:
        with pytest.raises(StoreUnavailable, match="move it out of the way"):
            await store.deliver(a_delivery())
        assert await store.deliver(a_delivery(account_id=2)) == 1

    play(folder, scene)
