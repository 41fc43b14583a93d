"""What every hold store owes to the mail in it. A runner subclasses this and says how a store is opened."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from postroad.contracts.hold_store import HeldMessage, Hold, HoldDelivery, HoldLocked, HoldSettlement, HoldStore
from postroad.contracts.queue_store import StoredContent
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import BodyType, Envelope, Notify, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Acted, Entry, from_bytes
from tests.contract.mailbox_store_contract import LARGE, SMALL, SealedFile, whole

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIRST, SECOND = QueueId("0000000000A0"), QueueId("0000000000B0")
ANN = Mailbox("ann", "a.example")
BOB = Recipient(Mailbox("bob", "d.example"), (Notify.FAILURE, Notify.DELAY), "rfc822;bob@d.example")
BEA = Recipient(Mailbox("bea", "d.example"))
DEADLINE_S = 30.0

Scene = Callable[[HoldStore], Coroutine[Any, Any, None]]


def a_delivery(
    *recipients: Recipient,
    queue_id: QueueId = FIRST,
    domain: str = "d.example",
    content: bytes | StoredContent = SMALL,
    held_at: datetime = T0,
) -> HoldDelivery:
    envelope = Envelope(ANN, recipients or (BOB, BEA), BodyType.EIGHT_BIT_MIME, True, "HDRS", "QQ314159")
    return HoldDelivery(
        domain=domain, queue_id=queue_id, envelope=envelope, content=content, queued_at=T0, held_at=held_at
    )


def failed(recipient: Recipient) -> Outcome:
    return Outcome(recipient, Fate.FAILED, EnhancedStatus(5, 1, 1), "no", "550 5.1.1 no", "mx.d.example", "192.0.2.9")


def told(queue_id: QueueId = FIRST) -> Entry:
    return Entry(queue_id, (queue_id,), (Acted(at=T0, action="settled", by="the test"),))


async def waiting(store: HoldStore, domain: str = "d.example") -> tuple[HeldMessage, ...]:
    async with store.open_hold(domain) as hold:
        return await hold.messages(0, 100)


async def settled(hold: Hold, number: int, *remaining: Recipient, report: tuple[Outcome, ...] = ()) -> None:
    await hold.settle(HoldSettlement(number=number, remaining=remaining, to_report=report))


class HoldStoreContract:
    @abstractmethod
    def open_store(self, data: Path) -> HoldStore:
        """A store on `data`; opened again on the same folder it finds what was there."""

    def run(self, data: Path, *scenes: Scene) -> None:
        """Each scene on a store opened anew."""

        async def play() -> None:
            for scene in scenes:
                store = self.open_store(data)
                try:
                    async with asyncio.timeout(DEADLINE_S):
                        await scene(store)
                finally:
                    await store.close()

        asyncio.run(play())

    # ---- what goes in comes out ------------------------------------------------------------------

    def test_a_message_waits_with_its_whole_envelope(self, tmp_path: Path) -> None:
        async def put(store: HoldStore) -> None:
            await store.deliver(a_delivery())

        async def look(store: HoldStore) -> None:
            (message,) = await waiting(store)
            assert message.envelope == a_delivery().envelope
            assert (message.queue_id, message.queued_at, message.held_at) == (FIRST, T0, T0)
            assert (message.attempts, message.size_bytes) == (0, len(SMALL))
            async with store.open_hold("d.example") as hold:
                assert await whole(await hold.content(message.number)) == SMALL

        self.run(tmp_path, put, look)

    def test_large_content_is_kept_octet_for_octet_and_outlives_its_source(self, tmp_path: Path) -> None:
        source = tmp_path / "sealed"

        async def put(store: HoldStore) -> None:
            await store.deliver(a_delivery(content=SealedFile(source, LARGE)))
            source.unlink()

        async def look(store: HoldStore) -> None:
            (message,) = await waiting(store)
            assert await whole(await store.content("d.example", message.number)) == LARGE

        self.run(tmp_path, put, look)

    def test_messages_come_in_the_order_of_their_delivery_page_by_page(self, tmp_path: Path) -> None:
        ids = [QueueId(f"0000000000{letter}0") for letter in "ZACBD"]

        async def scene(store: HoldStore) -> None:
            for queue_id in ids:
                await store.deliver(a_delivery(queue_id=queue_id))
            async with store.open_hold("d.example") as hold:
                first = await hold.messages(0, 2)
                rest = await hold.messages(first[-1].number, 100)
            assert [message.queue_id for message in (*first, *rest)] == ids

        self.run(tmp_path, scene)

    def test_each_domain_has_a_hold_of_its_own(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(domain="d.example"))
            await store.deliver(a_delivery(domain="e.example", queue_id=SECOND))
            assert [message.queue_id for message in await waiting(store, "e.example")] == [SECOND]
            assert sorted(await store.domains()) == ["d.example", "e.example"]
            assert (await store.summary("d.example")).messages == 1

        async def later(store: HoldStore) -> None:
            assert sorted(await store.domains()) == ["d.example", "e.example"]

        self.run(tmp_path, scene, later)

    def test_a_hold_that_never_had_mail_is_empty(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            assert await waiting(store) == ()
            summary = await store.summary("d.example")
            assert (summary.messages, summary.size_bytes, summary.oldest_held_at) == (0, 0, None)
            assert await store.domains() == ()

        self.run(tmp_path, scene)

    def test_the_longest_domain_there_can_be_has_a_hold(self, tmp_path: Path) -> None:
        domain = ".".join(["d" * 61] * 4) + ".example"

        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(domain=domain))
            assert len(await waiting(store, domain)) == 1

        self.run(tmp_path, scene)

    # ---- once ------------------------------------------------------------------------------------

    def test_a_delivery_that_is_repeated_changes_nothing(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            await store.deliver(a_delivery())
            assert len(await waiting(store)) == 1

        async def later(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            assert len(await waiting(store)) == 1

        self.run(tmp_path, scene, later)

    def test_a_delivery_that_is_repeated_after_it_was_fetched_does_not_come_back(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number)
            await store.deliver(a_delivery())
            assert await waiting(store) == ()

        self.run(tmp_path, scene)

    def test_a_repeat_with_one_more_recipient_delivers_to_that_one_alone(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(BOB))
            await store.deliver(a_delivery(BOB, BEA))
            assert [message.envelope.recipients for message in await waiting(store)] == [(BOB,), (BEA,)]

        self.run(tmp_path, scene)

    def test_local_parts_that_differ_in_case_are_two(self, tmp_path: Path) -> None:
        upper = Recipient(Mailbox("Bob", "d.example"))

        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(BOB))
            await store.deliver(a_delivery(upper))
            assert len(await waiting(store)) == 2

        self.run(tmp_path, scene)

    def test_keys_can_be_swept_by_age_and_the_rest_stays(self, tmp_path: Path) -> None:
        late = T0 + timedelta(days=1)

        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(BOB))
            await store.deliver(a_delivery(BEA, queue_id=SECOND, held_at=late))
            keys = await store.delivery_keys("d.example", "", late, 10)
            assert keys == (f"{FIRST}/bob@d.example",)
            assert await store.delivery_keys("d.example", keys[-1], late, 10) == ()
            await store.forget_keys("d.example", keys)
            assert await store.delivery_keys("d.example", "", late + timedelta(days=1), 10) == (
                f"{SECOND}/bea@d.example",
            )
            assert len(await waiting(store)) == 2

        self.run(tmp_path, scene)

    # ---- settling --------------------------------------------------------------------------------

    def test_those_who_got_it_go_and_the_others_stay(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number, BEA)

        async def later(store: HoldStore) -> None:
            (message,) = await waiting(store)
            assert message.envelope.recipients == (BEA,)
            assert message.attempts == 1
            async with store.open_hold("d.example") as hold:
                await settled(hold, message.number)
                with pytest.raises(KeyError):
                    await hold.content(message.number)

        async def at_last(store: HoldStore) -> None:
            assert await waiting(store) == ()

        self.run(tmp_path, scene, later, at_last)

    def test_what_is_settled_already_is_not_settled_again(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number)
                with pytest.raises(KeyError):
                    await settled(hold, message.number, report=(failed(BOB),))
            assert await store.reports("d.example", 10) == ()

        self.run(tmp_path, scene)

    def test_numbers_never_come_back(self, tmp_path: Path) -> None:
        numbers: list[int] = []

        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(queue_id=FIRST if not numbers else SECOND))
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                numbers.append(message.number)
                await settled(hold, message.number)

        self.run(tmp_path, scene, scene)
        assert numbers[0] < numbers[1]

    def test_the_story_of_a_settlement_can_be_copied_to_the_ledger_and_cleared(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await hold.settle(HoldSettlement(number=message.number, story=told()))

        async def later(store: HoldStore) -> None:
            ((number, blob),) = await store.outbox("d.example", 10)
            assert from_bytes(blob) == (told(),)
            await store.clear_outbox("d.example", number)
            assert await store.outbox("d.example", 10) == ()

        self.run(tmp_path, scene, later)

    def test_what_has_a_deadline_is_found_when_it_has_come_and_until_it_is_met(self, tmp_path: Path) -> None:
        hour = timedelta(hours=1)

        async def put(store: HoldStore) -> None:
            await store.deliver(structs.replace(a_delivery(queue_id=SECOND), deadline_at=T0 + 2 * hour))
            await store.deliver(structs.replace(a_delivery(), deadline_at=T0 + hour))
            await store.deliver(a_delivery(queue_id=QueueId("0000000000C0")))

        async def look(store: HoldStore) -> None:
            async with store.open_hold("d.example") as hold:
                assert await hold.overdue(T0, 10) == ()
                assert (await store.summary("d.example")).next_deadline_at == T0 + hour
                (first,) = await hold.overdue(T0 + hour, 10)
                assert first.queue_id == FIRST
                assert [each.queue_id for each in await hold.overdue(T0 + 3 * hour, 10)] == [FIRST, SECOND]
                assert [each.queue_id for each in await hold.overdue(T0 + 3 * hour, 1)] == [FIRST]
                waiting = first.envelope.recipients
                await hold.settle(HoldSettlement(number=first.number, remaining=waiting, deadline_passed=True))
                (second,) = await hold.overdue(T0 + 3 * hour, 10)
                await settled(hold, second.number)
                assert await hold.overdue(T0 + 3 * hour, 10) == ()
                assert len(await hold.messages(0, 10)) == 2

        self.run(tmp_path, put, look)

    # ---- reports ---------------------------------------------------------------------------------

    def test_a_report_stays_with_its_content_until_it_is_taken(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number, report=(failed(BOB),))
            assert await waiting(store) == ()

        async def later(store: HoldStore) -> None:
            (report,) = await store.reports("d.example", 10)
            assert report.outcomes == (failed(BOB),)
            assert (report.queue_id, report.queued_at, report.size_bytes) == (FIRST, T0, len(SMALL))
            assert report.envelope.reverse_path == ANN
            assert report.envelope.envid == "QQ314159"
            assert await whole(await store.content("d.example", report.message)) == SMALL
            await store.reported("d.example", report.number, told())
            await store.reported("d.example", report.number, told())
            assert await store.reports("d.example", 10) == ()
            assert len(await store.outbox("d.example", 10)) == 1
            with pytest.raises(KeyError):
                await store.content("d.example", report.message)

        self.run(tmp_path, scene, later)

    def test_a_report_does_not_take_the_message_from_those_who_still_wait(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery())
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number, BEA, report=(failed(BOB),))
            (report,) = await store.reports("d.example", 10)
            await store.reported("d.example", report.number, None)
            (message,) = await waiting(store)
            assert message.envelope.recipients == (BEA,)
            assert await whole(await store.content("d.example", message.number)) == SMALL

        self.run(tmp_path, scene)

    def test_no_two_reports_have_the_same_key(self, tmp_path: Path) -> None:
        keys: list[str] = []

        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(BOB, queue_id=FIRST if not keys else SECOND))
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number, report=(failed(BOB),))
            (report,) = await store.reports("d.example", 10)
            keys.append(report.key)
            await store.reported("d.example", report.number, None)

        self.run(tmp_path, scene, scene)
        assert len(set(keys)) == 2

    # ---- one at a time ---------------------------------------------------------------------------

    def test_only_one_session_empties_a_hold(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            async with store.open_hold("d.example"):
                with pytest.raises(HoldLocked):
                    async with store.open_hold("d.example"):
                        pass
                async with store.open_hold("e.example"):
                    pass
            async with store.open_hold("d.example"):
                pass

        self.run(tmp_path, scene)

    def test_another_process_waits_its_turn_and_finds_the_same_mail(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            other = self.open_store(tmp_path)
            try:
                await store.deliver(a_delivery())
                async with store.open_hold("d.example"):
                    with pytest.raises(HoldLocked):
                        await waiting(other)
                    await other.deliver(a_delivery(queue_id=SECOND))
                assert [message.queue_id for message in await waiting(other)] == [FIRST, SECOND]
            finally:
                await other.close()

        self.run(tmp_path, scene)

    # ---- files -----------------------------------------------------------------------------------

    def test_the_file_of_a_message_goes_with_it(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(content=SealedFile(tmp_path / "sealed", LARGE)))
            assert len(self.content_files(tmp_path)) == 1
            async with store.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                await settled(hold, message.number)
            assert self.content_files(tmp_path) == []

        self.run(tmp_path, scene)

    def test_a_file_that_no_message_has_is_swept(self, tmp_path: Path) -> None:
        async def scene(store: HoldStore) -> None:
            await store.deliver(a_delivery(content=SealedFile(tmp_path / "sealed", LARGE)))
            (kept,) = self.content_files(tmp_path)
            (kept.parent / ("0" * 32)).write_bytes(LARGE)
            assert await store.sweep_content() == 1
            assert self.content_files(tmp_path) == [kept]

        self.run(tmp_path, scene)

    def content_files(self, data: Path) -> list[Path]:
        return sorted(path for path in (data / "hold" / "content").glob("*/*"))
