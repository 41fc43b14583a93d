"""From the queue's outbox to the ledger, and the sweep of what is finished."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.services.housekeeping import Housekeeping
from postroad.services.outbox_mover import OutboxMover
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.vocabulary.limits import OUTBOX_PAUSE_S
from postroad.vocabulary.story import Attempted
from tests.services.houses import pass_time
from tests.services.towns import ANN, CONTENT, OUTBOX_ALL, Town, play


class Reluctant(SqliteLedger):
    """The real ledger, which fails in the next few writes."""

    refusals = 0
    error: Exception = StoreUnavailable("the ledger's disk is away")

    async def write(self, blobs: tuple[bytes, ...]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise self.error
        await super().write(blobs)


def open_ledger(town: Town, folder: Path) -> Reluctant:
    return Reluctant(folder / "ledger", "0", town.clock, direct=True)


def housekeeping_of(town: Town, ledger: SqliteLedger) -> Housekeeping:
    return Housekeeping(
        queue=town.queue,
        mailboxes=town.mailboxes,
        ledger=ledger,
        clock=town.clock,
        ledger_keep=timedelta(days=30),
        errors=complain,
    )


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


def test_what_became_of_a_letter_is_in_the_ledger_soon_after_it_was_written(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            ledger = open_ledger(town, tmp_path)
            mover = OutboxMover(queue=town.queue, ledger=ledger, errors=complain)
            running = asyncio.get_running_loop().create_task(mover.run())
            await pass_time(60)
            assert await mover.drain() == 0
            town.on_written.append(mover.touch)
            queue_id = await town.send(ANN, "cat@a.example")
            await town.queue_is_empty()
            await pass_time(2 * OUTBOX_PAUSE_S)
            facts = [fact for entry in await ledger.find(queue_id, 10) for fact in entry.facts]
            assert any(isinstance(fact, Attempted) for fact in facts)
            running.cancel()
            await asyncio.wait([running])
            await ledger.close()

    play(scene)


@pytest.mark.parametrize("error", [StoreUnavailable("its disk is away"), RuntimeError("a defect")])
def test_the_mover_wakes_when_touched_and_outlasts_a_ledger_that_fails(tmp_path: Path, error: Exception) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            ledger = open_ledger(town, tmp_path)
            ledger.refusals, ledger.error = 3, error
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
            housekeeping = housekeeping_of(town, ledger)
            town.mx["b.example"] = ()
            town.silent.add("b.example")
            waiting = await town.send(ANN, "cat@a.example", "bob@b.example")
            final = await town.send(ANN, "cat@a.example")
            await town.settled(3)
            assert await housekeeping.sweep() == (0, 0, 0)
            await asyncio.wait([town.running], timeout=2 * 86_400)
            # The final message's, and that of the notification of delay that ann has got meanwhile.
            assert (await housekeeping.sweep()).keys == 2
            older_than = town.clock.now()
            keys = await town.mailboxes.delivery_keys(older_than, 100)
            assert {key.partition("/")[0] for key in keys} >= {waiting}
            assert final not in {key.partition("/")[0] for key in keys}
            await ledger.close()

    play(scene)


def test_content_that_a_crash_left_in_no_mailbox_is_swept_and_what_belongs_to_mail_stays(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            ledger = open_ledger(town, tmp_path)
            await town.send(ANN, "cat@a.example", content=CONTENT + b"a line of text\r\n" * 10_000)
            await town.queue_is_empty()
            (kept,) = (tmp_path / "mail" / "content").glob("*/*")
            orphan = kept.with_name("0123456789abcdef")
            orphan.write_bytes(b"linked, and then the power failed")
            assert (await housekeeping_of(town, ledger).sweep()).contents == 1
            assert list((tmp_path / "mail" / "content").glob("*/*")) == [kept]
            await ledger.close()

    play(scene)
