"""Mail of archived domains is in the archive before anybody gets it, once, or it waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.archive_store import ArchiveQuery, JournalEnvelope, NewRecord
from postroad.contracts.directory import Alias
from postroad.contracts.errors import StoreFull
from postroad.storage.sqlite.archive_chain import SqliteArchiveChain
from postroad.storage.sqlite.archive_store import SqliteArchive
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.vocabulary.queue_id import QueueId
from tests.services.test_list_distribution import found
from tests.services.towns import ANN, CONTENT, Town, mailbox, play

HERE = frozenset({"a.example"})
LARGE = CONTENT + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * (CONTENT_IN_ROW_BYTES // 72 * 2)
ELSEWHERE = frozenset({"c.example"})


class WatchedChain(SqliteArchiveChain):
    """The real chain, which can be told that its disk is full, and knows what was appended."""

    full = False
    appended: list[tuple[QueueId, bool]]

    def append(self, record: NewRecord) -> asyncio.Future[bool]:
        if self.full:
            failed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            failed.set_exception(StoreFull("archive/2026-11/0.db: no room left on the disk."))
            return failed
        future = super().append(record)
        self.appended.append((record.queue_id, future.result()))
        return future


def chain_in(folder: Path) -> WatchedChain:
    chain = WatchedChain(folder / "archive", 0, direct=True)
    chain.appended = []
    return chain


async def archived_content(folder: Path, queue_id: QueueId) -> tuple[tuple[str, ...], bytes]:
    archive = SqliteArchive(folder / "archive", direct=True)
    shown = await archive.show(queue_id)
    assert shown is not None
    content = b"".join([piece async for piece in archive.content(queue_id)])
    assert (await archive.verify()).complaints == ()
    assert await archive.search(ArchiveQuery(), 1) == ()
    await archive.close()
    return shown.envelope.addresses(), content


@pytest.mark.parametrize("content", [pytest.param(CONTENT, id="small"), pytest.param(LARGE, id="large")])
def test_a_message_is_archived_with_everybody_it_is_for_before_it_is_delivered(tmp_path: Path, content: bytes) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        async with Town.open(tmp_path, chain=chain, archived=HERE) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            queue_id = await town.send(ANN, "cat@a.example", "blind@b.example", content=content)
            assert not town.queue.settlements
            await town.queue_is_empty()
            assert chain.appended == [(queue_id, True)]
        names, octets = await archived_content(tmp_path, queue_id)
        assert names == ("ann@a.example", "cat@a.example", "blind@b.example")
        assert octets == content
        await chain.close()

    play(scene)


def test_mail_of_other_domains_is_not_archived(tmp_path: Path) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        async with Town.open(tmp_path, chain=chain, archived=ELSEWHERE) as town:
            await town.send(ANN, "cat@a.example")
            await town.accept(ANN, "cat@a.example")
            town.delivery.look()
            await town.queue_is_empty()
            assert chain.appended == []
        await chain.close()

    play(scene)


def test_while_the_archive_is_full_mail_waits_and_goes_nowhere(tmp_path: Path) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        chain.full = True
        async with Town.open(tmp_path, chain=chain, archived=HERE) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            queue_id = await town.send(ANN, "cat@a.example", "bob@b.example")

            async def both_deferred() -> bool:
                return len(town.queue.settlements) == 2

            await town.until(both_deferred)
            assert all(
                each.due_at is not None and "archive is on is full" in each.last for each in town.queue.settlements
            )
            assert not peer.mail
            chain.full = False
            town.delivery.wake()
            await town.queue_is_empty()
            assert chain.appended == [(queue_id, True)]
            account = town.directory.recipient(mailbox("cat@a.example"))
            assert account is not None
        names, octets = await archived_content(tmp_path, queue_id)
        assert (set(names), octets) == ({"ann@a.example", "cat@a.example", "bob@b.example"}, CONTENT)
        await chain.close()

    play(scene)


def test_a_crash_after_the_append_leaves_one_record(tmp_path: Path) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        async with Town.open(tmp_path, chain=chain, archived=HERE, start=False) as town:
            message = await town.accept(ANN, "cat@a.example", "blind@b.example")
        async with Town.open(tmp_path, chain=chain, archived=HERE) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await town.queue_is_empty()
        assert chain.appended == [(message.queue_id, True)]
        await chain.close()

    play(scene)
    # The same again with the record there already: what a crash between append and settlement leaves.

    async def repeated() -> None:
        folder = tmp_path / "again"
        chain = chain_in(folder)
        async with Town.open(folder, chain=chain, archived=HERE, start=False) as town:
            message = await town.accept(ANN, "cat@a.example")
            await chain.append(
                NewRecord(
                    queue_id=message.queue_id,
                    envelope=JournalEnvelope("ann@a.example", ("cat@a.example",)),
                    content=CONTENT,
                    accepted_at=message.queued_at,
                    recorded_at=message.queued_at,
                )
            )
        async with Town.open(folder, chain=chain, archived=HERE) as town:
            await town.queue_is_empty()
        assert len(chain.appended) == 1
        await archived_content(folder, message.queue_id)
        await chain.close()

    play(repeated)


def test_whom_an_alias_leads_to_is_archived_with_the_alias(tmp_path: Path) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        async with Town.open(tmp_path, chain=chain, archived=HERE) as town:
            await town.directory.add_targets(
                Alias(address=mailbox("team@a.example"), targets=(mailbox("ann@a.example"), mailbox("cat@a.example")))
            )
            queue_id = await town.send(None, "team@a.example")
            await town.queue_is_empty()
        names, _ = await archived_content(tmp_path, queue_id)
        assert names == ("", "team@a.example", "ann@a.example", "cat@a.example")
        await chain.close()

    play(scene)


@pytest.mark.parametrize("content", [pytest.param(CONTENT, id="small"), pytest.param(LARGE, id="large")])
@pytest.mark.parametrize("archived", ["a.example", "c.example"], ids=["of the list", "of the author"])
def test_what_a_list_makes_of_an_archived_message_is_archived_and_names_it(
    tmp_path: Path, archived: str, content: bytes
) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        async with Town.open(tmp_path, chain=chain, archived=frozenset({archived})) as town:
            peer = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await found(town, "cat@a.example", "bob@b.example")
            original = await town.send(mailbox("eve@c.example"), "friends@a.example", content=content)
            await town.queue_is_empty()
            (first, _), (second, _) = chain.appended
            assert first == original
            assert len(peer.mail) == len(await town.mail_of("cat")) == 1
        archive = SqliteArchive(tmp_path / "archive", direct=True)
        child = await archive.show(second)
        assert child is not None
        assert (child.envelope.reverse_path, child.envelope.about) == ("friends-bounces@a.example", original)
        assert set(child.envelope.recipients) == {"cat@a.example", "bob@b.example"}
        octets = b"".join([piece async for piece in archive.content(second)])
        assert octets == peer.mail[0].content
        assert (await archive.verify()).complaints == ()
        await archive.close()
        await chain.close()

    play(scene)


def test_what_a_list_makes_of_a_message_that_is_not_archived_is_not_either(tmp_path: Path) -> None:
    async def scene() -> None:
        chain = chain_in(tmp_path)
        async with Town.open(tmp_path, chain=chain, archived=ELSEWHERE) as town:
            await found(town, "cat@a.example")
            await town.send(ANN, "friends@a.example")
            await town.queue_is_empty()
            assert (chain.appended, len(await town.mail_of("cat"))) == ([], 1)
        await chain.close()

    play(scene)
