"""From a decision to the notifications that commit together with it (RFC 3461 section 6, RFC 3464)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from postroad.contracts.queue_store import NewMessage, QueueStore, StoredContent, Work
from postroad.message.notification import NotificationRequest, action_of, compose, envelope_for
from postroad.message.trace import message_id_text
from postroad.rules.deliver_by import deadline_of
from postroad.rules.settlement import Decision
from postroad.services.parcel import Parcel
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import NOTIFICATION_HEADER_BYTES
from postroad.vocabulary.outcome import Group, Outcome
from postroad.vocabulary.settings import RetrySettings
from postroad.vocabulary.story import Entry, Notified

Routing = Callable[[tuple[Recipient, ...]], tuple[Group, ...]]


class Notifications:
    """`routing` groups recipients by destination, as reception does."""

    def __init__(self, *, hostname: str, store: QueueStore, routing: Routing) -> None:
        self._hostname = hostname
        self._store = store
        self._routing = routing

    async def about(
        self, parcel: Parcel, decision: Decision, retry: RetrySettings, now: datetime, *, with_original: bool = True
    ) -> tuple[NewMessage, ...]:
        """The messages to enqueue: one for those who failed, one for those who are late, one for those who
        got it. Raises StoreUnavailable when the original cannot be read."""
        subjects = (decision.failures, decision.delays, (*decision.deliveries, *decision.relays))
        wanted = [outcomes for outcomes in subjects if outcomes]
        if not wanted:
            return ()
        content, is_whole = await self._beginning(parcel) if with_original else (b"", False)
        give_up_at = _give_up_at(parcel.work, retry)
        return tuple(self._compose(parcel, outcomes, content, is_whole, now, give_up_at) for outcomes in wanted)

    def _compose(
        self,
        parcel: Parcel,
        outcomes: tuple[Outcome, ...],
        content: bytes,
        is_whole: bool,
        now: datetime,
        give_up_at: datetime,
    ) -> NewMessage:
        work = parcel.work
        queue_id = self._store.new_id(now)
        request = NotificationRequest(
            hostname=self._hostname,
            notification_id=queue_id,
            at=now,
            queue_id=work.queue_id,
            envelope=work.envelope,
            outcomes=outcomes,
            arrived_at=work.queued_at,
            content=content,
            content_is_whole=is_whole,
            will_retry_until=give_up_at,
        )
        octets = compose(request)
        envelope = envelope_for(request, octets)
        message_id = message_id_text(queue_id, self._hostname)
        told = envelope.recipients[0].forward_path
        fact = Notified(
            at=now,
            about=work.queue_id,
            action=action_of(outcomes[0]).value,
            recipients=tuple(str(outcome.recipient.forward_path) for outcome in outcomes),
            message_id=message_id,
            size_bytes=len(octets),
        )
        story = Entry(queue_id, (queue_id, told.key(), message_id), (fact,))
        return NewMessage(queue_id, envelope, octets, self._routing(envelope.recipients), now, story)

    async def _beginning(self, parcel: Parcel) -> tuple[bytes, bool]:
        """The original, whole if it is small, else as much as its header may have; nothing if it is gone."""
        content: bytes | StoredContent | None = parcel.content
        if content is None:
            try:
                content = parcel.content = await self._store.content(parcel.work.queue_id)
            except KeyError:
                return b"", False
        octets = content if isinstance(content, bytes) else content.in_memory()
        if octets is not None:
            return octets, True
        assert not isinstance(content, bytes), "octets in memory were returned"
        pieces: list[bytes] = []
        size = 0
        async for chunk in content.chunks():
            pieces.append(chunk)
            size += len(chunk)
            if size >= NOTIFICATION_HEADER_BYTES:
                break
        return b"".join(pieces), size >= content.size_bytes


def _give_up_at(work: Work, retry: RetrySettings) -> datetime:
    envelope = work.envelope
    began_at = work.queued_at if envelope.release_at is None else max(work.queued_at, envelope.release_at)
    give_up_at = began_at + retry.give_up_after
    if envelope.deliver_by is not None and envelope.deliver_by.mode == "R":
        return min(give_up_at, deadline_of(envelope.deliver_by, work.queued_at))
    return give_up_at
