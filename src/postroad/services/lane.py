"""One lane: the work for one set of hosts, its connections, and what was learned from how they fare.

Implements `lanes.WorkSource` for its connections. It exists only while it has work or connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from postroad.rules.concurrency import Concurrency, speaks_of_load
from postroad.rules.pace import Pace
from postroad.rules.replies import outcome_of_no_way
from postroad.services.lanes import Failure, Sender
from postroad.services.line import Line
from postroad.services.pacing import Pacing
from postroad.services.parcel import NEVER_BEGAN, LaneKey, Parcel
from postroad.services.ways import Way
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import BARREN_CONNECTIONS, CUTS_PER_ATTEMPT
from postroad.vocabulary.reply import Reply


class Lanes(Protocol):
    """What a lane needs of who keeps them all."""

    is_stopping: bool
    idle: dict[Sender, Lane]
    answers: int
    """Transactions that were answered; evidence that we are on line."""
    pacing: Pacing[Lane]

    @property
    def some_starve(self) -> bool: ...

    def now_s(self) -> float: ...

    def stir(self, lane: Lane) -> None: ...

    def reached(self, lane: Lane) -> None: ...

    def concluded(self, parcel: Parcel) -> None: ...

    def gone(self, parcel: Parcel) -> None: ...

    def not_attempted(self, parcel: Parcel, failure: Failure) -> bool:
        """Whether it is taken back without an outcome, because the failure is ours."""
        ...


class Lane:
    """`destination` is the one it was opened for, `names` are all that lead here."""

    def __init__(self, way: Way, name: LaneKey, ceiling: int, lanes: Lanes, pace: Pace | None = None) -> None:
        self.way = way
        self.pace = pace
        self.destination: Destination
        self.requires_tls: bool
        self.destination, self.requires_tls = name
        self.names: set[LaneKey] = set()
        self.waiting = Line()
        self.slots = 0
        self.concurrency = Concurrency(ceiling)
        self._most = ceiling
        """Less than the ceiling while others want connections to the same hosts."""
        self.proven = False
        self.barren = 0
        """Connections in a row that ended under mail before any of it was answered."""
        self.ready: dict[Sender, None] = {}
        self.idle: dict[Sender, None] = {}
        self.willing: dict[Sender, None] = {}
        self.last_reply: Reply | None = None
        self._lanes = lanes

    @property
    def opening(self) -> int:
        return self.slots - len(self.ready)

    @property
    def limit(self) -> int:
        """Connections that are worth trying now. A lane that never reached its host opens one, not twenty: a dead
        host costs one attempt, and its verdict is that of everything that waits."""
        return min(self.concurrency.limit if self.proven else 1, self._most)

    @property
    def shares(self) -> bool:
        """Others want connections to the same hosts."""
        return self._most < self.concurrency.ceiling

    def share(self, most: int | None) -> None:
        """Have no more connections than that, until None is said."""
        if most is None:
            self._most = self.concurrency.ceiling
            self._lanes.stir(self)
            return
        self._most = min(most, self.concurrency.ceiling)
        for connection in list(self.idle)[: max(0, len(self.ready) - self._most)]:
            connection.close_idle()

    @property
    def _has_too_many(self) -> bool:
        """A share of none takes the last one from nobody who is at work; it is not opened again."""
        return len(self.ready) > self.concurrency.limit or len(self.ready) > max(1, self._most)

    @property
    def wants_slot_back(self) -> bool:
        """A connection without work is not to rest but to go: others wait for its slot, it is one too many, or all
        is to end."""
        lanes = self._lanes
        return lanes.is_stopping or lanes.some_starve or self._has_too_many or not self._most

    # ---- lanes.WorkSource, for its connections -----------------------------------------------------

    def take(self) -> Parcel | None:
        """The next group, or None."""
        if not self.waiting or self._lanes.is_stopping or self._has_too_many:
            return None
        if self.pace is not None and not self._lanes.pacing.room(self):
            return None
        parcel = self.waiting.take()
        if self.pace is not None:
            self._lanes.pacing.goes(self, parcel)
        if parcel.began_s == NEVER_BEGAN:
            parcel.began_s = self._lanes.now_s()
        return parcel

    def put_back(self, parcel: Parcel) -> bool:
        """It is next. False when connections have ended under it too often."""
        if parcel.cuts > CUTS_PER_ATTEMPT:
            return False
        self.waiting.add_first(parcel)
        return True

    def concluded(self, parcel: Parcel) -> None:
        self._lanes.concluded(parcel)

    def gone(self, parcel: Parcel) -> None:
        """Its message is no longer in the queue."""
        self._lanes.gone(parcel)

    def is_ready(self, connection: Sender) -> None:
        self.proven = True
        self.ready[connection] = None
        self._lanes.reached(self)

    def stir(self) -> None:
        """The new connection has taken what it can: are more of them worth their while?"""
        self._lanes.stir(self)

    def has_room(self, connection: Sender, idle: bool) -> None:
        if idle:
            self.willing.pop(connection, None)
            self.idle[connection] = None
            self._lanes.idle[connection] = self
        elif connection not in self.idle:
            self.willing[connection] = None

    def is_busy(self, connection: Sender) -> None:
        if self.willing:
            self.willing.pop(connection, None)
        if connection in self.idle:
            del self.idle[connection]
            del self._lanes.idle[connection]

    def is_over(self, connection: Sender) -> None:
        self.is_busy(connection)
        self.ready.pop(connection, None)

    # ---- what is learned ---------------------------------------------------------------------------

    def succeeded(self) -> None:
        """A transaction was answered, and not by putting everybody off."""
        self._lanes.answers += 1
        if self.concurrency.succeeded() and self.waiting:
            self._lanes.stir(self)

    def refused(self, reply: Reply, generation: int, *, before_recipients: bool) -> None:
        """A transaction came to nothing, for now; on a connection of that generation."""
        self._lanes.answers += 1
        self.last_reply = reply
        if speaks_of_load(reply, before_recipients=before_recipients):
            self.concurrency.pressed(generation)
        else:
            self.concurrency.deferred()

    def failed(self, failure: Failure, generation: int) -> None:
        """A connection could not be had. Where others are in operation they go on with the work, and fewer are asked
        for until that has gone well for a while; else the verdict is that of all that wait. One that ended
        under mail may have done so because of that mail; several in a row speak for the server."""
        self.barren += failure.of_the_cut
        self.concurrency.pressed(generation)
        if self.ready:
            self.concurrency.limit = min(self.concurrency.limit, len(self.ready))
            return
        self.proven = False
        if failure.of_the_cut and self.barren < BARREN_CONNECTIONS:
            self.give_verdict(failure, lambda parcel: parcel.cuts > 0)
        else:
            self.give_verdict(failure, lambda parcel: True)

    def give_verdict(self, failure: Failure, concerned: Callable[[Parcel], bool]) -> None:
        for parcel in self.waiting.take_out(concerned):
            if self._lanes.not_attempted(parcel, failure):
                continue
            note_verdict(parcel, failure, self._lanes.now_s())
            self._lanes.concluded(parcel)


class ConnectionTally:
    """Implements `lanes.Tally` for one connection of a lane."""

    __slots__ = ("_generation", "_lane", "succeeded")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._generation = lane.concurrency.generation
        self.succeeded = lane.succeeded

    def refused(self, reply: Reply, *, before_recipients: bool) -> None:
        self._lane.refused(reply, self._generation, before_recipients=before_recipients)

    def failed(self, failure: Failure) -> None:
        self._lane.failed(failure, self._generation)


def note_verdict(parcel: Parcel, failure: Failure, now_s: float) -> None:
    """The outcome of all who have none yet, where no host was reached."""
    if parcel.began_s == NEVER_BEGAN:
        parcel.began_s = now_s
    parcel.remote_name = failure.verdict.remote_mta
    parcel.outcomes.extend(outcome_of_no_way(recipient, failure.verdict) for recipient in parcel.unsent)
    parcel.unsent = ()
