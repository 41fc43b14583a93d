"""A mailbox file that is damaged or lost: its accounts wait, all others go on, and nothing is begun anew or removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from postroad.contracts.errors import StoreDamaged
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from tests.contract.mailbox_store_contract import LARGE, T0, a_delivery, uids
from tests.storage.test_mailbox_files import content_files, play

BAD, GOOD = 1, 2
_PAGE = 4096

Damage = Callable[[Path], None]


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble_the_header(path: Path) -> None:
    octets = path.read_bytes()
    path.write_bytes(b"\xa5" * 512 + octets[512:])


def cut(path: Path) -> None:
    octets = path.read_bytes()
    path.write_bytes(octets[: 2 * _PAGE])


def flip_pages(path: Path) -> None:
    """All but the first, so that the file opens."""
    octets = path.read_bytes()
    path.write_bytes(octets[:_PAGE] + bytes(255 - octet for octet in octets[_PAGE:]))


def make_blank(path: Path) -> None:
    path.unlink()
    blank = apsw.Connection(str(path))
    blank.pragma("journal_mode", "wal")
    blank.close()


DAMAGES = [remove, empty, garble_the_header, cut, flip_pages, make_blank]


def with_mail(folder: Path) -> None:
    """Large and small messages in two shards."""

    async def scene(store: SqliteMailboxStore) -> None:
        for account_id in (BAD, GOOD):
            for n in range(8):
                content = LARGE if n == 0 else b"x" * 30_000 + b"\r\n"
                await store.deliver(a_delivery(f"{n:012d}/a{account_id}", account_id=account_id, content=content))

    play(folder, scene)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_others_go_on(tmp_path: Path, damage: Damage) -> None:
    folder = tmp_path / "mail"
    with_mail(folder)
    damage(folder / "01.db")
    contents = content_files(folder)
    told: list[BaseException] = []

    async def scene(store: SqliteMailboxStore) -> None:
        store.when_set_aside(lambda what, error: told.append(error))
        for n in range(3):
            with pytest.raises(StoreDamaged):
                await store.deliver(a_delivery(f"{100 + n:012d}/a", account_id=BAD))
            with pytest.raises(StoreDamaged):
                await store.list_messages(BAD)
            with pytest.raises(StoreDamaged):
                async with store.open_maildrop(BAD):
                    pass
            assert await store.deliver(a_delivery(f"{100 + n:012d}/b", account_id=GOOD)) == 9 + n
        assert len(await uids(store, GOOD)) == 11
        keys: list[str] = []
        while some := await store.delivery_keys(T0 + timedelta(days=1), 5):
            keys += some
        assert len(keys) == 11
        await store.forget_keys(tuple(keys))
        assert await store.sweep_content() == 0
        assert content_files(folder)[: len(contents)] == contents
        (reason,) = await store.set_aside()
        assert "01.db" in reason

    play(folder, scene)
    assert len(told) == 1, told


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_good_file_in_its_place_is_used_again(tmp_path: Path, damage: Damage) -> None:
    folder = tmp_path / "mail"
    with_mail(folder)
    good, bad = tmp_path / "good.db", folder / "01.db"
    shutil.copy(bad, good)
    damage(bad)

    async def scene(store: SqliteMailboxStore) -> None:
        with pytest.raises(StoreDamaged):
            await store.deliver(a_delivery("000000000100/a", account_id=BAD))
        good.replace(bad)
        assert await store.deliver(a_delivery("000000000100/a", account_id=BAD)) == 9
        assert await uids(store, BAD) == list(range(1, 10))
        assert await store.set_aside() == ()

    play(folder, scene)


def test_a_file_that_goes_or_is_damaged_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    with_mail(folder)

    async def scene(store: SqliteMailboxStore) -> None:
        for account_id in (BAD, GOOD):
            await store.deliver(a_delivery("000000000100/a", account_id=account_id))
            assert len(await uids(store, account_id)) == 9
        (folder / "01.db").unlink()
        with pytest.raises(StoreDamaged, match="not there any more"):
            await store.deliver(a_delivery("000000000101/a", account_id=BAD))
        with pytest.raises(StoreDamaged):
            await uids(store, BAD)
        flip_pages(folder / "02.db")
        with pytest.raises(StoreDamaged):
            await store.content(GOOD, 3)
        # One met it while reading; nobody writes into it from now on.
        with pytest.raises(StoreDamaged):
            await store.deliver(a_delivery("000000000101/b", account_id=GOOD))

    play(folder, scene)


def test_what_is_set_aside_stays_so_after_a_restart_and_for_who_has_not_met_the_damage(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    with_mail(folder)
    flip_pages(folder / "01.db")

    async def meet(store: SqliteMailboxStore) -> None:
        with pytest.raises(StoreDamaged):
            await store.list_messages(BAD)

    async def scene(store: SqliteMailboxStore) -> None:
        before = (folder / "01.db").read_bytes()
        assert len(await store.set_aside()) == 1
        with pytest.raises(StoreDamaged):
            await store.remove(BAD, (1,))
        assert (folder / "01.db").read_bytes() == before

    play(folder, meet)
    play(folder, scene)


def test_a_file_that_never_had_mail_is_made(tmp_path: Path) -> None:
    async def scene(store: SqliteMailboxStore) -> None:
        assert await uids(store, BAD) == []
        (tmp_path / "mail" / "01.db").touch()  # as a crash right after its making leaves it
        assert await uids(store, BAD) == []
        assert await store.deliver(a_delivery(account_id=BAD)) == 1

    play(tmp_path / "mail", scene)
