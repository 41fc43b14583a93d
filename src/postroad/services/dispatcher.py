"""The dispatcher: groups into lanes, lanes to their connections, bounded for each lane and in all.

    put(parcel)      into the lane of its hosts; sent at once where a connection has room
    run connections  as tasks of the scheduler's group

Where a destination's mail goes is found out first (`ways.py`) and takes no slot. When all slots are taken, lanes wait
for their turn (`turns.py`), and an idle connection of another lane makes room. Who was found dead is left alone for a
while: what comes for it meanwhile has its verdict without a connection, unless it would be its last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol

from msgspec import structs

from postroad.contracts.queue_store import Work
from postroad.rules.attempt import DNS_FAILED
from postroad.rules.dead_hosts import DeadHosts, Death
from postroad.rules.mx_order import NoWay
from postroad.services.lane import ConnectionTally, Lane, note_verdict
from postroad.services.lanes import UNEXPECTED, Errors, Failure, Sender, Tally, WorkSource
from postroad.services.paces import Paces
from postroad.services.pacing import Pacing
from postroad.services.parcel import LaneKey, Parcel
from postroad.services.turns import Turns
from postroad.services.ways import Way, Ways
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import ATTEMPTS_AT_ONCE, BUDGET_AGAIN_S, WAY_LIFETIME_S, WAYS_REMEMBERED
from postroad.vocabulary.outcome import Fate


class Relaying(Protocol):
    """What looks for hosts, and runs one connection of a lane to the goodbye."""

    async def find(self, name: LaneKey) -> Way | NoWay: ...

    async def serve(self, lane: WorkSource, known: Way | None = None, tally: Tally | None = None) -> Failure | None: ...


class Claimant(Hashable, Protocol):
    """A lane, as those see it who divide connections."""

    def share(self, most: int | None) -> None:
        """Others want connections to the same hosts: have no more than `most` until further notice, None."""
        ...


class ConnectionBudget(Protocol):
    """A limit on the connections to one set of hosts that holds for more than one lane."""

    def wanting(self, key: Hashable) -> asyncio.Future[None] | None:
        """What to wait for before `take` is asked; None: it can be asked."""
        ...

    def take(self, key: Hashable, claimant: Claimant) -> bool:
        """One connection more; False: not now, ask again."""
        ...

    def give(self, key: Hashable, claimant: Claimant) -> None:
        """One that was taken is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherParts:
    """`concluded` and `gone` are told of parcels that have an outcome for everybody, or whose message is not there any
    more; `taken_back` of those that were not attempted. `connections_each` bounds the connections of one lane,
    `recipients_each` the recipients of a transaction; `paces` has the rate to each set of hosts.
    `missed` hears of each destination from whose hosts nothing came back, with the `mark` of when that attempt began;
    `is_cut_off` says whether it is our own network that is away, `is_last` whether one more failed attempt would be
    the end of a group."""

    tasks: asyncio.TaskGroup
    relaying: Relaying
    dead: DeadHosts
    connections_each: int
    recipients_each: int
    concluded: Callable[[Parcel], None]
    gone: Callable[[Parcel], None]
    taken_back: Callable[[Parcel], None]
    is_last: Callable[[Work], bool]
    is_cut_off: Callable[[], bool]
    mark: Callable[[], int]
    missed: Callable[[Destination, int], None]
    errors: Errors
    budget: ConnectionBudget | None = None
    paces: Paces


class _Entry:
    """The lane of a name, for as long as nobody need be asked."""

    __slots__ = ("lane", "until_s")

    def __init__(self, lane: Lane, until_s: float) -> None:
        self.lane = lane
        self.until_s = until_s


class Dispatcher:
    """All lanes that have work or connections. Implements `lane.Lanes`."""

    def __init__(self, parts: DispatcherParts) -> None:
        self.concluded = parts.concluded
        self.gone = parts.gone
        self.is_stopping = False
        self.idle: dict[Sender, Lane] = {}
        self.answers = 0
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self.now_s = self._loop.time
        self._ways = Ways(find=parts.relaying.find, found=self._found, tasks=parts.tasks, errors=parts.errors)
        self._names: dict[LaneKey, _Entry] = {}
        self._lanes: dict[tuple[Hashable, bool], Lane] = {}
        self._unresolved: dict[LaneKey, list[Parcel]] = {}
        self._asked: dict[LaneKey, int] = {}
        self._turns = Turns()
        self._slots = 0
        self._serving: dict[asyncio.Task[None], Lane] = {}
        self._later: set[Lane] = set()
        """They asked for more than the budget had."""
        self.pacing: Pacing[Lane] = Pacing(recipients_each=parts.recipients_each, resume=self._line_up)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    @property
    def unresolved(self) -> dict[LaneKey, list[Parcel]]:
        """Those whose hosts are being looked up."""
        return self._unresolved

    @property
    def some_starve(self) -> bool:
        return len(self._turns) > 0

    @property
    def slots_are_taken(self) -> bool:
        return self._slots >= ATTEMPTS_AT_ONCE

    def death(self, name: LaneKey) -> Death | None:
        """What is held against the hosts of a destination, as far as they are known."""
        way = self._ways.known(name)
        return None if way is None else self._parts.dead.death((way.key, name[1]), self.now_s())

    def why_it_waits(self, lane: Lane) -> str:
        """What holds the work of a lane back, in words; empty where nothing does."""
        until_s = self.pacing.until_s(lane)
        if lane.waiting and until_s is not None and lane.pace is not None:
            return f"held back by its rate, {lane.pace.per_minute} messages a minute"
        if lane in self._turns:
            return f"all {ATTEMPTS_AT_ONCE} connections of this server are in use"
        if lane in self._later or lane.shares:
            return "the connections allowed to it are shared with other mail for the same hosts"
        if not lane.waiting or lane.slots < lane.limit:
            return ""
        if not lane.proven:
            return "its hosts are being tried"
        if lane.limit < lane.concurrency.ceiling:
            return f"more than {lane.limit} connections at once have not proved to be welcome yet"
        return f"{lane.limit} connections at once are allowed to one destination"

    # ---- work ------------------------------------------------------------------------------------

    def put(self, parcel: Parcel) -> None:
        """Take up a group: at once on a connection that has room, else when there is one."""
        name = parcel.lane_key
        entry = self._names.get(name)
        if entry is not None and entry.until_s > self.now_s():
            entry.lane.waiting.add(parcel)
            self._line_up(entry.lane)
            return
        way = self._ways.known(name)
        if way is not None:
            self._put_on(way, name, parcel)
            return
        waiting = self._unresolved.get(name)
        if waiting is None:
            self._unresolved[name] = [parcel]
            self._asked[name] = self._parts.mark()
            self._ways.ask(name)
        else:
            waiting.append(parcel)

    def _found(self, name: LaneKey, way: Way | NoWay) -> None:
        parcels = self._unresolved.pop(name, [])
        began = self._asked.pop(name, 0)
        if self.is_stopping:
            return
        if isinstance(way, Way):
            for parcel in parcels:
                self._put_on(way, name, parcel)
            return
        failure = Failure(way, unreachable=way.status == DNS_FAILED)
        if failure.unreachable:
            self._parts.missed(name[0], began)
        for parcel in parcels:
            self._give_verdict(parcel, failure)

    def _put_on(self, way: Way, name: LaneKey, parcel: Parcel) -> None:
        key = (way.key, name[1])
        lane = self._lanes.get(key)
        if lane is None:
            death = self._parts.dead.death(key, self.now_s())
            if death is not None and not self._parts.is_last(parcel.work):
                self._give_verdict(parcel, Failure(_remembered(death.verdict)))
                return
            pace = self._parts.paces.of(way.key, name[0])
            lane = self._lanes[key] = Lane(way, name, self._parts.connections_each, self, pace)
        lane.way = way
        if len(self._names) >= WAYS_REMEMBERED:
            self._forget_names()
        lane.names.add(name)
        self._names[name] = _Entry(lane, self.now_s() + WAY_LIFETIME_S)
        lane.waiting.add(parcel)
        self._line_up(lane)

    def _forget_names(self) -> None:
        """A lane that is never without work may have served any number of domains; `ways` still knows the last."""
        self._names.clear()
        for lane in self._lanes.values():
            lane.names.clear()

    def _line_up(self, lane: Lane) -> None:
        """Something waits that may go."""
        if lane.idle:
            next(reversed(lane.idle)).feed()  # the one used last: the others may come to rest
        elif lane.willing:
            next(iter(lane.willing)).feed()
        if lane.waiting:
            self.stir(lane)

    def take_out(self, belongs: Callable[[Parcel], bool]) -> None:
        """What waits and belongs there is taken back, unless some of it has an outcome already."""

        def untouched(parcel: Parcel) -> bool:
            return not parcel.outcomes and belongs(parcel)

        for name, parcels in list(self._unresolved.items()):
            out = [parcel for parcel in parcels if untouched(parcel)]
            self._unresolved[name] = [parcel for parcel in parcels if not untouched(parcel)]
            for parcel in out:
                self._parts.taken_back(parcel)
        for lane in list(self._lanes.values()):
            for parcel in lane.waiting.take_out(untouched):
                self._parts.taken_back(parcel)
            if not lane.waiting:
                self._turns.discard(lane)
                self._forget_if_over(lane)

    def not_attempted(self, parcel: Parcel, failure: Failure) -> bool:
        """Where it is our own network that is away nothing was attempted."""
        if not failure.unreachable or parcel.outcomes or not self._parts.is_cut_off():
            return False
        if self._parts.is_last(parcel.work):
            return False
        self._parts.taken_back(parcel)
        return True

    def _give_verdict(self, parcel: Parcel, failure: Failure) -> None:
        if not self.not_attempted(parcel, failure):
            note_verdict(parcel, failure, self.now_s())
            self.concluded(parcel)

    # ---- connections -----------------------------------------------------------------------------

    def reached(self, lane: Lane) -> None:
        self._parts.dead.is_alive((lane.way.key, lane.requires_tls))

    def stir(self, lane: Lane) -> None:
        """Open what connections the waiting work of a lane is worth."""
        while (
            lane.waiting
            and not self.is_stopping
            and lane.slots < lane.limit
            and lane.opening < min(len(lane.waiting), self.pacing.room(lane))
            and lane not in self._later
        ):
            if self.slots_are_taken:
                self._turns.add(lane)
                if self.idle:
                    next(iter(self.idle)).close_idle()
                return
            if not self._has_leave(lane):
                return
            self._slots += 1
            lane.slots += 1
            task = self._parts.tasks.create_task(self._serve(lane), name=f"relay to {lane.destination}")
            self._serving[task] = lane
            task.add_done_callback(self._serving.pop)

    def _has_leave(self, lane: Lane) -> bool:
        budget = self._parts.budget
        if budget is None:
            return True
        waiting = budget.wanting(lane.way.key)
        if waiting is None and budget.take(lane.way.key, lane):
            return True
        self._later.add(lane)
        if waiting is None:
            self._loop.call_later(BUDGET_AGAIN_S, self._ask_again, lane)
        else:
            waiting.add_done_callback(lambda _: self._ask_again(lane))
        return False

    def _ask_again(self, lane: Lane) -> None:
        self._later.discard(lane)
        self.stir(lane)
        self._forget_if_over(lane)

    async def _serve(self, lane: Lane) -> None:
        tally = ConnectionTally(lane)
        key, began = lane.way.key, self._parts.mark()
        failure: Failure | None
        try:
            failure = await self._parts.relaying.serve(lane, lane.way, tally)
        except Exception as error:
            self._parts.errors(f"delivery to {lane.destination}", error)
            failure = Failure(UNEXPECTED)
        lane.slots -= 1
        self._slots -= 1
        if self._parts.budget is not None:
            self._parts.budget.give(key, lane)
        if failure is None:
            lane.barren = 0
        elif not self.is_stopping:
            if failure.unreachable:
                self._parts.missed(lane.destination, began)
            if _is_dead(lane, failure) and not (failure.unreachable and self._parts.is_cut_off()):
                self._parts.dead.found_dead((key, lane.requires_tls), failure.verdict, self.now_s())
            tally.failed(failure)
        self._a_slot_is_free(lane)

    def _a_slot_is_free(self, lane: Lane) -> None:
        while self._turns and not self.slots_are_taken:  # the first may need it no longer
            self.stir(self._turns.next())
        self.stir(lane)
        self._forget_if_over(lane)

    def _forget_if_over(self, lane: Lane) -> None:
        if lane.slots or lane.waiting or lane in self._later:
            return
        self._turns.discard(lane)
        self.pacing.forget(lane)
        if self._lanes.pop((lane.way.key, lane.requires_tls), None) is not None:
            for name in lane.names:
                entry = self._names.get(name)
                if entry is not None and entry.lane is lane:
                    del self._names[name]

    # ---- the end ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin nothing more: connections without work say goodbye, and those that are not ready are given up.
        What waits stays due in the store."""
        self.is_stopping = True
        self._ways.stop()
        for connection in list(self.idle):
            connection.close_idle()
        for task, lane in list(self._serving.items()):
            if not lane.ready:
                task.cancel()

    async def is_at_rest(self) -> None:
        """No connection is left."""
        while self._serving:
            await asyncio.wait(list(self._serving))

    def cut(self) -> None:
        """End every connection now."""
        for lane in list(self._lanes.values()):
            for connection in list(lane.ready):
                connection.cut()
        for task in list(self._serving):
            task.cancel()


def _is_dead(lane: Lane, failure: Failure) -> bool:
    """Its hosts were tried, and none took mail. What was cut may have been so because of the mail; what DNS could not
    tell the resolver remembers."""
    verdict = failure.verdict
    if lane.ready or failure.of_the_cut or verdict is UNEXPECTED:
        return False
    return verdict.fate is Fate.DEFERRED and verdict.status != DNS_FAILED


def _remembered(verdict: NoWay) -> NoWay:
    text = f"Not tried again now, for a short time ago it was so: {verdict.text}"
    return structs.replace(verdict, text=text)
