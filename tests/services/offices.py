"""A whole post office in the virtual world whose every step can be spoiled: who comes for a letter must get it still.

A `Saboteur` counts the steps of a play (each call of a store, each octet written, each question) and makes one of
them fail. `Office` is reception, delivery and the mover of stories over stores that ask the saboteur first; when
one of its services falls over, the next office takes the same folder, as a supervisor would have it.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import apsw

from postroad.contracts.directory import Account, Domain
from postroad.contracts.errors import ConnectFailed
from postroad.contracts.mailbox_store import Delivery as MailboxDelivery
from postroad.contracts.queue_store import NewMessage, Settlement, StoredContent, Work
from postroad.contracts.resolver import MxRecord
from postroad.services.delivery import Delivery, DeliveryPlan, DeliveryWorld
from postroad.services.outbox_mover import OutboxMover
from postroad.services.reception import Onward, Reception, ReceptionSettings, Stores, Surroundings
from postroad.simulation.virtual_clock import VirtualClock
from postroad.simulation.virtual_entropy import VirtualEntropy
from postroad.simulation.virtual_network import VirtualHost, VirtualNetwork
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_content import FileThreads
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import DeliverySettings, LimitSettings, PolicySettings, RetrySettings, Severity
from postroad.vocabulary.story import Received
from tests.services.dns import PlainPasswords, Zone
from tests.services.houses import Client, pass_time
from tests.support.peer import Peer

HOSTNAME = "mx.a.example"
US, THEM, CUSTOMER = "192.0.2.1", "203.0.113.2", "198.51.100.7"
POLICY = PolicySettings(
    reverse_dns=Severity.OFF,
    helo=Severity.OFF,
    sender_domain=Severity.OFF,
    own_sender=Severity.OFF,
    trusted_networks=(f"{CUSTOMER}/32",),
)
R = TypeVar("R")


class Saboteur:
    """Spoils the steps from number `at` on, `times` of them, by raising what `error` makes of the step's name; 0
    spoils nothing. Only steps whose name begins as one of `only` count, where any are given."""

    def __init__(self, at: int, error: Callable[[str], Exception], times: int = 1, only: tuple[str, ...] = ()) -> None:
        self.at = at
        self.times = times
        self.error = error
        self.only = only
        self.armed = False
        self.steps: list[str] = []
        self.struck: list[str] = []

    def step(self, name: str) -> None:
        if not self.armed or (self.only and not name.startswith(self.only)):
            return
        self.steps.append(name)
        if 0 < self.at <= len(self.steps) < self.at + self.times:
            self.struck.append(name)
            raise self.error(name)

    async def promised(self, name: str) -> None:
        self.step(name)

    def failed(self, name: str) -> asyncio.Future[Any] | None:
        """A future that has failed, when this step is to fail."""
        try:
            self.step(name)
        except Exception as error:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future
        return None


class SpoiledQueue(SqliteQueueStore):
    """The real store; `accept` and `settle` fail at once or by their future, as the contract has it."""

    saboteur: Saboteur

    def accept(self, message: NewMessage) -> asyncio.Future[None]:
        self.saboteur.step("accept, at once")
        return self.saboteur.failed("accept") or super().accept(message)

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        self.saboteur.step("settle, at once")
        return self.saboteur.failed("settle") or super().settle(settlement)

    async def take_due(
        self,
        now: datetime,
        limit: int,
        taken: Callable[[QueueId, Destination], bool],
        without: frozenset[Destination] = frozenset(),
    ) -> tuple[Work, ...]:
        await self.saboteur.promised("take_due")
        return await super().take_due(now, limit, taken, without)

    async def next_due_at(self) -> datetime | None:
        await self.saboteur.promised("next_due_at")
        return await super().next_due_at()

    async def content(self, queue_id: QueueId) -> StoredContent:
        await self.saboteur.promised("content")
        return await super().content(queue_id)

    async def outbox(self, limit: int) -> tuple[tuple[int, bytes], ...]:
        await self.saboteur.promised("outbox")
        return await super().outbox(limit)

    def clear_outbox(self, up_to: int) -> asyncio.Future[None]:
        self.saboteur.step("clear_outbox, at once")
        return self.saboteur.failed("clear_outbox") or super().clear_outbox(up_to)


class SpoiledMailboxes(SqliteMailboxStore):
    saboteur: Saboteur

    def deliver(self, delivery: MailboxDelivery) -> asyncio.Future[int]:
        return self.saboteur.failed("deliver") or super().deliver(delivery)


class SpoiledDirectory(SqliteDirectory):
    saboteur: Saboteur

    def domain(self, name: str) -> Domain | None:
        self.saboteur.step("domain")
        return super().domain(name)

    def account(self, address: Mailbox) -> Account | None:
        self.saboteur.step("account")
        return super().account(address)


class SpoiledLedger(SqliteLedger):
    saboteur: Saboteur

    async def write(self, blobs: tuple[bytes, ...]) -> None:
        await self.saboteur.promised("ledger")
        await super().write(blobs)


class SpoiledFiles(FileThreads):
    """Every piece of work with a content file: writing, syncing, opening, reading."""

    saboteur: Saboteur

    def call(self, function: Callable[[], R]) -> asyncio.Future[R]:
        def spoiled() -> R:
            self.saboteur.step("content file")
            return function()

        return super().call(spoiled)


class SpoiledSystem:
    """Stands in for `os` in a module of the storage room: the calls that make files durable ask first."""

    _SPOILED = ("open", "link", "rename", "fsync")

    def __init__(self, saboteur: Saboteur) -> None:
        self._saboteur = saboteur

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self._SPOILED:
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            self._saboteur.step(f"os.{name}")
            return real(*arguments, **named)

        return call


class SpoiledDisk(apsw.VFS):
    """A file layer for SQLite: every write and every sync asks first."""

    def __init__(self, name: str, saboteur: Saboteur) -> None:
        self.name = name
        self.saboteur = saboteur
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _SpoiledFile(self.saboteur, name, flags)


class _SpoiledFile(apsw.VFSFile):
    def __init__(self, saboteur: Saboteur, name: Any, flags: list[int]) -> None:
        self._saboteur = saboteur
        self._what = "log" if flags[0] & apsw.SQLITE_OPEN_WAL else "file"
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._saboteur.step(f"write to the {self._what}")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._saboteur.step(f"sync of the {self._what}")
        super().xSync(flags)


class SpoiledZone(Zone):
    saboteur: Saboteur

    def _ask(self, name: str) -> None:
        self.saboteur.step("DNS")
        super()._ask(name)


class SpoiledHost(VirtualHost):
    saboteur: Saboteur

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        try:
            self.saboteur.step("connect")
        except ConnectionError as error:
            raise ConnectFailed(str(error)) from error
        return await super().connect(*arguments, **named)


class Office:
    """One life of the services over a folder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.errors: list[tuple[str, BaseException]] = []
        self.queue: SpoiledQueue
        self.mailboxes: SpoiledMailboxes
        self.directory: SpoiledDirectory
        self.ledger: SpoiledLedger
        self.delivery: Delivery
        self.reception: Reception
        self.mover: OutboxMover

    @classmethod
    @asynccontextmanager
    async def open(cls, world: World) -> AsyncIterator[Office]:
        office = cls(world)
        opened = AsyncExitStack()
        try:
            await office._open_stores(opened)
            async with asyncio.TaskGroup() as tasks:
                office._assemble()
                delivering = tasks.create_task(office.delivery.run())
                moving = tasks.create_task(office.mover.run())
                async with office.reception:
                    listener = world.us.listen(25, office.reception.connection(ListenerRole.SMTP))
                    try:
                        yield office
                    finally:
                        listener.stop()
                        office.delivery.stop()
                        await office.reception.stop(5)
                await asyncio.wait([delivering])
                moving.cancel()
        finally:
            world.us.crash()
            await opened.aclose()

    async def _open_stores(self, opened: AsyncExitStack) -> None:
        world, saboteur = self.world, self.world.saboteur
        self.queue = await SpoiledQueue.open(  # type: ignore[assignment]
            world.folder / "queue", 0, clock_now=world.clock.now, direct=True, vfs=world.vfs
        )
        opened.push_async_callback(self.queue.close)
        files = SpoiledFiles(direct=True, name="files")
        files.saboteur = self.queue.saboteur = saboteur
        self.queue._threads = self.queue._writes._threads = files
        self.mailboxes = SpoiledMailboxes(world.folder / "mail", direct=True, vfs=world.vfs)
        opened.push_async_callback(self.mailboxes.close)
        self.directory = SpoiledDirectory(world.folder / "directory.db", direct=True)
        opened.push_async_callback(self.directory.close)
        self.ledger = SpoiledLedger(world.folder / "ledger", "t0", world.clock, direct=True)
        opened.push_async_callback(self.ledger.close)
        self.mailboxes.saboteur = self.directory.saboteur = self.ledger.saboteur = saboteur

    def _assemble(self) -> None:
        world = self.world
        zone = SpoiledZone(
            mx={"b.example": (MxRecord(10, "mx.b.example"),)}, addresses={"mx.b.example": (THEM,), HOSTNAME: (US,)}
        )
        zone.saboteur = world.saboteur
        entropy = VirtualEntropy()

        def note(where: str, error: BaseException) -> None:
            self.errors.append((where, error))

        self.delivery = Delivery(
            DeliveryWorld(
                queue=self.queue,
                mailboxes=self.mailboxes,
                directory=self.directory,
                clock=world.clock,
                network=world.us,
                resolver=zone,
                entropy=entropy,
            ),
            DeliveryPlan(
                settings=DeliverySettings(hostname=HOSTNAME),
                retry=RetrySettings(),
                own_endpoints=frozenset({Endpoint(US, 25)}),
            ),
            errors=note,
        )
        self.mover = OutboxMover(queue=self.queue, ledger=self.ledger, errors=note)

        def accepted(message: NewMessage) -> None:
            self.delivery.hand_over(message)
            self.mover.touch()

        self.reception = Reception(
            settings=ReceptionSettings(
                hostname=HOSTNAME, limits=LimitSettings(), policy=POLICY, tls_available=False, own_uid=1
            ),
            stores=Stores(queue=self.queue, directory=self.directory, passwords=PlainPasswords(), ledger=self.ledger),
            around=Surroundings(
                clock=world.clock,
                network=world.us,
                resolver=zone,
                free_bytes=lambda: 10**12,
                user_name=lambda uid: None,
            ),
            onward=Onward(routing=self.delivery.routing, accepted=accepted),
        )

    # ---- what is there ----

    async def mail_of(self, name: str) -> list[bytes]:
        account = SqliteDirectory.account(self.directory, Mailbox(name, "a.example"))
        assert account is not None
        found = []
        for each in await self.mailboxes.list_messages(account.id):
            content = await self.mailboxes.content(account.id, each.uid)
            found.append(b"".join([chunk async for chunk in content.chunks()]))
        return found

    async def is_at_rest(self) -> bool:
        waiting = (await self.queue.counts(self.world.clock.now()))["messages"]
        return not waiting and not await SqliteQueueStore.outbox(self.queue, 1)


class World:
    """What outlives an office: the folder, the network, the other server, the customer and what was promised."""

    def __init__(self, folder: Path, saboteur: Saboteur, vfs: str | None = None) -> None:
        self.folder = folder
        self.saboteur = saboteur
        self.vfs = vfs
        self.clock = VirtualClock()
        self.network = VirtualNetwork()
        self.us = SpoiledHost(self.network, (US,), None, 1)
        self.us.saboteur = saboteur
        self.network._hosts[US] = self.us
        self.customer = self.network.host(CUSTOMER)
        self.peer = Peer("mx.b.example")
        self.network.host(THEM).listen(25, self.peer.connection)
        self._greylisted = Counter[str]()
        self.peer.on_recipient = self._judge
        self.unsure: set[str] = set()
        """Letters whose end of data was never answered: the customer sends them again, as it must."""
        self.taken: dict[str, str] = {}
        """Letter by the queue id of its 250."""

    def _judge(self, mailbox: Mailbox) -> Any:
        name = mailbox.local_part
        if name == "nobody":
            return reply(550, "No such user", status="5.1.1")
        self._greylisted[name] += 1
        return reply(451, "Come back", status="4.7.1") if name == "grey" and self._greylisted[name] == 1 else None

    async def furnish(self) -> None:
        directory = SqliteDirectory(self.folder / "directory.db", direct=True)
        await directory.add_domain(Domain(name="a.example"))
        for name in ("ann", "cat"):
            await directory.add_account(Account(id=0, address=Mailbox(name, "a.example")))
        await directory.close()
        self.saboteur.armed = True

    # ---- the customer ----

    async def hand_in(self, name: str, sender: str, recipients: tuple[str, ...], size: int = 0) -> None:
        """Until there is a 250 for it; every other answer but a temporary one is an error."""
        content = f"From: <ann@a.example>\r\nSubject: {name}\r\nMessage-ID: <{name}@a.example>\r\n\r\n".encode()
        content += b"A line of the letter.\r\n" * (1 + size // 23)
        while not await self._try(name, sender, recipients, content):
            await pass_time(60)

    async def _try(self, name: str, sender: str, recipients: tuple[str, ...], content: bytes) -> bool:
        try:
            _, protocol = await self.customer.connect(Client, Endpoint(US, 25), timeout_s=30)
        except ConnectFailed:
            return False
        assert isinstance(protocol, Client)
        try:
            lines = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"]
            for line in (None, "EHLO c.example", *lines):
                if line is not None:
                    protocol.send(line)
                if not self._went_well(await protocol.reply()):
                    return False
            protocol.transport.write(content + b".\r\n")
            answer = await protocol.reply()
            if not answer:
                self.unsure.add(name)
            if not self._went_well(answer):
                return False
            self.taken[answer.split()[-1]] = name
            return True
        finally:
            protocol.transport.close()

    @staticmethod
    def _went_well(answer: str) -> bool:
        assert not answer.startswith("5"), answer
        return answer[:1] in ("2", "3")

    # ---- what came of it ----

    async def check_stories(self, ledger: SqliteLedger) -> None:
        """Whatever had a 250 has its beginning in the ledger, once."""
        for queue_id in self.taken:
            entries = await ledger.find(queue_id, 100)
            received = [fact for entry in entries for fact in entry.facts if isinstance(fact, Received)]
            assert len(received) == 1, queue_id
