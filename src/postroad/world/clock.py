"""The machine's own time of day."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Implements contracts/clock.py."""

    def now(self) -> datetime:
        return datetime.now(UTC)
