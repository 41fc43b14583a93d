"""One group in hand: what the scheduler carries from taking it to having its outcome written down."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from postroad.contracts.queue_store import NewMessage, StoredContent, Work
from postroad.message.surrogate import Surrogate
from postroad.rules.body_form import ContentNeeds
from postroad.services.conversion import Converted
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Outcome
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Attempted, Fact

GroupKey: TypeAlias = tuple[QueueId, Destination]
LaneKey: TypeAlias = tuple[Destination, bool]
"""A destination, and whether its connections must be those that REQUIRETLS asks for (RFC 8689 section 4.2.1)."""


class Parcel:
    """A group, its content as far as it is here, and what is known of its recipients so far.

    unsent      recipients that are in no transaction now and have no outcome; the attempt is over when
                `outcomes` has one for each recipient of the work
    content     None until it was fetched from the store
    held_bytes  what it weighs in memory
    needs       what looking through the content has shown, where somebody had to
    converted   the content made 7-bit for whom it went to last; to be dropped by `forget_converted`
    surrogate   what mailboxes keep beside large content for clients without UTF-8, once it was looked for
    began_s     the loop's time when it was taken up, NEVER_BEGAN before
    cuts        connections that ended under it
    children, facts   messages that come of it, and what is to be told of them: written with its settlement
    next_hop_reports, next_hop_keeps_time   the server that took it over was given NOTIFY, and BY=
    """

    __slots__ = ("began_s", "children", "content", "converted", "cuts", "facts", "held_bytes", "key", "needs",
                 "next_hop_keeps_time", "next_hop_reports", "outcomes", "remote", "remote_name", "surrogate",
                 "surrogate_sought", "tls", "unsent", "work")  # fmt: skip

    def __init__(self, work: Work, content: bytes | StoredContent | None = None) -> None:
        self.work = work
        self.key: GroupKey = (work.queue_id, work.destination)
        self.content = content
        self.held_bytes = len(content) if isinstance(content, bytes) else 0
        self.unsent: tuple[Recipient, ...] = work.recipients
        self.outcomes: list[Outcome] = []
        self.children: tuple[NewMessage, ...] = ()
        self.facts: tuple[Fact, ...] = ()
        self.began_s = NEVER_BEGAN
        self.cuts = 0
        self.needs: ContentNeeds | None = None
        self.converted: Converted | None = None
        self.surrogate: Surrogate | None = None
        self.surrogate_sought = False
        self.remote: Endpoint | None = None
        self.remote_name = ""
        self.tls: TlsFacts | None = None
        self.next_hop_reports = False
        self.next_hop_keeps_time = False

    @property
    def is_concluded(self) -> bool:
        return len(self.outcomes) >= len(self.work.recipients)

    @property
    def lane_key(self) -> LaneKey:
        work = self.work
        return work.destination, work.envelope.require_tls

    def in_memory(self) -> bytes | None:
        """The content as one piece of octets, if it is here and small."""
        content = self.content
        if content is None or isinstance(content, bytes):
            return content
        return content.in_memory()

    def forget_converted(self) -> None:
        """The parcel is over, or needs another form."""
        if self.converted is not None:
            self.converted.discard()
            self.converted = None


NEVER_BEGAN = -1.0


def attempted(
    parcel: Parcel,
    outcomes: tuple[Outcome, ...],
    *,
    at: datetime,
    now_s: float,
    next_attempt_at: datetime | None = None,
) -> Attempted:
    """The attempt that is over, for the story; `now_s` is the loop's time, by which it is measured."""
    work = parcel.work
    return Attempted(
        at=at,
        destination=str(work.destination),
        attempt=work.attempts + 1,
        remote=parcel.remote,
        remote_name=parcel.remote_name,
        tls=parcel.tls,
        took_ms=0 if parcel.began_s == NEVER_BEGAN else int((now_s - parcel.began_s) * 1000),
        outcomes=outcomes,
        next_attempt_at=next_attempt_at,
    )


def earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)
