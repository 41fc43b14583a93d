"""Emptying holds over one connection after another: held messages become groups, and their outcomes settlements.

    drain = HoldDrain(holds, destination, around)
    await drain.begin()
    ...                       a RelayConnection takes from it, or `Relay.serve` runs several
    await drain.at_rest()     every outcome is written down

A `lanes.WorkSource`. Whom a message was delivered to leaves the hold; who must be told why not goes into a report
(`hold_keeping.py`); who might get it later stays. What the far end has taken is kept in hand until it is written
down, so that it is not sent again because a disk was full for a while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from msgspec import structs

from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.hold_store import HeldMessage, Hold, HoldSettlement
from postroad.contracts.queue_store import StoredContent, Work
from postroad.rules.settlement import Past, decide
from postroad.services.lanes import Errors, Sender
from postroad.services.parcel import NEVER_BEGAN, Parcel, attempted
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.limits import (
    HOLD_PAGE,
    HOLD_SETTLEMENTS_AT_ONCE,
    SETTLE_WAIT_FIRST_S,
    SETTLE_WAIT_MAX_S,
)
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import RetrySettings
from postroad.vocabulary.story import Entry

_FOR_EVER = RetrySettings(give_up_after=timedelta.max, attempts_max=2**62)
"""An attempt gives nothing up: how long mail is held is `keep`'s to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainParts:
    """What all drains of a worker use. `tasks` owns what they leave to be done."""

    clock: Clock
    tasks: asyncio.TaskGroup
    errors: Errors


class HoldDrain:
    """`holds` are locked by the caller, for as long as this is not at rest. `requires_tls` takes only the messages
    that said REQUIRETLS, or only the others; None, for a connection that is there already, takes all."""

    def __init__(
        self, holds: Sequence[Hold], destination: Destination, parts: DrainParts, *, requires_tls: bool | None = None
    ) -> None:
        self.waiting: deque[Parcel] = deque()
        self.delivered = 0
        """Messages that somebody of theirs got."""
        self.settled = 0
        """Messages whose outcome is written down."""
        self._destination = destination
        self._requires_tls = requires_tls
        self._clock = parts.clock
        self._tasks = parts.tasks
        self._errors = parts.errors
        self._loop = asyncio.get_running_loop()
        self._unlisted = deque(holds)
        self._after = 0
        self._listing = False
        self._origin: dict[Parcel, tuple[Hold, HeldMessage]] = {}
        self._unsettled = 0
        self._idle: Sender | None = None
        self._stopped = False
        self._change = asyncio.Event()

    # ---- for whoever drains ----------------------------------------------------------------------

    async def has_more(self) -> bool:
        """Whether anything waits that was not taken yet; to be asked before the first connection, and between two.
        Raises StoreUnavailable."""
        await self.at_rest()
        await self._list()
        return bool(self.waiting)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._changed()

    async def at_rest(self) -> None:
        """Everything that had an outcome is settled. What has none stays in its hold."""
        while self._unsettled or self._listing:
            self._change.clear()
            await self._change.wait()

    # ---- lanes.WorkSource ------------------------------------------------------------------------

    @property
    def destination(self) -> Destination:
        return self._destination

    @property
    def requires_tls(self) -> bool:
        """A turned connection is what it is: there, what a message needs is asked of each."""
        return bool(self._requires_tls)

    @property
    def wants_slot_back(self) -> bool:
        return self._stopped or not (self.waiting or self._unlisted)

    def take(self) -> Parcel | None:
        if self._stopped or self._unsettled >= HOLD_SETTLEMENTS_AT_ONCE:
            return None
        if not self.waiting:
            self._list_more()
            return None
        parcel = self.waiting.popleft()
        if parcel.began_s == NEVER_BEGAN:
            parcel.began_s = self._loop.time()
        return parcel

    def put_back(self, parcel: Parcel) -> bool:
        """It stays where it is, in the hold; those who were answered are settled."""
        return False

    def concluded(self, parcel: Parcel) -> None:
        self._unsettled += 1
        self._tasks.create_task(self._settle(parcel), name=f"settlement in {self._destination}")

    def gone(self, parcel: Parcel) -> None:
        parcel.forget_converted()
        self._origin.pop(parcel, None)

    def is_ready(self, connection: Sender) -> None:
        """Nothing: one connection is all there is."""

    def stir(self) -> None:
        """Nothing: no second connection is worth its while."""

    def has_room(self, connection: Sender, idle: bool) -> None:
        self._idle = connection

    def is_busy(self, connection: Sender) -> None:
        self._idle = None

    def is_over(self, connection: Sender) -> None:
        self._idle = None

    # ---- relay_parts.Contents --------------------------------------------------------------------

    async def content(self, queue_id: QueueId) -> StoredContent:
        """One message may wait in several holds; its content is the same in all."""
        for parcel, (hold, message) in reversed(self._origin.items()):
            if parcel.work.queue_id == queue_id:
                return await hold.content(message.number)
        raise KeyError(queue_id)

    # ---- listing ---------------------------------------------------------------------------------

    def _list_more(self) -> None:
        if self._unlisted and not self._listing:
            self._listing = True
            self._tasks.create_task(self._go_on(), name=f"listing of {self._destination}")

    async def _go_on(self) -> None:
        try:
            await self._list()
        except Exception as error:
            # What could not be listed waits for the next time.
            self._errors(f"listing of {self._destination}", error)
            self._unlisted.clear()
        finally:
            self._listing = False
            self._changed()

    async def _list(self) -> None:
        while self._unlisted and not self.waiting:
            hold = self._unlisted[0]
            page = await hold.messages(self._after, HOLD_PAGE)
            if len(page) < HOLD_PAGE:
                self._unlisted.popleft()
                self._after = 0
            else:
                self._after = page[-1].number
            for message in page:
                if self._requires_tls is not None and message.envelope.require_tls is not self._requires_tls:
                    continue
                parcel = Parcel(_work(hold, message))
                self._origin[parcel] = (hold, message)
                self.waiting.append(parcel)

    def _changed(self) -> None:
        self._change.set()
        if self._idle is not None:
            self._idle.feed()

    # ---- settling --------------------------------------------------------------------------------

    async def _settle(self, parcel: Parcel) -> None:
        try:
            await self._write(parcel)
        except Exception as error:
            self._errors(f"outcome of {parcel.work.queue_id} in {parcel.work.destination}", error)
        finally:
            parcel.forget_converted()
            self._unsettled -= 1
            self._changed()

    async def _write(self, parcel: Parcel) -> None:
        hold, message = self._origin.pop(parcel)
        settlement = self._settlement(parcel, message)
        wait_s = SETTLE_WAIT_FIRST_S
        while True:
            try:
                await hold.settle(settlement)
            except StoreUnavailable as error:
                if wait_s >= SETTLE_WAIT_MAX_S:
                    self._errors(f"outcome of {parcel.work.queue_id} in {parcel.work.destination}", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, SETTLE_WAIT_MAX_S)
            else:
                break
        self.settled += 1
        if any(outcome.fate is Fate.RELAYED for outcome in parcel.outcomes):
            self.delivered += 1

    def _settlement(self, parcel: Parcel, message: HeldMessage) -> HoldSettlement:
        work, now = parcel.work, self._clock.now()
        final = tuple(outcome for outcome in parcel.outcomes if outcome.fate is not Fate.DEFERRED)
        decision = decide(
            final,
            Past(
                work.envelope.reverse_path,
                work.queued_at,
                work.attempts + 1,
                warned=True,
                deliver_by=work.envelope.deliver_by,
            ),
            _FOR_EVER,
            now=now,
            jitter=0.0,
            next_hop_reports=parcel.next_hop_reports,
            next_hop_keeps_time=parcel.next_hop_keeps_time,
        )
        fact = attempted(parcel, tuple(parcel.outcomes), at=now, now_s=self._loop.time())
        return HoldSettlement(
            number=message.number,
            remaining=tuple(each.recipient for each in parcel.outcomes if each.fate is Fate.DEFERRED),
            to_report=(*decision.failures, *decision.relays),
            story=Entry(work.queue_id, (work.queue_id,), (fact,)),
        )


def _work(hold: Hold, message: HeldMessage) -> Work:
    return Work(
        queue_id=message.queue_id,
        destination=Destination(DestinationKind.HOLD, hold.domain),
        recipients=message.envelope.recipients,
        envelope=structs.replace(message.envelope, recipients=()),
        size_bytes=message.size_bytes,
        queued_at=message.queued_at,
        attempts=message.attempts,
        warned=True,
        lease=0,
    )
