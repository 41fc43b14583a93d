"""The scheduler: what is due goes into the lanes, what came of it is settled, and the next due time is kept.

    hand_over(message)   a message that was just made durable, by memory
    run()                owns every task of delivery; ends after stop()
    wake()               something in the store became due (an administrator's `queue flush`)

The store is the truth. Memory holds only so many groups, and so much of their content (in_hand.py); what does not
fit is read back when there is room. A group is in hand from taking it until its settlement is
durable, and nobody takes it twice meanwhile.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from msgspec import structs

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import NewMessage, Settlement, Work
from postroad.rules.deliver_by import is_too_late, returned
from postroad.rules.mx_order import Ourselves
from postroad.rules.routing import group_recipients, split_moved
from postroad.services.conversion import Conversions
from postroad.services.delivery_parts import DeliveryPlan, DeliveryWorld, DestinationFigures
from postroad.services.hold_lane import HoldLane
from postroad.services.in_hand import InHand
from postroad.services.lanes import Errors, Lanes
from postroad.services.local_delivery import LocalDelivery
from postroad.services.notifications import Notifications
from postroad.services.parcel import GroupKey, Parcel, earliest
from postroad.services.relay import Relay
from postroad.services.relay_parts import Listener, Surroundings
from postroad.services.settling import Settling
from postroad.services.sweep_on_demand import SweepOnDemand
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import (
    DUE_LOOK_S,
    REFILL_RETRY_S,
    STOP_GRACE_S,
)
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry, Moved

__all__ = ["Delivery", "DeliveryPlan", "DeliveryWorld"]


class Delivery:
    """`errors` is told what was unexpected, in words and as the exception; `listener` hears the conversations."""

    def __init__(
        self, world: DeliveryWorld, plan: DeliveryPlan, *, errors: Errors, listener: Listener | None = None
    ) -> None:
        self._world = world
        self._plan = plan
        self._settings = plan.settings
        self._errors = errors
        self._listener = listener
        self._in_hand = InHand()
        self._next_due_at: datetime | None = None
        self._more_in_store = True
        self._let_go: set[GroupKey] | None = None
        """Groups that left our hands while the store was being asked: its answer may still name them."""
        self._wake = asyncio.Event()
        self._is_running = False
        self._is_stopping = False
        self._offline = plan.settings.offline
        self._paused: frozenset[Destination] = frozenset()
        self._lanes: Lanes
        self._local: LocalDelivery
        self._into_holds: HoldLane | None = None
        self._settling: Settling

    # ---- for others ------------------------------------------------------------------------------

    def routing(self, recipients: tuple[Recipient, ...]) -> tuple[Group, ...]:
        """Recipients grouped by where they go, for reception. Raises StoreUnavailable."""
        return group_recipients(recipients, self._world.directory.domain, self._settings)

    def hand_over(self, message: NewMessage) -> None:
        """Take up a message that is durable in the store. Never waits; what there is no room for is found in
        the store later. Small content is to be octets, so that it need not be read back."""
        if not self._is_running or self._is_stopping:
            return
        if message.due_at is not None and message.due_at > message.queued_at:
            self._note_due(message.due_at)
            return
        content = message.content
        envelope = structs.replace(message.envelope, recipients=())
        size_bytes = len(content) if isinstance(content, bytes) else content.size_bytes
        lease = self._world.queue.epoch
        for destination, recipients in ((group.destination, group.recipients) for group in message.groups):
            key = (message.queue_id, destination)
            if key in self._in_hand or self._is_put_off(destination) or not self._in_hand.has_room_for(destination):
                continue
            if self._in_hand.is_full:
                self._more_in_store = True
                return
            work = Work(
                message.queue_id, destination, recipients, envelope, size_bytes, message.queued_at, 0, False, lease
            )
            here = not isinstance(content, bytes) or self._in_hand.has_room_for_content(size_bytes)
            self._take_up(Parcel(work, content if here else None))

    def wake(self) -> None:
        """Look into the store now."""
        self._look_again()

    def set_offline(self, offline: bool) -> None:
        """Offline nothing is attempted but delivery into mailboxes and holds; what is under way is finished."""
        self._offline = offline
        self._look_again()

    def stop(self) -> None:
        """Take up nothing more; `run` ends within STOP_GRACE_S."""
        self._is_stopping = True
        self._wake.set()

    def set_paused(self, destinations: frozenset[Destination]) -> None:
        """Take up nothing for these from now on; what is under way is finished, what waits stays due in the store.
        Replaces those given before; they need not be told by anybody but who keeps the list."""
        self._paused = destinations
        self._look_again()

    def snapshot(self) -> list[dict[str, str | int]]:
        """For `status` and `queue summary`: a line for each destination that has something in hand, a connection,
        or is paused (`delivery_parts.DestinationFigures`)."""
        figures: dict[Destination, DestinationFigures] = {}

        def of(destination: Destination) -> DestinationFigures:
            return figures.setdefault(destination, DestinationFigures(destination=str(destination)))

        for destination in self._paused:
            of(destination)
        for parcel in self._in_hand:
            of(parcel.work.destination).in_flight += 1
        for lane in self._lanes if self._is_running else ():
            those = of(lane.destination)
            those.waiting += len(lane.waiting)
            those.in_flight -= len(lane.waiting)
            those.connections += lane.slots
            those.limit += lane.limit
        for destination, those in figures.items():
            if destination.kind is DestinationKind.MAILBOX and self._is_running:
                those.waiting = self._local.waiting
                those.in_flight -= those.waiting
            if destination in self._paused:
                those.held_back_by = "paused by an administrator"
        return [each.line() for each in figures.values()]

    # ---- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until `stop`. Cancelling it is safe at any moment: what was not settled is tried again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._assemble(tasks)
                self._is_running = True
                while not self._is_stopping:
                    await self._refill()
                    await self._rest()
                await self._drain()
                raise _Over
        except* _Over:
            pass
        finally:
            self._is_running = False
            self._settling.end()

    def _assemble(self, tasks: asyncio.TaskGroup) -> None:
        world, settings = self._world, self._settings
        self._settling = Settling(
            store=world.queue,
            clock=world.clock,
            entropy=world.entropy,
            retry=self._plan.retry,
            notifications=Notifications(hostname=settings.hostname, store=world.queue, routing=self.routing),
            tasks=tasks,
            settled=self._settled,
            errors=self._errors,
        )
        conversions = Conversions(world.queue, world.clock, world.aside)
        around = Surroundings(
            network=world.network,
            clock=world.clock,
            store=world.queue,
            sweep=SweepOnDemand(tasks),
            tasks=tasks,
            settings=settings,
            errors=self._errors,
            listener=self._listener,
            conversions=conversions,
        )
        ourselves = Ourselves(settings.hostname, self._plan.own_endpoints)
        relay = Relay(around, resolver=world.resolver, entropy=world.entropy, ourselves=ourselves)
        self._lanes = Lanes(
            tasks=tasks,
            relaying=relay,
            connections_each=settings.destination_connections,
            concluded=self._settling.conclude,
            gone=self._gone,
            errors=self._errors,
        )
        self._local = LocalDelivery(
            mailboxes=world.mailboxes,
            directory=world.directory,
            queue=world.queue,
            conversions=conversions,
            tasks=tasks,
            concluded=self._settling.conclude,
            gone=self._gone,
            errors=self._errors,
        )
        if world.holds is not None:
            self._into_holds = HoldLane(
                holds=world.holds,
                clock=world.clock,
                queue=world.queue,
                tasks=tasks,
                concluded=self._settling.conclude,
                gone=self._gone,
                errors=self._errors,
            )

    async def _drain(self) -> None:
        """Let what is under way come to its end, for as long as the grace lasts."""
        self._lanes.stop()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._local.stop()
                if self._into_holds is not None:
                    await self._into_holds.stop()
                await self._lanes.is_at_rest()
                await self._settling.at_rest()
        except TimeoutError:
            self._lanes.cut()

    # ---- looking into the store ------------------------------------------------------------------

    async def _refill(self) -> None:
        """Take what is due, as far as there is room."""
        limit = self._in_hand.room
        if limit <= 0:
            return
        self._more_in_store = False
        self._next_due_at = None
        self._let_go = set()
        queue = self._world.queue
        try:
            taken = await queue.take_due(self._world.clock.now(), limit, self._is_in_hand, self._in_hand.full())
            next_due_at = await queue.next_due_at()
        except Exception as error:
            # StoreUnavailable, or what nobody expected: delivery goes on either way.
            self._errors("looking for mail that is due", error)
            self._more_in_store = True
            await self._sleep(REFILL_RETRY_S)
            return
        finally:
            let_go, self._let_go = self._let_go, None
        self._more_in_store = self._more_in_store or len(taken) == limit
        self._next_due_at = earliest(self._next_due_at, next_due_at)
        for work in taken:
            key = (work.queue_id, work.destination)
            if key not in self._in_hand and key not in let_go:
                self._take_from_store(work)

    def _is_in_hand(self, queue_id: QueueId, destination: Destination) -> bool:
        return (queue_id, destination) in self._in_hand or self._is_put_off(destination)

    def _is_put_off(self, destination: Destination) -> bool:
        return destination in self._paused or (self._offline and destination.kind not in _HERE)

    def _look_again(self) -> None:
        self._more_in_store = True
        self._wake.set()

    async def _rest(self) -> None:
        """Until there is reason to look into the store, and room."""
        while not self._is_stopping:
            has_room = self._in_hand.has_room
            wait_s: float | None = None
            if has_room and self._more_in_store:
                return
            if has_room and self._next_due_at is not None:
                wait_s = (self._next_due_at - self._world.clock.now()).total_seconds()
                if wait_s <= 0:
                    return
            await self._sleep(wait_s)

    async def _sleep(self, wait_s: float | None) -> None:
        self._wake.clear()
        if self._is_stopping:
            return
        try:
            async with asyncio.timeout(None if wait_s is None else min(wait_s, DUE_LOOK_S)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _take_from_store(self, work: Work) -> None:
        """Take up a group, unless the configuration has changed and some of it goes another way now."""
        try:
            staying, moved = split_moved(
                work.destination, work.recipients, self._world.directory.domain, self._settings
            )
        except Exception as error:
            # One message that cannot be routed anew must not stop all the others: it goes the way it was to go.
            if not isinstance(error, StoreUnavailable):
                self._errors(f"the way of {work.queue_id}", error)
            staying, moved = work.recipients, ()
        parcel = Parcel(work)
        release_at = work.envelope.release_at
        if release_at is not None and release_at > self._world.clock.now():
            # RFC 4865 section 4: not before, even if an administrator has made everything due.
            self._in_hand.add(parcel)
            self._settling.write(parcel, _put_off(work, release_at))
            return
        if not moved:
            self._take_up(parcel)
            return
        self._in_hand.add(parcel)
        now = self._world.clock.now()
        fact = Moved(at=now, destination=str(work.destination), to=tuple(str(group.destination) for group in moved))
        self._settling.write(
            parcel,
            Settlement(
                queue_id=work.queue_id,
                destination=work.destination,
                lease=work.lease,
                remaining=staying,
                due_at=now if staying else None,
                attempts=work.attempts,
                warned=work.warned,
                moved=moved,
                story=Entry(work.queue_id, (work.queue_id,), (fact,)),
            ),
        )

    # ---- in hand ---------------------------------------------------------------------------------

    def _take_up(self, parcel: Parcel) -> None:
        self._in_hand.add(parcel)
        deliver_by = parcel.work.envelope.deliver_by
        if deliver_by is not None and is_too_late(deliver_by, parcel.work.queued_at, self._world.clock.now()):
            parcel.outcomes.extend(returned(recipient, deliver_by) for recipient in parcel.unsent)
            parcel.unsent = ()
            self._settling.conclude(parcel)
            return
        if parcel.work.destination.kind is DestinationKind.MAILBOX:
            self._local.put(parcel)
        elif parcel.work.destination.kind is DestinationKind.HOLD:
            assert self._into_holds is not None, "no domain is routed to a hold where there are none"
            self._into_holds.put(parcel)
        else:
            self._lanes.put(parcel)

    def _gone(self, parcel: Parcel) -> None:
        """An administrator has removed the message meanwhile."""
        self._settled(parcel, None)

    def _settled(self, parcel: Parcel, settlement: Settlement | None) -> None:
        if parcel.key not in self._in_hand:
            return
        if self._in_hand.let_go(parcel):
            self._more_in_store = True
        parcel.forget_converted()
        if self._let_go is not None:
            self._let_go.add(parcel.key)
        if settlement is not None:
            if settlement.due_at is not None:
                self._note_due(settlement.due_at)
            for message in settlement.enqueue:
                self.hand_over(message)
            if settlement.moved:
                self._look_again()
        if self._more_in_store and self._in_hand.has_room:
            self._wake.set()

    def _note_due(self, due_at: datetime) -> None:
        if self._next_due_at is None or due_at < self._next_due_at:
            self._next_due_at = due_at
            self._wake.set()


_HERE = (DestinationKind.MAILBOX, DestinationKind.HOLD)


def _put_off(work: Work, due_at: datetime) -> Settlement:
    """Nothing was attempted and nothing changes but when it is due."""
    return Settlement(
        queue_id=work.queue_id,
        destination=work.destination,
        lease=work.lease,
        remaining=work.recipients,
        due_at=due_at,
        attempts=work.attempts,
        warned=work.warned,
    )


class _Over(Exception):
    """Ends the group of tasks: everything has been brought to rest, what is left may be cancelled."""
