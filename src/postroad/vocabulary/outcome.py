"""What became of a recipient in one attempt, with the far end's own words."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from postroad.vocabulary.destination import Destination
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient


class Fate(StrEnum):
    DELIVERED = "delivered"
    """In a mailbox of ours, or with a list of ours (RFC 3461 section 5.2.7.1)."""
    RELAYED = "relayed"
    """Taken over by another MTA with a 250."""
    EXPANDED = "expanded"
    """Accepted for a list, and passed on to its members (RFC 3464 section 2.3.3)."""
    HELD = "held"
    """In a hold of ours, until its owner fetches it."""
    DEFERRED = "deferred"
    FAILED = "failed"


class Outcome(msgspec.Struct, frozen=True):
    """The result of one attempt for one recipient.

    `status` is ours or the peer's enhanced status; `reply` the peer's reply as one line, made printable,
    empty when the peer said nothing; `remote_mta` the name of the host that said it ("mx1.b.example"),
    `remote_address` its address; `text` our own words on what happened.
    """

    recipient: Recipient
    fate: Fate
    status: EnhancedStatus
    text: str = ""
    reply: str = ""
    remote_mta: str = ""
    remote_address: str = ""


class Group(msgspec.Struct, frozen=True):
    """Recipients of one message that go to one destination."""

    destination: Destination
    recipients: tuple[Recipient, ...]
