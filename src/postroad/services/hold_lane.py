"""Delivery into holds: mail for a domain whose owner fetches it, with the envelope it will be sent on with.

A group is one delivery of the store; its keys make it happen once, however often the group is tried. Nobody is told
of it: what becomes of the message is told when it leaves the hold (`hold_drain.py`, `hold_keeping.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import structs

from postroad.contracts.clock import Clock
from postroad.contracts.hold_store import HoldDelivery, HoldStore
from postroad.contracts.queue_store import QueueStore
from postroad.rules.deliver_by import deadline_of
from postroad.services.lanes import Errors
from postroad.services.parcel import Parcel
from postroad.services.store_lane import StoreLane
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Fate, Outcome

_HELD = EnhancedStatus(2, 0, 0)


class HoldLane(StoreLane):
    """The lane of all destinations of the kind `hold`."""

    def __init__(
        self,
        *,
        holds: HoldStore,
        clock: Clock,
        queue: QueueStore,
        tasks: asyncio.TaskGroup,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
        errors: Errors,
    ) -> None:
        super().__init__(place="hold", queue=queue, tasks=tasks, concluded=concluded, gone=gone, errors=errors)
        self._holds = holds
        self._clock = clock

    def deliver(self, parcel: Parcel) -> None:
        work = parcel.work
        content = parcel.content
        assert content is not None, "fetched before it is delivered"
        recipients, parcel.unsent = parcel.unsent, ()
        deliver_by = work.envelope.deliver_by
        delivery = HoldDelivery(
            domain=work.destination.name,
            queue_id=work.queue_id,
            envelope=structs.replace(work.envelope, recipients=recipients),
            content=content,
            queued_at=work.queued_at,
            held_at=self._clock.now(),
            deadline_at=None if deliver_by is None else deadline_of(deliver_by, work.queued_at),
        )
        try:
            future = self._holds.deliver(delivery)
        except Exception as error:
            self._note_all(parcel, recipients, error)
            return
        future.add_done_callback(partial(self._delivered, parcel, recipients))

    def _delivered(self, parcel: Parcel, recipients: tuple[Recipient, ...], future: asyncio.Future[None]) -> None:
        if not future.cancelled():
            self._note_all(parcel, recipients, future.exception())
            self.advance()

    def _note_all(self, parcel: Parcel, recipients: tuple[Recipient, ...], error: BaseException | None) -> None:
        for recipient in recipients:
            outcome = Outcome(recipient, Fate.HELD, _HELD) if error is None else self.trouble(recipient, error)
            self.note(parcel, outcome)
