"""Whether a mailbox has room, and whether its owner is to be warned. Sizes in octets; a quota of 0 is none. Pure."""

from __future__ import annotations

from postroad.rules.ruling import refused
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import QUOTA_WARNING_SHARE

# RFC 5321 section 4.2.3, RFC 3463 section 3.3: 452 for who may come again, 552 for who need not.
FULL_FOR_NOW = refused("quota", "the mailbox is full", 452, "4.2.2", "The mailbox is full, try again later")
FULL = refused("quota", "the mailbox is full", 552, "5.2.2", "The mailbox is full")


def is_exempt(forward_path: Mailbox) -> bool:
    """RFC 5321 section 4.5.1: mail for postmaster is taken in any case."""
    return forward_path.without_tag().local_part.lower() == "postmaster"


def has_room(used: int, more: int, quota: int) -> bool:
    return not quota or used + more <= quota


def is_nearly_full(used: int, quota: int) -> bool:
    return bool(quota) and used > quota * QUOTA_WARNING_SHARE
