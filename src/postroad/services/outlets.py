"""The ways by which groups leave the scheduler: into mailboxes, into holds, out to other hosts; and how their
outcomes are settled.

Made when delivery begins to run, for all of it belongs to one group of tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import structs

from postroad.contracts.queue_store import NewMessage, Work
from postroad.rules.dead_hosts import DeadHosts
from postroad.rules.deliver_by import is_too_late, returned
from postroad.rules.mx_order import Ourselves
from postroad.rules.replies import goes_without_promise
from postroad.rules.retry import next_attempt_at
from postroad.services.answering import MailboxParts
from postroad.services.conversion import Conversions
from postroad.services.delivery_parts import DeliveryPlan, DeliveryWorld, DestinationFigures
from postroad.services.dispatcher import ConnectionBudget, Dispatcher, DispatcherParts
from postroad.services.hold_lane import HoldLane
from postroad.services.in_hand import InHand
from postroad.services.lanes import Errors
from postroad.services.local_delivery import LocalDelivery
from postroad.services.notifications import Notifications, Routing
from postroad.services.offline import Offline
from postroad.services.parcel import Parcel
from postroad.services.quotas import Quotas
from postroad.services.relay import Relay
from postroad.services.relay_parts import Listener, Surroundings
from postroad.services.settling import Settled, Settling
from postroad.services.sweep_on_demand import SweepOnDemand
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.limits import STOP_GRACE_S
from postroad.vocabulary.settings import AccountLimits

HERE = frozenset({DestinationKind.MAILBOX, DestinationKind.HOLD})
"""Destinations that are here: no network is needed for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Who groups recipients anew, and who is told what becomes of a parcel: it was settled (or its lease is lost), its
    message has gone, or it was not attempted after all. `fresh` takes a message that follows from a delivery and is
    durable."""

    settled: Settled
    gone: Callable[[Parcel], None]
    taken_back: Callable[[Parcel], None]
    routing: Routing
    fresh: Callable[[NewMessage], None]
    errors: Errors


class Outlets:
    def __init__(
        self,
        world: DeliveryWorld,
        plan: DeliveryPlan,
        *,
        tasks: asyncio.TaskGroup,
        offline: Offline,
        ends: Ends,
        listener: Listener | None,
        budget: ConnectionBudget | None,
    ) -> None:
        settings, routing, errors = plan.settings, ends.routing, ends.errors
        self.settling = Settling(
            store=world.queue,
            clock=world.clock,
            entropy=world.entropy,
            retry=plan.retry,
            notifications=Notifications(hostname=settings.hostname, store=world.queue, routing=routing),
            tasks=tasks,
            settled=ends.settled,
            errors=errors,
        )
        conversions = Conversions(world.queue, world.clock, world.aside)
        around = Surroundings(
            network=world.network,
            clock=world.clock,
            store=world.queue,
            sweep=SweepOnDemand(tasks),
            tasks=tasks,
            settings=settings,
            errors=errors,
            listener=listener,
            conversions=conversions,
        )
        self._world = world
        self._retry = plan.retry
        self._offline = offline
        self._dead_addresses = DeadHosts(plan.retry.waits)
        self._dead_lanes = DeadHosts(plan.retry.waits)
        relay = Relay(
            around,
            resolver=world.resolver,
            entropy=world.entropy,
            ourselves=Ourselves(settings.hostname, plan.own_endpoints),
            dead=self._dead_addresses,
            reach=offline,
        )
        self.lanes = Dispatcher(
            DispatcherParts(
                tasks=tasks,
                relaying=relay,
                dead=self._dead_lanes,
                connections_each=settings.destination_connections,
                concluded=self._relayed,
                gone=ends.gone,
                taken_back=ends.taken_back,
                is_last=self._is_last,
                is_cut_off=lambda: offline.is_cut_off,
                mark=offline.mark,
                missed=offline.missed,
                errors=errors,
                budget=budget,
            )
        )
        self.local = LocalDelivery(
            MailboxParts(
                hostname=settings.hostname,
                directory=world.directory,
                mailboxes=world.mailboxes,
                queue=world.queue,
                clock=world.clock,
                routing=routing,
                fresh=ends.fresh,
                tasks=tasks,
                errors=errors,
            ),
            conversions=conversions,
            quotas=world.quotas or Quotas(world.mailboxes, AccountLimits()),
            concluded=self.settling.conclude,
            gone=ends.gone,
        )
        self.into_holds: HoldLane | None = None
        if world.holds is not None:
            self.into_holds = HoldLane(
                holds=world.holds,
                clock=world.clock,
                queue=world.queue,
                tasks=tasks,
                concluded=self.settling.conclude,
                gone=ends.gone,
                errors=errors,
            )

    def put(self, parcel: Parcel) -> None:
        """A group that is in hand goes its way; back at once if its time has run out (RFC 2852 section 4.1.4)."""
        work = parcel.work
        deliver_by = work.envelope.deliver_by
        if deliver_by is not None and is_too_late(deliver_by, work.queued_at, self._world.clock.now()):
            parcel.outcomes.extend(returned(recipient, deliver_by) for recipient in parcel.unsent)
            parcel.unsent = ()
            self.settling.conclude(parcel)
        elif work.destination.kind is DestinationKind.MAILBOX:
            self.local.put(parcel)
        elif work.destination.kind is DestinationKind.HOLD:
            assert self.into_holds is not None, "no domain is routed to a hold where there are none"
            self.into_holds.put(parcel)
        else:
            self.lanes.put(parcel)

    def _relayed(self, parcel: Parcel) -> None:
        """It has come back from the lanes; a report that only wanted a promise goes there once more without one."""
        work = parcel.work
        envelope = work.envelope
        if not goes_without_promise(envelope.reverse_path, envelope.require_tls, parcel.outcomes):
            self.settling.conclude(parcel)
        elif not self.lanes.is_stopping:  # else it is tried from the beginning at the next start
            parcel.work = structs.replace(work, envelope=structs.replace(envelope, require_tls=False))
            parcel.outcomes.clear()
            parcel.unsent = work.recipients
            self.lanes.put(parcel)

    def forget_the_dead(self) -> None:
        """Try everybody again."""
        self._dead_addresses.forget()
        self._dead_lanes.forget()

    def _is_last(self, work: Work) -> bool:
        """Whether one more failed attempt would be the end: that one is not to be made from memory."""
        if work.envelope.deliver_by is not None:
            return True
        began_at = work.queued_at
        if work.envelope.release_at is not None:
            began_at = max(began_at, work.envelope.release_at)
        now = self._world.clock.now()
        due_at = next_attempt_at(self._retry, attempts=work.attempts + 1, queued_at=began_at, now=now, jitter=0.999)
        return due_at is None

    async def drain(self) -> None:
        """Let what is under way come to its end, for as long as the grace lasts."""
        self.lanes.stop()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self.local.stop()
                if self.into_holds is not None:
                    await self.into_holds.stop()
                await self.lanes.is_at_rest()
                await self.settling.at_rest()
        except TimeoutError:
            self.lanes.cut()

    def why_left_alone(self, destination: Destination) -> str:
        """In words, while its hosts are remembered as dead; else empty."""
        death = self.lanes.death((destination, False))
        if death is None:
            return ""
        return f"left alone until {self._moment(death.until_s):%H:%M:%S} UTC: {death.verdict.text}"

    def left_alone_until(self, destination: Destination) -> datetime | None:
        """None where its hosts are not remembered as dead."""
        death = self.lanes.death((destination, False))
        return None if death is None else self._moment(death.until_s)

    def _moment(self, at_s: float) -> datetime:
        """The clock's time for one of the loop."""
        return self._world.clock.now() + timedelta(seconds=at_s - self.lanes.now_s())

    # ---- for administrators ------------------------------------------------------------------------

    def figures(self, in_hand: InHand) -> dict[Destination, DestinationFigures]:
        """For each destination that has something in hand, or a connection."""
        figures: dict[Destination, DestinationFigures] = {}

        def of(destination: Destination) -> DestinationFigures:
            return figures.setdefault(destination, DestinationFigures(destination=str(destination)))

        for parcel in in_hand:
            of(parcel.work.destination).in_flight += 1
        for lane in self.lanes:
            why = self.lanes.why_it_waits(lane)
            for name in lane.names:
                those = of(name[0])
                those.connections += lane.slots
                those.limit += lane.limit
                those.last_reply = those.last_reply or ("" if lane.last_reply is None else str(lane.last_reply))
                those.held_back_by = those.held_back_by or why
            for parcel in lane.waiting:
                _note_waiting(of(parcel.work.destination))
        for name, parcels in self.lanes.unresolved.items():
            those = of(name[0])
            those.held_back_by = "its hosts are being looked up in DNS"
            for _ in parcels:
                _note_waiting(those)
        for destination, those in figures.items():
            if destination.kind is DestinationKind.MAILBOX:
                those.waiting = self.local.waiting
                those.in_flight -= those.waiting
        return figures


def _note_waiting(figures: DestinationFigures) -> None:
    figures.waiting += 1
    figures.in_flight -= 1
