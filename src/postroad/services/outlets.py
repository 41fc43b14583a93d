"""The ways by which groups leave the scheduler: into mailboxes, into holds, to the members of lists, out to other
hosts; and how their outcomes are settled.

Made when delivery begins to run, for all of it belongs to one group of tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import structs

from postroad.contracts.queue_store import NewMessage, Work
from postroad.rules.dead_hosts import DeadHosts
from postroad.rules.deliver_by import is_too_late, returned
from postroad.rules.mx_order import Ourselves
from postroad.rules.replies import goes_without_promise
from postroad.rules.retry import next_attempt_at
from postroad.services.answering import MailboxParts
from postroad.services.conversion import Conversions
from postroad.services.delivery_parts import DeliveryPlan, DeliveryWorld
from postroad.services.dispatcher import ConnectionBudget, Dispatcher, DispatcherParts
from postroad.services.hold_lane import HoldLane
from postroad.services.lanes import Errors
from postroad.services.list_lane import ListLane
from postroad.services.list_parts import ListParts
from postroad.services.local_delivery import LocalDelivery
from postroad.services.notifications import Notifications, Routing
from postroad.services.offline import Offline
from postroad.services.paces import Paces
from postroad.services.parcel import Parcel
from postroad.services.patience import began_at, give_up, gives_up_at
from postroad.services.quotas import Quotas
from postroad.services.relay import Relay
from postroad.services.relay_parts import Listener, Surroundings
from postroad.services.settling import Settled, Settling
from postroad.services.sweep_on_demand import SweepOnDemand
from postroad.vocabulary.destination import HERE, DestinationKind
from postroad.vocabulary.limits import STOP_GRACE_S
from postroad.vocabulary.settings import AccountLimits


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
        self._world = world
        self._plan = plan
        self._tasks = tasks
        self._offline = offline
        self._ends = ends
        self._dead_addresses = DeadHosts(plan.retry.waits)
        self._dead_lanes = DeadHosts(plan.retry.waits)
        self._paces = Paces(plan.settings) if plan.paces is None else plan.paces
        self._conversions = Conversions(world.queue, world.clock, world.aside)
        self.settling = self._make_settling()
        self.lanes = self._make_lanes(self._make_relay(listener), budget)
        self.local = self._make_local()
        self.into_holds = self._make_hold_lane()
        self.lists = self._make_list_lane()

    # ---- putting together --------------------------------------------------------------------------

    def _make_settling(self) -> Settling:
        world, plan, ends = self._world, self._plan, self._ends
        return Settling(
            store=world.queue,
            clock=world.clock,
            entropy=world.entropy,
            retry=plan.retry,
            notifications=Notifications(hostname=plan.settings.hostname, store=world.queue, routing=ends.routing),
            tasks=self._tasks,
            settled=ends.settled,
            errors=ends.errors,
        )

    def _make_relay(self, listener: Listener | None) -> Relay:
        world, plan = self._world, self._plan
        around = Surroundings(
            network=world.network,
            clock=world.clock,
            store=world.queue,
            sweep=SweepOnDemand(self._tasks),
            tasks=self._tasks,
            settings=plan.settings,
            errors=self._ends.errors,
            listener=listener,
            conversions=self._conversions,
        )
        return Relay(
            around,
            resolver=world.resolver,
            entropy=world.entropy,
            ourselves=Ourselves(plan.settings.hostname, plan.own_endpoints),
            dead=self._dead_addresses,
            reach=self._offline,
        )

    def _make_lanes(self, relay: Relay, budget: ConnectionBudget | None) -> Dispatcher:
        ends, offline = self._ends, self._offline
        return Dispatcher(
            DispatcherParts(
                tasks=self._tasks,
                relaying=relay,
                dead=self._dead_lanes,
                connections_each=self._plan.settings.destination_connections,
                recipients_each=self._plan.settings.recipients_per_transaction,
                concluded=self._relayed,
                gone=ends.gone,
                taken_back=ends.taken_back,
                is_last=self._is_last,
                is_cut_off=lambda: offline.is_cut_off,
                mark=offline.mark,
                missed=offline.missed,
                errors=ends.errors,
                budget=budget,
                paces=self._paces,
            )
        )

    def _make_local(self) -> LocalDelivery:
        world, ends = self._world, self._ends
        return LocalDelivery(
            MailboxParts(
                hostname=self._plan.settings.hostname,
                directory=world.directory,
                mailboxes=world.mailboxes,
                queue=world.queue,
                clock=world.clock,
                routing=ends.routing,
                fresh=ends.fresh,
                tasks=self._tasks,
                errors=ends.errors,
            ),
            conversions=self._conversions,
            quotas=world.quotas or Quotas(world.mailboxes, AccountLimits()),
            concluded=self.settling.conclude,
            gone=ends.gone,
        )

    def _make_hold_lane(self) -> HoldLane | None:
        world = self._world
        if world.holds is None:
            return None
        return HoldLane(
            holds=world.holds,
            clock=world.clock,
            queue=world.queue,
            tasks=self._tasks,
            concluded=self.settling.conclude,
            gone=self._ends.gone,
            errors=self._ends.errors,
        )

    def _make_list_lane(self) -> ListLane:
        world = self._world
        return ListLane(
            ListParts(
                hostname=self._plan.settings.hostname,
                directory=world.directory,
                queue=world.queue,
                clock=world.clock,
                resolver=world.resolver,
                routing=self._ends.routing,
                aside=world.aside,
            ),
            tasks=self._tasks,
            concluded=self.settling.conclude,
            gone=self._ends.gone,
            errors=self._ends.errors,
        )

    # ---- on their way ------------------------------------------------------------------------------

    def put(self, parcel: Parcel) -> None:
        """A group that is in hand goes its way; back at once if its time has run out (RFC 2852 section 4.1.4)."""
        work = parcel.work
        deliver_by = work.envelope.deliver_by
        if deliver_by is not None and is_too_late(deliver_by, work.queued_at, self._world.clock.now()):
            parcel.outcomes.extend(returned(recipient, deliver_by) for recipient in parcel.unsent)
            parcel.unsent = ()
            self.settling.conclude(parcel)
        elif self._offline.reason is not None and work.destination.kind not in HERE and self._is_over(work):
            give_up(parcel, self._offline.words, self._world.clock.now())
            self.settling.conclude(parcel)
        elif work.destination.kind is DestinationKind.MAILBOX:
            self.local.put(parcel)
        elif work.destination.kind is DestinationKind.HOLD:
            assert self.into_holds is not None, "no domain is routed to a hold where there are none"
            self.into_holds.put(parcel)
        elif work.destination.kind is DestinationKind.LIST:
            self.lists.put(parcel)
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
        retry, now, attempts = self._plan.retry, self._world.clock.now(), work.attempts + 1
        return next_attempt_at(retry, attempts=attempts, queued_at=began_at(work), now=now, jitter=0.999) is None

    def _is_over(self, work: Work) -> bool:
        return self._world.clock.now() >= gives_up_at(work, self._plan.retry)

    async def drain(self) -> None:
        """Let what is under way come to its end, for as long as the grace lasts."""
        self.lanes.stop()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self.local.stop()
                if self.into_holds is not None:
                    await self.into_holds.stop()
                await self.lists.stop()
                await self.lanes.is_at_rest()
                await self.settling.at_rest()
        except TimeoutError:
            self.lanes.cut()
