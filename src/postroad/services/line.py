"""What waits in one lane: the higher priority first, then one destination after the other, each in order.

Destinations that share their hosts share a lane; one with thousands of messages must not keep the other from its
turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from postroad.services.parcel import Parcel
from postroad.vocabulary.destination import Destination

_Level = OrderedDict[Destination, deque[Parcel]]


class Line:
    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Parcel]:
        """In no particular order."""
        for level in self._levels.values():
            for queue in level.values():
                yield from queue

    def first(self) -> Parcel:
        """The one that `take` would give. There is one."""
        return next(iter(self._highest()[1].values()))[0]

    def add(self, parcel: Parcel) -> None:
        """Behind all of its destination and priority (RFC 6710 section 4.2)."""
        self._queue(parcel).append(parcel)
        self._count += 1

    def add_first(self, parcel: Parcel) -> None:
        """Before all others of its priority: it had its turn, and nothing came of it."""
        self._queue(parcel).appendleft(parcel)
        self._levels[parcel.work.envelope.priority].move_to_end(parcel.work.destination, last=False)
        self._count += 1

    def take(self) -> Parcel:
        """The next. There is one."""
        priority, level = self._highest()
        destination, queue = next(iter(level.items()))
        parcel = queue.popleft()
        self._count -= 1
        if queue:
            if len(level) > 1:
                level.move_to_end(destination)
        else:
            del level[destination]
            if not level:
                del self._levels[priority]
        return parcel

    def take_out(self, belongs: Callable[[Parcel], bool]) -> list[Parcel]:
        """All of these leave the line."""
        out = [parcel for parcel in self if belongs(parcel)]
        if out:
            staying = [parcel for parcel in self if not belongs(parcel)]
            self._levels = {}
            self._count = 0
            for parcel in staying:
                self.add(parcel)
        return out

    def _highest(self) -> tuple[int, _Level]:
        levels = self._levels
        priority = max(levels) if len(levels) > 1 else next(iter(levels))
        return priority, levels[priority]

    def _queue(self, parcel: Parcel) -> deque[Parcel]:
        work = parcel.work
        level = self._levels.get(work.envelope.priority)
        if level is None:
            level = self._levels[work.envelope.priority] = OrderedDict()
        queue = level.get(work.destination)
        if queue is None:
            queue = level[work.destination] = deque()
        return queue
