"""When the next attempt is (rules/retry)."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.retry import next_attempt_at
from postroad.vocabulary.settings import RetrySettings

T0 = datetime(2026, 5, 1, tzinfo=UTC)
RETRY = RetrySettings()


def all_attempts(retry: RetrySettings, jitter: float = 0.0) -> list[timedelta]:
    """The ages at which an ever deferred recipient is tried, attempts taking no time."""
    ages = [timedelta()]
    while (
        due := next_attempt_at(retry, attempts=len(ages), queued_at=T0, now=T0 + ages[-1], jitter=jitter)
    ) is not None:
        ages.append(due - T0)
    return ages


def test_the_waits_follow_the_schedule_and_the_last_repeats() -> None:
    ages = all_attempts(RETRY)
    gaps = [b - a for a, b in pairwise(ages)]
    assert tuple(gaps[:6]) == RETRY.waits
    assert set(gaps[6:]) == {timedelta(hours=4)}


def test_the_last_attempt_is_within_the_five_days_and_no_wait_before_their_end() -> None:
    last = all_attempts(RETRY)[-1]
    assert timedelta(days=5) - timedelta(hours=4) <= last < timedelta(days=5)


def test_a_bound_on_attempts_ends_it_sooner() -> None:
    assert len(all_attempts(RetrySettings(attempts_max=3))) == 3


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 100))
def test_jitter_only_adds_and_at_most_a_tenth(jitter: float, attempts: int) -> None:
    due = next_attempt_at(RETRY, attempts=attempts, queued_at=T0, now=T0, jitter=jitter)
    assert due is not None
    wait = RETRY.waits[min(attempts, 6) - 1]
    assert wait <= due - T0 <= wait * 1.1


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError):
        next_attempt_at(RETRY, attempts=0, queued_at=T0, now=T0, jitter=0.0)
    with pytest.raises(ValueError):
        next_attempt_at(RETRY, attempts=1, queued_at=T0, now=T0, jitter=1.0)
    with pytest.raises(ValueError):
        next_attempt_at(RETRY, attempts=1, queued_at=T0.replace(tzinfo=None), now=T0, jitter=0.0)
