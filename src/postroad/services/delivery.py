"""The scheduler: what is due goes into the lanes, what came of it is settled, and the next due time is kept.

    hand_over(message)   a message that was just made durable, by memory
    run()                owns every task of delivery; ends after stop()
    wake()               something in the store became due (an administrator's `queue flush`)

The store is the truth, looked into by `refill.py`. Memory holds only so many groups, and so much of their content
(in_hand.py); what does not fit is read back when there is room. A group is in hand from taking it until its
settlement is durable, and nobody takes it twice meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from msgspec import structs

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import NewMessage, Settlement, Work
from postroad.services.archiving import unarchived
from postroad.services.delivery_parts import DeliveryPlan, DeliveryWorld
from postroad.services.dispatcher import ConnectionBudget
from postroad.services.in_hand import InHand
from postroad.services.lanes import Errors
from postroad.services.offline import Offline
from postroad.services.outlets import Ends, Outlets
from postroad.services.parcel import GroupKey, Parcel
from postroad.services.refill import Refill
from postroad.services.relay_parts import Listener
from postroad.services.rerouting import Rerouting
from postroad.services.standing import Standing
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import GROUPS_OF_ONE_MESSAGE
from postroad.vocabulary.outcome import Group

__all__ = ["Delivery", "DeliveryPlan", "DeliveryWorld"]


class Delivery:
    """`errors` is told what was unexpected, in words and as the exception; `listener` hears the conversations.
    `budget` limits the connections to the same hosts, where other schedulers have some too; `written` hears of every
    settlement that is durable."""

    def __init__(
        self,
        world: DeliveryWorld,
        plan: DeliveryPlan,
        *,
        errors: Errors,
        listener: Listener | None = None,
        budget: ConnectionBudget | None = None,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._world = world
        self._plan = plan
        self._errors = errors
        self._listener = listener
        self._budget = budget
        self._written = written
        self._rerouting = Rerouting(world.directory, plan.settings, world.clock, errors)
        self._in_hand = InHand()
        self._is_running = False
        self._is_stopping = False
        self._offline = Offline(
            plan.settings.offline,
            answers=lambda: self._outlets.lanes.answers,
            changed=self._network_changed,
        )
        self._refill = Refill(
            queue=world.queue,
            clock=world.clock,
            in_hand=self._in_hand,
            offline=self._offline,
            retry=plan.retry,
            found=self._after_the_journal,
            errors=errors,
        )
        self._outlets: Outlets

    # ---- for others ------------------------------------------------------------------------------

    def routing(self, recipients: tuple[Recipient, ...]) -> tuple[Group, ...]:
        """Those whom the recipients lead to, grouped by where they go. Raises StoreUnavailable."""
        return self._rerouting.routing(recipients)

    def hand_over(self, message: NewMessage) -> None:
        """Take up a message that is durable in the store. Never waits; what there is no room for is found in
        the store later. Small content is to be octets, so that it need not be read back."""
        if not self._is_running or self._is_stopping:
            return
        journal = self._world.journal
        has_room = journal is None or journal.take(message)
        if message.due_at is not None and message.due_at > message.queued_at:
            self._refill.note_due(message.due_at)
            return
        if not has_room:
            self._refill.look_again()
            return
        content = message.content
        envelope = structs.replace(message.envelope, recipients=())
        size_bytes = len(content) if isinstance(content, bytes) else content.size_bytes
        lease = self._world.queue.epoch
        if len(message.groups) > GROUPS_OF_ONE_MESSAGE:
            self._refill.note_more()
        for group in message.groups[:GROUPS_OF_ONE_MESSAGE]:
            destination, recipients = group.destination, group.recipients
            if self._refill.is_put_off(destination):
                if not (destination not in self._refill.paused and self._offline.is_time_for(fresh=True)):
                    self._refill.note_put_off(message.queued_at)
                    continue
                self._offline.begin_probe(destination)
            key = (message.queue_id, destination)
            if key in self._in_hand or not self._in_hand.has_room_for(destination):
                continue
            if self._in_hand.is_full:
                self._refill.note_more()
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
        self._refill.look_again()

    def look(self) -> None:
        """Something may be due that was not: look into the store, and no more."""
        self._refill.look_again()

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
        self._refill.paused = destinations
        if self._is_running:
            self._outlets.lanes.take_out(lambda parcel: parcel.work.destination in destinations)
        self._refill.look_again()

    def held_back(self, destination: Destination) -> str:
        """Why nothing is sent there now, in words; empty where nothing is known to hinder it."""
        return self._standing().held_back(destination)

    def snapshot(self, also: Iterable[Destination] = ()) -> list[dict[str, str | int]]:
        """For `status` and `queue summary`: a line for each destination that has something in hand, a connection,
        or is paused (`delivery_parts.DestinationFigures`), and for those that are asked about."""
        return self._standing().lines(self._in_hand, also)

    def _standing(self) -> Standing:
        outlets = self._outlets if self._is_running else None
        return Standing(self._world.clock, self._offline, self._refill.paused, outlets)

    def stop(self) -> None:
        """Take up nothing more; `run` ends within STOP_GRACE_S."""
        self._is_stopping = True
        self._refill.stop()

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
                await self._refill.run()
                await self._outlets.drain()
                raise _Over
        except* _Over:
            pass
        finally:
            self._is_running = False
            self._outlets.settling.end()

    def _network_changed(self) -> None:
        """We are off line, or on line again. Nothing was attempted of what waits: it stays in the store as it was."""
        if self._is_running:
            if self._offline.reason is None:
                self._outlets.forget_the_dead()
            else:
                self._outlets.lanes.take_out(lambda parcel: True)
        self._refill.look_again()

    # ---- in hand ---------------------------------------------------------------------------------

    def _after_the_journal(self, work: Work) -> None:
        """Nothing of a message may change before it is archived, not even whom it leads to."""
        journal = self._world.journal
        if journal is None or journal.has_passed(work.queue_id):
            self._take_from_store(work)
            return
        parcel = Parcel(work)
        self._in_hand.add(parcel)
        journal.hold_back(parcel, self._journaled_late)

    def _take_from_store(self, work: Work) -> None:
        """Take up a group, unless it is to go another way now, or later."""
        settlement = self._rerouting.settlement(work)
        parcel = Parcel(work)
        if settlement is None:
            self._take_up(parcel)
        else:
            self._in_hand.add(parcel)
            self._outlets.settling.write(parcel, settlement)

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
        if settlement is not None:
            self._written()
        if parcel.key not in self._in_hand:
            return
        refill = self._refill
        if self._in_hand.let_go(parcel):
            refill.note_more()
        parcel.forget_converted()
        refill.left(parcel)
        if settlement is not None:
            if settlement.due_at is not None:
                refill.note_due(settlement.due_at)
            for message in settlement.enqueue:
                if isinstance(message.content, bytes):
                    self.hand_over(message)
                else:
                    # Several may share a file, whose name is that of one of them and goes with it.
                    refill.look_again()
            if settlement.moved:
                refill.look_again()
        refill.note_room()


class _Over(Exception):
    """Ends the group of tasks: everything has been brought to rest, what is left may be cancelled."""
