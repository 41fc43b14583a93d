"""Delivery into mailboxes here."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

import pytest
from msgspec import structs

from postroad.contracts.errors import NoSuchMailbox, StoreFull, StoreUnavailable
from postroad.contracts.mailbox_store import Delivery as MailboxDelivery
from postroad.message.surrogate import rewriter
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.outcome import Fate
from tests.services.towns import ANN, CONTENT, Town, play


def test_a_local_recipient_has_the_message_with_a_return_path_before_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await town.send(ANN, "cat@a.example")
            await town.queue_is_empty()
            assert await town.mail_of("cat") == [b"Return-Path: <ann@a.example>\r\n" + CONTENT]
            (attempt,) = await town.attempts()
            assert [outcome.fate for outcome in attempt.outcomes] == [Fate.DELIVERED]

    play(scene)


def test_the_same_mailbox_twice_in_one_message_is_one_copy(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await town.send(ANN, "cat@a.example", "CAT@a.example")
            await town.queue_is_empty()
            assert len(await town.mail_of("cat")) == 1

    play(scene)


def test_a_delivery_that_could_not_be_settled_before_a_crash_is_not_doubled_by_the_repeat(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path) as town:
            # It is never written down: the process ends while the store refuses.
            town.queue.refusals.extend([StoreUnavailable("disk")] * 1000)
            await town.send(ANN, "cat@a.example")
            delivered.extend(await town.mail_of("cat"))
            town.running.cancel()

    async def after() -> None:
        async with Town.open(tmp_path) as town:
            await town.queue_is_empty()
            delivered[:] = await town.mail_of("cat")

    delivered: list[bytes] = []
    play(before)
    assert len(delivered) == 1
    play(after)
    assert len(delivered) == 1


@pytest.mark.parametrize(("fault", "status"), [("removed", "5.1.1"), ("disabled", "5.2.1")])
def test_an_account_that_went_away_after_acceptance_fails(tmp_path: Path, fault: str, status: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            message = await town.accept(ANN, "cat@a.example")
            cat = town.directory.account(Mailbox("cat", "a.example"))
            assert cat is not None
            if fault == "removed":
                await town.directory.remove_account(cat.address)
            else:
                await town.directory.change_account(structs.replace(cat, disabled=True))
            town.delivery.hand_over(message)
            await town.queue_is_empty()
            outcome = (await town.attempts())[0].outcomes[0]
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, status)
            assert len(await town.mail_of("ann")) == 1

    play(scene)


class Failing(SqliteMailboxStore):
    """The real store, whose next deliveries meet these errors."""

    errors: deque[Exception]

    def deliver(self, delivery: MailboxDelivery) -> asyncio.Future[int]:
        if not self.errors:
            return super().deliver(delivery)
        failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        failed.set_exception(self.errors.popleft())
        return failed


@pytest.mark.parametrize(
    ("error", "fate", "status"),
    [
        (StoreFull("disk"), Fate.DEFERRED, "4.3.1"),
        (StoreUnavailable("disk"), Fate.DEFERRED, "4.3.0"),
        (NoSuchMailbox("7"), Fate.FAILED, "5.1.1"),
    ],
)
def test_a_mailbox_that_cannot_be_written_defers(tmp_path: Path, error: Exception, fate: Fate, status: str) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, mailboxes=Failing) as town:
            assert isinstance(town.mailboxes, Failing)
            town.mailboxes.errors = deque([error])
            await town.send(None, "cat@a.example")
            await town.settled(1)
            outcome = (await town.attempts())[0].outcomes[0]
            assert (outcome.fate, str(outcome.status)) == (fate, status)
            if fate is Fate.DEFERRED:
                await town.queue_is_empty()
                assert len(await town.mail_of("cat")) == 1

    play(scene)


def test_deliveries_from_the_store_arrive_each_once(tmp_path: Path) -> None:
    async def before() -> None:
        async with Town.open(tmp_path, start=False) as town:
            for number in range(200):
                await town.accept(ANN, "cat@a.example", content=b"X: %d\r\n\r\n" % number)

    async def after() -> None:
        async with Town.open(tmp_path) as town:
            await town.queue_is_empty()
            mail = await town.mail_of("cat")
            assert len(mail) == len(set(mail)) == 200

    play(before)
    play(after)


@pytest.mark.parametrize("filling", [0, 3000], ids=["small", "large"])
def test_a_letter_with_utf8_in_its_header_has_a_surrogate_kept_beside_it(tmp_path: Path, filling: int) -> None:
    content = "Subject: Grüße\r\n\r\nGrüße\r\n".encode() + b"It rains, and the post is on the road.\r\n" * filling

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            await town.send(ANN, "cat@a.example", content=content)
            await town.queue_is_empty()
            cat = town.directory.account(Mailbox("cat", "a.example"))
            assert cat is not None
            async with town.mailboxes.open_maildrop(cat.id) as maildrop:
                (message,) = maildrop.messages
                edits = await maildrop.surrogate(message.uid)
            whole = b"Return-Path: <ann@a.example>\r\n" + content
            made = rewriter(edits)
            shown = made.feed(whole) + made.end()
            assert shown == whole.replace("Subject: Grüße".encode(), b"Subject: =?utf-8?b?R3LDvMOfZQ==?=")
            assert message.surrogate_growth == len(shown) - len(whole)

    play(scene)
