"""Mail that is to be there by a certain time (RFC 2852): when that is, and what is left of it.

Mode R: after that time the message goes back to its sender. Mode N: the sender is told that it is late, and
delivery goes on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import DeliverBy, Recipient
from postroad.vocabulary.outcome import Fate, Outcome

TOO_LATE = EnhancedStatus(5, 4, 7)
"""Delivery time expired (RFC 3463 section 3.5)."""

_SECONDS_MAX = 999_999_999
"""by-time has at most nine digits (RFC 2852 section 4)."""


def deadline_of(deliver_by: DeliverBy, queued_at: datetime) -> datetime:
    """The time counts from the moment the message was taken over."""
    return queued_at + timedelta(seconds=deliver_by.seconds)


def is_too_late(deliver_by: DeliverBy | None, queued_at: datetime, now: datetime) -> bool:
    """Whether it must not be attempted any more, but goes back."""
    return deliver_by is not None and deliver_by.mode == "R" and now >= deadline_of(deliver_by, queued_at)


def left_of(deliver_by: DeliverBy, queued_at: datetime, now: datetime) -> DeliverBy:
    """What the next hop is told: the time that is left, which may be negative (RFC 2852 section 4.1.3)."""
    left = int((deadline_of(deliver_by, queued_at) - now).total_seconds())
    return DeliverBy(max(-_SECONDS_MAX, left), deliver_by.mode, deliver_by.trace)


def returned(recipient: Recipient, deliver_by: DeliverBy) -> Outcome:
    """The outcome of a recipient whose time ran out."""
    text = f"It was to be delivered within {deliver_by.seconds} seconds or to be returned, and was not delivered."
    return Outcome(recipient, Fate.FAILED, TOO_LATE, text)


def hop_keeps_time(deliver_by: DeliverBy, parameter: str | None) -> bool:
    """Whether a server that announced DELIVERBY with `parameter` (None: did not) may be given a message in mode R:
    only one that will return it in time, and that does not think the time too short (section 4.1.2).

    Mode N goes anywhere."""
    if deliver_by.mode == "N":
        return True
    if parameter is None:
        return False
    least = parameter.split(" ", 1)[0]
    return not (least.isascii() and least.isdigit() and len(least) <= 9 and deliver_by.seconds < int(least))
