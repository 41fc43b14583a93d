"""An account sends as much as it may, and hears when it may again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.account_limits import judge_messages, judge_recipients, judge_sessions_of_account
from postroad.vocabulary.usage import DAY, HOUR, Usage

NOON = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_the_last_message_of_the_hour_is_taken_and_the_next_hears_when_it_will_be() -> None:
    begun = Usage().plus(4, 4, NOON)
    assert judge_messages(begun, 0, 5, NOON) is None
    assert judge_messages(begun, 1, 5, NOON) is not None, "what is under way counts"
    full = begun.plus(1, 1, NOON + SECOND)
    ruling = judge_messages(full, 0, 5, NOON + HOUR - SECOND)
    assert ruling is not None
    assert str(ruling.reply) == (
        "450 4.7.1 Your account may send 5 messages an hour; the next after 2026-05-04 13:01 UTC"
    )
    assert ruling.verdict.rule == "messages_per_hour"
    assert judge_messages(full, 0, 5, NOON + HOUR) is None


def test_recipients_are_those_of_a_day() -> None:
    full = Usage().plus(1, 3, NOON)
    ruling = judge_recipients(full, 0, 3, NOON + DAY - SECOND)
    assert ruling is not None
    assert (
        str(ruling.reply) == "450 4.7.1 Your account may send 3 recipients a day; the next after 2026-05-05 12:01 UTC"
    )
    assert judge_recipients(full, 0, 3, NOON + DAY) is None
    assert judge_recipients(full, 0, 4, NOON) is None
    assert judge_recipients(full, 1, 4, NOON) is not None


@pytest.mark.parametrize("judge", [judge_messages, judge_recipients])
def test_zero_is_no_limit(judge: object) -> None:
    assert callable(judge)
    assert judge(Usage().plus(10**9, 10**9, NOON), 10**9, 0, NOON) is None


def test_sessions_of_an_account() -> None:
    assert judge_sessions_of_account(2, 3) is None
    ruling = judge_sessions_of_account(3, 3)
    assert ruling is not None
    assert str(ruling.reply).startswith("421 4.7.0 ")
    assert judge_sessions_of_account(10**6, 0) is None


def test_a_clock_that_was_set_back_does_not_lock_an_account_out_for_days() -> None:
    full = Usage().plus(5, 5, NOON + 30 * DAY)
    assert judge_messages(full, 0, 5, NOON) is None
    assert judge_recipients(full, 0, 5, NOON) is None


moments = st.integers(0, 3 * 86_400).map(lambda second: NOON + second * SECOND)
sendings = st.lists(st.tuples(moments, st.integers(1, 5)), max_size=30).map(sorted)


@given(sendings, moments)
def test_a_counter_never_holds_more_than_was_sent_since_its_window_began_nor_less(
    sent: list[tuple[datetime, int]], now: datetime
) -> None:
    usage = Usage()
    for at, recipients in sent:
        usage = usage.plus(1, recipients, at)
    now = max([now, *(at for at, _ in sent)])
    usage = usage.at(now)
    assert usage.messages == sum(1 for at, _ in sent if at >= usage.hour_began_at)
    assert usage.recipients == sum(recipients for at, recipients in sent if at >= usage.day_began_at)
    assert now - usage.hour_began_at < HOUR
    assert now - usage.day_began_at < DAY
