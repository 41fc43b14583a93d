"""What an account has sent lately: the two counters that its limits are compared with.

A window of an hour, or of a day, begins with the first message after the one before has ended, so that it can be
said to the minute when a limit gives way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Usage(msgspec.Struct, frozen=True):
    """Messages of the hour and recipients of the day that began at these times; the windows may be over."""

    hour_began_at: datetime = _LONG_AGO
    messages: int = 0
    day_began_at: datetime = _LONG_AGO
    recipients: int = 0

    def at(self, now: datetime) -> Usage:
        """As it counts at `now`: a window that is over, or that a clock set back has put into the future, is a
        new and empty one that begins now."""
        in_hour = timedelta(0) <= now - self.hour_began_at < HOUR
        in_day = timedelta(0) <= now - self.day_began_at < DAY
        if in_hour and in_day:
            return self
        return Usage(
            self.hour_began_at if in_hour else now,
            self.messages if in_hour else 0,
            self.day_began_at if in_day else now,
            self.recipients if in_day else 0,
        )

    def plus(self, messages: int, recipients: int, now: datetime) -> Usage:
        present = self.at(now)
        return Usage(
            present.hour_began_at, present.messages + messages, present.day_began_at, present.recipients + recipients
        )


class Sent(msgspec.Struct, frozen=True):
    """What an account has sent since it was last written down; the last of it at `at`."""

    account_id: int
    messages: int
    recipients: int
    at: datetime
