"""What an administrator has ordered once and what holds until it is taken back, over every restart."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class OrderKind(StrEnum):
    OFFLINE = "offline"
    """No attempt to any other server; `subject` is empty."""
    PAUSE = "pause"
    """No attempt for one destination; `subject` is the destination as it is written in the queue."""


class StandingOrder(msgspec.Struct, frozen=True, kw_only=True):
    kind: OrderKind
    subject: str = ""
    given_at: datetime
    by: str = ""
    """Who gave it."""
