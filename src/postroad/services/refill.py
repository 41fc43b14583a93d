"""The scheduler's looks into the store: what is due is taken up as far as there is room, and the next time is known.

await refill.run(...)   look, rest, look again, until `stop`
refill.look_again()     something may be due that was not
refill.note_due(at)     something will be due then
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from postroad.contracts.clock import Clock
from postroad.contracts.queue_store import QueueStore, Work
from postroad.rules.retry import longest_wait
from postroad.services.clock_step import ClockStep
from postroad.services.in_hand import InHand
from postroad.services.lanes import Errors
from postroad.services.offline import Offline
from postroad.services.parcel import GroupKey, Parcel, earliest
from postroad.services.patience import Patience
from postroad.vocabulary.destination import HERE, Destination
from postroad.vocabulary.limits import DUE_LOOK_S, REFILL_RETRY_S
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import RetrySettings


class Refill:
    """`paused` are destinations for which nothing is taken up; `found` gets each group that is not in hand yet."""

    def __init__(
        self,
        *,
        queue: QueueStore,
        clock: Clock,
        in_hand: InHand,
        offline: Offline,
        retry: RetrySettings,
        found: Callable[[Work], None],
        errors: Errors,
    ) -> None:
        self.paused: frozenset[Destination] = frozenset()
        self.is_stopping = False
        self._queue = queue
        self._clock = clock
        self._in_hand = in_hand
        self._offline = offline
        self._found = found
        self._errors = errors
        self._longest_wait = longest_wait(retry)
        self._clock_step = ClockStep(clock)
        self._patience = Patience(queue=queue, clock=clock, retry=retry, in_hand=in_hand, over=found)
        self._next_due_at: datetime | None = None
        self._more_in_store = True
        self._let_go: set[GroupKey] | None = None
        """Groups that left our hands while the store was being asked: its answer may still name them."""
        self._wake = asyncio.Event()

    # ---- what there is to know ---------------------------------------------------------------------

    def look_again(self) -> None:
        self._more_in_store = True
        self._wake.set()

    def note_more(self) -> None:
        """There is more in the store than there was room for."""
        self._more_in_store = True

    def note_put_off(self, queued_at: datetime) -> None:
        """A message that has come in is not tried now."""
        if self._patience.note(queued_at):
            self._wake.set()

    def note_due(self, due_at: datetime) -> None:
        self._clock_step.watch()  # by a clock that is ahead just now this may be far off
        if self._next_due_at is None or due_at < self._next_due_at:
            self._next_due_at = due_at
            self._wake.set()

    def left(self, parcel: Parcel) -> None:
        """It is in hand no more; what came of it was noted before."""
        if self._let_go is not None:
            self._let_go.add(parcel.key)

    def note_room(self) -> None:
        if self._more_in_store and self._in_hand.has_room:
            self._wake.set()

    def is_put_off(self, destination: Destination) -> bool:
        """Nothing is taken up for it now."""
        return destination in self.paused or (self._offline.reason is not None and destination.kind not in HERE)

    def stop(self) -> None:
        self.is_stopping = True
        self._wake.set()

    # ---- looking -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`."""
        while not self.is_stopping:
            await self._refill()
            await self._rest()

    async def _refill(self) -> None:
        """Take what is due, as far as there is room."""
        if self._clock_step.is_unheeded:
            latest = self._clock.now() + self._longest_wait
            if not await self._succeeds(self._queue.bring_forward(latest), "looking for mail that is due too late"):
                return
            self._clock_step.is_unheeded = False
        if self._offline.reason is not None and not await self._succeeds(
            self._patience.look(), "looking for mail that is old"
        ):
            return
        if self._offline.is_time_for(fresh=False):
            await self._probe()
        limit = self._in_hand.room
        if limit <= 0:
            return
        self._more_in_store = False
        taken = await self._take(limit, self._is_in_hand, self._in_hand.full() | self.paused)
        self._more_in_store = self._more_in_store or len(taken) == limit

    async def _probe(self) -> None:
        for _ in range(self._offline.next_round()):
            taken = await self._take(1, self._is_no_probe, self._offline.probed() | self.paused)
            self._offline.begin_probe(taken[0].destination if taken else None)
            if not taken:
                return

    async def _take(
        self, limit: int, is_passed_over: Callable[[QueueId, Destination], bool], without: frozenset[Destination]
    ) -> tuple[Work, ...]:
        self._next_due_at = None
        self._let_go = set()
        try:
            taken = await self._queue.take_due(self._clock.now(), limit, is_passed_over, without)
            next_due_at = await self._queue.next_due_at()
        except Exception as error:
            # StoreUnavailable, or what nobody expected: delivery goes on either way.
            await self._failed("looking for mail that is due", error)
            return ()
        finally:
            let_go, self._let_go = self._let_go, None
        self._next_due_at = earliest(self._next_due_at, next_due_at)
        for work in taken:
            key = (work.queue_id, work.destination)
            if key not in self._in_hand and key not in let_go:
                self._found(work)
        return taken

    def _is_in_hand(self, queue_id: QueueId, destination: Destination) -> bool:
        return (queue_id, destination) in self._in_hand or self.is_put_off(destination)

    def _is_no_probe(self, queue_id: QueueId, destination: Destination) -> bool:
        """What cannot show whether the network is back."""
        return (queue_id, destination) in self._in_hand or destination in self.paused or destination.kind in HERE

    async def _succeeds(self, question: Awaitable[object], what: str) -> bool:
        try:
            await question
        except Exception as error:
            await self._failed(what, error)
            return False
        return True

    async def _failed(self, what: str, error: Exception) -> None:
        self._errors(what, error)
        self._more_in_store = True
        await self._sleep(REFILL_RETRY_S)

    # ---- resting -----------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Until there is reason to look into the store, and room."""
        while not self.is_stopping:
            self._clock_step.watch()
            if self._clock_step.is_unheeded:
                return
            has_room = self._in_hand.has_room
            wait_s: float | None = None
            if has_room and self._more_in_store:
                return
            if has_room and self._next_due_at is not None:
                wait_s = (self._next_due_at - self._clock.now()).total_seconds()
                if wait_s <= 0:
                    return
            if self._offline.reason is not None and self._patience.next_at is not None:
                over_in_s = (self._patience.next_at - self._clock.now()).total_seconds()
                if over_in_s <= 0:
                    return
                wait_s = over_in_s if wait_s is None else min(wait_s, over_in_s)
            if self._offline.is_cut_off:
                probe_in_s = self._offline.probe_in_s
                if probe_in_s <= 0:
                    return
                wait_s = probe_in_s if wait_s is None else min(wait_s, probe_in_s)
            await self._sleep(wait_s)

    async def _sleep(self, wait_s: float | None) -> None:
        self._wake.clear()
        if self.is_stopping:
            return
        try:
            async with asyncio.timeout(None if wait_s is None else min(wait_s, DUE_LOOK_S)):
                await self._wake.wait()
        except TimeoutError:
            pass
