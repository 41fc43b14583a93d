"""From outcomes to a settlement that is durable: decide, compose what is to be told, write, and write again.

A parcel stays in hand until its settlement is written or its lease lost, so that nothing is attempted twice
because a disk was full for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import structs

from postroad.contracts.clock import Clock
from postroad.contracts.entropy import Entropy
from postroad.contracts.errors import LeaseLost, StoreUnavailable
from postroad.contracts.queue_store import NewMessage, QueueStore, Settlement
from postroad.rules.settlement import Decision, Past, decide
from postroad.services.lanes import Errors
from postroad.services.notifications import Notifications
from postroad.services.parcel import Parcel, attempted
from postroad.vocabulary.limits import ORIGINAL_TRIES, SETTLE_WAIT_FIRST_S, SETTLE_WAIT_MAX_S
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.settings import RetrySettings
from postroad.vocabulary.story import Attempted, Entry

Settled = Callable[[Parcel, Settlement | None], None]
"""Told of every parcel that leaves our hands; with None when its lease was lost or its message is gone."""


class Settling:
    """`settled` is called once for each parcel given to `conclude` or `write`, unless the process ends first."""

    def __init__(
        self,
        *,
        store: QueueStore,
        clock: Clock,
        entropy: Entropy,
        retry: RetrySettings,
        notifications: Notifications,
        tasks: asyncio.TaskGroup,
        settled: Settled,
        errors: Errors,
    ) -> None:
        self.retry = retry
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._notifications = notifications
        self._tasks = tasks
        self._settled = settled
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._unwritten = 0
        self._is_over = False
        self._at_rest: asyncio.Future[None] | None = None

    async def at_rest(self) -> None:
        """Everything that was concluded is written."""
        while self._unwritten:
            self._at_rest = self._loop.create_future()
            await self._at_rest

    def end(self) -> None:
        """What could not be written by now is left: it is due in the store as it was before, and tried again."""
        self._is_over = True

    def conclude(self, parcel: Parcel) -> None:
        """Everybody in it has an outcome: settle it. Never raises: what cannot even be decided is reported, and
        stays in hand until the next start."""
        try:
            self._conclude(parcel)
        except Exception as error:
            self._errors(f"outcome of {parcel.work.queue_id}", error)

    def _conclude(self, parcel: Parcel) -> None:
        work = parcel.work
        now = self._clock.now()
        outcomes = tuple(parcel.outcomes)
        # Chance costs a call of the system, and success needs none.
        jitter = self._entropy.fraction() if any(each.fate is Fate.DEFERRED for each in outcomes) else 0.0
        decision = decide(
            outcomes,
            Past(
                work.envelope.reverse_path,
                work.queued_at,
                work.attempts + 1,
                work.warned,
                work.envelope.deliver_by,
                work.envelope.release_at,
            ),
            self.retry,
            now=now,
            jitter=jitter,
            next_hop_reports=parcel.next_hop_reports,
            next_hop_keeps_time=parcel.next_hop_keeps_time,
        )
        fact = attempted(parcel, decision.outcomes, at=now, now_s=self._loop.time(), next_attempt_at=decision.due_at)
        self._unwritten += 1
        if decision.failures or decision.delays or decision.deliveries or decision.relays:
            self._tasks.create_task(self._with_notifications(parcel, decision, fact), name="notification")
        else:
            self._write(parcel, _settlement(parcel, decision, fact))

    def write(self, parcel: Parcel, settlement: Settlement) -> None:
        """Write a settlement that was made elsewhere."""
        self._unwritten += 1
        self._write(parcel, settlement)

    def _write(self, parcel: Parcel, settlement: Settlement, wait_s: float = SETTLE_WAIT_FIRST_S) -> None:
        """Write it down; again and again while the store is unavailable."""
        try:
            future = self._store.settle(settlement)
        except Exception as error:
            self._write_later(parcel, settlement, wait_s, error)
            return
        future.add_done_callback(partial(self._written, parcel, settlement, wait_s))

    def _written(self, parcel: Parcel, settlement: Settlement, wait_s: float, future: asyncio.Future[None]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None or isinstance(error, LeaseLost):
            self._unwritten -= 1
            if self._at_rest is not None and not self._unwritten and not self._at_rest.done():
                self._at_rest.set_result(None)
            self._settled(parcel, settlement if error is None else None)
        else:
            self._write_later(parcel, settlement, wait_s, error)

    def _write_later(self, parcel: Parcel, settlement: Settlement, wait_s: float, error: BaseException) -> None:
        """What was found out is not forgotten: the parcel stays in hand, and so is not attempted again. Its content
        is not needed any more, and there may soon be many that wait so."""
        parcel.content = None
        if self._is_over:
            return
        if not isinstance(error, StoreUnavailable):
            self._errors(f"settlement of {parcel.work.queue_id}", error)
        self._loop.call_later(wait_s, self._write, parcel, settlement, min(2 * wait_s, SETTLE_WAIT_MAX_S))

    async def _with_notifications(self, parcel: Parcel, decision: Decision, fact: Attempted) -> None:
        """Compose first: a failure and its notification are written together or not at all. An original that
        cannot be read for a while is waited for, and then done without: to be told is what matters."""
        wait_s = SETTLE_WAIT_FIRST_S
        messages: tuple[NewMessage, ...] = ()
        tries = 0
        while not messages:
            tries += 1
            try:
                messages = await self._notifications.about(
                    parcel, decision, self.retry, fact.at, with_original=tries <= ORIGINAL_TRIES
                )
            except Exception as error:
                if tries == ORIGINAL_TRIES or not isinstance(error, StoreUnavailable):
                    self._errors(f"notification about {parcel.work.queue_id}", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, SETTLE_WAIT_MAX_S)
        named = structs.replace(fact, notification=messages[0].queue_id)
        settlement = _settlement(parcel, decision, named)
        self._write(parcel, structs.replace(settlement, enqueue=(*settlement.enqueue, *messages)))


def _settlement(parcel: Parcel, decision: Decision, fact: Attempted) -> Settlement:
    work = parcel.work
    queue_id = work.queue_id
    return Settlement(
        queue_id=queue_id,
        destination=work.destination,
        lease=work.lease,
        remaining=decision.remaining,
        due_at=decision.due_at,
        attempts=decision.attempts,
        warned=decision.warned,
        last=decision.last,
        enqueue=parcel.children,
        story=Entry(queue_id, (queue_id,), (*parcel.facts, fact)),
    )
