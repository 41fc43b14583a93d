"""Only failures that are about the address itself keep further letters from it."""

from datetime import UTC, datetime, timedelta

import pytest

from postroad.rules.suppression import expires_at, is_hard
from postroad.vocabulary.enhanced_status import EnhancedStatus

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "reply", "hard"),
    [
        ("5.1.1", "550 5.1.1 No such user", True),
        ("5.1.2", "", True),
        ("5.2.1", "550 5.2.1 Disabled", True),
        ("5.1.10", "556 5.1.10 Null MX", True),
        ("5.1.10", "556 This domain takes no mail", True),
        ("4.1.1", "450 4.1.1 Not now", False),
        ("5.7.1", "550 5.7.1 Blocked", False),
        ("5.1.1", "550 Blocked by our list", False),
        ("5.1.8", "550 5.1.8 Your domain is not found", False),
        ("5.2.2", "552 5.2.2 Mailbox full", False),
        ("5.4.7", "451 4.7.1 Greylisted", False),
        ("5.1.1", "550 5.7.1 Says one thing, is taken for another", False),
    ],
)
def test_what_is_hard(status: str, reply: str, hard: bool) -> None:
    parsed = EnhancedStatus.parse(status)
    assert parsed is not None
    assert is_hard(parsed, reply) is hard


def test_when_it_ends() -> None:
    assert expires_at(NOON, 10) == NOON + timedelta(days=10)
    assert expires_at(NOON, 0) is None
