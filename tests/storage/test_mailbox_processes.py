"""Two processes on the same mailboxes: locks that a killed process lets go, and no mail lost between them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.errors import MaildropLocked
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from tests.contract.mailbox_store_contract import uids
from tests.storage.another_process import another_process, kill, lines_of
from tests.storage.test_mailbox_files import play

HOLD = """
import asyncio, sys
from pathlib import Path
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore

async def hold():
    store = SqliteMailboxStore(Path(sys.argv[1]))
    async with store.open_maildrop(1):
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""

DELIVER = """
import asyncio, sys
from pathlib import Path
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from tests.contract.mailbox_store_contract import a_delivery

async def deliver(folder, first, count):
    store = SqliteMailboxStore(folder)
    for start in range(first, first + count, 10):
        futures = [store.deliver(a_delivery(f"{n:012d}/a", account_id=1 + n % 3)) for n in range(start, start + 10)]
        for n, future in enumerate(futures, start):
            print(n, await future, flush=True)
    await store.close()

asyncio.run(deliver(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
"""


def test_a_killed_process_lets_the_maildrop_go(tmp_path: Path) -> None:
    async def scene(store: SqliteMailboxStore) -> None:
        with another_process(HOLD, tmp_path) as other:
            assert next(lines_of(other)) == "held"
            with pytest.raises(MaildropLocked):
                async with store.open_maildrop(1):
                    pass
            kill(other)
            async with store.open_maildrop(1):
                pass

    play(tmp_path, scene)


def test_one_process_delivers_while_the_other_removes(tmp_path: Path) -> None:
    """Both meet on files that neither has made yet; every message is fetched and removed exactly once."""
    fetched: dict[str, int] = {}

    async def fetch_and_remove(store: SqliteMailboxStore) -> None:
        for account_id in (1, 2, 3):
            async with store.open_maildrop(account_id) as maildrop:
                for message in maildrop.messages:
                    assert message.queue_id not in fetched
                    fetched[message.queue_id] = message.uid
                await maildrop.remove(tuple(message.uid for message in maildrop.messages))

    async def scene(store: SqliteMailboxStore) -> None:
        with another_process(DELIVER, tmp_path, 0, 300) as other:
            told = iter(lines_of(other))
            while line := await asyncio.to_thread(next, told, ""):
                number, uid = line.split()
                if int(number) % 20 == 0:
                    await fetch_and_remove(store)
                if f"{int(number):012d}" in fetched:
                    assert fetched[f"{int(number):012d}"] == int(uid)
            assert other.wait() == 0
        await fetch_and_remove(store)
        assert sorted(fetched) == [f"{n:012d}" for n in range(300)]

    play(tmp_path, scene)


def test_several_processes_deliver_at_once(tmp_path: Path) -> None:
    async def scene(store: SqliteMailboxStore) -> None:
        with another_process(DELIVER, tmp_path, 0, 90) as one, another_process(DELIVER, tmp_path, 90, 90) as two:
            assert await asyncio.to_thread(lambda: [len(list(lines_of(process))) for process in (one, two)]) == [90, 90]
            assert [one.wait(), two.wait()] == [0, 0]
        for account_id in (1, 2, 3):
            assert await uids(store, account_id) == list(range(1, 61))

    play(tmp_path, scene)


def test_what_was_reported_as_delivered_survives_the_kill(tmp_path: Path) -> None:
    """And the repeats that the queue will make give the same UIDs and no second copy."""

    async def scene(store: SqliteMailboxStore) -> None:
        with another_process(DELIVER, tmp_path, 0, 100_000) as other:
            told = lines_of(other)
            reported = dict(next(told).split() for _ in range(57))
            kill(other)
        kept = {
            str(message.queue_id): message.uid
            for account_id in (1, 2, 3)
            for message in await store.list_messages(account_id)
        }
        assert all(kept[f"{int(number):012d}"] == int(uid) for number, uid in reported.items())

    play(tmp_path, scene)
