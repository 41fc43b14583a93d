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
from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import structs

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import NewMessage, Settlement, Work
from postroad.rules.expansion import Expansion, expand
from postroad.rules.routing import group_recipients, split_moved
from postroad.services.archiving import unarchived
from postroad.services.delivery_parts import DeliveryPlan, DeliveryWorld, DestinationFigures
from postroad.services.dispatcher import ConnectionBudget
from postroad.services.in_hand import InHand
from postroad.services.lanes import Errors
from postroad.services.leads import expanded_facts, leads_in
from postroad.services.offline import Offline
from postroad.services.outlets import HERE, Ends, Outlets
from postroad.services.parcel import GroupKey, Parcel, earliest
from postroad.services.relay_parts import Listener
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import (
    DUE_LOOK_S,
    GROUPS_OF_ONE_MESSAGE,
    REFILL_RETRY_S,
)
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry, Fact, Moved

__all__ = ["Delivery", "DeliveryPlan", "DeliveryWorld"]


class Delivery:
    """`errors` is told what was unexpected, in words and as the exception; `listener` hears the conversations.
    `budget` limits the connections to the same hosts, where other schedulers have some too."""

    def __init__(
        self,
        world: DeliveryWorld,
        plan: DeliveryPlan,
        *,
        errors: Errors,
        listener: Listener | None = None,
        budget: ConnectionBudget | None = None,
    ) -> None:
        self._world = world
        self._plan = plan
        self._settings = plan.settings
        self._lead_of = leads_in(world.directory)
        self._errors = errors
        self._listener = listener
        self._budget = budget
        self._in_hand = InHand()
        self._next_due_at: datetime | None = None
        self._more_in_store = True
        self._let_go: set[GroupKey] | None = None
        """Groups that left our hands while the store was being asked: its answer may still name them."""
        self._wake = asyncio.Event()
        self._is_running = False
        self._is_stopping = False
        self._offline = Offline(
            plan.settings.offline,
            answers=lambda: self._outlets.lanes.answers,
            changed=self._network_changed,
        )
        self._paused: frozenset[Destination] = frozenset()
        self._outlets: Outlets

    # ---- for others ------------------------------------------------------------------------------

    def routing(self, recipients: tuple[Recipient, ...]) -> tuple[Group, ...]:
        """Those whom the recipients lead to, grouped by where they go. Raises StoreUnavailable."""
        everybody = expand(recipients, self._lead_of).recipients
        return group_recipients(everybody, self._world.directory.domain, self._settings)

    def hand_over(self, message: NewMessage) -> None:
        """Take up a message that is durable in the store. Never waits; what there is no room for is found in
        the store later. Small content is to be octets, so that it need not be read back."""
        if not self._is_running or self._is_stopping:
            return
        journal = self._world.journal
        has_room = journal is None or journal.take(message)
        if message.due_at is not None and message.due_at > message.queued_at:
            self._note_due(message.due_at)
            return
        if not has_room:
            self._look_again()
            return
        content = message.content
        envelope = structs.replace(message.envelope, recipients=())
        size_bytes = len(content) if isinstance(content, bytes) else content.size_bytes
        lease = self._world.queue.epoch
        if len(message.groups) > GROUPS_OF_ONE_MESSAGE:
            self._more_in_store = True
        for group in message.groups[:GROUPS_OF_ONE_MESSAGE]:
            destination, recipients = group.destination, group.recipients
            if self._is_put_off(destination):
                if not (destination not in self._paused and self._offline.is_time_for(fresh=True)):
                    continue
                self._offline.begin_probe(destination)
            key = (message.queue_id, destination)
            if key in self._in_hand or not self._in_hand.has_room_for(destination):
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
        """An administrator has made something due: look into the store now, and try everybody again."""
        if self._is_running:
            self._outlets.forget_the_dead()
        self._offline.probe_now()
        self._look_again()

    def look(self) -> None:
        """Something may be due that was not: look into the store, and no more."""
        self._look_again()

    def recall(self, keys: frozenset[GroupKey]) -> frozenset[GroupKey]:
        """An administrator wants these groups: those that only wait are let go of. Returns those that stay in hand,
        because they are being tried."""
        if self._is_running and any(key in self._in_hand for key in keys):
            self._outlets.lanes.take_out(lambda parcel: parcel.key in keys)
        return frozenset(key for key in keys if key in self._in_hand)

    def set_offline(self, offline: bool) -> None:
        """Offline nothing is attempted but delivery into mailboxes and holds; what is under way is finished, and no
        attempt is counted."""
        if self._offline.order(offline):
            self._network_changed()

    @property
    def offline(self) -> Offline:
        """Whether, and why, nothing is sent out: `reason` and `words`."""
        return self._offline

    def set_paused(self, destinations: frozenset[Destination]) -> None:
        """Take up nothing for these from now on; what is under way is finished, what waits stays due in the store.
        Replaces those given before; whoever keeps the list tells it again after a start."""
        self._paused = destinations
        if self._is_running:
            self._outlets.lanes.take_out(lambda parcel: parcel.work.destination in destinations)
        self._look_again()

    def held_back(self, destination: Destination) -> str:
        """Why nothing is sent there now, in words; empty where nothing is known to hinder it."""
        if destination in self._paused:
            return "paused by an administrator"
        if destination.kind in HERE or not self._is_running:
            return ""
        if self._offline.words:
            return f"this server is off line: {self._offline.words}"
        return self._outlets.why_left_alone(destination)

    def snapshot(self, also: Iterable[Destination] = ()) -> list[dict[str, str | int]]:
        """For `status` and `queue summary`: a line for each destination that has something in hand, a connection,
        or is paused (`delivery_parts.DestinationFigures`), and for those that are asked about."""
        figures = self._outlets.figures(self._in_hand) if self._is_running else {}
        for destination in (*self._paused, *also):
            figures.setdefault(destination, DestinationFigures(destination=str(destination)))
        for destination, those in figures.items():
            those.held_back_by = self.held_back(destination) or those.held_back_by
            if self._is_running and (until := self._outlets.left_alone_until(destination)) is not None:
                those.next_attempt_at = until.isoformat(timespec="seconds").replace("+00:00", "Z")
        return [each.line() for each in figures.values()]

    def stop(self) -> None:
        """Take up nothing more; `run` ends within STOP_GRACE_S."""
        self._is_stopping = True
        self._wake.set()

    # ---- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until `stop`. Cancelling it is safe at any moment: what was not settled is tried again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._outlets = Outlets(
                    self._world,
                    self._plan,
                    tasks=tasks,
                    offline=self._offline,
                    ends=Ends(
                        settled=self._settled,
                        gone=self._left,
                        taken_back=self._left,
                        routing=self.routing,
                        fresh=self.hand_over,
                        errors=self._errors,
                    ),
                    listener=self._listener,
                    budget=self._budget,
                )
                if self._world.journal is not None:
                    self._world.journal.begin(tasks)
                self._is_running = True
                while not self._is_stopping:
                    await self._refill()
                    await self._rest()
                await self._outlets.drain()
                raise _Over
        except* _Over:
            pass
        finally:
            self._is_running = False
            self._outlets.settling.end()

    # ---- looking into the store ------------------------------------------------------------------

    async def _refill(self) -> None:
        """Take what is due, as far as there is room."""
        if self._offline.is_time_for(fresh=False):
            taken = await self._take(1, self._is_no_probe, self._offline.probed() | self._paused)
            self._offline.begin_probe(taken[0].destination if taken else None)
        limit = self._in_hand.room
        if limit <= 0:
            return
        self._more_in_store = False
        taken = await self._take(limit, self._is_in_hand, self._in_hand.full() | self._paused)
        self._more_in_store = self._more_in_store or len(taken) == limit

    async def _take(
        self, limit: int, is_passed_over: Callable[[QueueId, Destination], bool], without: frozenset[Destination]
    ) -> tuple[Work, ...]:
        self._next_due_at = None
        self._let_go = set()
        queue = self._world.queue
        try:
            taken = await queue.take_due(self._world.clock.now(), limit, is_passed_over, without)
            next_due_at = await queue.next_due_at()
        except Exception as error:
            # StoreUnavailable, or what nobody expected: delivery goes on either way.
            self._errors("looking for mail that is due", error)
            self._more_in_store = True
            await self._sleep(REFILL_RETRY_S)
            return ()
        finally:
            let_go, self._let_go = self._let_go, None
        self._next_due_at = earliest(self._next_due_at, next_due_at)
        for work in taken:
            key = (work.queue_id, work.destination)
            if key not in self._in_hand and key not in let_go:
                self._after_the_journal(work)
        return taken

    def _is_in_hand(self, queue_id: QueueId, destination: Destination) -> bool:
        return (queue_id, destination) in self._in_hand or self._is_put_off(destination)

    def _is_no_probe(self, queue_id: QueueId, destination: Destination) -> bool:
        """What cannot show whether the network is back."""
        return (queue_id, destination) in self._in_hand or destination in self._paused or destination.kind in HERE

    def _is_put_off(self, destination: Destination) -> bool:
        return destination in self._paused or (self._offline.reason is not None and destination.kind not in HERE)

    def _network_changed(self) -> None:
        """We are off line, or on line again. Nothing was attempted of what waits: it stays in the store as it was."""
        if self._is_running:
            if self._offline.reason is None:
                self._outlets.forget_the_dead()
            else:
                self._outlets.lanes.take_out(lambda parcel: True)
        self._look_again()

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
            if self._offline.is_cut_off:
                probe_in_s = self._offline.probe_in_s
                if probe_in_s <= 0:
                    return
                wait_s = probe_in_s if wait_s is None else min(wait_s, probe_in_s)
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
            # An alias that stands in a group: it was none, or not here, when the message came.
            expansion = expand(work.recipients, self._lead_of)
            staying, moved = split_moved(
                work.destination, expansion.recipients, self._world.directory.domain, self._settings
            )
        except Exception as error:
            # One message that cannot be routed anew must not stop all the others: it goes the way it was to go.
            if not isinstance(error, StoreUnavailable):
                self._errors(f"the way of {work.queue_id}", error)
            expansion, staying, moved = Expansion(work.recipients), work.recipients, ()
        parcel = Parcel(work)
        release_at = work.envelope.release_at
        if release_at is not None and release_at > self._world.clock.now():
            # RFC 4865 section 4: not before, even if an administrator has made everything due.
            self._in_hand.add(parcel)
            self._outlets.settling.write(parcel, _put_off(work, release_at))
            return
        if not moved and staying == work.recipients:
            self._take_up(parcel)
            return
        self._in_hand.add(parcel)
        now = self._world.clock.now()
        facts: tuple[Fact, ...] = expanded_facts(expansion, now)
        if moved:
            to = tuple(str(group.destination) for group in moved)
            facts += (Moved(at=now, destination=str(work.destination), to=to),)
        self._outlets.settling.write(
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
                story=Entry(work.queue_id, (work.queue_id,), facts),
            ),
        )

    # ---- in hand ---------------------------------------------------------------------------------

    def _take_up(self, parcel: Parcel) -> None:
        self._in_hand.add(parcel)
        journal = self._world.journal
        if journal is None or journal.has_passed(parcel.work.queue_id):
            self._outlets.put(parcel)
        else:
            journal.hold_back(parcel, self._journaled)

    def _journaled(self, parcel: Parcel, error: BaseException | None) -> None:
        """Its message is in the archive, or could not be put there."""
        if not self._is_running or self._is_stopping or isinstance(error, KeyError):
            self._left(parcel)
        elif error is None:
            self._outlets.put(parcel)
        else:
            if not isinstance(error, StoreUnavailable):
                self._errors(f"archive of {parcel.work.queue_id}", error)
            parcel.outcomes.extend(unarchived(parcel, error))
            parcel.unsent = ()
            self._outlets.settling.conclude(parcel)

    def _after_the_journal(self, work: Work) -> None:
        """Nothing of a message may change before it is archived, not even whom it leads to."""
        journal = self._world.journal
        if journal is None or journal.has_passed(work.queue_id):
            self._take_from_store(work)
            return
        parcel = Parcel(work)
        self._in_hand.add(parcel)
        journal.hold_back(parcel, self._journaled_late)

    def _journaled_late(self, parcel: Parcel, error: BaseException | None) -> None:
        if error is None and self._is_running and not self._is_stopping:
            self._in_hand.let_go(parcel)
            self._take_from_store(parcel.work)
        else:
            self._journaled(parcel, error)

    def _left(self, parcel: Parcel) -> None:
        """An administrator has removed the message meanwhile, or it was not attempted after all."""
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
