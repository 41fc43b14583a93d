"""What a long queue costs: the same work with ten thousand groups waiting and with a million, for 20,000 destinations.

The queue is built with the store itself in a temporary folder, a message for ten destinations at a time, spread over
two hours as retries are. Then it is opened anew, and groups are taken and settled as the scheduler does it. Printed
are the cost of a group that is taken and settled, the time to open, memory, and what `queue summary` takes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from postroad.contracts.queue_store import NewMessage, Settlement
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.limits import COMMIT_BATCH, REFILL_BATCH
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry

SHORT, LONG = 10_000, 1_000_000
DESTINATIONS = 20_000
_GROUPS_PER_MESSAGE = 10
_MEASURED = 8 * REFILL_BATCH
_CONTENT = b"From: ann@a.example\r\nSubject: to many\r\n\r\n" + b"Some words.\r\n" * 78
_NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_SPREAD_S = 7200


class Figures(NamedTuple):
    wall_us: float
    """For a group taken and settled."""
    cpu_us: float
    open_s: float
    memory_mib: float
    """Of this process with the queue open, and the taken groups."""
    summary_s: float
    listed: int


def backlog() -> None:
    print(f"a queue for {DESTINATIONS:,} destinations, {_GROUPS_PER_MESSAGE} to a message of {len(_CONTENT)} octets")
    print(f"{'groups':>10} {'us a group':>11} {'CPU us':>7} {'opened in':>10} {'MiB':>5} {'summary':>8}")
    for groups in (SHORT, LONG):
        with tempfile.TemporaryDirectory(prefix="postroad-backlog-", dir=Path.cwd()) as folder:
            asyncio.run(_build(Path(folder), groups))
            figures = asyncio.run(_measured(Path(folder)))
        print(
            f"{groups:10,} {figures.wall_us:11.0f} {figures.cpu_us:7.0f} {figures.open_s:8.2f} s"
            f" {figures.memory_mib:5.0f} {figures.summary_s:6.2f} s",
            flush=True,
        )


async def _build(folder: Path, groups: int) -> None:
    chance = random.Random(1)
    destinations = [Destination(DestinationKind.DOMAIN, f"d{n:05}.example") for n in range(DESTINATIONS)]
    store = await SqliteQueueStore.open(folder, 0, clock_now=lambda: _NOW)
    try:
        for start in range(0, groups // _GROUPS_PER_MESSAGE, COMMIT_BATCH):
            count = min(COMMIT_BATCH, groups // _GROUPS_PER_MESSAGE - start)
            messages = [_message(store, chance.sample(destinations, _GROUPS_PER_MESSAGE), chance) for _ in range(count)]
            await asyncio.gather(*(store.accept(message) for message in messages))
            await store.clear_outbox(1 << 60)
    finally:
        await store.close()


def _message(store: SqliteQueueStore, destinations: list[Destination], chance: random.Random) -> NewMessage:
    queue_id = store.new_id(_NOW)
    groups = tuple(Group(each, (Recipient(Mailbox("bob", each.name)),)) for each in destinations)
    envelope = Envelope(Mailbox("ann", "a.example"), ())
    due_at = _NOW + timedelta(seconds=chance.uniform(0, _SPREAD_S))
    return NewMessage(queue_id, envelope, _CONTENT, groups, _NOW, Entry(queue_id, (queue_id,), ()), due_at)


async def _measured(folder: Path) -> Figures:
    begin = time.monotonic()
    store = await SqliteQueueStore.open(folder, 0, clock_now=lambda: _NOW)
    open_s = time.monotonic() - begin
    try:
        end = _NOW + timedelta(seconds=_SPREAD_S)
        summaries = []
        for _ in range(3):
            begin = time.monotonic()
            summary = await store.summary(end, 50)
            summaries.append(time.monotonic() - begin)
        begin, cpu, done = time.monotonic(), time.process_time(), 0
        while done < _MEASURED:
            works = await store.take_due(end, REFILL_BATCH, _in_nobodys_hands)
            settlements = (
                Settlement(queue_id=work.queue_id, destination=work.destination, lease=work.lease) for work in works
            )
            await asyncio.gather(*map(store.settle, settlements))
            done += len(works)
        wall, cpu = time.monotonic() - begin, time.process_time() - cpu
        memory = _memory_mib()
    finally:
        await store.close()
    return Figures(wall / done * 1e6, cpu / done * 1e6, open_s, memory, min(summaries), len(summary.destinations))


def _in_nobodys_hands(queue_id: QueueId, destination: Destination) -> bool:
    return False


def _memory_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
