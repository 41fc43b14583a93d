"""The queue's verbs of one process, put together: over its shards, and its schedulers where it delivers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from postroad.app.configuration import Configuration
from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.ledger import Ledger
from postroad.contracts.queue_store import QueueStore
from postroad.rules.routing import group_recipients
from postroad.services.leads import lists_in
from postroad.services.operations.charge import Charge
from postroad.services.operations.queue_orders import QueueOrders, Returning
from postroad.services.operations.queue_summary import QueueSummaryOperations
from postroad.services.operations.queues import QueueOperations
from postroad.services.operations.schedulers import Scheduler, Schedulers
from postroad.services.operations.standing_orders import StandingOrderOperations
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Group


class SharedStores(Protocol):
    """`stores.Shared`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def directory(self) -> Directory: ...

    @property
    def ledger(self) -> Ledger: ...


class QueueAdministration:
    """`groups` are the groups of verbs. `obey` has the schedulers follow the orders that stand: to be called once
    when they are there."""

    def __init__(
        self,
        *,
        queues: tuple[QueueStore, ...],
        shared: SharedStores,
        schedulers: Schedulers,
        returning: Returning,
        configured_offline: bool,
    ) -> None:
        clock = shared.clock
        self._charge = Charge(
            queues=queues,
            directory=shared.directory,
            clock=clock,
            schedulers=schedulers,
            configured_offline=configured_offline,
        )
        self.groups = (
            QueueOperations(queues=queues, ledger=shared.ledger, clock=clock, schedulers=schedulers),
            QueueOrders(queues=queues, clock=clock, schedulers=schedulers, returning=returning),
            QueueSummaryOperations(self._charge),
            StandingOrderOperations(self._charge),
        )

    def obey(self) -> None:
        """Raises StoreUnavailable."""
        self._charge.obey()


def administration_of(
    configuration: Configuration,
    shared: SharedStores,
    queues: tuple[QueueStore, ...],
    schedulers: Iterable[Scheduler] = (),
) -> QueueAdministration:
    """`schedulers` where this process delivers."""
    settings = configuration.delivery_settings()
    list_of = lists_in(shared.directory)

    def routing(recipients: tuple[Recipient, ...]) -> tuple[Group, ...]:
        return group_recipients(recipients, shared.directory.domain, list_of, settings)

    return QueueAdministration(
        queues=queues,
        shared=shared,
        schedulers=Schedulers(schedulers),
        returning=Returning(hostname=settings.hostname, retry=configuration.retry_settings(), routing=routing),
        configured_offline=settings.offline,
    )
