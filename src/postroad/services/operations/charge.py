"""What one process answers for when an administrator asks about delivery or gives an order about it."""

from __future__ import annotations

from dataclasses import dataclass

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.queue_store import QueueStore
from postroad.services.operations.schedulers import Schedulers
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.standing_order import OrderKind, StandingOrder


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Its shards, its schedulers, and the orders that stand for all processes. `configured_offline` is what the
    configuration says; no order overrules it."""

    queues: tuple[QueueStore, ...]
    directory: Directory
    clock: Clock
    schedulers: Schedulers
    configured_offline: bool

    def orders(self, kind: OrderKind) -> list[StandingOrder]:
        """Those of the kind that stand now. Raises StoreUnavailable."""
        return [order for order in self.directory.standing_orders() if order.kind is kind]

    def is_offline(self) -> bool:
        """Raises StoreUnavailable."""
        return self.configured_offline or bool(self.orders(OrderKind.OFFLINE))

    def obey(self) -> None:
        """Have the schedulers follow the orders that stand now. Raises StoreUnavailable."""
        paused = frozenset(Destination.parse(order.subject) for order in self.orders(OrderKind.PAUSE))
        self.schedulers.obey(offline=self.is_offline(), paused=paused)
