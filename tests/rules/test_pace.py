"""A rate is kept in every minute, evenly, and a pause is made up for by a small burst and no more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.pace import Pace


def sent_at(pace: Pace, asked_at: list[float]) -> list[float]:
    """When those go who come at these moments and wait for their turn."""
    sent: list[float] = []
    now = 0.0
    for asked in sorted(asked_at):
        now = pace.next_s(max(now, asked))
        assert pace.room(now) >= 1
        pace.take(now, 1, None)
        sent.append(now)
    return sent


@given(st.lists(st.floats(0, 1000), max_size=200), st.integers(1, 5000), st.integers(1, 4))
def test_in_no_stretch_of_time_go_more_than_the_rate_and_one_burst(asked: list[float], rate: int, workers: int) -> None:
    sent = sent_at(Pace(rate, workers), asked)
    burst = max(1, rate // 10 // workers)
    for first, began in enumerate(sent):
        for count, ended in enumerate(sent[first:]):
            assert count < (ended - began) * rate / 60 / workers + burst + 1e-3


@given(st.integers(1, 5000), st.integers(1, 300))
def test_a_crowd_goes_evenly_and_as_fast_as_is_allowed(rate: int, crowd: int) -> None:
    sent = sent_at(Pace(rate), [0.0] * crowd)
    burst = max(1, rate // 10)
    assert sent[:burst] == pytest.approx([0.0] * min(burst, crowd))
    late = sent[burst - 1 :]
    assert all(after - before == pytest.approx(60 / rate) for before, after in pairwise(late))


def test_there_is_room_for_a_burst_after_a_pause_and_not_for_more() -> None:
    pace = Pace(60)
    assert pace.room(1000.0) == 6
    pace.take(1000.0, 6, None)
    assert pace.room(1000.0) == 0
    assert pace.next_s(1000.0) == 1001.0
    assert pace.room(1003.0) == 3
    assert pace.room(5000.0) == 6


def test_a_message_of_many_transactions_goes_at_once_and_those_after_it_wait_for_them_all() -> None:
    pace = Pace(60)
    pace.take(0.0, 10, None)
    assert pace.next_s(0.0) == 5.0
    assert not pace.is_rested(9.9)
    assert pace.is_rested(10.0)


def test_of_two_workers_each_has_half() -> None:
    pace = Pace(60, 2)
    assert pace.room(0.0) == 3
    pace.take(0.0, 3, None)
    assert pace.next_s(0.0) == 2.0


@pytest.mark.parametrize(("rate", "workers"), [(0, 1), (-1, 1), (1, 0)])
def test_no_rate_is_no_pace(rate: int, workers: int) -> None:
    with pytest.raises(ValueError, match="per_minute"):
        Pace(rate, workers)
