"""What a long queue costs: the same work with ten thousand groups waiting and with a million, for 20,000 destinations.

The queues are built with the store itself in temporary folders, a message for ten destinations at a time, spread over
two hours as retries are. Then they are opened anew, in turns, and groups are taken and settled as the scheduler does
it. Printed are the cost of a group that is taken and settled, the time to open, memory, and what `queue summary` takes,
as the first question after the start and while groups are taken and settled.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from postroad.contracts.queue_store import NewMessage, Settlement
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.limits import COMMIT_BATCH, REFILL_BATCH, SUMMARY_SHOWN
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry

SHORT, LONG = 10_000, 1_000_000
DESTINATIONS = 20_000
_GROUPS_PER_MESSAGE = 10
_MEASURED = 8 * REFILL_BATCH
_ROUNDS = 5
_CONTENT = b"From: ann@a.example\r\nSubject: to many\r\n\r\n" + b"Some words.\r\n" * 78
_NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_SPREAD_S = 7200
_END = _NOW + timedelta(seconds=_SPREAD_S)


class Figures(NamedTuple):
    wall_us: float
    """For a group taken and settled."""
    cpu_us: float
    open_s: float
    memory_mib: float
    """Of this process with the queue open, and the taken groups."""
    summary_s: float
    """The first question after the start."""
    summary_busy_s: float


def backlog() -> None:
    print(f"queues for {DESTINATIONS:,} destinations, {_GROUPS_PER_MESSAGE} to a message of {len(_CONTENT)} octets")
    found: dict[int, list[Figures]] = {SHORT: [], LONG: []}
    with tempfile.TemporaryDirectory(prefix="postroad-backlog-", dir=Path.cwd()) as name:
        long = Path(name) / "long"
        asyncio.run(_build(long, LONG))
        for number in range(_ROUNDS):
            short = Path(name) / f"short-{number}"  # a round empties it
            asyncio.run(_build(short, SHORT))
            for groups, folder in ((SHORT, short), (LONG, long)):
                found[groups].append(asyncio.run(_measured(folder)))
    print(f"medians of {_ROUNDS} rounds in turns, and ranges\n")
    print("| groups | us a group | CPU us | opened in, s | MiB | summary, s | the same, busy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for groups, figures in found.items():
        wall, cpu, opened, memory, first, busy = zip(*figures, strict=True)
        cells = (_cell(wall, 0), _cell(cpu, 0), _cell(opened, 2), _cell(memory, 0), _cell(first, 2), _cell(busy, 2))
        print(f"| {groups:,} | {' | '.join(cells)} |")
    for what, position in (("time", 0), ("processor time", 1)):
        ratios = [long[position] / short[position] for short, long in zip(found[SHORT], found[LONG], strict=True)]
        print(f"{what} of a group in the long queue to that in the short one: {_cell(ratios, 2)}")


def _cell(values: Sequence[float], digits: int) -> str:
    low, high = (f"{edge:.{digits}f}" for edge in (min(values), max(values)))
    return f"{statistics.median(values):.{digits}f} ({low}-{high})"


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
        summary_s = await _summary_s(store)
        begin, cpu = time.monotonic(), time.process_time()
        done = await _taken_and_settled(store, _MEASURED)
        wall, cpu = time.monotonic() - begin, time.process_time() - cpu
        memory = _memory_mib()
        summary_busy_s, _ = await asyncio.gather(_summary_s(store), _taken_and_settled(store, REFILL_BATCH))
    finally:
        await store.close()
    return Figures(wall / done * 1e6, cpu / done * 1e6, open_s, memory, summary_s, summary_busy_s)


async def _summary_s(store: SqliteQueueStore) -> float:
    begin = time.monotonic()
    await store.summary(_END, SUMMARY_SHOWN)
    return time.monotonic() - begin


async def _taken_and_settled(store: SqliteQueueStore, groups: int) -> int:
    done = 0
    while done < groups:
        works = await store.take_due(_END, REFILL_BATCH, _in_nobodys_hands)
        settlements = (
            Settlement(queue_id=work.queue_id, destination=work.destination, lease=work.lease) for work in works
        )
        await asyncio.gather(*map(store.settle, settlements))
        done += len(works)
    return done


def _in_nobodys_hands(queue_id: QueueId, destination: Destination) -> bool:
    return False


def _memory_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
