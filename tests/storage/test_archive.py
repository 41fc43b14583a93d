"""The archive in its files: nothing in them can be changed unnoticed, and no crash leaves half a record."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest

from postroad.contracts.archive_store import ChainHead, JournalEnvelope, Verified
from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.archive_chain import SqliteArchiveChain
from postroad.storage.sqlite.archive_store import SqliteArchive
from tests.contract.archive_contract import LARGE, NEXT_MONTH, T0, ids, look, record_of
from tests.storage.failing_disk import failing_disk
from tests.support.ports import pause

COLUMNS = (
    "number", "kind", "key", "recorded_at", "accepted_at", "size_bytes", "envelope_hash", "content_hash", "previous",
    "hash", "envelope", "file", "content",
)  # fmt: skip
FILES = ("2026-10/0.db", "2026-11/0.db", "register.db")


def verified(folder: Path, heads: tuple[ChainHead, ...] = ()) -> Verified:
    async def ask() -> Verified:
        archive = SqliteArchive(folder, direct=True)
        try:
            return await archive.verify(heads)
        finally:
            await archive.close()

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months, small and large content, an expansion, a removed record, a look and a daily entry."""
    folder = tmp_path_factory.mktemp("whole") / "archive"

    async def fill() -> None:
        chain, archive = SqliteArchiveChain(folder, 0, direct=True), SqliteArchive(folder, direct=True)
        old, large, one, two = ids(4)
        team = JournalEnvelope("ann@a.example", ("team@a.example",), ("bob@b.example",))
        await chain.append(record_of(old))
        await archive.remove_before(NEXT_MONTH, NEXT_MONTH)
        await chain.append(record_of(large, content=LARGE))
        await chain.append(record_of(one, envelope=team))
        await archive.record(look())
        await archive.tie(T0)
        await chain.append(record_of(two, recorded_at=NEXT_MONTH))
        await chain.close()
        await archive.close()

    asyncio.run(fill())
    assert verified(folder).complaints == ()
    return folder


def flipped(value: Any, bit: int) -> Any:
    """The value with one bit changed, as the same type; text stays text."""
    if isinstance(value, int):
        return value ^ (1 << bit % 63)
    if isinstance(value, str):
        place = bit % len(value)
        return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
    octets = bytearray(value)
    octets[bit // 8 % len(octets)] ^= 1 << bit % 8
    return bytes(octets)


def places_in(whole: Path) -> list[tuple[str, int, str, int]]:
    """File, record, column and bit of everything there is to change."""
    places = []
    for name in FILES:
        connection = apsw.Connection(str(whole / name))
        for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM record"):
            for column, value in zip(COLUMNS, row, strict=True):
                if value is not None and value != b"":
                    # A number that another record has cannot be written at all.
                    bits = (7, 23, 62) if column == "number" else (0, 7, 23)
                    places += [(name, row[0], column, bit) for bit in bits]
        connection.close()
    return places


def test_one_changed_bit_in_any_column_of_any_record_is_found(whole: Path, tmp_path: Path) -> None:
    places = places_in(whole)
    assert {column for _, _, column, _ in places} == set(COLUMNS)
    copy = tmp_path / "archive"
    shutil.copytree(whole, copy)
    for name, number, column, bit in places:
        connection = apsw.Connection(str(copy / name))
        value = connection.execute(f"SELECT {column} FROM record WHERE number = ?", (number,)).get
        with connection:
            connection.execute(f"UPDATE record SET {column} = ? WHERE number = ?", (flipped(value, bit), number))
        found = verified(copy).complaints
        there = flipped(number, bit) if column == "number" else number
        with connection:
            connection.execute(f"UPDATE record SET {column} = ? WHERE number = ?", (value, there))
        connection.close()
        assert found, (name, number, column, bit)
    assert verified(copy).complaints == ()


def test_one_changed_bit_in_a_file_of_large_content_is_found(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "archive"
    shutil.copytree(whole, copy)
    (file,) = (copy / "2026-10" / "content" / "0").iterdir()
    octets = file.read_bytes()
    file.write_bytes(flipped(octets, 8 * len(octets) - 1))
    assert "content was changed" in verified(copy).complaints[0]
    file.unlink()
    assert "is not there" in verified(copy).complaints[0]


@pytest.mark.parametrize(
    ("file", "sql"),
    [
        pytest.param("2026-10/0.db", "DELETE FROM record WHERE number = 2", id="a record taken out"),
        pytest.param("2026-10/0.db", "DELETE FROM record WHERE number >= 3", id="the end of a month taken away"),
        pytest.param(
            "2026-10/0.db", "UPDATE record SET content = NULL, envelope = NULL WHERE number = 3", id="content"
        ),
        pytest.param("2026-10/0.db", "UPDATE record SET envelope = NULL WHERE number = 4", id="an expansion"),
        pytest.param("register.db", "DELETE FROM record WHERE number = 1", id="what says of a removal"),
        pytest.param(
            "2026-10/0.db",
            "UPDATE record SET number = -number WHERE number IN (3, 4);"
            "UPDATE record SET number = number + 8 WHERE number < 0;"
            "UPDATE record SET number = 3 WHERE number = 4",
            id="two in another order",
        ),
    ],
)
def test_what_was_taken_away_or_moved_is_found(whole: Path, tmp_path: Path, file: str, sql: str) -> None:
    copy = tmp_path / "archive"
    shutil.copytree(whole, copy)
    connection = apsw.Connection(str(copy / file))
    connection.execute(sql)
    connection.close()
    assert verified(copy).complaints


def test_a_month_that_is_gone_is_found(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "archive"
    shutil.copytree(whole, copy)
    shutil.rmtree(copy / "2026-10")
    assert verified(copy).complaints


def test_a_chain_cut_short_is_found_by_heads_that_were_kept_elsewhere(whole: Path, tmp_path: Path) -> None:
    heads = verified(whole).heads
    copy = tmp_path / "archive"
    shutil.copytree(whole, copy)
    # After the last daily entry: the archive alone cannot know of it.
    shutil.rmtree(copy / "2026-11")
    assert verified(copy).complaints == ()
    assert "were there once" in verified(copy, heads).complaints[0]
    assert verified(whole, heads).complaints == ()


def test_a_failed_sync_leaves_nothing_and_the_repeat_is_one_record(tmp_path: Path) -> None:
    async def scene() -> None:
        with failing_disk("archive disk") as disk:
            chain = SqliteArchiveChain(tmp_path / "archive", 0, direct=True, vfs=disk.name)
            first, second = ids(2)
            assert await chain.append(record_of(first))
            disk.syncs_to_fail = 1
            with pytest.raises(StoreUnavailable):
                await chain.append(record_of(second, content=LARGE))
            while True:
                try:
                    assert await chain.append(record_of(second, content=LARGE))
                    break
                except StoreUnavailable:
                    pause(0.01)
            assert not await chain.append(record_of(second, content=LARGE))
            await chain.close()

    asyncio.run(scene())
    assert (verified(tmp_path / "archive").records, verified(tmp_path / "archive").complaints) == (2, ())


def test_content_that_a_crash_left_without_a_record_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "archive"

    async def append(number: int) -> None:
        chain = SqliteArchiveChain(folder, 0, direct=True)
        await chain.append(record_of(ids(number)[-1], content=LARGE))
        await chain.close()

    asyncio.run(append(1))
    orphan = folder / "2026-10" / "content" / "0" / "orphan"
    orphan.write_bytes(b"half")
    asyncio.run(append(2))
    assert not orphan.exists()
    assert verified(folder).complaints == ()
