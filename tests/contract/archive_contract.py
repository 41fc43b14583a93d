"""What every archive must keep, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from postroad.contracts.archive_store import (
    Access,
    Archive,
    ArchiveChain,
    ArchiveQuery,
    JournalEnvelope,
    LegalHold,
    NewRecord,
    Words,
)
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.vocabulary.queue_id import QueueId, QueueIdSource

T0 = datetime(2026, 10, 30, 12, tzinfo=UTC)
NEXT_MONTH = T0 + timedelta(days=10)
LETTER = b"Subject: the plan\r\n\r\nMeet at the old mill.\r\n"
ENVELOPE = JournalEnvelope("ann@a.example", ("bob@b.example", "blind@c.example"))
LARGE = b"Subject: large\r\n\r\n" + b"x" * (4 * CONTENT_IN_ROW_BYTES)


def look(action: str = "search", at: datetime = T0) -> Access:
    return Access(by="root", at=at, action=action, detail="the mill", reason="case 7")


class ArchiveContract:
    """A subclass says how an archive, and the chain of a worker, are opened on a folder."""

    def open_archive(self, data: Path) -> Archive:
        raise NotImplementedError

    def open_chain(self, data: Path, shard: int) -> ArchiveChain:
        raise NotImplementedError

    def play(self, data: Path, scene: Callable[[ArchiveChain, Archive], Coroutine[Any, Any, None]]) -> None:
        async def scene_with_stores() -> None:
            chain, archive = self.open_chain(data, 0), self.open_archive(data)
            try:
                await scene(chain, archive)
            finally:
                await chain.close()
                await archive.close()

        asyncio.run(scene_with_stores())

    def test_a_message_comes_back_as_it_was_with_its_blind_recipients(self, tmp_path: Path) -> None:
        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            record = record_of(ids(1)[0])
            assert await chain.append(record)
            found = await archive.show(record.queue_id)
            assert found is not None
            assert (found.envelope, found.accepted_at, found.size_bytes) == (ENVELOPE, T0, len(LETTER))
            assert b"".join([piece async for piece in archive.content(record.queue_id)]) == LETTER
            assert await archive.show(ids(2)[1]) is None

        self.play(tmp_path, scene)

    def test_a_repeat_changes_nothing_also_in_the_next_month_and_after_a_new_start(self, tmp_path: Path) -> None:
        record = record_of(ids(1)[0])

        async def first(chain: ArchiveChain, archive: Archive) -> None:
            assert await asyncio.gather(*(chain.append(record) for _ in range(3))) == [True, False, False]

        async def later(chain: ArchiveChain, archive: Archive) -> None:
            assert await chain.has(record.queue_id)
            assert await chain.append(record_of(ids(2)[1], recorded_at=NEXT_MONTH))
            assert not await chain.append(record_of(record.queue_id, recorded_at=NEXT_MONTH))
            verified = await archive.verify()
            assert (verified.records, verified.complaints) == (2, ())

        self.play(tmp_path, first)
        self.play(tmp_path, later)

    def test_an_expansion_is_a_record_linked_to_its_message(self, tmp_path: Path) -> None:
        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            envelope = JournalEnvelope("ann@a.example", ("team@a.example",), ("bob@b.example", "cat@a.example"))
            (queue_id,) = ids(1)
            await chain.append(record_of(queue_id, envelope=envelope))
            verified = await archive.verify()
            assert (verified.records, verified.complaints) == (2, ())
            found = await archive.show(queue_id)
            assert found is not None
            assert found.envelope == envelope

        self.play(tmp_path, scene)

    def test_months_go_on_where_the_last_one_ended_and_a_clock_set_back_begins_none_again(self, tmp_path: Path) -> None:
        one, two, three, four = ids(4)

        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            await chain.append(record_of(one))
            await chain.append(record_of(two, recorded_at=NEXT_MONTH))
            await chain.append(record_of(three, recorded_at=T0))

        async def later(chain: ArchiveChain, archive: Archive) -> None:
            await chain.append(record_of(four, recorded_at=T0))
            verified = await archive.verify()
            assert (verified.records, verified.complaints) == (4, ())
            assert [(head.chain, head.month, head.number) for head in verified.heads] == [("0", "2026-11", 4)]

        self.play(tmp_path, scene)
        self.play(tmp_path, later)

    def test_retention_leaves_the_hashes_and_what_is_under_hold(self, tmp_path: Path) -> None:
        old, held, young = ids(3)

        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            kept = JournalEnvelope("eve@e.example", ("dan@a.example",))
            await chain.append(record_of(old, content=LARGE))
            await chain.append(record_of(held, envelope=kept))
            await chain.append(record_of(young, accepted_at=NEXT_MONTH, recorded_at=NEXT_MONTH))
            assert await archive.hold(LegalHold(name="case 7", address="@e.example"), look("hold"))
            assert not await archive.hold(LegalHold(name="case 7"), look("hold"))
            assert await archive.remove_before(NEXT_MONTH, NEXT_MONTH) == 1
            assert await archive.show(old) is None
            assert await archive.show(held) is not None
            verified = await archive.verify()
            assert (verified.removed, verified.complaints) == (1, ())
            assert await archive.release("case 7", look("release"))
            assert not await archive.release("case 7", look("release"))
            assert await archive.remove_before(NEXT_MONTH, NEXT_MONTH) == 1
            assert await archive.remove_before(NEXT_MONTH, NEXT_MONTH) == 0
            assert await archive.show(young) is not None
            verified = await archive.verify()
            assert (verified.removed, verified.complaints) == (2, ())
            # A message whose content is gone is known all the same: it does not come back by a repeat.
            assert not await chain.append(record_of(old, content=LARGE, recorded_at=NEXT_MONTH))

        self.play(tmp_path, scene)

    def test_who_looked_is_kept(self, tmp_path: Path) -> None:
        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            await archive.record(look("search"))
            await archive.hold(LegalHold(name="all"), look("hold"))
            assert await archive.holds() == (LegalHold(name="all"),)
            assert [each.action for each in await archive.accesses(10)] == ["hold", "search"]
            assert (await archive.verify()).complaints == ()

        self.play(tmp_path, scene)

    def test_heads_are_tied_once_a_day_and_found_again(self, tmp_path: Path) -> None:
        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            assert not await archive.tie(T0)  # nothing there yet
            await chain.append(record_of(ids(1)[0]))
            assert await archive.tie(T0)
            assert not await archive.tie(T0 + timedelta(hours=1))
            heads = await archive.heads()
            await chain.append(record_of(ids(2)[1]))
            assert await archive.tie(T0 + timedelta(days=1))
            assert (await archive.verify(heads)).complaints == ()

        self.play(tmp_path, scene)

    def test_two_workers_have_a_chain_each(self, tmp_path: Path) -> None:
        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            other = self.open_chain(tmp_path, 1)
            await chain.append(record_of(ids(1)[0]))
            await other.append(record_of(QueueIdSource(1).next(T0)))
            await other.close()
            assert [head.chain for head in (await archive.verify()).heads] == ["0", "1"]

        self.play(tmp_path, scene)

    def test_a_search_finds_by_words_sender_recipient_and_time(self, tmp_path: Path) -> None:
        one, two = ids(2)

        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            await chain.append(record_of(one))
            team = JournalEnvelope("eve@e.example", ("team@a.example",), ("dan@a.example",))
            await chain.append(record_of(two, envelope=team, accepted_at=NEXT_MONTH, recorded_at=NEXT_MONTH))
            for _ in range(2):
                new = await archive.unindexed(10)
                assert [each.queue_id for each in new] == [one, two]
                await archive.index(tuple(Words(each, "the plan", each.octets.decode()) for each in new))
                assert await archive.unindexed(10) == ()
                for query, expected in (
                    (ArchiveQuery(), [two, one]),
                    (ArchiveQuery(words="MILL old"), [two, one]),
                    (ArchiveQuery(words="windmill"), []),
                    (ArchiveQuery(words='") OR'), []),
                    (ArchiveQuery(words="mill", sender="Ann@a.example"), [one]),
                    (ArchiveQuery(sender="@e.example"), [two]),
                    (ArchiveQuery(recipient="blind@c.example"), [one]),
                    (ArchiveQuery(recipient="dan@a.example"), [two]),
                    (ArchiveQuery(recipient="@a.example"), [two]),
                    (ArchiveQuery(after=NEXT_MONTH), [two]),
                    (ArchiveQuery(before=NEXT_MONTH), [one]),
                ):
                    assert [found.queue_id for found in await archive.search(query, 10)] == expected, query
                await archive.forget_index()
                assert await archive.search(ArchiveQuery(), 10) == ()

        self.play(tmp_path, scene)

    def test_what_retention_removed_is_not_found_by_its_words(self, tmp_path: Path) -> None:
        async def scene(chain: ArchiveChain, archive: Archive) -> None:
            await chain.append(record_of(ids(1)[0]))
            new = await archive.unindexed(10)
            await archive.index(tuple(Words(each, "the plan", "mill") for each in new))
            await archive.remove_before(NEXT_MONTH, NEXT_MONTH)
            assert await archive.search(ArchiveQuery(words="mill"), 10) == ()
            assert await archive.unindexed(10) == ()

        self.play(tmp_path, scene)


_SOURCE_AT = T0


def ids(count: int) -> list[QueueId]:
    """The same ids whenever they are asked for."""
    source = QueueIdSource(0)
    return [source.next(_SOURCE_AT) for _ in range(count)]


def record_of(queue_id: QueueId, **differently: Any) -> NewRecord:
    usual: dict[str, Any] = {"envelope": ENVELOPE, "content": LETTER, "accepted_at": T0, "recorded_at": T0}
    return NewRecord(queue_id=queue_id, **{**usual, **differently})
