"""Lanes that keep to a rate: what may go now, and when a lane that waits for its next moment is stirred again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from postroad.rules.pace import Pace
from postroad.services.parcel import Parcel
from postroad.vocabulary.limits import PACE_YIELD_S


class Paced(Hashable, Protocol):
    """A lane; `pace` is None where there is no rate to keep to."""

    @property
    def pace(self) -> Pace | None: ...


L = TypeVar("L", bound=Paced)


class Pacing(Generic[L]):
    """`recipients_each` is how many one transaction has at most; `resume` is called with a lane whose moment has
    come."""

    def __init__(self, *, recipients_each: int, resume: Callable[[L], None]) -> None:
        self._recipients_each = recipients_each
        self._resume = resume
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[L, asyncio.TimerHandle] = {}

    def room(self, lane: L) -> int:
        """How many messages may go now. If none, the lane is resumed when one may."""
        pace = lane.pace
        if pace is None:
            return sys.maxsize
        now_s = self._loop.time()
        room = pace.room(now_s)
        if not room and lane not in self._waiting:
            at_s = pace.next_s(now_s) + PACE_YIELD_S * pace.had_its_turn(lane)
            self._waiting[lane] = self._loop.call_at(at_s, self._its_time, lane)
        return room

    def goes(self, lane: L, parcel: Parcel) -> None:
        """This one is being sent: it counts as often as it has transactions."""
        if lane.pace is not None:
            transactions = -(-len(parcel.unsent) // self._recipients_each)
            lane.pace.take(self._loop.time(), max(1, transactions), lane)

    def until_s(self, lane: L) -> float | None:
        """When the lane is resumed, by the loop's time; None where its rate does not hold it back."""
        timer = self._waiting.get(lane)
        return None if timer is None else timer.when()

    def forget(self, lane: L) -> None:
        timer = self._waiting.pop(lane, None)
        if timer is not None:
            timer.cancel()

    def _its_time(self, lane: L) -> None:
        del self._waiting[lane]
        self._resume(lane)
