"""How much an account may send: messages in an hour, recipients in a day; and how many sessions it may have.

Over a limit is 450 4.7.1: RFC 5321 section 4.2.3 has 450 for what is blocked for reasons of policy at the moment, and
RFC 3463 section 3.8 has X.7.1 for a sender who may not. It says what the limit is and when it gives way, so that a
mail client shows its user something true, and a program that queues knows how long. 452 4.5.3 would be wrong for
recipients: it asks for another transaction at once (RFC 5321 section 4.5.3.1.10).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from postroad.rules.ruling import Ruling, refused
from postroad.vocabulary.usage import DAY, HOUR, Usage

_MINUTE = timedelta(minutes=1)
_TOO_MANY_SESSIONS = refused(
    "connections_of_account",
    "too many sessions of one account",
    421,
    "4.7.0",
    "Your account has too many connections open, close some and try again",
)


def judge_messages(usage: Usage, under_way: int, most: int, now: datetime) -> Ruling | None:
    """MAIL of an account. `under_way` are transactions that have begun and not been counted; `most` 0 is no limit."""
    present = usage.at(now)
    if not most or present.messages + under_way < most:
        return None
    return _over("messages_per_hour", f"{most} messages an hour", present.hour_began_at + HOUR)


def judge_recipients(usage: Usage, under_way: int, most: int, now: datetime) -> Ruling | None:
    """RCPT of an account; `under_way` are accepted recipients of transactions that have not been counted."""
    present = usage.at(now)
    if not most or present.recipients + under_way < most:
        return None
    return _over("recipients_per_day", f"{most} recipients a day", present.day_began_at + DAY)


def judge_sessions_of_account(sessions: int, most: int) -> Ruling | None:
    """One more session has logged in as an account that has `sessions` already; `most` 0 is no limit."""
    return _TOO_MANY_SESSIONS if most and sessions >= most else None


def _over(rule: str, limit: str, ends_at: datetime) -> Ruling:
    # To the next full minute: who comes back then is let in.
    until = (ends_at + _MINUTE).replace(second=0, microsecond=0)
    return refused(
        rule,
        f"the account has sent its {limit}",
        450,
        "4.7.1",
        f"Your account may send {limit}; the next after {until:%Y-%m-%d %H:%M} UTC",
    )
