"""Suppressed addresses end by themselves, can be taken back, and stay taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from postroad.contracts.suppressions import Suppression, SuppressionStore
from postroad.storage.sqlite.suppression_store import SqliteSuppressions
from postroad.vocabulary.address import Mailbox

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BOB = Mailbox("Bob", "b.example")


def of(address: Mailbox = BOB, *, days: int | None = 10, bounce: str = "") -> Suppression:
    expires_at = None if days is None else NOON + days * DAY
    return Suppression(address=address, since=NOON, expires_at=expires_at, reason="gone", bounce=bounce)


def run(path: Path, scene: Callable[[SuppressionStore], Coroutine[Any, Any, None]], *, direct: bool) -> None:
    async def all_of_it() -> None:
        store = SqliteSuppressions(path, direct=direct)
        try:
            await scene(store)
        finally:
            await store.close()

    asyncio.run(all_of_it())


@pytest.mark.parametrize("direct", [False, True])
def test_it_lasts_over_a_restart_until_its_end_without_regard_to_case(tmp_path: Path, direct: bool) -> None:
    async def before(store: SuppressionStore) -> None:
        assert await store.add((of(), of(Mailbox("cat", "c.example"), days=None))) == 2
        assert await store.add((of(days=5),)) == 0

    async def after(store: SuppressionStore) -> None:
        bob = Mailbox("BOB", "b.example")
        assert await store.among((bob, Mailbox("dan", "d.example")), NOON) == (of(),)
        assert await store.among((bob,), NOON + 10 * DAY) == ()
        assert [each.address.local_part for each in await store.newest(NOON + 99 * DAY, 10)] == ["cat"]

    run(tmp_path / "suppressions.db", before, direct=direct)
    run(tmp_path / "suppressions.db", after, direct=direct)


def test_a_letter_whose_failure_was_undone_counts_no_more(tmp_path: Path) -> None:
    async def scene(store: SuppressionStore) -> None:
        await store.add((of(bounce="0000000000A0"),))
        assert await store.remove(Mailbox("bob", "b.example"))
        assert not await store.remove(BOB)
        assert await store.add((of(bounce="0000000000A0"),)) == 0
        assert await store.among((BOB,), NOON) == ()
        assert await store.add((of(bounce="0000000000A1"),)) == 1

    run(tmp_path / "suppressions.db", scene, direct=True)
