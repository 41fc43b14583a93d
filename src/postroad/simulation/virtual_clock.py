"""The time of day in the simulation: the loop's time counted from a start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday morning."""


class VirtualClock:
    """Implements contracts/clock.py. `start` is the moment at which the loop's time is 0 (aware, UTC)."""

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("a naive datetime has no place in mail")
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())
