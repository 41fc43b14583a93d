"""Whichever step goes wrong, a message to a list reaches each member once, and the list's own row goes with that.

What a kill leaves is looked at before every single write of SQLite: there is the message to the list, or there are
those to its members, never both and never neither.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

from postroad.contracts.errors import LeaseLost
from postroad.contracts.mailing_lists import MailingList, WhoPosts
from postroad.contracts.queue_store import QueueFilter
from postroad.storage.sqlite import content_files, database, queue_content, queue_writes
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from tests.services.houses import pass_time
from tests.services.offices import Office, Saboteur, SpoiledDisk, SpoiledSystem
from tests.services.test_fault_sweep import Afternoon, full, sweep, unavailable
from tests.services.test_list_bounces import report
from tests.services.test_list_distribution import found
from tests.services.test_list_requests import confirm_address
from tests.services.towns import ANN, CONTENT, Town, WatchedQueue, play

pytestmark = pytest.mark.timeout(1800 if os.environ.get("POSTROAD_EVERY_FAULT") else 120)
FRIENDS = Mailbox("friends", "a.example")
MEMBERS = ("cat@a.example", "bob@b.example", "nobody@b.example", "ann@a.example")
LARGE = CONTENT + (b"x" * 70 + b"\r\n") * 2000


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.services.list_distribution.LIST_PORTION", 2)


class Meeting(Afternoon):
    """Two letters to a list with members here and there, one of whom is not there."""

    async def _scene(self) -> None:
        await self.world.furnish()
        self.world.saboteur.armed = False
        directory = SqliteDirectory(self.world.folder / "directory.db", direct=True)
        one = await directory.lists.create(MailingList(id=0, address=FRIENDS, posters=WhoPosts.ANYONE))
        members = tuple(Mailbox(*member.split("@")) for member in MEMBERS)
        await directory.lists.join(one.id, members, self.world.clock.now())
        await directory.close()
        self.list_id = one.id
        self.world.saboteur.armed = True
        async with asyncio.TaskGroup() as customers:
            letters = [
                customers.create_task(self.world.hand_in(name, "ann@a.example", ("friends@a.example",), size))
                for name, size in (("small", 0), ("large", 100_000))
            ]
            while not await self._one_life(letters):
                pass

    async def _check(self, office: Office) -> None:
        copies = Counter[str]()
        for name in ("cat", "ann"):
            copies += Counter(f"{name} {_subject(mail)}" for mail in await office.mail_of(name))
        copies += Counter(
            f"{to} {_subject(taken.content)}" for taken in self.world.peer.mail for to in taken.recipients
        )
        wanted = {f"{who} {what}" for who in ("cat", "ann", "bob@b.example") for what in ("small", "large")}
        assert set(copies) == wanted
        self.doubled = copies - Counter(dict.fromkeys(copies, 1))
        counted = {str(each.address): each.bounces for each in office.directory.lists.members(self.list_id, "", 10)}
        assert counted == dict.fromkeys(MEMBERS, 0) | {"nobody@b.example": 1}
        await self.world.check_stories(office.ledger)
        assert [path.name for path in (self.world.folder / "queue" / "0").iterdir()] == []


def _subject(content: bytes) -> str:
    return content.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode()


@pytest.mark.parametrize(("error", "times", "first"), [(unavailable, 1, 0), (full, 4, 3)])
def test_whatever_is_refused_costs_time_and_nothing_else(
    tmp_path: Path, error: Callable[[str], Exception], times: int, first: int
) -> None:
    def meeting(folder: Path, at: int) -> Afternoon:
        return Meeting(folder, Saboteur(at, error, times))

    for one in sweep(tmp_path, meeting, 11, first):
        assert (one.lives, one.doubled) == (1, Counter())


@pytest.mark.parametrize(("number", "first"), [(errno.ENOSPC, 0), (errno.EMLINK, 2)], ids=str)
def test_a_file_system_that_fails_in_any_call_keeps_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, first: int
) -> None:
    def meeting(folder: Path, at: int) -> Afternoon:
        saboteur = Saboteur(at, lambda name: OSError(number, "spoiled"), only=("os.",))
        for module in (content_files, queue_content, queue_writes, database):
            monkeypatch.setattr(module, "os", SpoiledSystem(saboteur))
        return Meeting(folder, saboteur)

    for one in sweep(tmp_path, meeting, 5, first):
        assert one.doubled == Counter()


@pytest.mark.parametrize(("error", "times", "first"), [(apsw.IOError, 1, 3), (apsw.FullError, 7, 11)])
def test_a_disk_that_fails_in_any_write_or_sync_keeps_what_was_promised(
    tmp_path: Path, error: type[apsw.Error], times: int, first: int
) -> None:
    with ExitStack() as disks:

        def meeting(folder: Path, at: int) -> Afternoon:
            saboteur = Saboteur(at, lambda name: error("spoiled"), times, only=("write to", "sync of"))
            disk = SpoiledDisk(f"list {error.__name__} {times} {at}", saboteur)
            disks.callback(disk.unregister)
            return Meeting(folder, saboteur, disk.name)

        for one in sweep(tmp_path, meeting, 61, first):
            assert one.doubled == Counter()


# ---- all of it a second time ------------------------------------------------------------------------


def test_what_is_done_again_after_a_lost_settlement_is_done_once(tmp_path: Path) -> None:
    """The count of a bounce, and who joins, are durable before the message is settled."""

    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            one = await found(town, "bob@b.example", closed=False)

            async def twice(sender: Mailbox | None, to: str, content: bytes) -> None:
                before = len(town.queue.settlements)
                town.queue.refusals.append(LeaseLost("somebody else has it"))
                await town.send(sender, to, content=content)
                while town.queue.refusals:
                    await pass_time(0.01)
                town.delivery.look()
                await town.settled(before + 1)
                await town.queue_is_empty()

            await twice(None, "friends-bounces+bob=b.example@a.example", report("bob@b.example"))
            bob = town.directory.lists.member(one.id, Mailbox("bob", "b.example"))
            assert bob is not None
            assert bob.bounces == 1
            await twice(ANN, "friends-subscribe@a.example", b"Subject: x\r\n\r\n")
            (question,) = await town.mail_of("ann")
            await twice(ANN, f"friends-{confirm_address(question)}@a.example", b"Subject: x\r\n\r\n")
            _, welcome = await town.mail_of("ann")
            assert b"Subject: Welcome" in welcome
            await twice(ANN, "friends@a.example", CONTENT)
            assert len(await town.mail_of("ann")) == 3

    play(scene)


# ---- a kill --------------------------------------------------------------------------------------


class Camera:
    """Copies the queue's folder whenever SQLite is about to write: what a process that is killed there leaves."""

    def __init__(self, folder: Path, shots: Path) -> None:
        self.folder = folder
        self.shots = shots
        self.taken = 0

    def step(self, name: str) -> None:
        shutil.copytree(self.folder, self.shots / str(self.taken), ignore=shutil.ignore_patterns("*-shm", "*.lock"))
        self.taken += 1


class FilmedQueue(WatchedQueue):
    disk = ""

    @classmethod
    async def open(
        cls,
        folder: Path,
        shard: int,
        *,
        clock_now: Callable[[], datetime],
        direct: bool = False,
        vfs: str | None = None,
    ) -> SqliteQueueStore:
        return await super().open(folder, shard, clock_now=clock_now, direct=direct, vfs=cls.disk)


@pytest.fixture
def filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    camera = Camera(tmp_path / "queue", tmp_path / "shots")
    disk = SpoiledDisk("filmed", camera)  # type: ignore[arg-type]
    monkeypatch.setattr(FilmedQueue, "disk", disk.name)
    yield camera
    disk.unregister()


@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
def test_a_kill_leaves_the_message_to_the_list_or_those_to_all_its_members(
    tmp_path: Path, filmed: Camera, content: bytes
) -> None:
    outcomes = Counter[str]()

    async def scene() -> None:
        async with Town.open(tmp_path, queue=FilmedQueue, start=False) as town:
            town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            await found(town, *MEMBERS)
            message = await town.accept(ANN, "friends@a.example", content=content)
            filmed.taken = 0
            shutil.rmtree(filmed.shots)
            delivering = asyncio.ensure_future(town.delivery.run())
            await town.settled(1)
            shots = filmed.taken
            town.delivery.stop()
            await delivering
            assert shots > 3
            for number in range(filmed.taken):
                outcomes[await _left_by(town, filmed.shots / str(number), message.queue_id, content)] += 1

    play(scene)
    assert set(outcomes) == {"the list", "the members"}


async def _left_by(town: Town, folder: Path, queue_id: str, content: bytes) -> str:
    """Whoever is written to in what the kill has left; its content is whole, and no file too many."""
    queue = await SqliteQueueStore.open(folder, 0, clock_now=town.clock.now, direct=True)
    entries = await queue.entries(QueueFilter(), 100)
    to = Counter(recipient for entry in entries for recipient in entry.recipients)
    messages = {entry.queue_id for entry in entries}
    for each in messages:
        kept: Any = await queue.content(each)
        octets = b"".join([chunk async for chunk in kept.chunks()])
        assert octets.endswith(content)
    large = len(content) > 65_536
    assert {path.name for path in (folder / "0").iterdir()} == (messages if large else set())
    await queue.close()
    if "friends@a.example" in to:
        assert (dict(to), messages) == ({"friends@a.example": 1}, {queue_id})
        return "the list"
    assert to <= Counter(MEMBERS)
    assert queue_id not in messages
    return "the members"
