"""Delivery into holds: mail for a domain whose owner will fetch it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.contracts.hold_store import HeldMessage, HoldDelivery
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from postroad.vocabulary.envelope import BodyType, Notify, Recipient
from postroad.vocabulary.outcome import Fate
from tests.services.towns import ANN, CONTENT, Town, mailbox, play

LARGE = CONTENT + b"x" * 70 + b"\r\n" * 2000 + b"0123456789\r\n" * 8000
HELD = frozenset({"d.example"})


async def held(town: Town, domain: str = "d.example") -> tuple[HeldMessage, ...]:
    async with town.holds.open_hold(domain) as hold:
        return await hold.messages(0, 100)


def test_mail_for_a_hold_domain_waits_with_its_envelope_and_nobody_is_called(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, hold_domains=HELD) as town:
            bob = Recipient(mailbox("bob@d.example"), (Notify.SUCCESS,), "rfc822;bob@d.example")
            await town.send(ANN, bob, "Bea@d.example", body=BodyType.EIGHT_BIT_MIME, ret="HDRS", envid="QQ1")
            await town.queue_is_empty()
            (message,) = await held(town)
            assert message.envelope.recipients == (bob, Recipient(mailbox("Bea@d.example")))
            assert (message.envelope.reverse_path, message.envelope.body) == (ANN, BodyType.EIGHT_BIT_MIME)
            assert (message.envelope.ret, message.envelope.envid) == ("HDRS", "QQ1")
            async with town.holds.open_hold("d.example") as hold:
                content = await hold.content(message.number)
            assert content.in_memory() == CONTENT
            (attempt,) = await town.attempts()
            assert {outcome.fate for outcome in attempt.outcomes} == {Fate.HELD}
            # SUCCESS was asked for, and is not here yet: nobody is told anything.
            assert attempt.notification == ""

    play(scene)


def test_large_content_is_held_as_a_file_that_outlives_the_queues(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, hold_domains=HELD) as town:
            await town.send(ANN, "bob@d.example", content=LARGE)
            await town.queue_is_empty()
            (message,) = await held(town)
            content = await town.holds.content("d.example", message.number)
            assert b"".join([chunk async for chunk in content.chunks()]) == LARGE

    play(scene)


def test_what_was_in_the_queue_when_the_hold_was_configured_goes_there(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            await town.accept(ANN, "bob@d.example", "cat@a.example")

    async def after() -> None:
        async with Town.open(tmp_path, hold_domains=HELD) as town:
            await town.queue_is_empty()
            assert len(await held(town)) == 1
            assert len(await town.mail_of("cat")) == 1

    play(before)
    play(after)


def test_a_local_domain_has_no_hold_whatever_is_configured(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, hold_domains=frozenset({"a.example"})) as town:
            await town.send(ANN, "cat@a.example")
            await town.queue_is_empty()
            assert len(await town.mail_of("cat")) == 1

    play(scene)


def test_a_delivery_that_could_not_be_settled_before_a_crash_is_not_doubled_by_the_repeat(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, hold_domains=HELD) as town:
            town.queue.refusals.extend([StoreUnavailable("disk")] * 1000)
            await town.send(ANN, "bob@d.example")
            assert len(await held(town)) == 1
            town.running.cancel()

    async def after() -> None:
        async with Town.open(tmp_path, hold_domains=HELD) as town:
            await town.queue_is_empty()
            assert len(await held(town)) == 1

    play(before)
    play(after)


class FullOnce(SqliteHoldStore):
    """A disk that is full for the first delivery."""

    was_full = False

    def deliver(self, delivery: HoldDelivery) -> asyncio.Future[None]:
        if self.was_full:
            return super().deliver(delivery)
        self.was_full = True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreFull("no room left"))
        return future


def test_a_full_disk_defers_and_the_next_attempt_succeeds(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, hold_domains=HELD, holds=FullOnce) as town:
            await town.send(ANN, "bob@d.example")
            await town.queue_is_empty()
            assert len(await held(town)) == 1
            fates = [(outcome.fate, str(outcome.status)) for each in await town.attempts() for outcome in each.outcomes]
            assert fates == [(Fate.DEFERRED, "4.3.1"), (Fate.HELD, "2.0.0")]

    play(scene)


def test_offline_mail_still_goes_into_holds(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, hold_domains=HELD, offline=True) as town:
            await town.send(ANN, "bob@d.example")
            await town.queue_is_empty()
            assert len(await held(town)) == 1

    play(scene)
