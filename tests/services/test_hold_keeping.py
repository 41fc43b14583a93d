"""Crashes between the hold and the queue: what is told is told once, and what is handed on is handed on once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.hold_store import HoldSettlement, Report
from postroad.services.hold_keeping import sweep_delivery_keys
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from postroad.vocabulary.story import Entry, Reported
from tests.services.depots import Depot, Internet, calling, hold
from tests.services.houses import pass_time, play
from tests.services.test_holds import LETTER, at_home, send

DAY = 86_400
ONE_DAY = tuple(hold(domain, "dave@p.example", days=1) for domain in ("d.example", "other.example"))


@asynccontextmanager
async def provider(folder: Path, *, held: bool = True) -> AsyncIterator[Depot]:
    """Its holds are looked after only when a test says so."""
    async with Depot.open(
        Internet(),
        folder,
        "p.example",
        "192.0.2.1",
        users=("dave", "eve"),
        holds=ONE_DAY if held else (),
        keep_holds=False,
    ) as depot:
        yield depot


def failed() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StoreUnavailable("the disk"))
    return future


def test_a_crash_between_the_notification_and_the_end_of_its_report_tells_nobody_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def before() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", sender="eve@p.example")
            await pass_time(1.1 * DAY)
            with monkeypatch.context() as spoiled:
                spoiled.setattr(SqliteHoldStore, "reported", lambda *_: failed())
                with pytest.raises(StoreUnavailable):
                    await depot.keeping.look()
            await depot.is_quiet()
            assert len(await depot.letters_of("eve")) == 1
            assert len(await depot.store.reports("d.example", 10)) == 1

    async def after() -> None:
        async with provider(tmp_path) as depot:
            await depot.keeping.look()
            await depot.is_quiet()
            assert len(await depot.letters_of("eve")) == 1
            assert await depot.store.reports("d.example", 10) == ()
            assert await depot.queue.keys("hold/", "", 10) == ()

    play(before)
    play(after)


def test_a_report_whose_original_cannot_be_read_is_told_and_holds_up_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            for size in (100_000, 0):
                await send(
                    depot, "bob@d.example", sender="eve@p.example", content=LETTER + b"and more\r\n" * (size // 10)
                )
            for path in (tmp_path / "hold" / "content").glob("*/*"):
                path.unlink()
            await pass_time(1.1 * DAY)
            await depot.keeping.look()
            await depot.is_quiet()
            assert len(await depot.letters_of("eve")) == 2
            assert [type(error) for _, error in depot.errors] == [StoreUnavailable]
            depot.errors.clear()

    play(scene)


def test_a_hold_that_cannot_be_kept_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            for domain in ("d.example", "other.example"):
                await send(depot, f"bob@{domain}", sender="eve@p.example")
            await pass_time(1.1 * DAY)
            reports = SqliteHoldStore.reports

            async def damaged(store: SqliteHoldStore, domain: str, limit: int) -> tuple[Report, ...]:
                if domain == first:
                    raise StoreUnavailable("the file is damaged")
                return await reports(store, domain, limit)

            first = (await depot.store.domains())[0]
            monkeypatch.setattr(SqliteHoldStore, "reports", damaged)
            with pytest.raises(StoreUnavailable):
                await depot.keeping.look()
            await depot.is_quiet()
            assert len(await depot.letters_of("eve")) == 1

    play(scene)


def test_a_crash_before_the_notification_was_accepted_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", sender="eve@p.example")
            await pass_time(1.1 * DAY)
            with monkeypatch.context() as spoiled:
                spoiled.setattr(type(depot.queue), "accept", lambda *_: failed())
                with pytest.raises(StoreUnavailable):
                    await depot.keeping.look()
            assert await depot.letters_of("eve") == []
            await depot.keeping.look()
            await depot.is_quiet()
            assert len(await depot.letters_of("eve")) == 1

    play(scene)


def test_a_crash_between_handing_on_and_letting_go_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def before() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")

    async def cut_short() -> None:
        async with provider(tmp_path, held=False) as depot:
            home = at_home(depot)
            with monkeypatch.context() as spoiled:
                spoiled.setattr(SqliteHoldStore, "settle", lambda *_: failed())
                with pytest.raises(StoreUnavailable):
                    await depot.keeping.look()
            depot.delivery.wake()
            await depot.is_quiet()
            sent.append(len(home.mail))

    async def after() -> None:
        async with provider(tmp_path, held=False) as depot:
            home = at_home(depot)
            await depot.keeping.look()
            await depot.is_quiet()
            sent.append(len(home.mail))
            assert await depot.held("d.example") == 0
            assert await depot.queue.keys("held/", "", 10) == ()

    sent: list[int] = []
    play(before)
    play(cut_short)
    play(after)
    assert sent == [1, 0]


def test_a_key_that_a_crash_has_left_is_forgotten_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def before() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", sender="eve@p.example")
            await pass_time(1.1 * DAY)
            with monkeypatch.context() as spoiled:
                spoiled.setattr(type(depot.queue), "forget_keys", lambda *_: failed())
                with pytest.raises(StoreUnavailable):
                    await depot.keeping.look()
            assert len(await depot.queue.keys("hold/", "", 10)) == 1

    async def after() -> None:
        async with Depot.open(
            Internet(), tmp_path, "p.example", "192.0.2.1", users=("dave", "eve"), holds=ONE_DAY
        ) as depot:
            await pass_time(1)
            assert await depot.queue.keys("hold/", "", 10) == ()
            assert len(await depot.letters_of("eve")) == 1

    play(before)
    play(after)


def test_a_disk_that_fails_while_an_outcome_is_written_down_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            await send(depot, "bob@d.example")
            failures = [1, 2, 3]
            settle = SqliteHoldStore.settle

            def now_and_then(store: SqliteHoldStore, domain: str, settlement: HoldSettlement) -> asyncio.Future[None]:
                if failures:
                    failures.pop()
                    return failed()
                return settle(store, domain, settlement)

            with monkeypatch.context() as spoiled:
                spoiled.setattr(SqliteHoldStore, "settle", now_and_then)
                async with calling(depot) as client:
                    await client.say("ETRN d.example", 253)

                async def gone() -> bool:
                    return await depot.held("d.example") == 0

                await depot.until(gone)
            assert not failures
            assert len(home.mail) == 1

    play(scene)


def test_the_story_of_the_original_leads_to_the_notification(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", sender="eve@p.example")
            await pass_time(1.1 * DAY)
            await depot.keeping.look()
            original, notification = depot.accepted
            entries: tuple[Entry, ...] = await depot.ledger.find(original.queue_id, 100)
            facts = [fact for entry in entries for fact in entry.facts]
            assert [fact.notification for fact in facts if isinstance(fact, Reported)] == [notification.queue_id]

    play(scene)


def test_delivery_keys_go_when_their_message_has_left_the_queue_and_not_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            older = depot.internet.clock.now() + timedelta(seconds=1)

            async def sweep(mine: bool) -> int:
                return await sweep_delivery_keys(depot.store, depot.queue, older, lambda key: mine)

            await pass_time(2)
            assert await sweep(False) == 0
            assert await sweep(True) == 1
            assert await sweep(True) == 0
            assert await depot.held("d.example") == 1

    play(scene)
