"""Orders that end mail or keep it back: hold, release, delete, bounce.

What is ended is claimed first, so that nobody attempts it meanwhile, and then settled as any other group: what was
ordered, the notification and the story are one transaction. What is being tried at the moment is left alone and
counted: its attempt may have succeeded already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from postroad.contracts.clock import Clock
from postroad.contracts.errors import LeaseLost, StoreUnavailable
from postroad.contracts.queue_store import (
    START,
    Cursor,
    GroupKeys,
    NewMessage,
    QueueFilter,
    QueueStore,
    Settlement,
    Work,
)
from postroad.rules.settlement import Decision, Past, decide
from postroad.services.notifications import Notifications, Routing
from postroad.services.operations.arguments import argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.schedulers import Schedulers
from postroad.services.operations.selection import chosen
from postroad.services.parcel import Parcel
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import ORDER_S, REASON_CHARACTERS
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import printable
from postroad.vocabulary.settings import RetrySettings
from postroad.vocabulary.story import Acted, Entry

RETURNED = EnhancedStatus(5, 3, 0)
"""The mail system of ours has decided so (RFC 3463 section 3.4): no address is wrong, and no other host said no."""

_RETURNED = "An administrator of this server has returned the message to its sender."

Settle = Callable[[QueueStore, Work, Acted], Awaitable[Settlement]]


@dataclass(frozen=True, kw_only=True)
class Returning:
    """What a notification is made with. `routing` groups recipients by destination, as reception does."""

    hostname: str
    retry: RetrySettings
    routing: Routing


class QueueOrders:
    def __init__(
        self, *, queues: tuple[QueueStore, ...], clock: Clock, schedulers: Schedulers, returning: Returning
    ) -> None:
        self._queues = queues
        self._clock = clock
        self._schedulers = schedulers
        self._returning = returning

    def verbs(self) -> Verbs:
        return {
            "queue.hold": self._hold,
            "queue.release": self._release,
            "queue.delete": self._delete,
            "queue.bounce": self._bounce,
        }

    # ---- kept back -------------------------------------------------------------------------------

    async def _hold(self, arguments: PlainObject) -> list[PlainObject]:
        filter, act = chosen(arguments), self._act("hold", arguments)
        in_hand = 0

        def recall(keys: GroupKeys) -> GroupKeys:
            nonlocal in_hand
            kept = self._schedulers.recall(keys)
            in_hand += len(kept)
            return kept

        groups = sum([await queue.hold(filter, act, recall) for queue in self._queues])
        self._schedulers.look()
        return [{"groups": groups, "in_hand": in_hand, "is_complete": True}]

    async def _release(self, arguments: PlainObject) -> list[PlainObject]:
        filter, act = chosen(arguments), self._act("release", arguments)
        groups = sum([await queue.release(filter, act) for queue in self._queues])
        self._schedulers.look()
        return [{"groups": groups, "in_hand": 0, "is_complete": True}]

    # ---- ended -----------------------------------------------------------------------------------

    async def _delete(self, arguments: PlainObject) -> list[PlainObject]:
        return await self._end(chosen(arguments), self._act("delete", arguments), _removed)

    async def _bounce(self, arguments: PlainObject) -> list[PlainObject]:
        reason = argument(arguments, "reason", "")
        if len(reason) > REASON_CHARACTERS:
            raise OperationFailed(f"the reason is longer than {REASON_CHARACTERS} characters; say it shorter", 2)
        text = f"{_RETURNED} The reason given: {printable(reason)}" if reason else _RETURNED

        async def returned(queue: QueueStore, work: Work, act: Acted) -> Settlement:
            return await self._returned(queue, work, act, text)

        return await self._end(chosen(arguments), self._act("bounce", arguments), returned)

    async def _end(self, filter: QueueFilter, act: Acted, settle: Settle) -> list[PlainObject]:
        """As much as can be done in a while; whoever asked may ask again for the rest."""
        groups = in_hand = 0
        until = asyncio.get_running_loop().time() + ORDER_S
        is_complete = True
        try:
            for queue in self._queues:
                place: Cursor | None = START
                while place is not None and is_complete:
                    async with queue.claim(filter, place, self._schedulers.recall) as claim:
                        ended = await _settled(queue, [await settle(queue, work, act) for work in claim.works])
                    groups += ended
                    in_hand += claim.in_hand + len(claim.works) - ended
                    place = claim.after
                    is_complete = place is None or asyncio.get_running_loop().time() < until
        finally:
            self._schedulers.look()
        return [{"groups": groups, "in_hand": in_hand, "is_complete": is_complete}]

    async def _returned(self, queue: QueueStore, work: Work, act: Acted, text: str) -> Settlement:
        """The group has failed, and its sender is told in the same transaction."""
        now, returning = act.at, self._returning
        parcel = Parcel(work)
        parcel.outcomes.extend(Outcome(each, Fate.FAILED, RETURNED, text) for each in work.recipients)
        past = Past(work.envelope.reverse_path, work.queued_at, work.attempts, work.warned)
        decision = decide(tuple(parcel.outcomes), past, returning.retry, now=now, jitter=0.0)
        messages = await self._notifications(queue, parcel, decision, act)
        return Settlement(
            queue_id=work.queue_id,
            destination=work.destination,
            lease=work.lease,
            enqueue=messages,
            story=_story(work, act, messages[0].queue_id if messages else ""),
        )

    async def _notifications(
        self, queue: QueueStore, parcel: Parcel, decision: Decision, act: Acted
    ) -> tuple[NewMessage, ...]:
        returning = self._returning
        notifications = Notifications(hostname=returning.hostname, store=queue, routing=returning.routing)
        return await notifications.about(parcel, decision, returning.retry, act.at)

    def _act(self, action: str, arguments: PlainObject) -> Acted:
        return Acted(at=self._clock.now(), action=action, by=argument(arguments, "by", ""))


async def _removed(queue: QueueStore, work: Work, act: Acted) -> Settlement:
    return Settlement(queue_id=work.queue_id, destination=work.destination, lease=work.lease, story=_story(work, act))


def _story(work: Work, act: Acted, notification: str = "") -> Entry:
    recipients = tuple(str(recipient.forward_path) for recipient in work.recipients)
    fact = Acted(at=act.at, action=act.action, by=act.by, recipients=recipients, notification=notification)
    return Entry(work.queue_id, (work.queue_id,), (fact,))


async def _settled(queue: QueueStore, settlements: Iterable[Settlement]) -> int:
    """How many were written. Those that somebody else has settled meanwhile are none of ours.
    Raises StoreUnavailable when every other was given its answer."""
    futures = [queue.settle(settlement) for settlement in settlements]
    if not futures:
        return 0
    await asyncio.wait(futures)
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, LeaseLost):
            raise error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error))
    return len(futures) - len(errors)
