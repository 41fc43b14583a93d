"""What a transport worker runs for mail that waits: holds, pick-ups, and the register of terminals.

Every worker empties holds. The one with the first shard of the queue keeps them, holds the sessions of pick-ups, and
knows who watches: what must happen in one place happens there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroad.app.across import AcrossWorkers, Alone
from postroad.app.configuration import Configuration
from postroad.app.shard_service import Outgoing, ShardService
from postroad.app.shards import workers
from postroad.app.stores import Shared
from postroad.contracts.directory import DomainKind
from postroad.contracts.queue_store import NewMessage
from postroad.rules.mx_order import Ourselves
from postroad.services.hold_keeping import HoldKeeping, KeepingWorld
from postroad.services.holds import Holds, HoldsWorld
from postroad.services.lanes import Errors
from postroad.services.operations.performer import PlainObject
from postroad.services.operations.pickups import PickupOperations
from postroad.services.operations.terminals import TerminalOperations
from postroad.services.pickup import Pickups, PickupWorld
from postroad.services.pickup_pop3 import FetchingWorld
from postroad.services.reception import Reception
from postroad.services.terminals import Terminals, Watchers
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.settings import LimitSettings
from postroad.world.aside import in_a_thread

FIRST_SHARD = 0


class WaitingMail:
    """`accepted` is handed each message that the first of the queues has taken."""

    def __init__(
        self,
        configuration: Configuration,
        shared: Shared,
        outgoing: Outgoing,
        queues: tuple[SqliteQueueStore, ...],
        services: tuple[ShardService, ...],
        *,
        accepted: Callable[[NewMessage], None],
        errors: Errors,
    ) -> None:
        self._configuration = configuration
        self._shared = shared
        self._outgoing = outgoing
        self._queue = queues[0]
        self._routing = services[0].delivery.routing
        self._accepted = accepted
        self._errors = errors
        self._is_first = self._queue.shard == FIRST_SHARD
        self._pickups: Pickups | None = None
        self._draining: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        others = AcrossWorkers(configuration.control_socket, errors)
        self._watchers = Watchers() if self._is_first else None
        self.terminals: Terminals = others if self._watchers is None else self._watchers
        self._keeping = self._keep() if self._is_first else None

        def wake() -> None:
            for service in services:
                service.delivery.wake()

        is_alone = workers(configuration) == 1
        self.holds = Holds(
            configuration.hold_settings(),
            outgoing.settings,
            HoldsWorld(
                store=outgoing.holds,
                queue=self._queue,
                directory=shared.directory,
                clock=shared.clock,
                network=outgoing.network,
                resolver=outgoing.resolver,
                entropy=outgoing.entropy,
                flush=Alone(queues, shared.clock, wake).flush if is_alone else others.flush,
                stirred=self._stirred,
                aside=in_a_thread,
            ),
            ourselves=Ourselves(configuration.hostname, outgoing.own_endpoints),
            errors=errors,
            listener=outgoing.listener,
        )

    def _keep(self) -> HoldKeeping:
        return HoldKeeping(
            self._configuration.hold_settings(),
            KeepingWorld(
                holds=self._outgoing.holds,
                queue=self._queue,
                ledger=self._shared.ledger,
                clock=self._shared.clock,
                routing=self._routing,
                accepted=self._accepted,
            ),
            hostname=self._configuration.hostname,
            retry=self._outgoing.retry,
            errors=self._errors,
        )

    def _stirred(self, domain: str) -> None:
        if self._keeping is not None:
            self._keeping.nudge(domain)

    @property
    def queue_runs(self) -> bool:
        """Whether there is anything that ETRN could set going."""
        relayed = any(domain.kind is DomainKind.RELAY for domain in self._shared.directory.domains())
        return bool(self._configuration.hold or self._configuration.route or relayed)

    # ---- running ---------------------------------------------------------------------------------

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Before reception opens."""
        self._draining = tasks.create_task(self.holds.run(), name="holds")
        if self._keeping is not None:
            self._background.append(tasks.create_task(self._keeping.run(), name="keeping of holds"))

    def collect_with(self, reception: Reception, limits: LimitSettings, tasks: asyncio.TaskGroup) -> None:
        """Reception is open: pick-ups may begin. Raises ConfigurationError when a password has gone."""
        pickups = self._configuration.pickup_settings() if self._is_first else ()
        if not pickups:
            return
        self._pickups = Pickups(
            pickups,
            PickupWorld(
                network=self._outgoing.network,
                resolver=self._outgoing.resolver,
                entropy=self._outgoing.entropy,
                fetching=FetchingWorld(
                    hostname=self._configuration.hostname,
                    queue=self._queue,
                    clock=self._shared.clock,
                    limits=limits,
                    routing=self._routing,
                    accepted=self._accepted,
                ),
                collect=reception.collect,
            ),
            errors=self._errors,
        )
        self._background.append(tasks.create_task(self._pickups.run(), name="pick-ups"))

    def let_go(self) -> None:
        """Answer now whoever waits for something to happen."""
        if self._watchers is not None:
            self._watchers.let_go()
        if self._pickups is not None:
            self._pickups.let_go()

    async def stop_background(self) -> None:
        """Before reception closes: nothing is collected any more."""
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)

    async def stop(self) -> None:
        """After reception has closed."""
        self.holds.stop()
        if self._draining is not None:
            await asyncio.wait((self._draining,))

    # ---- for administrators ----------------------------------------------------------------------

    async def drain(self) -> None:
        """Bring the stories of holds into the ledger. Raises StoreUnavailable."""
        if self._keeping is not None:
            await self._keeping.drain()

    async def facts(self) -> PlainObject:
        """For `status`: what waits here, and what was fetched elsewhere."""
        if not self._is_first:
            return {}
        facts: PlainObject = {"watching": 0 if self._watchers is None else self._watchers.count}
        if self._configuration.hold:
            facts["holds"] = await self.holds.summaries()
        if self._pickups is not None:
            facts["pickups"] = self._pickups.summaries()
        return facts

    def operations(self) -> tuple[PickupOperations | None, TerminalOperations | None]:
        """The verbs of the worker that has them."""
        if not self._is_first or self._watchers is None:
            return None, None
        terminals = TerminalOperations(watchers=self._watchers, directory=self._shared.directory)
        return PickupOperations(self._pickups), terminals
