"""The lanes: one for each destination that has work, with its bounded connections.

    put(parcel)      into the lane of its destination; sent at once where a connection has room
    run connections  as tasks of the scheduler's group, bounded per lane and in all

A lane that never reached its destination opens one connection, not twenty: a dead host costs one attempt, and
its verdict is that of everything that waits there. When all slots are taken, lanes wait their turn in order of
arrival, and an idle connection of another lane makes room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from postroad.rules.mx_order import NoWay
from postroad.rules.replies import outcome_of_no_way
from postroad.services.parcel import NEVER_BEGAN, LaneKey, Parcel
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import ATTEMPTS_AT_ONCE, BARREN_CONNECTIONS, CUTS_PER_ATTEMPT
from postroad.vocabulary.outcome import Fate

Errors = Callable[[str, BaseException], None]


class Sender(Protocol):
    """A connection that is ready, as its lane sees it."""

    def feed(self) -> None:
        """There is work: take it, if there is room."""
        ...

    def close_idle(self) -> None:
        """Say goodbye; nothing is under way."""
        ...

    def cut(self) -> None:
        """End now, whatever is under way."""
        ...


class WorkSource(Protocol):
    """Where a connection gets its groups from and brings their outcomes: a lane of the queue, or what drains a hold."""

    waiting: deque[Parcel]

    @property
    def destination(self) -> Destination: ...

    @property
    def requires_tls(self) -> bool:
        """All of its mail said REQUIRETLS: only a connection that RFC 8689 section 4.2.1 allows is of use."""
        ...

    @property
    def wants_slot_back(self) -> bool:
        """A connection without work is not to rest but to go."""
        ...

    def take(self) -> Parcel | None:
        """The next group, or None."""
        ...

    def put_back(self, parcel: Parcel) -> bool:
        """The connection ended under it. False: it will not be tried again in this attempt."""
        ...

    def concluded(self, parcel: Parcel) -> None:
        """Everybody in it has an outcome."""
        ...

    def gone(self, parcel: Parcel) -> None:
        """Its message is no longer in the store."""
        ...

    def is_ready(self, connection: Sender) -> None: ...

    def stir(self) -> None:
        """The new connection has taken what it can."""
        ...

    def has_room(self, connection: Sender, idle: bool) -> None:
        """It found nothing to take and will take the next group that comes."""
        ...

    def is_busy(self, connection: Sender) -> None: ...

    def is_over(self, connection: Sender) -> None: ...


class Relaying(Protocol):
    """What runs one connection of a lane, from looking for a host to the goodbye."""

    async def serve(self, lane: WorkSource) -> Failure | None: ...


class Failure:
    """No host was reached (or, with `of_the_cut`, none without the connection ending under the mail)."""

    __slots__ = ("of_the_cut", "verdict")

    def __init__(self, verdict: NoWay, *, of_the_cut: bool = False) -> None:
        self.verdict = verdict
        self.of_the_cut = of_the_cut


class Lane:
    """One destination's work and connections; mail with REQUIRETLS has a lane of its own. `take`, `put_back`,
    `concluded`, `is_ready`, `has_room` and `is_over` are for its connections."""

    def __init__(self, key: LaneKey, lanes: Lanes) -> None:
        self.key = key
        self.waiting: deque[Parcel] = deque()
        self.slots = 0
        self.limit = lanes.connections_each
        self.proven = False
        self.barren = 0
        """Connections in a row that ended under mail before any of it was answered."""
        self.ready: dict[Sender, None] = {}
        self.idle: dict[Sender, None] = {}
        self.willing: dict[Sender, None] = {}
        self._lanes = lanes

    @property
    def destination(self) -> Destination:
        return self.key[0]

    @property
    def requires_tls(self) -> bool:
        return self.key[1]

    @property
    def opening(self) -> int:
        return self.slots - len(self.ready)

    @property
    def wants_slot_back(self) -> bool:
        """A connection without work is not to rest but to go: others wait for its slot, or all is to end."""
        return self._lanes.is_stopping or self._lanes.some_starve

    def line_up(self, parcel: Parcel) -> None:
        """Behind all of its priority or a higher one (RFC 6710 section 4.2), which nearly always is the end."""
        waiting, priority = self.waiting, parcel.work.envelope.priority
        if not waiting or waiting[-1].work.envelope.priority >= priority:
            waiting.append(parcel)
            return
        before = next(n for n, each in enumerate(waiting) if each.work.envelope.priority < priority)
        waiting.insert(before, parcel)

    def take(self) -> Parcel | None:
        """The next group, or None."""
        if not self.waiting or self._lanes.is_stopping:
            return None
        parcel = self.waiting.popleft()
        if parcel.began_s == NEVER_BEGAN:
            parcel.began_s = self._lanes.loop.time()
        return parcel

    def put_back(self, parcel: Parcel) -> bool:
        """The connection ended under it: it is next. False when that happened too often."""
        parcel.cuts += 1
        if parcel.cuts > CUTS_PER_ATTEMPT:
            return False
        self.waiting.appendleft(parcel)
        return True

    def concluded(self, parcel: Parcel) -> None:
        self._lanes.concluded(parcel)

    def gone(self, parcel: Parcel) -> None:
        """Its message is no longer in the queue."""
        self._lanes.gone(parcel)

    def is_ready(self, connection: Sender) -> None:
        self.proven = True
        self.ready[connection] = None
        # A destination that has let one in may let in one more than when it last refused.
        self.limit = min(self.limit + 1, self._lanes.connections_each)

    def stir(self) -> None:
        """The new connection has taken what it can: are more of them worth their while?"""
        self._lanes.stir(self)

    def has_room(self, connection: Sender, idle: bool) -> None:
        """It found nothing to take and will take the next group that comes."""
        if idle:
            self.willing.pop(connection, None)
            self.idle[connection] = None
            self._lanes.idle[connection] = self
        elif connection not in self.idle:
            self.willing[connection] = None

    def is_busy(self, connection: Sender) -> None:
        self.willing.pop(connection, None)
        if connection in self.idle:
            del self.idle[connection]
            del self._lanes.idle[connection]

    def is_over(self, connection: Sender) -> None:
        self.is_busy(connection)
        self.ready.pop(connection, None)

    def failed(self, failure: Failure) -> None:
        """A connection could not be had. Where others are in operation they go on with the work, and no more
        are asked for until one of them has been replaced; else the verdict is that of all that wait. One that ended
        under mail may have done so because of that mail; several in a row speak for the server."""
        self.barren += failure.of_the_cut
        if self.ready:
            self.limit = len(self.ready)
            return
        of_the_cut = failure.of_the_cut and self.barren < BARREN_CONNECTIONS
        concerned = [parcel for parcel in self.waiting if parcel.cuts or not of_the_cut]
        self.waiting = deque(parcel for parcel in self.waiting if not parcel.cuts and of_the_cut)
        now_s = self._lanes.loop.time()
        for parcel in concerned:
            if parcel.began_s == NEVER_BEGAN:
                parcel.began_s = now_s
            parcel.remote_name = failure.verdict.remote_mta
            parcel.outcomes.extend(outcome_of_no_way(recipient, failure.verdict) for recipient in parcel.unsent)
            parcel.unsent = ()
            self._lanes.concluded(parcel)


class Lanes:
    """All lanes that have work or connections.

    `concluded` and `gone` are told of parcels that have an outcome for everybody, or whose message is not
    there any more; `connections_each` bounds the connections of one lane.
    """

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        relaying: Relaying,
        connections_each: int,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
        errors: Errors,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections_each = connections_each
        self.concluded = concluded
        self.gone = gone
        self.is_stopping = False
        self.idle: dict[Sender, Lane] = {}
        self._tasks = tasks
        self._relaying = relaying
        self._errors = errors
        self._lanes: dict[LaneKey, Lane] = {}
        self._starved: dict[Lane, None] = {}
        self._slots = 0
        self._serving: dict[asyncio.Task[None], Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    @property
    def some_starve(self) -> bool:
        return bool(self._starved)

    def put(self, parcel: Parcel) -> None:
        """Take up a group: at once on a connection that has room, else when there is one."""
        key = parcel.lane_key
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self)
        lane.line_up(parcel)
        if lane.idle:
            next(reversed(lane.idle)).feed()  # the one used last: the others may come to rest
        elif lane.willing:
            next(iter(lane.willing)).feed()
        if lane.waiting:
            self.stir(lane)

    def stir(self, lane: Lane) -> None:
        """Open what connections the waiting work of a lane is worth."""
        while (
            lane.waiting
            and not self.is_stopping
            and lane.slots < lane.limit
            and lane.opening < (len(lane.waiting) if lane.proven else 1)
        ):
            if self._slots >= ATTEMPTS_AT_ONCE:
                self._starved[lane] = None
                if self.idle:
                    next(iter(self.idle)).close_idle()
                return
            self._slots += 1
            lane.slots += 1
            task = self._tasks.create_task(self._serve(lane), name=f"relay to {lane.destination}")
            self._serving[task] = lane
            task.add_done_callback(self._serving.pop)

    def stop(self) -> None:
        """Begin nothing more: connections without work say goodbye, and those that are not ready are given up.
        What waits stays due in the store."""
        self.is_stopping = True
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

    async def _serve(self, lane: Lane) -> None:
        failure: Failure | None
        try:
            failure = await self._relaying.serve(lane)
        except Exception as error:
            self._errors(f"delivery to {lane.destination}", error)
            failure = Failure(_UNEXPECTED)
        lane.slots -= 1
        self._slots -= 1
        if failure is None:
            lane.barren = 0
        elif not self.is_stopping:
            lane.failed(failure)
        self._a_slot_is_free(lane)

    def _a_slot_is_free(self, lane: Lane) -> None:
        while self._starved and self._slots < ATTEMPTS_AT_ONCE:  # the first may need it no longer
            first = next(iter(self._starved))
            del self._starved[first]
            self.stir(first)
        self.stir(lane)
        if not lane.slots and not lane.waiting:
            self._starved.pop(lane, None)
            self._lanes.pop(lane.key, None)


_UNEXPECTED = NoWay(
    Fate.DEFERRED,
    EnhancedStatus(4, 3, 0),
    "An unexpected error in this server ended the attempt; it was reported to its administrator.",
)
