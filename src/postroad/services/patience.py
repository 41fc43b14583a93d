"""The end of patience for mail that is not even tried, because we are off line.

What is tried is given up after the attempt at which its time is over. What waits here is looked for by its age, and
goes back to its sender when `give_up_after` has passed, as if the network were there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from postroad.contracts.clock import Clock
from postroad.contracts.queue_store import START, Cursor, QueueStore, Work
from postroad.rules.settlement import EXPIRED, age_text
from postroad.services.in_hand import InHand
from postroad.services.parcel import Parcel, earliest
from postroad.vocabulary.destination import HERE, Destination
from postroad.vocabulary.limits import PATIENCE_LOOK_S
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import RetrySettings


def began_at(work: Work) -> datetime:
    """From when on patience is counted (RFC 4865: not before the message was released)."""
    release_at = work.envelope.release_at
    return work.queued_at if release_at is None else max(work.queued_at, release_at)


def gives_up_at(work: Work, retry: RetrySettings) -> datetime:
    return began_at(work) + retry.give_up_after


def give_up(parcel: Parcel, why: str, now: datetime) -> None:
    """Everybody who has no outcome yet has failed."""
    work = parcel.work
    tried = f"after {work.attempts} attempts in" if work.attempts else "untried after"
    text = f"Given up {tried} {age_text(now - began_at(work))}. At the end this server was off line: {why}."
    parcel.outcomes.extend(Outcome(each, Fate.FAILED, EXPIRED, text) for each in parcel.unsent)
    parcel.unsent = ()


class Patience:
    """`over` gets each group whose time is over."""

    def __init__(
        self,
        *,
        queue: QueueStore,
        clock: Clock,
        retry: RetrySettings,
        in_hand: InHand,
        over: Callable[[Work], None],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._retry = retry
        self._in_hand = in_hand
        self._over = over
        self.next_at: datetime | None = None
        """When the next group's time is over; None when none waits."""

    def note(self, queued_at: datetime) -> bool:
        """A message waits since then. True when its time is over before that of all others."""
        at = queued_at + self._retry.give_up_after
        if self.next_at is not None and self.next_at <= at:
            return False
        self.next_at = at
        return True

    async def look(self) -> None:
        """While we are off line: take up all whose time is over, as far as there is room. Raises StoreUnavailable."""
        now = self._clock.now()
        soon = now + timedelta(seconds=PATIENCE_LOOK_S)
        next_at: datetime | None = None
        place: Cursor | None = START
        while place is not None:
            found = await self._queue.take_old(now, now - self._retry.give_up_after, self._is_passed_over, place)
            for work in found.works:
                at = gives_up_at(work, self._retry)
                if at > now:
                    next_at = earliest(next_at, at)
                elif (work.queue_id, work.destination) not in self._in_hand:
                    self._over(work)
            place = found.after
            if found.next_queued_at is not None:
                next_at = earliest(next_at, found.next_queued_at + self._retry.give_up_after)
            if self._in_hand.room <= 0:
                next_at, place = soon, None
        self.next_at = None if next_at is None else max(next_at, soon)

    def _is_passed_over(self, queue_id: QueueId, destination: Destination) -> bool:
        return (queue_id, destination) in self._in_hand or destination.kind in HERE
