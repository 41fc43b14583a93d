"""The queue in SQLite keeps the contract: with its threads, and without them on a loop with virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from postroad.contracts.queue_store import QueueStore
from postroad.simulation.virtual_loop import VirtualLoop
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from tests.contract import (
    queue_age_contract,
    queue_content_contract,
    queue_keys_contract,
    queue_operations_contract,
    queue_orders_contract,
    queue_store_contract,
)
from tests.contract.queue_mail import T0, Check, play

CHECKS = (
    queue_store_contract.CHECKS
    + queue_content_contract.CHECKS
    + queue_operations_contract.CHECKS
    + queue_orders_contract.CHECKS
    + queue_keys_contract.CHECKS
    + queue_age_contract.CHECKS
)


class SqliteShard:
    def __init__(self, folder: Path, *, direct: bool = False) -> None:
        self.now: datetime = T0
        self._folder = folder
        self._direct = direct

    @asynccontextmanager
    async def open(self) -> AsyncIterator[QueueStore]:
        store = await SqliteQueueStore.open(self._folder, 3, clock_now=lambda: self.now, direct=self._direct)
        try:
            yield store
        finally:
            await store.close()

    def drop_lock(self, store: QueueStore) -> None:
        assert isinstance(store, SqliteQueueStore)
        store.lock.release()

    def content_files(self) -> list[Path]:
        return sorted((self._folder / "3").iterdir())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_with_threads(check: Check, tmp_path: Path) -> None:
    asyncio.run(play(check, SqliteShard(tmp_path / "queue")))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_without_threads(check: Check, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play(check, SqliteShard(tmp_path / "queue", direct=True)))
