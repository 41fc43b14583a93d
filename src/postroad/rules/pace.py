"""So many messages a minute: one after the other in even steps, and a few at once after a pause.

Pure: the caller brings the time, in seconds of any clock that only goes forward. Kept is a single moment, up to which
the way is paid for: each message moves it on by one step, and one may go while it lies less than a burst ahead (the
"generic cell rate algorithm" of ATM networks).
"""

from __future__ import annotations

MINUTE_S = 60.0
BURST_SHARE = 10
"""One part in so many of a minute's messages may go at once."""

_ROUNDING_S = 1e-6


class Pace:
    """`per_minute` messages, more than 0; `of_workers` share it evenly, and this is the part of one of them."""

    __slots__ = ("_burst", "_paid_until_s", "_step_s", "_took_last", "per_minute")

    def __init__(self, per_minute: int, of_workers: int = 1) -> None:
        if per_minute <= 0 or of_workers <= 0:
            raise ValueError(f"per_minute={per_minute}, of_workers={of_workers}")
        self.per_minute = per_minute
        self._step_s = MINUTE_S * of_workers / per_minute
        self._burst = max(1, per_minute // BURST_SHARE // of_workers)
        self._paid_until_s = 0.0
        self._took_last: object = None

    def room(self, now_s: float) -> int:
        """How many may go now."""
        ahead_s = max(0.0, self._paid_until_s - now_s)
        return max(0, int(self._burst - ahead_s / self._step_s + _ROUNDING_S))

    def next_s(self, now_s: float) -> float:
        """When the next one may go; `now_s` itself if at once."""
        return max(now_s, self._paid_until_s - (self._burst - 1) * self._step_s)

    def take(self, now_s: float, count: int, who: object) -> None:
        """So many go now, for `who`. One whose transactions are more than may go at once is not divided: those after it
        wait for the longer."""
        self._paid_until_s = max(self._paid_until_s, now_s) + count * self._step_s
        self._took_last = who

    def had_its_turn(self, who: object) -> bool:
        """Of several who wait for the same moment this one is to come after the others."""
        return self._took_last is who

    def is_rested(self, now_s: float) -> bool:
        """Nothing would be lost by forgetting it."""
        return self._paid_until_s <= now_s
