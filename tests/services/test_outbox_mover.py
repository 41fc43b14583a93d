"""From the queue's outbox to the ledger, and the sweep of what is finished."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from postroad.contracts.errors import StoreUnavailable
from postroad.services.housekeeping import Housekeeping
from postroad.services.outbox_mover import OutboxMover
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.vocabulary.story import Attempted
from tests.services.towns import ANN, OUTBOX_ALL, Town, play


class Reluctant(SqliteLedger):
    """The real ledger, unavailable for the next few writes."""

    refusals = 0

    async def write(self, blobs: tuple[bytes, ...]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("the ledger's disk is away")
        await super().write(blobs)


def open_ledger(town: Town, folder: Path) -> Reluctant:
    return Reluctant(folder / "ledger", "0", town.clock, direct=True)


def complain(where: str, error: BaseException) -> None:
    raise AssertionError(where) from error


def test_a_story_is_in_the_ledger_after_a_drain_and_no_longer_in_the_outbox(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            ledger = open_ledger(town, tmp_path)
            mover = OutboxMover(queue=town.queue, ledger=ledger, errors=complain)
            queue_id = await town.send(ANN, "cat@a.example")
            await town.queue_is_empty()
            assert await mover.drain() > 0
            facts = [fact for entry in await ledger.find(queue_id, 10) for fact in entry.facts]
            assert any(isinstance(fact, Attempted) for fact in facts)
            assert await town.queue.outbox(OUTBOX_ALL) == ()
            assert await mover.drain() == 0
            await ledger.close()

    play(scene)


def test_the_mover_wakes_when_touched_and_outlasts_a_ledger_that_is_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            ledger = open_ledger(town, tmp_path)
            ledger.refusals = 3
            complaints: list[str] = []
            mover = OutboxMover(queue=town.queue, ledger=ledger, errors=lambda where, error: complaints.append(where))
            running = asyncio.get_running_loop().create_task(mover.run())
            queue_id = await town.send(ANN, "cat@a.example")
            mover.touch()
            while not await ledger.find(queue_id, 1):
                await asyncio.wait([running], timeout=1)
            assert len(complaints) == 3
            running.cancel()
            await asyncio.wait([running])
            await ledger.close()

    play(scene)


def test_delivery_keys_go_only_when_their_message_is_final(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            ledger = open_ledger(town, tmp_path)
            housekeeping = Housekeeping(
                queue=town.queue,
                mailboxes=town.mailboxes,
                ledger=ledger,
                clock=town.clock,
                ledger_keep=timedelta(days=30),
                errors=complain,
            )
            town.mx["b.example"] = ()
            town.silent.add("b.example")
            waiting = await town.send(ANN, "cat@a.example", "bob@b.example")
            final = await town.send(ANN, "cat@a.example")
            await town.settled(3)
            assert await housekeeping.sweep() == (0, 0)
            await asyncio.wait([town.running], timeout=2 * 86_400)
            # The final message's, and that of the notification of delay that ann has got meanwhile.
            assert (await housekeeping.sweep())[0] == 2
            older_than = town.clock.now()
            keys = await town.mailboxes.delivery_keys(older_than, 100)
            assert {key.partition("/")[0] for key in keys} >= {waiting}
            assert final not in {key.partition("/")[0] for key in keys}
            await ledger.close()

    play(scene)
