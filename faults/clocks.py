"""Clocks that are set while mail waits, comes in and goes out: by minutes, by months, forwards and back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from faults.count import Book, Row
from faults.house import LARGE, SMALL, House, Stuck
from faults.shim import Action
from faults.walks import died, house_with_peer
from tests.support.ports import pause

_HOUR, _DAY = 3600.0, 86_400.0
JUMPS = (_HOUR, -_HOUR, _DAY, -_DAY, 4 * _DAY, -30 * _DAY, 400 * _DAY, -400 * _DAY, 0.5, -0.5, -3 * _HOUR, 0)
_PATIENCE_S = 4.0


def jumps(folder: Path, library: Path, steps: Sequence[float] = JUMPS) -> tuple[Row, str]:
    """The worker's time of day is set to so many seconds beside the right one, with letters waiting for their next
    attempt; then more come, and some of them are queued by a process that dies before the clock is set right. An
    attempt that is due at a time that lies ahead again is waited for, until an administrator says `queue flush`."""
    book = Book()
    flushed: list[str] = []
    chance = random.Random(1582)
    with house_with_peer(folder, library) as (house, peer):
        house.shim.arm(house.worker, Action.COUNT)
        for step in steps:
            peer.defers = True
            _some(house, book)
            house.shim.move_clock(step)
            book.times += 1
            _some(house, book)
            pause(chance.uniform(0, 1.5))
            peer.defers = False
            _some(house, book)
            _gets_idle(house)
            if chance.random() < 0.5:
                _some(house, book)
                died(house, peer, book)
                house.start()
                house.shim.arm(house.worker, Action.COUNT)
            house.shim.move_clock(0)
            if not _gets_idle(house):
                flushed.append(f"{step:+g} s")
                house.server.run("queue", "flush", "--all")
            house.wait_until_idle()
        said = f"`queue flush --all` was needed after {', '.join(flushed)}" if flushed else ""
        return house.row("the clock is set, forwards and back, while mail waits", book), said


def _some(house: House, book: Book) -> None:
    for recipient, octets in (("bob@here.example", SMALL), ("bob@there.example", SMALL), ("bob@there.example", LARGE)):
        house.hand_in(book, recipient, octets)


def _gets_idle(house: House) -> bool:
    try:
        house.wait_until_idle(_PATIENCE_S)
    except Stuck:
        return False
    return True
