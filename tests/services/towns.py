"""A sending house in the virtual world, for tests of delivery: real stores, the real scheduler, scripted peers.

async with Town.open(tmp_path) as town:
    b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
    await town.send(ANN, "bob@b.example")
    await town.queue_is_empty()
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from postroad.contracts.archive_store import ArchiveChain
from postroad.contracts.directory import Account, Domain
from postroad.contracts.mailbox_store import StoredMessage
from postroad.contracts.queue_store import NewMessage, QueueFilter, Settlement
from postroad.contracts.resolver import MxRecord
from postroad.services.archiving import Journal
from postroad.services.delivery import Delivery, DeliveryPlan, DeliveryWorld
from postroad.services.dispatcher import ConnectionBudget
from postroad.services.paces import Paces
from postroad.simulation.virtual_clock import VirtualClock
from postroad.simulation.virtual_entropy import VirtualEntropy
from postroad.simulation.virtual_loop import run
from postroad.simulation.virtual_network import VirtualHost, VirtualNetwork
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import DeliverySettings, RetrySettings
from postroad.vocabulary.story import Attempted, Entry, Fact, from_bytes
from tests.services.dns import Zone
from tests.support.peer import Peer

HOSTNAME = "mx.a.example"
US = "192.0.2.1"
ANN = Mailbox("ann", "a.example")
CONTENT = b"From: ann@a.example\r\nSubject: hello\r\nMessage-ID: <1@a.example>\r\n\r\nHello.\r\n"
DEADLINE_S = 20 * 86_400.0
"""Of virtual time."""
OUTBOX_ALL = 1_000_000


def play(scene: Callable[[], Coroutine[Any, Any, None]], *, seed: int | None = None) -> None:
    async def timed() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await scene()

    run(timed(), seed=seed)


def mailbox(address: str) -> Mailbox:
    local_part, _, domain = address.rpartition("@")
    return Mailbox(local_part, domain)


class WatchedQueue(SqliteQueueStore):
    """The real store, with an event for every settlement, and a way to make it refuse the next ones."""

    changed: asyncio.Event
    refusals: deque[Exception]
    settlements: list[Settlement]

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        if self.refusals:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(self.refusals.popleft())
            return failed
        future = super().settle(settlement)
        self.settlements.append(settlement)
        future.add_done_callback(lambda _: self.changed.set())
        return future


class Town:
    """`errors` are the unexpected exceptions that delivery reported; a test that expects none asks for none."""

    def __init__(self, network: VirtualNetwork, us: VirtualHost, clock: VirtualClock) -> None:
        self.network = network
        self.us = us
        self.clock = clock
        self.mx: dict[str, tuple[MxRecord, ...]] = {"a.example": (MxRecord(10, HOSTNAME),)}
        self.addresses: dict[str, tuple[str, ...]] = {HOSTNAME: (US,)}
        self.texts: dict[str, tuple[bytes, ...]] = {}
        self.silent: set[str] = set()
        self.hanging: set[str] = set()
        self.proved: set[str] = set()
        self.errors: list[tuple[str, BaseException]] = []
        self.trap = ""
        self.on_written: list[Callable[[], None]] = []
        self.lines: list[tuple[int, str, str]] = []
        self.hosts: dict[str, VirtualHost] = {}
        self.queue: WatchedQueue
        self.mailboxes: SqliteMailboxStore
        self.holds: SqliteHoldStore
        self.directory: SqliteDirectory
        self.delivery: Delivery
        self.world: DeliveryWorld
        self.plan: DeliveryPlan
        self.running: asyncio.Task[None]

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        *,
        retry: RetrySettings | None = None,
        start: bool = True,
        record: bool = False,
        mailboxes: type[SqliteMailboxStore] = SqliteMailboxStore,
        queue: type[WatchedQueue] = WatchedQueue,
        holds: type[SqliteHoldStore] = SqliteHoldStore,
        chain: ArchiveChain | None = None,
        archived: frozenset[str] = frozenset(),
        budget: ConnectionBudget | None = None,
        paces: Paces | None = None,
        **settings: Any,
    ) -> AsyncIterator[Town]:
        """A town with the local domain a.example and its users ann and cat; `settings` are of DeliverySettings."""
        network = VirtualNetwork()
        clock = VirtualClock()
        town = cls(network, network.host(US, names=(HOSTNAME,)), clock)
        town.queue = await queue.open(folder / "queue", 0, clock_now=clock.now, direct=True)  # type: ignore[assignment]
        town.queue.changed, town.queue.refusals, town.queue.settlements = asyncio.Event(), deque(), []
        town.mailboxes = mailboxes(folder / "mail", direct=True)
        town.holds = holds(folder / "hold", direct=True)
        town.directory = SqliteDirectory(folder / "directory.db", direct=True)
        if town.directory.domain("a.example") is None:
            await town.directory.add_domain(Domain(name="a.example"))
            for name in ("ann", "cat"):
                await town.directory.add_account(Account(id=0, address=Mailbox(name, "a.example")))
        zone = Zone(
            mx=town.mx,
            addresses=town.addresses,
            silent=town.silent,  # type: ignore[arg-type]
            proved=town.proved,
            hanging=town.hanging,
            texts=town.texts,
        )
        town.world = world = DeliveryWorld(
            queue=town.queue,
            mailboxes=town.mailboxes,
            directory=town.directory,
            clock=clock,
            network=town.us,
            resolver=zone,
            entropy=VirtualEntropy(),
            holds=town.holds,
            journal=None if chain is None else Journal(chain, archived, town.queue, clock),
        )
        town.plan = plan = DeliveryPlan(
            settings=DeliverySettings(hostname=HOSTNAME, **settings),
            retry=retry or RetrySettings(),
            own_endpoints=frozenset({Endpoint(US, 25)}),
            paces=paces,
        )
        town.delivery = Delivery(
            world,
            plan,
            errors=lambda where, error: town.errors.append((where, error)),
            listener=town.hear if record else None,
            written=town.tell,
            budget=budget,
        )
        async with asyncio.TaskGroup() as tasks:
            if start:
                town.running = tasks.create_task(town.delivery.run())
                await asyncio.sleep(0)
            yield town
            town.delivery.stop()
        await town.queue.close()
        await town.mailboxes.close()
        await town.holds.close()
        await town.directory.close()
        assert town.errors == []

    def hear(self, number: int, who: str, line: str) -> None:
        """The listener; it fails where a line begins with the trap."""
        if self.trap and line.startswith(self.trap):
            raise RuntimeError("the listener has fallen over")
        self.lines.append((number, who, line))

    def tell(self) -> None:
        for told in self.on_written:
            told()

    def peer(self, name: str, address: str, *, domain: str = "", preference: int = 10, tls: bool = False) -> Peer:
        """An MTA elsewhere: its host, its address in DNS and, with `domain`, its MX."""
        host = self.hosts[name] = self.network.host(address, names=(name,) if tls else ())
        peer = Peer(name, network=host if tls else None)
        host.listen(25, peer.connection)
        self.addresses[name] = (address,)
        if domain:
            self.mx[domain] = (*self.mx.get(domain, ()), MxRecord(preference, name))
        return peer

    async def accept(
        self,
        sender: ReversePath,
        *recipients: str | Recipient,
        content: bytes = CONTENT,
        after: timedelta | None = None,
        **envelope: Any,
    ) -> NewMessage:
        """Make a message durable, as reception does, without handing it over."""
        now = self.clock.now()
        queue_id = self.queue.new_id(now)
        those = tuple(each if isinstance(each, Recipient) else Recipient(mailbox(each)) for each in recipients)
        stored: Any = content
        if len(content) > CONTENT_IN_ROW_BYTES:
            spool = self.queue.spool(queue_id)
            spool.write(content)
            stored = await spool.seal()
        message = NewMessage(
            queue_id,
            Envelope(sender, those, **envelope),
            stored,
            self.delivery.routing(those),
            now,
            Entry(queue_id, (queue_id,), ()),
            None if after is None else now + after,
        )
        await self.queue.accept(message)
        return message

    async def send(self, sender: ReversePath, *recipients: str | Recipient, **more: Any) -> QueueId:
        message = await self.accept(sender, *recipients, **more)
        self.delivery.hand_over(message)
        return message.queue_id

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it holds, asked again after every settlement."""
        while not await holds():
            self.queue.changed.clear()
            await self.queue.changed.wait()

    async def queue_is_empty(self) -> None:
        async def empty() -> bool:
            return (await self.queue.counts(self.clock.now()))["messages"] == 0

        await self.until(empty)

    async def settled(self, count: int) -> list[Settlement]:
        """The settlements, when there are so many."""

        async def enough() -> bool:
            return len(self.queue.settlements) >= count

        await self.until(enough)
        return self.queue.settlements

    async def facts(self) -> list[Fact]:
        blobs = await self.queue.outbox(OUTBOX_ALL)
        return [fact for _, blob in blobs for entry in from_bytes(blob) for fact in entry.facts]

    async def attempts(self) -> list[Attempted]:
        return [fact for fact in await self.facts() if isinstance(fact, Attempted)]

    async def mail_of(self, name: str) -> list[bytes]:
        """What is in somebody's mailbox."""
        account = self.directory.account(Mailbox(name, "a.example"))
        assert account is not None
        messages: tuple[StoredMessage, ...] = await self.mailboxes.list_messages(account.id)
        found = []
        for each in messages:
            content = await self.mailboxes.content(account.id, each.uid)
            found.append(b"".join([chunk async for chunk in content.chunks()]))
        return found

    async def waiting(self) -> list[str]:
        """The groups in the queue, with their last line."""
        entries = await self.queue.entries(QueueFilter(), OUTBOX_ALL)
        return [f"{entry.destination} {entry.attempts} {entry.last}" for entry in entries]
