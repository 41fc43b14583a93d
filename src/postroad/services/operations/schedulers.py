"""What an administrator's orders need of delivery, where this process delivers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from postroad.contracts.queue_store import GroupKeys
from postroad.services.operations.performer import PlainObject
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.queue_id import QueueId


class Scheduler(Protocol):
    """`services.delivery.Delivery`, one for each shard."""

    def wake(self) -> None:
        """Look into the store, and try everybody again who was found dead."""
        ...

    def look(self) -> None:
        """Look into the store."""
        ...

    def recall(self, keys: GroupKeys) -> GroupKeys:
        """Let go of those that only wait; returns those that stay in hand."""
        ...

    def set_offline(self, offline: bool) -> None: ...

    def set_paused(self, destinations: frozenset[Destination]) -> None: ...

    def snapshot(self, also: Iterable[Destination] = ()) -> list[dict[str, str | int]]: ...


class Schedulers:
    """All of this process; none in a command while the server is stopped."""

    def __init__(self, schedulers: Iterable[Scheduler] = ()) -> None:
        self._schedulers = tuple(schedulers)

    def wake(self) -> None:
        for scheduler in self._schedulers:
            scheduler.wake()

    def look(self) -> None:
        for scheduler in self._schedulers:
            scheduler.look()

    def recall(self, keys: GroupKeys) -> GroupKeys:
        """As of one: a shard's groups are in the hands of its own scheduler alone."""
        return frozenset[tuple[QueueId, Destination]]().union(*(one.recall(keys) for one in self._schedulers))

    def snapshot(self, also: Iterable[Destination] = ()) -> list[PlainObject]:
        """What is in memory, and what is known of these destinations."""
        those = tuple(also)
        return [dict(line) for scheduler in self._schedulers for line in scheduler.snapshot(those)]

    def obey(self, *, offline: bool, paused: frozenset[Destination]) -> None:
        for scheduler in self._schedulers:
            scheduler.set_offline(offline)
            scheduler.set_paused(paused)
