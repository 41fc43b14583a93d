"""What runs for each shard that a worker owns: delivery, the mover of stories, housekeeping."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from postroad.app.stores import Shared
from postroad.contracts.archive_store import ArchiveChain
from postroad.contracts.entropy import Entropy
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.hold_store import HoldStore
from postroad.contracts.network import Network
from postroad.contracts.queue_store import QueueStore
from postroad.contracts.resolver import Resolver
from postroad.contracts.suppressions import SuppressionStore
from postroad.services.archiving import Journal
from postroad.services.delivery import Delivery, DeliveryPlan, DeliveryWorld
from postroad.services.dispatcher import ConnectionBudget
from postroad.services.housekeeping import Housekeeping
from postroad.services.lanes import Errors
from postroad.services.outbox_mover import OutboxMover
from postroad.services.paces import Paces
from postroad.services.quotas import Quotas
from postroad.services.relay_parts import Listener
from postroad.services.suppression_feed import SuppressionFeed
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import OUTBOX_LOOK_S
from postroad.vocabulary.settings import DeliverySettings, RetrySettings
from postroad.world.aside import in_a_thread


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What the shards of one worker have in common."""

    settings: DeliverySettings
    retry: RetrySettings
    own_endpoints: frozenset[Endpoint]
    network: Network
    resolver: Resolver
    entropy: Entropy
    holds: HoldStore
    ledger_keep: timedelta
    archived: frozenset[str] = frozenset()
    suppressions: SuppressionStore | None = None
    quotas: Quotas
    listener: Listener | None = None
    connections: ConnectionBudget
    paces: Paces


class ShardService:
    """`chain` is where this shard's mail is archived, None where no domain is."""

    def __init__(
        self,
        queue: QueueStore,
        shared: Shared,
        outgoing: Outgoing,
        errors: Errors,
        chain: ArchiveChain | None = None,
    ) -> None:
        self._errors = errors
        self.mover = OutboxMover(queue=queue, ledger=shared.ledger, errors=errors)
        self.delivery = Delivery(
            DeliveryWorld(
                queue=queue,
                mailboxes=shared.mailboxes,
                directory=shared.directory,
                clock=shared.clock,
                network=outgoing.network,
                resolver=outgoing.resolver,
                entropy=outgoing.entropy,
                holds=outgoing.holds,
                aside=in_a_thread,
                journal=None if chain is None else Journal(chain, outgoing.archived, queue, shared.clock),
                quotas=outgoing.quotas,
            ),
            DeliveryPlan(
                settings=outgoing.settings,
                retry=outgoing.retry,
                own_endpoints=outgoing.own_endpoints,
                paces=outgoing.paces,
            ),
            errors=errors,
            listener=outgoing.listener,
            budget=outgoing.connections,
            written=self.mover.touch,
        )
        self._housekeeping = Housekeeping(
            queue=queue,
            mailboxes=shared.mailboxes,
            ledger=shared.ledger,
            clock=shared.clock,
            ledger_keep=outgoing.ledger_keep,
            errors=errors,
            holds=outgoing.holds,
            feed=_feed(shared, outgoing),
        )
        self._delivering: asyncio.Task[None] | None = None
        self._others: list[asyncio.Task[None]] = []

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._delivering = tasks.create_task(self.delivery.run(), name="delivery")
        self._others = [
            tasks.create_task(self.mover.run(), name="mover of stories"),
            tasks.create_task(self._look_at_the_outbox(), name="outbox"),
            tasks.create_task(self._housekeeping.run(), name="housekeeping"),
        ]

    async def _look_at_the_outbox(self) -> None:
        """Orders of administrators put stories there, too."""
        while True:
            await asyncio.sleep(OUTBOX_LOOK_S)
            self.mover.touch()

    def begin_stop(self) -> None:
        """Take nothing more up; what is under way goes on."""
        self.delivery.stop()

    async def stop(self) -> None:
        """What is under way comes to its end, within the grace; then the stories go into the ledger."""
        self.begin_stop()
        if self._delivering is not None:
            await asyncio.wait((self._delivering,))
        for task in self._others:
            task.cancel()
        try:
            await self.mover.drain()
        except StoreUnavailable as error:
            self._errors("copying stories to the ledger; they stay in the queue until the next start", error)


def _feed(shared: Shared, outgoing: Outgoing) -> SuppressionFeed | None:
    if outgoing.suppressions is None:
        return None
    return SuppressionFeed(
        suppressions=outgoing.suppressions, ledger=shared.ledger, clock=shared.clock, keep=outgoing.ledger_keep
    )
