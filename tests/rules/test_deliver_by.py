"""Mail that is to be there by a certain time (rules/deliver_by)."""

from datetime import UTC, datetime, timedelta

import pytest

from postroad.rules.deliver_by import deadline_of, hop_keeps_time, is_too_late, left_of, returned
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import DeliverBy, Recipient
from postroad.vocabulary.outcome import Fate

T0 = datetime(2026, 5, 1, tzinfo=UTC)
BOB = Recipient(Mailbox("bob", "b.example"))


def test_the_time_counts_from_the_moment_the_message_was_taken_over() -> None:
    assert deadline_of(DeliverBy(90, "R"), T0) == T0 + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("deliver_by", "seconds", "too_late"),
    [
        (DeliverBy(90, "R"), 89, False),
        (DeliverBy(90, "R"), 90, True),
        (DeliverBy(90, "N"), 900, False),
        (None, 10**9, False),
    ],
)
def test_only_mode_r_is_ever_too_late(deliver_by: DeliverBy | None, seconds: int, too_late: bool) -> None:
    assert is_too_late(deliver_by, T0, T0 + timedelta(seconds=seconds)) is too_late


def test_the_next_hop_has_the_time_that_is_left() -> None:
    asked = DeliverBy(90, "N", True)
    assert left_of(asked, T0, T0 + timedelta(seconds=30.5)) == DeliverBy(59, "N", True)
    assert left_of(asked, T0, T0 + timedelta(seconds=100)) == DeliverBy(-10, "N", True)
    assert left_of(asked, T0, T0 + timedelta(days=36500)).seconds == -999_999_999


def test_what_comes_back_says_that_the_time_ran_out() -> None:
    outcome = returned(BOB, DeliverBy(90, "R"))
    assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.4.7")
    assert "90 seconds" in outcome.text


@pytest.mark.parametrize(
    ("mode", "parameter", "keeps"),
    [
        ("N", None, True),
        ("R", None, False),
        ("R", "", True),
        ("R", "90", True),
        ("R", "91", False),
        ("R", "0", True),
        ("R", "nonsense", True),
        ("R", "9" * 5000, True),
    ],
)
def test_mode_r_goes_only_where_somebody_will_return_it_in_time(mode: str, parameter: str | None, keeps: bool) -> None:
    assert hop_keeps_time(DeliverBy(90, mode), parameter) is keeps
