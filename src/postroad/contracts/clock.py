"""The time of day. Waiting needs no contract: it is asyncio's own, on the loop's time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...
