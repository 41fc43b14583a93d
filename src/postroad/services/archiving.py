"""The journal's place in delivery: a message of an archived domain is in the archive before anybody gets it.

Every group of such a message waits here until the append is durable. It is appended once, by its queue id: a crash
between the append and the settlement repeats the append, and the archive knows it. While the archive cannot take it
the groups are deferred like those of any other disk that is full: nothing is lost, and nothing goes out unarchived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from postroad.contracts.archive_store import ArchiveChain, JournalEnvelope, NewRecord
from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.contracts.queue_store import NewMessage, QueueFilter, QueueStore, StoredContent
from postroad.services.parcel import Parcel
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Envelope
from postroad.vocabulary.limits import (
    ARCHIVE_JOURNALED_REMEMBERED,
    ARCHIVE_WAITING,
    CONTENT_FETCHES_AT_ONCE,
    EXPANDED_RECIPIENTS,
)
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.queue_id import QueueId

_SYSTEM_FULL = EnhancedStatus(4, 3, 1)
_SYSTEM = EnhancedStatus(4, 3, 0)

Then = Callable[[Parcel, BaseException | None], None]
"""What is done with a group when its message is in the archive, or could not be put there. A KeyError: it is gone."""


class Journal:
    """`domains` are archived: mail from them and to them; and what a list makes of a message that is archived."""

    def __init__(self, chain: ArchiveChain, domains: frozenset[str], queue: QueueStore, clock: Clock) -> None:
        self._chain = chain
        self._domains = domains
        self._queue = queue
        self._clock = clock
        self._tasks: asyncio.TaskGroup
        self._known: dict[str, bool] = {}
        """Whether a message is in the archive, or none of its business; the oldest first."""
        self._waiting: dict[QueueId, list[tuple[Parcel, Then]]] = {}
        self._fetching = asyncio.Semaphore(CONTENT_FETCHES_AT_ONCE)

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Delivery runs: what has to be read from the queue is read by tasks of this group."""
        self._tasks = tasks

    def take(self, message: NewMessage) -> bool:
        """A message that was just accepted: append it, if it is to be archived. False when too many wait for that: the
        message is to be left in the queue for now."""
        queue_id, envelope = message.queue_id, message.envelope
        if queue_id in self._known or queue_id in self._waiting:
            return True
        everybody = [str(each.forward_path) for group in message.groups for each in group.recipients]
        if not self._concerns(envelope, everybody):
            of_archived = self._known.get(envelope.about) if envelope.about else False
            if of_archived is None:
                return False  # the archive has to be asked
            if not of_archived:
                self._remember(queue_id, archived=False)
                return True
        if len(self._waiting) >= ARCHIVE_WAITING:
            return False
        self._waiting[queue_id] = []
        given = [str(each.forward_path) for each in envelope.recipients]
        record = self._record(queue_id, envelope, given, everybody, message.content, message.queued_at)
        self._append(record)
        return True

    def has_passed(self, queue_id: QueueId) -> bool:
        return queue_id in self._known

    def hold_back(self, parcel: Parcel, then: Then) -> None:
        """`then` is called when the message of the group is in the archive; perhaps at once."""
        queue_id = parcel.work.queue_id
        waiting = self._waiting.get(queue_id)
        if waiting is not None:
            waiting.append((parcel, then))
        else:
            self._waiting[queue_id] = [(parcel, then)]
            self._tasks.create_task(self._from_queue(parcel), name=f"archive of {queue_id}")

    async def _from_queue(self, parcel: Parcel) -> None:
        """Only one of its groups is known here; none has been settled before the message was archived, so all that it
        was accepted with is still in the queue."""
        work = parcel.work
        queue_id = work.queue_id
        try:
            async with self._fetching:
                if await self._chain.has(queue_id):
                    self._done(queue_id, None)
                    return
                entries = await self._queue.entries(QueueFilter(queue_id=queue_id), EXPANDED_RECIPIENTS)
                everybody = [text for entry in entries for text in entry.recipients]
                about = work.envelope.about
                if not self._concerns(work.envelope, everybody) and not (
                    about and await self._chain.has(QueueId(about))
                ):
                    self._done(queue_id, None, archived=False)
                    return
                content = await self._queue.content(queue_id)
                given = [str(each) for each in work.envelope.given] or everybody
                record = self._record(queue_id, work.envelope, given, everybody, content, work.queued_at)
                self._append(record)
        except Exception as error:
            self._done(queue_id, error)

    def _concerns(self, envelope: Envelope, recipients: Iterable[str]) -> bool:
        domains, path = self._domains, envelope.reverse_path
        return (
            (path is not None and path.domain in domains)
            or any(each.rpartition("@")[2] in domains for each in recipients)
            or any(each.forward_path.domain in domains for each in envelope.recipients)
            or any(each.domain in domains for each in envelope.given)
        )

    def _record(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        given: Iterable[str],
        everybody: Iterable[str],
        content: bytes | StoredContent,
        accepted_at: datetime,
    ) -> NewRecord:
        recipients, ends = tuple(given), tuple(everybody)
        return NewRecord(
            queue_id=queue_id,
            envelope=JournalEnvelope(
                "" if envelope.reverse_path is None else str(envelope.reverse_path),
                recipients,
                () if set(ends) == set(recipients) else ends,
                envelope.about,
            ),
            content=content,
            accepted_at=accepted_at,
            recorded_at=self._clock.now(),
        )

    def _append(self, record: NewRecord) -> None:
        try:
            future = self._chain.append(record)
        except Exception as error:
            self._done(record.queue_id, error)
            return
        future.add_done_callback(partial(self._appended, record.queue_id))

    def _appended(self, queue_id: QueueId, future: asyncio.Future[bool]) -> None:
        if not future.cancelled():
            self._done(queue_id, future.exception())

    def _done(self, queue_id: QueueId, error: BaseException | None, *, archived: bool = True) -> None:
        if error is None:
            self._remember(queue_id, archived=archived)
        for parcel, then in self._waiting.pop(queue_id, ()):
            then(parcel, error)

    def _remember(self, queue_id: QueueId, *, archived: bool) -> None:
        self._known[queue_id] = archived
        if len(self._known) > ARCHIVE_JOURNALED_REMEMBERED:
            del self._known[next(iter(self._known))]


def unarchived(parcel: Parcel, error: BaseException) -> list[Outcome]:
    """A deferral for everybody: the message waits until it can be archived."""
    if isinstance(error, StoreFull):
        status, text = _SYSTEM_FULL, f"The disk that the archive is on is full: {error}"
    elif isinstance(error, StoreUnavailable):
        status, text = _SYSTEM, f"The archive could not be written just now: {error}"
    else:
        status, text = _SYSTEM, "An unexpected error kept the message out of the archive; it was reported."
    return [Outcome(recipient, Fate.DEFERRED, status, text) for recipient in parcel.unsent]
