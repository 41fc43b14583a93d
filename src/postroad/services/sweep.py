"""The one sweep that keeps the deadlines of all connections, instead of a timer for every read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from postroad.vocabulary.limits import SWEEP_S

NEVER = float("inf")


class Swept(Protocol):
    """A connection. `deadline` is in the loop's time, NEVER when the peer owes us nothing."""

    deadline: float

    def overdue(self, now: float) -> None:
        """The deadline has passed: act, or set a later one. Must not raise."""
        ...


class Sweep:
    """Looks at every connection each SWEEP_S; how late it is woken is how late the loop runs."""

    def __init__(self, lagged: Callable[[float], None] | None = None) -> None:
        self._members: dict[Swept, None] = {}  # in the order of arrival, so that a simulation repeats itself
        self._lagged = lagged

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Swept) -> None:
        self._members[member] = None

    def remove(self, member: Swept) -> None:
        self._members.pop(member, None)

    def members(self) -> tuple[Swept, ...]:
        return tuple(self._members)

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_S
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            if self._lagged is not None:
                self._lagged(now - due)
            # Found first, told afterwards: being told may take a connection out of the set. Collecting
            # them is the part that runs over all connections.
            for member in [each for each in self._members if each.deadline <= now]:
                member.overdue(now)
