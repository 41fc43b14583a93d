"""The scheduler keeps its bounds: connections, groups and content in memory, a store that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailbox_store import Delivery as MailboxDelivery
from postroad.contracts.queue_store import Work
from postroad.services import dispatcher, in_hand, store_lane
from postroad.simulation.weather import Weather
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import DUE_LOOK_S, REFILL_RETRY_S
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import RetrySettings, Smarthost, SmarthostTls
from tests.services.towns import ANN, Town, WatchedQueue, play


def test_all_destinations_together_get_no_more_connections_than_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS_AT_ONCE", 3)

    async def scene() -> None:
        async with Town.open(tmp_path, connection_idle_s=60.0) as town:
            peers = [town.peer(f"mx.d{n}.example", f"203.0.113.{n}", domain=f"d{n}.example") for n in range(10, 30)]
            most = 0

            def count(_: object) -> None:
                nonlocal most
                most = max(most, sum(peer.open_now for peer in peers))

            for peer in peers:
                peer.on_content = count
            for _ in range(3):
                for number in range(10, 30):
                    await town.send(ANN, f"bob@d{number}.example")
            await town.queue_is_empty()
            assert [len(peer.recipients) for peer in peers] == [3] * 20
            # An idle connection does not keep others waiting until it is stale.
            assert asyncio.get_running_loop().time() < 30
            assert 0 < most <= 3 + 1  # one that is being closed may still be open at the other end

    play(scene)


def test_a_busy_destination_does_not_starve_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS_AT_ONCE", 1)

    async def scene() -> None:
        async with Town.open(tmp_path, messages_per_connection=10) as town:
            busy = town.peer("mx.busy.example", "203.0.113.2", domain="busy.example")
            calm = town.peer("mx.calm.example", "203.0.113.3", domain="calm.example")
            for number in range(100):
                await town.send(ANN, f"bob{number}@busy.example")
            await town.send(ANN, "bob@calm.example")
            await calm.arrived.wait()
            assert len(busy.recipients) <= 20
            await town.queue_is_empty()
            assert len(busy.recipients) == 100

    play(scene)


def test_a_destination_that_no_longer_needs_the_slot_it_waited_for_lets_the_next_one_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS_AT_ONCE", 1)

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            one = town.peer("mx.one.example", "203.0.113.2", domain="one.example")
            other = town.peer("mx.other.example", "203.0.113.3", domain="other.example")
            await town.send(ANN, "bob0@one.example")
            await one.arrived.wait()
            for number in range(1, 6):
                await town.send(ANN, f"bob{number}@one.example")
            await town.send(ANN, "bob@other.example")
            await town.queue_is_empty()
            assert len(one.recipients) == 6
            assert other.recipients == ["bob@other.example"]
            assert asyncio.get_running_loop().time() < 60

    play(scene)


def test_a_destination_that_refused_a_connection_once_is_asked_for_more_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=4, messages_per_connection=5) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            open_then: list[int] = []
            b.on_content = lambda _: open_then.append(b.open_now)
            await town.send(ANN, "bob@b.example")
            await b.arrived.wait()
            town.network.set_weather("203.0.113.2", Weather(refused=True))
            for number in range(200):
                await town.send(ANN, f"bob{number}@b.example")
            await town.settled(4)
            assert set(open_then) == {1}
            town.network.set_weather("203.0.113.2", None)
            await town.queue_is_empty()
            assert max(open_then) == 4

    play(scene)


@pytest.mark.parametrize("start", [True, False])
def test_more_groups_than_memory_has_room_for_are_found_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bool
) -> None:
    monkeypatch.setattr(in_hand, "GROUPS_IN_MEMORY", 10)
    monkeypatch.setattr(in_hand, "REFILL_BATCH", 4)
    monkeypatch.setattr(in_hand, "CONTENT_IN_MEMORY_BYTES", 300)
    monkeypatch.setattr(store_lane, "LOCAL_DELIVERIES_AT_ONCE", 2)

    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            for number in range(60):
                await town.accept(ANN, f"bob{number}@b.example", "cat@a.example")

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            for number in range(60 if start else 0):
                await town.send(ANN, f"bob{number}@b.example", "cat@a.example")
                assert len(town.delivery._in_hand) <= 10
            await town.queue_is_empty()
            assert sorted(b.recipients) == sorted(f"bob{n}@b.example" for n in range(60))
            assert len(await town.mail_of("cat")) == 60

    if not start:
        play(before)
    play(scene)


@pytest.mark.parametrize("start", [True, False])
def test_a_slow_destination_with_more_mail_than_memory_holds_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bool
) -> None:
    monkeypatch.setattr(in_hand, "GROUPS_IN_MEMORY", 20)
    monkeypatch.setattr(in_hand, "GROUPS_OF_ONE_DESTINATION", 6)
    monkeypatch.setattr(in_hand, "REFILL_BATCH", 4)

    async def much(town: Town, give: Callable[..., Awaitable[object]]) -> None:
        for number in range(60):
            await give(ANN, f"bob{number}@slow.example")
        await give(ANN, "bob@b.example", "cat@a.example")

    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            await much(town, town.accept)

    async def scene() -> None:
        async with Town.open(tmp_path, destination_connections=1) as town:
            slow = town.peer("mx.slow.example", "203.0.113.2", domain="slow.example")
            town.network.set_weather("203.0.113.2", Weather(latency_s=10))
            b = town.peer("mx.b.example", "203.0.113.3", domain="b.example")
            if start:
                await much(town, town.send)
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() < 5
            await town.settled(2)
            assert len(await town.mail_of("cat")) == 1
            assert slow.recipients == []
            assert len(town.delivery._in_hand) < 6 + 4  # what one look brings may be beyond it
            await town.queue_is_empty()
            assert sorted(slow.recipients) == sorted(f"bob{n}@slow.example" for n in range(60))

    if not start:
        play(before)
    play(scene)


class Slow(SqliteMailboxStore):
    """The real mailboxes, which let nothing be written for a while."""

    moves = False

    def __init__(self, folder: Path, *, direct: bool) -> None:
        super().__init__(folder, direct=direct)
        self._held_up: list[tuple[MailboxDelivery, asyncio.Future[int]]] = []

    def deliver(self, delivery: MailboxDelivery) -> asyncio.Future[int]:
        if self.moves:
            return super().deliver(delivery)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._held_up.append((delivery, future))
        return future

    def move(self) -> None:
        self.moves = True
        for copy, future in self._held_up:
            future.set_result(super().deliver(copy).result())


def test_content_is_read_back_no_faster_than_mailboxes_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_lane, "LOCAL_DELIVERIES_AT_ONCE", 2)
    monkeypatch.setattr(store_lane, "CONTENT_FETCHES_AT_ONCE", 3)

    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            for _ in range(30):
                await town.accept(ANN, "cat@a.example")

    async def scene() -> None:
        async with Town.open(tmp_path, mailboxes=Slow) as town:
            await asyncio.wait([town.running], timeout=60)
            assert len(town.delivery._in_hand) == 30
            assert sum(parcel.content is not None for parcel in town.delivery._in_hand) <= 2 + 3
            assert isinstance(town.mailboxes, Slow)
            town.mailboxes.move()
            await town.queue_is_empty()
            assert len(await town.mail_of("cat")) == 30

    play(before)
    play(scene)


def test_what_waits_to_be_written_down_keeps_no_content(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.queue.refusals.extend([StoreUnavailable("disk")] * 5)
            await town.send(ANN, "cat@a.example")
            await asyncio.wait([town.running], timeout=2)
            assert [parcel.content for parcel in town.delivery._in_hand] == [None]
            await town.queue_is_empty()
            assert town.delivery._in_hand.content_bytes == 0

    play(scene)


class Away(WatchedQueue):
    """The real store, which cannot be asked for a while."""

    failures = 3

    async def take_due(
        self,
        now: datetime,
        limit: int,
        taken: Callable[[QueueId, Destination], bool],
        without: frozenset[Destination] = frozenset(),
    ) -> tuple[Work, ...]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is away")
        return await super().take_due(now, limit, taken, without)


def test_a_store_that_cannot_be_asked_is_asked_again(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            await town.accept(ANN, "cat@a.example")

    async def after() -> None:
        async with Town.open(tmp_path, queue=Away) as town:
            await town.queue_is_empty()
            assert asyncio.get_running_loop().time() >= 3 * REFILL_RETRY_S
            assert [type(error) for _, error in town.errors] == [StoreUnavailable] * 3
            town.errors.clear()

    play(before)
    play(after)


def test_an_idle_scheduler_wakes_for_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            loop = asyncio.get_running_loop()
            await asyncio.wait([town.running], timeout=3600)
            timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
            assert len(timers) == 1  # the test's own deadline

    play(scene)


def test_a_smart_host_at_port_465_is_spoken_to_in_tls_from_the_first_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        smarthost = Smarthost("out.example", 465, tls=SmarthostTls.VERIFIED)
        async with Town.open(tmp_path, smarthost=smarthost) as town:
            out = town.peer("out.example", "10.0.0.5", tls=True)
            out.network = None
            town.hosts["out.example"].listen(465, out.connection, tls=True)
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            (attempt,) = await town.attempts()
            assert out.recipients == ["bob@b.example"]
            assert attempt.tls is not None
            assert attempt.tls.verified

    play(scene)


@pytest.mark.parametrize(("hours", "longest_s"), [(24, DUE_LOOK_S + 1), (-1, 3600 + 400)])
def test_a_clock_that_is_set_meanwhile_delays_a_retry_by_no_more_than_it_was_wrong(
    tmp_path: Path, hours: int, longest_s: float
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            answers = iter([reply(451, "Come back")])
            b.on_recipient = lambda _: next(answers, None)
            await town.send(ANN, "bob@b.example")
            await town.settled(1)
            town.clock._start += timedelta(hours=hours)
            # What comes now goes now, whatever the clock says.
            await town.send(ANN, "bill@b.example", "cat@a.example")
            await town.settled(3)
            assert asyncio.get_running_loop().time() < 5
            await town.queue_is_empty()
            assert asyncio.get_running_loop().time() < longest_s
            assert sorted(b.recipients) == ["bill@b.example", "bob@b.example"]
            assert len(await town.mail_of("cat")) == 1

    play(scene)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_clock_that_was_days_ahead_has_put_off_is_tried_when_the_schedule_can_want_it(
    tmp_path: Path, restarted: bool
) -> None:
    async def scene() -> None:
        retry = RetrySettings(waits=(timedelta(minutes=10),))
        if restarted:
            async with Town.open(tmp_path, retry=retry) as town:
                town.silent.add("b.example")
                town.clock._start += timedelta(days=30)
                await town.send(ANN, "bob@b.example")
                await town.settled(1)
        async with Town.open(tmp_path, retry=retry) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            if not restarted:
                town.silent.add("b.example")
                town.clock._start += timedelta(days=30)
                await town.send(ANN, "bob@b.example")
                await town.settled(1)
                town.clock._start -= timedelta(days=30)
                town.silent.clear()
            later = town.clock.now() + timedelta(days=4)
            await town.send(ANN, "eve@b.example", after=timedelta(days=4), release_at=later)
            began_s = asyncio.get_running_loop().time()
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() - began_s < 660 + DUE_LOOK_S
            assert b.recipients == ["bob@b.example"]
            await town.queue_is_empty()
            assert town.clock.now() >= later, "what its sender wants later stays as it is"

    play(scene)


def test_so_many_attempts_are_made_and_not_one_more(tmp_path: Path) -> None:
    async def scene() -> None:
        retry = RetrySettings(waits=(timedelta(seconds=1),), attempts_max=7)
        async with Town.open(tmp_path, retry=retry) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.on_recipient = lambda _: reply(451, "Come back")
            await town.send(ANN, "bob@b.example")
            await town.queue_is_empty()
            assert len([each for each in await town.attempts() if each.destination == "domain:b.example"]) == 7
            (notification,) = await town.mail_of("ann")
            assert b"Given up after 7 attempts" in notification

    play(scene)
