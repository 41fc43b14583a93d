"""One letter's walk through the server, broken at each of its calls of the system.

The walk is made again and again, broken at its first call, at its second, and so on until it has no more. Threads do
not always come in the same order, so that the same number is not always the same call.
"""

from __future__ import annotations

import contextlib
import errno
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.count import Book, Row
from faults.house import LARGE, SMALL, House
from faults.peer import Peer, serving
from faults.shim import ALL, FILES, Action, Call, Kind
from faults.torn import tear
from tests.support.ports import free_port, pause

SETTLED_SOON_S = 2.0
"""What another server took longer ago than this, and the queue still has when its process dies, was not settled as
soon as it could be: no excuse."""
_PEER = "127.0.0.3"


@dataclass(frozen=True)
class Walk:
    name: str
    recipient: str
    octets: int


WALKS = (
    Walk("a letter into a mailbox", "bob@here.example", SMALL),
    Walk("a letter of 100 kB into a mailbox", "bob@here.example", LARGE),
    Walk("a letter to another server", "bob@there.example", SMALL),
    Walk("a letter of 100 kB to another server", "bob@there.example", LARGE),
)


@contextlib.contextmanager
def house_with_peer(folder: Path, library: Path) -> Iterator[tuple[House, Peer]]:
    """there.example is the peer's."""
    peer, port = Peer(), free_port(_PEER)
    sections = (
        'trusted_networks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
        f'[[route]]\ndomain = "there.example"\nto = "{_PEER}:{port}"\n'
    )
    with serving(peer, _PEER, port):
        house = House(folder, library, sections, {"there.example": peer})
        with house.serving():
            yield house, peer


_CALLS_MAX = 400


def described(calls: Sequence[Call]) -> str:
    """How many calls a walk has, and of what kinds."""
    kinds = Counter((call.kind.name or "?").lower() for call in calls)
    return f"{len(calls)} calls: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}"


Damage = Callable[[House, list[Call]], None]


def kills(folder: Path, library: Path, walk: Walk, *, every: int = 1, damage: Damage | None = None) -> tuple[Row, str]:
    """SIGKILL to the server just before each call; `damage` is done to its files before it starts again."""
    book = Book()
    with house_with_peer(folder, library) as (house, peer):
        calls: list[Call] = []
        for number in range(1, _CALLS_MAX, every):
            house.shim.arm(house.worker, Action.KILL, at=number, kinds=ALL)
            house.hand_in(book, walk.recipient, walk.octets)
            house.wait_until_quiet()
            calls = max(calls, house.shim.calls(), key=len)
            if not house.shim.hits:
                break
            died(house, peer, book, damage)
            house.shim.disarm()
            house.start()
            house.wait_until_idle()
        house.shim.disarm()
        house.wait_until_idle()
        what = "kill -9 at each call" if damage is None else "the same, and what was not synced is gone or garbled"
        return house.row(f"{what}: {walk.name}", book), described(calls)


def died(house: House, peer: Peer, book: Book, damage: Damage | None = None) -> None:
    """Kill or bury the processes, do what the power cut does, and excuse the second copies that nobody can avoid: the
    other server has the letter, and the queue has not been told."""
    at_s = time.monotonic()
    house.bury()
    book.times += 1
    if damage is not None:
        damage(house, house.shim.calls())
    queued = house.queued_tokens()
    pause(0.05)  # what the dead had said to the peer is on its way
    for token in queued:
        taken_at_s = peer.taken_at_s.get(token)
        if taken_at_s is not None and at_s - taken_at_s < SETTLED_SOON_S:
            book.excuse(token)


@dataclass(frozen=True)
class Failure:
    name: str
    kinds: Kind
    error: int
    action: Action = Action.FAIL_ONCE


FAILURES = (
    Failure("ENOSPC at each write", Kind.WRITE | Kind.TRUNCATE | Kind.OPEN, errno.ENOSPC),
    Failure("EIO at each write", Kind.WRITE | Kind.TRUNCATE, errno.EIO),
    Failure("EIO at each fsync", Kind.SYNC, errno.EIO),
    Failure("EIO at each change of a name", Kind.OPEN | Kind.RENAME | Kind.LINK | Kind.UNLINK, errno.EIO),
    Failure("ENOSPC from each call on", FILES, errno.ENOSPC, Action.FAIL_ON),
    Failure("EIO from each call on", FILES, errno.EIO, Action.FAIL_ON),
)
_FAILING_S = 0.4
"""So long a disk that fails, fails."""
_STORY_S = 1.5
"""So long after its end a walk may still come to a call: its story is written a little later."""


def failures(
    folder: Path, library: Path, failure: Failure, walks: Sequence[Walk], *, every: int = 1
) -> tuple[Row, str]:
    """The disk fails at each call of these kinds; at the end the server is killed and started again: what it had
    refused may not come back."""
    book = Book()
    all_calls: list[Call] = []
    with house_with_peer(folder, library) as (house, _):
        for walk in walks:
            for number in range(1, _CALLS_MAX, every):
                house.shim.arm(house.worker, failure.action, at=number, kinds=failure.kinds, error=failure.error)
                house.hand_in(book, walk.recipient, walk.octets)
                house.wait_until_hit(_STORY_S)
                if failure.action is Action.FAIL_ON:
                    pause(_FAILING_S)
                hits = house.shim.hits
                book.times += bool(hits)
                house.shim.allow()
                house.wait_until_served(book, walk.recipient)
                house.wait_until_idle()
                if not hits:
                    all_calls += house.shim.calls()
                    break
        house.shim.disarm()
        house.bury()
        house.start()
        house.wait_until_idle()
        return house.row(failure.name, book), described(all_calls)


def torn(folder: Path, library: Path, walk: Walk, *, every: int = 1) -> tuple[Row, str]:
    """As kills; and of what was not synced at that moment a part is gone and a part is garbled."""
    chance = random.Random(1821)
    return kills(folder, library, walk, every=every, damage=lambda house, calls: tear(calls, house.data, chance))
