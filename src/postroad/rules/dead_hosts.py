"""Who could not be reached, and how long to leave it alone.

RFC 5321 section 4.5.4.1: a client should keep a list of hosts it cannot reach instead of trying each queued message
anew. Pure: the caller brings the time, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from datetime import timedelta

import msgspec

from postroad.rules.mx_order import NoWay
from postroad.vocabulary.limits import DEAD_MAX_S, DEAD_REMEMBERED


class Death(msgspec.Struct, frozen=True):
    """`times` in a row it was found dead; `verdict` is what was found."""

    until_s: float
    times: int
    verdict: NoWay


class DeadHosts:
    """`waits` are those of the mail (RetrySettings): a host is left alone for half of the wait
    that a message has after as many attempts, so that the first to find it dead finds it tried again when it is due."""

    def __init__(self, waits: Sequence[timedelta], *, most: int = DEAD_REMEMBERED) -> None:
        self._waits = tuple(min(DEAD_MAX_S, wait.total_seconds() / 2) for wait in waits)
        self._most = most
        self._dead: OrderedDict[Hashable, Death] = OrderedDict()

    def __len__(self) -> int:
        return len(self._dead)

    def found_dead(self, key: Hashable, verdict: NoWay, now_s: float) -> None:
        before = self._dead.pop(key, None)
        times = 1 if before is None else before.times + 1
        self._dead[key] = Death(now_s + self._waits[min(times, len(self._waits)) - 1], times, verdict)
        while len(self._dead) > self._most:
            self._dead.popitem(last=False)

    def death(self, key: Hashable, now_s: float) -> Death | None:
        """None when it is to be tried: nothing is known against it, or it was left alone for long enough."""
        death = self._dead.get(key)
        return None if death is None or death.until_s <= now_s else death

    def is_alive(self, key: Hashable) -> None:
        """It was reached."""
        if self._dead:
            self._dead.pop(key, None)

    def forget(self) -> None:
        """Try them all: an administrator says so, or the network has come back."""
        self._dead.clear()
