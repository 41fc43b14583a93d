"""Whole mail houses in the virtual world that hold mail for others, and fetch mail that others hold for them.

async with Depot.open(internet, tmp_path / "p", "p.example", "192.0.2.1", holds=...) as provider:
    ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from msgspec import structs

from postroad.contracts.directory import Account, Domain
from postroad.contracts.queue_store import NewMessage, QueueFilter
from postroad.contracts.resolver import MxRecord
from postroad.rules.mx_order import Ourselves
from postroad.services.delivery import Delivery, DeliveryPlan, DeliveryWorld
from postroad.services.hold_keeping import HoldKeeping, KeepingWorld
from postroad.services.holds import Holds, HoldsWorld
from postroad.services.pickup import PickedUp, Pickups, PickupWorld
from postroad.services.pickup_pop3 import FetchingWorld
from postroad.services.pop3_service import Pop3Service, Pop3Settings, Pop3Stores
from postroad.services.reception import Onward, Reception, ReceptionSettings, Stores, Surroundings
from postroad.services.terminals import Watchers
from postroad.simulation.virtual_clock import VirtualClock
from postroad.simulation.virtual_entropy import VirtualEntropy
from postroad.simulation.virtual_network import VirtualHost, VirtualNetwork
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import (
    DeliverySettings,
    HoldDomain,
    LimitSettings,
    Pickup,
    PickupMethod,
    PlaintextLogin,
    PolicySettings,
    RetrySettings,
    Route,
    Severity,
    WhoMayAsk,
)
from tests.services.dns import PlainPasswords, Zone
from tests.services.houses import Client

PASSWORD = "correct horse"
PORTS = {ListenerRole.SMTP: 25, ListenerRole.SUBMISSION: 587, ListenerRole.ODMR: 366, ListenerRole.POP3: 110}
POLICY = PolicySettings(
    reverse_dns=Severity.OFF,
    helo=Severity.OFF,
    sender_domain=Severity.OFF,
    own_sender=Severity.OFF,
    vrfy=WhoMayAsk.ANYONE,
    expn=WhoMayAsk.ANYONE,
)


@dataclass
class Internet:
    """What all houses share. `mx` and `addresses` are the DNS."""

    network: VirtualNetwork = field(default_factory=VirtualNetwork)
    clock: VirtualClock = field(default_factory=VirtualClock)
    mx: dict[str, tuple[MxRecord, ...]] = field(default_factory=dict)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _caller: VirtualHost | None = None

    def caller(self) -> VirtualHost:
        """A machine that calls our houses."""
        if self._caller is None:
            self._caller = self.network.host("198.51.100.77")
        return self._caller

    def zone(self) -> Zone:
        return Zone(mx=self.mx, addresses=self.addresses)


class Depot:
    """One house: a domain with accounts, and everything that runs in a worker. `errors` are what was unexpected."""

    def __init__(self, internet: Internet, domain: str, address: str) -> None:
        self.internet = internet
        self.domain = domain
        self.address = address
        self.hostname = f"mx.{domain}"
        self.host = internet.network.host(address, names=(self.hostname,))
        internet.addresses[self.hostname] = (address,)
        internet.mx[domain] = (MxRecord(10, self.hostname),)
        self.errors: list[tuple[str, BaseException]] = []
        self.lines: list[tuple[int, str, str]] = []
        self.news = asyncio.Event()
        self.accepted: list[NewMessage] = []
        self.queue: SqliteQueueStore
        self.directory: SqliteDirectory
        self.mailboxes: SqliteMailboxStore
        self.store: SqliteHoldStore
        self.ledger: SqliteLedger
        self.delivery: Delivery
        self.holds: Holds
        self.keeping: HoldKeeping
        self.reception: Reception
        self.pickups: Pickups
        self.watchers: Watchers

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        internet: Internet,
        folder: Path,
        domain: str,
        address: str,
        *,
        users: Iterable[str] = (),
        holds: tuple[HoldDomain, ...] = (),
        pickups: tuple[Pickup, ...] = (),
        policy: PolicySettings = POLICY,
        limits: LimitSettings | None = None,
        routes: tuple[Route, ...] = (),
        keep_holds: bool = True,
    ) -> AsyncIterator[Depot]:
        depot = cls(internet, domain, address)
        settings = DeliverySettings(
            hostname=depot.hostname,
            hold_domains=frozenset(hold.domain for hold in holds),
            routes=routes,
            private_destinations_allowed=True,
        )
        async with AsyncExitStack() as opened:
            await depot._open_stores(opened, folder, users)
            depot._assemble(settings, holds, pickups, policy, limits or LimitSettings())
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(depot.delivery.run()), tasks.create_task(depot.holds.run())]
                background = [tasks.create_task(depot.pickups.run())]
                if keep_holds:
                    background.append(tasks.create_task(depot.keeping.run()))
                await asyncio.sleep(0)
                async with depot.reception, depot._pop3() as pop3:
                    listeners = [
                        depot.host.listen(
                            port, (pop3 if role is ListenerRole.POP3 else depot.reception).connection(role)
                        )
                        for role, port in PORTS.items()
                    ]
                    yield depot
                    for listener in listeners:
                        listener.stop()
                    await depot.reception.stop(5)
                depot.delivery.stop()
                depot.holds.stop()
                await asyncio.wait(running)
                for task in background:
                    task.cancel()
        depot.host.crash()
        assert depot.errors == []

    async def _open_stores(self, opened: AsyncExitStack, folder: Path, users: Iterable[str]) -> None:
        clock = self.internet.clock
        self.queue = await SqliteQueueStore.open(folder / "queue", 0, clock_now=clock.now, direct=True)
        opened.push_async_callback(self.queue.close)
        self.mailboxes = SqliteMailboxStore(folder / "mail", direct=True)
        opened.push_async_callback(self.mailboxes.close)
        self.directory = SqliteDirectory(folder / "directory.db", direct=True)
        opened.push_async_callback(self.directory.close)
        self.store = SqliteHoldStore(folder / "hold", direct=True)
        opened.push_async_callback(self.store.close)
        self.ledger = SqliteLedger(folder / "ledger", "t0", clock, direct=True)
        opened.push_async_callback(self.ledger.close)
        if self.directory.domain(self.domain) is None:
            await self.directory.add_domain(Domain(name=self.domain))
            for name in users:
                account = Account(
                    id=0, address=Mailbox(name, self.domain), display_name=name.title(), password=PASSWORD
                )
                await self.directory.add_account(account)

    def _assemble(
        self,
        settings: DeliverySettings,
        holds: tuple[HoldDomain, ...],
        pickups: tuple[Pickup, ...],
        policy: PolicySettings,
        limits: LimitSettings,
    ) -> None:
        clock, zone, entropy = self.internet.clock, self.internet.zone(), VirtualEntropy()
        ourselves = Ourselves(self.hostname, frozenset({Endpoint(self.address, 25)}))
        retry = RetrySettings()
        self.delivery = Delivery(
            DeliveryWorld(
                queue=self.queue,
                mailboxes=self.mailboxes,
                directory=self.directory,
                clock=clock,
                network=self.host,
                resolver=zone,
                entropy=entropy,
                holds=self.store,
            ),
            DeliveryPlan(settings=settings, retry=retry, own_endpoints=ourselves.endpoints),
            errors=self._error,
        )
        self.keeping = HoldKeeping(
            holds,
            KeepingWorld(
                holds=self.store,
                queue=self.queue,
                ledger=self.ledger,
                clock=clock,
                routing=self.delivery.routing,
                accepted=self._accepted,
            ),
            hostname=self.hostname,
            retry=retry,
            errors=self._error,
        )
        self.holds = Holds(
            holds,
            settings,
            HoldsWorld(
                store=self.store,
                queue=self.queue,
                directory=self.directory,
                clock=clock,
                network=self.host,
                resolver=zone,
                entropy=entropy,
                flush=self._flush,
                stirred=self._stirred,
            ),
            ourselves=ourselves,
            errors=self._error,
            listener=lambda number, who, line: self.lines.append((number, who, line)),
        )
        self.watchers = Watchers()
        self.reception = Reception(
            settings=ReceptionSettings(
                hostname=self.hostname,
                limits=limits,
                policy=policy,
                tls_available=True,
                hold_domains=settings.hold_domains,
                queue_runs=True,
                terminals=True,
            ),
            stores=Stores(queue=self.queue, directory=self.directory, passwords=PlainPasswords(), ledger=self.ledger),
            around=Surroundings(
                clock=clock,
                network=self.host,
                resolver=zone,
                free_bytes=lambda: 10**12,
                user_name=lambda uid: None,
                entropy=entropy,
            ),
            onward=Onward(
                routing=self.delivery.routing, accepted=self._accepted, holds=self.holds, terminals=self.watchers
            ),
        )
        self.pickups = Pickups(
            pickups,
            PickupWorld(
                network=self.host,
                resolver=zone,
                entropy=entropy,
                fetching=FetchingWorld(
                    hostname=self.hostname,
                    queue=self.queue,
                    clock=clock,
                    limits=limits,
                    routing=self.delivery.routing,
                    accepted=self._accepted,
                ),
                collect=self.reception.collect,
            ),
            errors=self._error,
        )

    def _pop3(self) -> Pop3Service:
        return Pop3Service(
            settings=Pop3Settings(hostname=self.hostname, plaintext_login=PlaintextLogin.ALWAYS, tls_available=True),
            stores=Pop3Stores(
                mailboxes=self.mailboxes, directory=self.directory, passwords=PlainPasswords(), ledger=self.ledger
            ),
            clock=self.internet.clock,
            network=self.host,
        )

    # ---- what the services tell -------------------------------------------------------------------

    def _error(self, where: str, error: BaseException) -> None:
        self.errors.append((where, error))

    def _accepted(self, message: NewMessage) -> None:
        self.accepted.append(message)
        self.delivery.hand_over(message)
        self.news.set()

    def _stirred(self, domain: str) -> None:
        self.keeping.nudge(domain)
        self.news.set()

    async def _flush(self, domain: str) -> int:
        groups = await self.queue.make_due(QueueFilter(domain=domain), self.internet.clock.now())
        self.delivery.wake()
        return groups

    # ---- what there is ----------------------------------------------------------------------------

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it holds; it is asked again every second of virtual time."""
        loop = asyncio.get_running_loop()
        while not await holds():
            tick = asyncio.Event()
            loop.call_later(1.0, tick.set)
            await tick.wait()

    async def is_quiet(self) -> None:
        """Nothing is left in the queue."""

        async def empty() -> bool:
            return (await self.queue.counts(self.internet.clock.now()))["messages"] == 0

        await self.until(empty)

    async def held(self, domain: str) -> int:
        return (await self.store.summary(domain)).messages

    async def letters_of(self, name: str) -> list[bytes]:
        """The contents of somebody's mailbox."""
        account = self.directory.account(Mailbox(name, self.domain))
        assert account is not None
        found = []
        for each in await self.mailboxes.list_messages(account.id):
            content = await self.mailboxes.content(account.id, each.uid)
            found.append(b"".join([chunk async for chunk in content.chunks()]))
        return found

    async def change(self, name: str, **changes: object) -> None:
        account = self.directory.account(Mailbox(name, self.domain))
        assert account is not None
        await self.directory.change_account(structs.replace(account, **changes))

    async def picked_up(self, name: str = "") -> list[PickedUp]:
        """One pick-up now, to its end."""
        names = self.pickups.names(name)
        self.pickups.begin(names)
        results = await self.pickups.results(names, 86_400.0)
        found = list(results.values())
        assert all(found)
        return [each for each in found if each is not None]


@asynccontextmanager
async def calling(
    depot: Depot, role: ListenerRole = ListenerRole.SMTP, *, secure: bool = False
) -> AsyncIterator[Client]:
    """A client from elsewhere that has read the greeting and said EHLO, inside TLS where it is to be `secure`."""
    host = depot.internet.caller()
    _, client = await host.connect(Client, Endpoint(depot.address, PORTS[role]), timeout_s=30)
    assert isinstance(client, Client)
    client.host = host
    await client.expect(220)
    await client.say("EHLO customer.example", 250)
    if secure:
        await client.say("STARTTLS", 220)
        client.transport, _ = await host.start_tls_as_client(
            client.transport, client, server_name=depot.hostname, verify=True
        )
        await client.say("EHLO customer.example", 250)
    try:
        yield client
    finally:
        client.transport.close()


def hold(domain: str, owner: str, days: int = 30) -> HoldDomain:
    return HoldDomain(domain, owner, timedelta(days=days))


def pickup(method: PickupMethod, host: str, **more: object) -> Pickup:
    ports = {PickupMethod.ATRN: 366, PickupMethod.POP3: 110}
    values = {"name": "it", "host": host, "port": ports.get(method, 25), "method": method, **more}
    return Pickup(**values)  # type: ignore[arg-type]
