"""Whichever step goes wrong, no letter is lost, none comes twice but where no server can help it, none stays.

The same afternoon is played over and over: four letters, small and large, for a mailbox here, for another server,
for somebody who has to be tried again and for nobody. Each time another step fails; then everything works again.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import apsw
import pytest

from postroad.contracts.errors import DnsTemporary, StoreFull, StoreUnavailable
from postroad.simulation.virtual_end import End
from postroad.simulation.virtual_loop import run
from postroad.storage.sqlite import content_files, database, queue_content, queue_writes
from tests.services.houses import pass_time
from tests.services.offices import Office, Saboteur, SpoiledDisk, SpoiledSystem, World

DEADLINE_S = 12 * 86_400.0
EVERY_STEP = bool(os.environ.get("POSTROAD_EVERY_FAULT"))
"""Otherwise some are spoiled, others for each kind of fault: minutes become seconds."""
pytestmark = pytest.mark.timeout(1800 if EVERY_STEP else 120)
LETTERS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "small": ("ann@a.example", ("cat@a.example", "bob@b.example"), 0),
    "large": ("ann@a.example", ("cat@a.example", "bob@b.example", "grey@b.example"), 100_000),
    "bounced": ("ann@a.example", ("nobody@b.example", "cat@a.example"), 0),
    "silent": ("", ("nobody@b.example",), 0),
}


class Afternoon:
    """One play. `lives` counts the offices that were needed, `failures` are what they fell over; `errors` are what
    delivery reported; `doubled` counts the copies beyond the first."""

    def __init__(self, folder: Path, saboteur: Saboteur, vfs: str | None = None) -> None:
        self.world = World(folder, saboteur, vfs)
        self.saboteur = saboteur
        self.lives = 0
        self.failures: list[BaseException] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.doubled = Counter[str]()

    def play(self) -> None:
        async def timed() -> None:
            async with asyncio.timeout(DEADLINE_S):
                await self._scene()

        try:
            run(timed())
        except ExceptionGroup as told:
            # What a callback of the loop raised is told and reported; it must be our own doing.
            if told.subgroup(lambda error: not isinstance(error, ExceptionGroup) and str(error) != "spoiled"):
                raise

    async def _scene(self) -> None:
        await self.world.furnish()
        async with asyncio.TaskGroup() as customers:
            letters = [
                customers.create_task(self.world.hand_in(name, sender, to, size))
                for name, (sender, to, size) in LETTERS.items()
            ]
            while not await self._one_life(letters):
                pass

    async def _one_life(self, letters: list[asyncio.Task[None]]) -> bool:
        """True when all is done; False when a service fell over and the next office is to take over."""
        self.lives += 1
        assert self.lives < 10, self.failures
        wrong: list[AssertionError] = []
        try:
            async with Office.open(self.world) as office:
                while not (all(letter.done() for letter in letters) and await office.is_at_rest()):
                    await pass_time(300)
                    office.mover.touch()
                await pass_time(3600)
                self.errors += office.errors
                try:
                    await self._check(office)
                except AssertionError as error:
                    wrong.append(error)
        except Exception as failure:
            self.failures.append(failure)
            await pass_time(1)
            return False
        if wrong:
            raise wrong[0]
        return True

    async def _check(self, office: Office) -> None:
        delivery = office.delivery
        in_hand = delivery._in_hand
        assert (list(in_hand), in_hand.content_bytes, list(delivery._outlets.lanes)) == ([], 0, [])
        assert office.reception.sessions == 0
        copies = Counter(f"cat {_name(mail)}" for mail in await office.mail_of("cat"))
        copies += Counter(f"{to} {_name(taken.content)}" for taken in self.world.peer.mail for to in taken.recipients)
        wanted = {
            *("cat small", "cat large", "cat bounced"),
            *("bob@b.example small", "bob@b.example large", "grey@b.example large"),
        }
        notices = [mail for mail in await office.mail_of("ann") if b"Action: failed" in mail]
        copies["notice"] = len(notices)
        assert all(b"nobody@b.example" in notice and b"Subject: bounced" in notice for notice in notices)
        assert set(copies) == wanted | {"notice"}
        self.doubled = copies - Counter(dict.fromkeys(copies, 1))
        await self.world.check_stories(office.ledger)
        assert [path.name for path in (self.world.folder / "queue" / "0").iterdir()] == []


def _name(content: bytes) -> str:
    return content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()


def sweep(
    folder: Path, afternoon: Callable[[Path, int], Afternoon], stride: int, first: int = 0
) -> Iterator[Afternoon]:
    """The afternoon with each of its steps spoiled in turn, or with each of every `stride` steps."""
    whole = afternoon(folder / "whole", 0)
    whole.play()
    assert (whole.lives, whole.doubled, whole.errors) == (1, Counter(), [])
    for at in range(
        1 + (0 if EVERY_STEP else first % stride), len(whole.saboteur.steps) + 1, 1 if EVERY_STEP else stride
    ):
        one = afternoon(folder / str(at), at)
        try:
            one.play()
        except BaseException as error:
            error.add_note(f"step {at}: {one.saboteur.struck}")
            raise
        assert one.saboteur.struck
        yield one


def unavailable(name: str) -> Exception:
    """What the world may answer to a step, in the words of the contracts."""
    if name == "DNS":
        return DnsTemporary("spoiled")
    if name == "connect":
        return ConnectionError("spoiled")
    if name == "content file":
        return OSError(errno.ENOSPC, "spoiled")
    return StoreUnavailable("spoiled")


def full(name: str) -> Exception:
    error = unavailable(name)
    return StoreFull("spoiled") if isinstance(error, StoreUnavailable) else error


@pytest.mark.parametrize(
    ("error", "times", "first"), [(unavailable, 1, 0), (unavailable, 4, 1), (full, 1, 2), (full, 4, 3)]
)
def test_whatever_is_refused_costs_time_and_nothing_else(
    tmp_path: Path, error: Callable[[str], Exception], times: int, first: int
) -> None:
    def afternoon(folder: Path, at: int) -> Afternoon:
        return Afternoon(folder, Saboteur(at, error, times))

    for one in sweep(tmp_path, afternoon, 5, first):
        assert (one.lives, one.doubled) == (1, Counter())
        assert all(isinstance(error, StoreUnavailable) for _, error in one.errors)


def test_a_defect_of_our_own_in_any_step_loses_nothing_and_stops_nobody(tmp_path: Path) -> None:
    def afternoon(folder: Path, at: int) -> Afternoon:
        return Afternoon(folder, Saboteur(at, lambda name: RuntimeError("spoiled")))

    for one in sweep(tmp_path, afternoon, 5):
        assert one.doubled == Counter()
        assert one.lives == 1, one.failures


@pytest.mark.parametrize(
    ("number", "first"), [(errno.ENOSPC, 0), (errno.EXDEV, 1), (errno.EMLINK, 2), (errno.EIO, 3)], ids=str
)
def test_a_file_system_that_fails_in_any_call_keeps_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, first: int
) -> None:
    def afternoon(folder: Path, at: int) -> Afternoon:
        saboteur = Saboteur(at, lambda name: OSError(number, "spoiled"), only=("os.",))
        for module in (content_files, queue_content, queue_writes, database):
            monkeypatch.setattr(module, "os", SpoiledSystem(saboteur))
        return Afternoon(folder, saboteur)

    for one in sweep(tmp_path, afternoon, 4, first):
        assert one.doubled == Counter()


@pytest.mark.parametrize(
    ("error", "times", "first"),
    [
        (apsw.IOError, 1, 0),
        (apsw.IOError, 2, 5),
        (apsw.IOError, 7, 11),
        (apsw.FullError, 1, 17),
        (apsw.FullError, 7, 23),
    ],
)
def test_a_disk_that_fails_in_any_write_or_sync_keeps_what_was_promised(
    tmp_path: Path, error: type[apsw.Error], times: int, first: int
) -> None:
    with ExitStack() as disks:

        def afternoon(folder: Path, at: int) -> Afternoon:
            saboteur = Saboteur(at, lambda name: error("spoiled"), times, only=("write to", "sync of"))
            disk = SpoiledDisk(f"{error.__name__} {times} {at}", saboteur)
            disks.callback(disk.unregister)
            return Afternoon(folder, saboteur, disk.name)

        for one in sweep(tmp_path, afternoon, 37, first):
            assert one.doubled == Counter()


@pytest.mark.parametrize("arrives", [False, True])
def test_a_connection_that_is_cut_at_any_write_doubles_only_what_nobody_can_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    """`arrives`: what was written does, and then the writer is gone."""
    write = End.write

    def afternoon(folder: Path, at: int) -> Afternoon:
        saboteur = Saboteur(at, lambda name: ConnectionResetError("spoiled"), only=("octets",))

        def spoiled(end: End, data: bytes) -> None:
            try:
                saboteur.step(f"octets to {end.remote}: {bytes(data[:30])!r}")
            except ConnectionResetError as error:
                if arrives:
                    write(end, data)
                    end.abort()
                else:
                    end.fail(error)
                    end.peer.fail(error)
            else:
                write(end, data)

        monkeypatch.setattr(End, "write", spoiled)
        return Afternoon(folder, saboteur)

    for one in sweep(tmp_path, afternoon, 5, first=arrives):
        assert one.lives == 1
        # RFC 5321 section 6.1, RFC 1047: the answer to the end of the data was on its way, or about to be given.
        (struck,) = one.saboteur.struck
        if not any(words in struck for words in ("b'250 2.0.0 taken", "queued", "b'From: ", "b'Received: ", "b'.\\r")):
            assert one.doubled == Counter()
        assert set(one.doubled.values()) <= {1}
