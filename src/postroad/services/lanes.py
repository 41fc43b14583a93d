"""What lanes, connections and whoever runs them are to each other.

A lane (`lane.py`) has the work of all destinations with the same hosts and the same needs of TLS; the dispatcher
(`dispatcher.py`) gives it connections; a connection (`relay_connection.py`) takes groups from it and brings their
outcomes. What drains a hold is served like a lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Protocol

from postroad.rules.mx_order import NoWay
from postroad.services.parcel import Parcel
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.reply import Reply

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

    @property
    def waiting(self) -> Sized: ...

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
        """The connection ended under it, for the `parcel.cuts`th time, or may take no more. False: it will not be tried
        again in this attempt."""
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


class Tally(Protocol):
    """What one connection tells of how the host answers, where somebody learns from it."""

    def succeeded(self) -> None:
        """A transaction was answered, and not by putting everybody off."""
        ...

    def refused(self, reply: Reply, *, before_recipients: bool) -> None:
        """A transaction was put off; `before_recipients`: at MAIL."""
        ...


class Failure:
    """No host was reached (or, with `of_the_cut`, none without the connection ending under the mail). `unreachable`:
    from none of them did anything come back at all."""

    __slots__ = ("of_the_cut", "unreachable", "verdict")

    def __init__(self, verdict: NoWay, *, of_the_cut: bool = False, unreachable: bool = False) -> None:
        self.verdict = verdict
        self.of_the_cut = of_the_cut
        self.unreachable = unreachable


UNEXPECTED = NoWay(
    Fate.DEFERRED,
    EnhancedStatus(4, 3, 0),
    "An unexpected error in this server ended the attempt; it was reported to its administrator.",
)
