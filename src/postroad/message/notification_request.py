"""What a notification is made from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from postroad.vocabulary.envelope import Envelope
from postroad.vocabulary.outcome import Fate, Outcome


class Action(StrEnum):
    """What was done with a recipient (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


_ACTIONS = {
    Fate.FAILED: Action.FAILED,
    Fate.DEFERRED: Action.DELAYED,
    Fate.DELIVERED: Action.DELIVERED,
    Fate.RELAYED: Action.RELAYED,
    Fate.EXPANDED: Action.EXPANDED,
}


def action_of(outcome: Outcome) -> Action:
    return _ACTIONS[outcome.fate]


class NotificationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All of a notification's facts.

    hostname          ours: the reporting MTA
    notification_id   letters and digits, unique for ever, such as the notification's own queue id; it becomes
                      its Message-ID and boundary
    at                now (aware)
    queue_id          the original's, by which its story is found
    envelope          the original's; its reverse-path is who is told, and must not be null
    outcomes          the recipients that this is about, one or more; the fate of each is its action
    arrived_at        when the original was accepted (aware)
    content           the original from its first octet: at least its header, as far as NOTIFICATION_HEADER_BYTES
    content_is_whole  whether that is all of it: only then it can be returned whole (RET=FULL)
    received_from     the name of the MTA that gave us the original, "" for a client of ours
    last_attempt_at   when the outcomes came about, if not now
    will_retry_until  for delays: when we shall give up
    """

    hostname: str
    notification_id: str
    at: datetime
    queue_id: str
    envelope: Envelope
    outcomes: tuple[Outcome, ...]
    arrived_at: datetime
    content: bytes = b""
    content_is_whole: bool = False
    received_from: str = ""
    last_attempt_at: datetime | None = None
    will_retry_until: datetime | None = None

    @property
    def actions(self) -> frozenset[Action]:
        return frozenset(map(action_of, self.outcomes))
