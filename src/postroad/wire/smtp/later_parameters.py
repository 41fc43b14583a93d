"""Parameters of MAIL from the later extensions, each read where it is offered and unknown (555) where not.

REQUIRETLS (RFC 8689), BY (RFC 2852), HOLDFOR and HOLDUNTIL (RFC 4865), MT-PRIORITY (RFC 6710).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypedDict

from postroad.vocabulary.envelope import DeliverBy
from postroad.vocabulary.reply import reply
from postroad.wire.smtp.parameters import SyntaxRefused, needed, unknown_parameter, wrong_argument
from postroad.wire.smtp.server_profile import ServerProfile, release_limit

# RFC 2852 section 4: by-value = by-time ";" by-mode [by-trace], by-time = ["-" / "+"] 1*9digit
_BY = re.compile(r"([-+]?[0-9]{1,9});([RN])(T?)", re.IGNORECASE)
# RFC 4865 section 4: future-release-integer = %x31-39 *8DIGIT
_INTERVAL = re.compile(r"[1-9][0-9]{0,8}")
# RFC 3339 section 5.6 (the errata of RFC 4865 say that this date-time is meant)
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[-+][0-9]{2}:[0-9]{2})", re.IGNORECASE
)
# RFC 6710 section 6: priority-value = "0" / ["-"] 1-9
_PRIORITY = re.compile(r"0|-?[1-9]")


class Later(TypedDict, total=False):
    """What was given; the fields of SenderGiven."""

    require_tls: bool
    deliver_by: DeliverBy
    hold_for_s: int
    hold_until: datetime
    priority: int


def read_later(
    keyword: str,
    value: str | None,
    given: Later,
    *,
    profile: ServerProfile,
    in_tls: bool,
    began_at: datetime | None,
) -> None:
    """Put what `keyword` says into `given`. Raises SyntaxRefused: 555 for what is not offered here, else 501."""
    if keyword == "REQUIRETLS" and profile.require_tls and in_tls:
        if value is not None:
            raise wrong_argument("REQUIRETLS takes no value")
        given["require_tls"] = True
    elif keyword == "BY" and profile.deliver_by_min_s is not None:
        given["deliver_by"] = _read_by(value, profile.deliver_by_min_s)
    elif keyword in ("HOLDFOR", "HOLDUNTIL") and profile.future_release_max_s is not None:
        if "hold_for_s" in given or "hold_until" in given:
            # RFC 4865 section 4: one of them.
            raise wrong_argument("HOLDFOR and HOLDUNTIL are not given together")
        assert began_at is not None, "a session that offers FUTURERELEASE is told when it began"
        if keyword == "HOLDFOR":
            given["hold_for_s"] = _read_hold_for(value, profile.future_release_max_s)
        else:
            given["hold_until"] = _read_hold_until(value, release_limit(began_at, profile.future_release_max_s))
    elif keyword == "MT-PRIORITY" and profile.mt_priority:
        given["priority"] = _read_priority(value)
    else:
        raise unknown_parameter(keyword[:40])


def _read_by(value: str | None, min_s: int) -> DeliverBy:
    match = _BY.fullmatch(needed("BY", value))
    if match is None:
        raise wrong_argument("BY is seconds;R or seconds;N, and T for a trace")
    seconds, mode = int(match[1]), match[2].upper()
    if mode == "R" and seconds <= 0:
        # RFC 2852 section 4: to be returned after no time at all is not a thing to ask for.
        raise wrong_argument("BY with R needs a time above 0")
    if mode == "R" and seconds < min_s:
        # Well said, and not to be had: 55z, so that the client does not look for a fault of its own.
        raise SyntaxRefused(reply(555, f"BY with R needs at least {min_s} seconds here", status="5.5.4"))
    return DeliverBy(seconds, mode, bool(match[3]))


def _read_hold_for(value: str | None, max_s: int) -> int:
    text = needed("HOLDFOR", value)
    if not _INTERVAL.fullmatch(text):
        raise wrong_argument("HOLDFOR is a number of seconds")
    if int(text) > max_s:
        raise wrong_argument(f"A message is held for at most {max_s} seconds")
    return int(text)


def _read_hold_until(value: str | None, latest: datetime) -> datetime:
    text = needed("HOLDUNTIL", value)
    wrong: SyntaxRefused = wrong_argument("HOLDUNTIL is a date and time of RFC 3339, like 2030-01-31T12:00:00Z")
    if not _DATE_TIME.fullmatch(text):
        raise wrong
    try:
        until = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong from None
    if until > latest:
        raise wrong_argument(f"A message is held until {latest:%Y-%m-%dT%H:%M:%SZ} at most")
    return until


def _read_priority(value: str | None) -> int:
    text = needed("MT-PRIORITY", value)
    if not _PRIORITY.fullmatch(text):
        raise wrong_argument("MT-PRIORITY is a number from -9 to 9")
    return int(text)
