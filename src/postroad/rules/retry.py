"""When to try again, and when to stop trying (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

from datetime import datetime, timedelta

from postroad.vocabulary.settings import RetrySettings

_JITTER = 10
"""Up to one part in so many of a wait is added to it."""


def longest_wait(retry: RetrySettings) -> timedelta:
    """No attempt is ever due later than this after the one before it."""
    return max(retry.waits) * (1 + 1 / _JITTER)


def next_attempt_at(
    retry: RetrySettings, *, attempts: int, queued_at: datetime, now: datetime, jitter: float
) -> datetime | None:
    """When to try a deferred recipient again, or None to give up.

    attempts   how many attempts have failed so far, >= 1
    queued_at  when the message was accepted (aware, UTC)
    now        the moment the last attempt ended (aware, UTC)
    jitter     0.0 <= jitter < 1.0, drawn by the caller; adds up to a tenth of the wait, so that what
               failed together does not come back together

    The last wait repeats. None means that `attempts_max` is reached or that `give_up_after` would have
    passed before the next attempt: the recipient is then failed. Pure.

    Raises ValueError for a naive datetime or an argument out of range.

    RFC 5321 section 4.5.4.1: retry intervals of at least 30 minutes "SHOULD" be used, shorter ones are
    sensible in the beginning; the give-up time generally is at least 4-5 days.
    """
    if attempts < 1 or not 0.0 <= jitter < 1.0:
        raise ValueError(f"attempts={attempts}, jitter={jitter}")
    if queued_at.tzinfo is None or now.tzinfo is None:
        raise ValueError("a naive datetime has no place in a queue")
    if attempts >= retry.attempts_max:
        return None
    wait = retry.waits[min(attempts, len(retry.waits)) - 1]
    due_at = now + wait * (1 + jitter / _JITTER)
    return due_at if due_at - queued_at < retry.give_up_after else None
