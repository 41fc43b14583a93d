"""Has the clock been ahead? Told by the loop's time, which only goes forward.

What a clock that was ahead has written is due impossibly late. It is looked for when the clock goes back, and at every
start, as it may have gone back while nobody watched.
"""

from __future__ import annotations

import asyncio

from postroad.contracts.clock import Clock
from postroad.vocabulary.limits import CLOCK_STEP_S


class ClockStep:
    """`is_unheeded` until somebody has done what is to be done."""

    def __init__(self, clock: Clock) -> None:
        self.is_unheeded = True
        self._clock = clock
        self._ahead_s: float | None = None

    def watch(self) -> None:
        """Has it gone back since this was last asked?"""
        ahead_s = self._clock.now().timestamp() - asyncio.get_running_loop().time()
        before_s, self._ahead_s = self._ahead_s, ahead_s
        if before_s is not None and ahead_s < before_s - CLOCK_STEP_S:
            self.is_unheeded = True
