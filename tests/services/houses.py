"""A Postroad house in the virtual world, for tests of its services: real stores in a folder, a virtual network.

async with House.open(tmp_path) as house, house.reception(), house.client() as client:
    await client.say("EHLO c.example", 250)
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from postroad.contracts.directory import Account, Domain, DomainKind
from postroad.contracts.queue_store import NewMessage, QueueFilter
from postroad.contracts.resolver import Resolver
from postroad.rules.routing import group_recipients
from postroad.services.leads import lists_in
from postroad.services.pop3_service import Pop3Service, Pop3Settings, Pop3Stores
from postroad.services.reception import Onward, Reception, ReceptionSettings, Stores, Surroundings
from postroad.simulation.virtual_clock import VirtualClock
from postroad.simulation.virtual_entropy import VirtualEntropy
from postroad.simulation.virtual_loop import VirtualLoop, run
from postroad.simulation.virtual_network import VirtualHost, VirtualNetwork
from postroad.simulation.weather import Weather
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.settings import DeliverySettings, LimitSettings, PlaintextLogin, PolicySettings, Severity
from postroad.vocabulary.story import Entry, Fact, Refused
from tests.services.dns import PlainPasswords, Zone

HERE = "here.example"
HOSTNAME = f"mx.{HERE}"
SERVER = "192.0.2.25"
CLIENT = "198.51.100.7"
SOCKET = "/run/submit.sock"
LMTP_SOCKET = "/run/lmtp.sock"
PASSWORD = "correct horse"
SERVER_UID = 990
UNIX_USERS = {0: "root", SERVER_UID: "postroad", 1001: "ann", 1002: "guest"}
ALL_OFF = PolicySettings(
    reverse_dns=Severity.OFF, helo=Severity.OFF, sender_domain=Severity.OFF, own_sender=Severity.OFF
)
PORTS = {
    ListenerRole.SMTP: 25,
    ListenerRole.SMTP_PROXY: 26,
    ListenerRole.LMTP: 24,
    ListenerRole.SUBMISSION: 587,
    ListenerRole.SUBMISSIONS: 465,
    ListenerRole.ODMR: 366,
    ListenerRole.POP3: 110,
    ListenerRole.POP3S: 995,
}
DOORS = (
    ListenerRole.SMTP,
    ListenerRole.SMTP_PROXY,
    ListenerRole.LMTP,
    ListenerRole.SUBMISSION,
    ListenerRole.SUBMISSIONS,
    ListenerRole.ODMR,
)
DEADLINE_S = 10 * 86_400.0
"""Of virtual time; a test that waits for ever ends."""


def play(scene: Callable[[], Coroutine[Any, Any, None]], *, seed: int | None = None) -> None:
    """Run a scene in virtual time."""

    async def timed() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await scene()

    run(timed(), seed=seed)


async def pass_time(seconds: float) -> None:
    """Let virtual time go by; nobody waits for it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    over = asyncio.Event()
    loop.call_later(seconds, over.set)
    await over.wait()


class Notebook:
    """A ledger that can be read at once."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.dropped = 0

    def record(self, entry: Entry) -> None:
        self.entries.append(entry)

    async def write(self, blobs: tuple[bytes, ...]) -> None:
        raise AssertionError("neither reception nor POP3 writes blobs")

    async def find(self, key: str, limit: int) -> tuple[Entry, ...]:
        return tuple(each for each in self.entries if key in each.keys)[:limit]

    async def find_each(self, keys: tuple[str, ...], limit: int, since: datetime) -> dict[str, tuple[Entry, ...]]:
        return {key: await self.find(key, limit) for key in keys}

    async def flush(self) -> None:
        return

    async def drop_before(self, day: datetime) -> int:
        return 0

    async def close(self) -> None:
        return

    def facts(self) -> list[Fact]:
        return [fact for entry in self.entries for fact in entry.facts]

    def refusals(self) -> list[Refused]:
        return [fact for fact in self.facts() if isinstance(fact, Refused)]


class House:
    """The stores, the machine and what has been accepted. `free_bytes` may be set."""

    def __init__(self, folder: Path, weather: Weather) -> None:
        self.folder = folder
        self.internet = VirtualNetwork(weather=weather)
        self.machine: VirtualHost = self.internet.host(SERVER, "2001:db8::25", names=(HOSTNAME,), uid=SERVER_UID)
        self.clock = VirtualClock()
        self.ledger = Notebook()
        self.passwords = PlainPasswords()
        self.accepted: list[NewMessage] = []
        self.free_bytes = 10**12
        self.channel_binding = b""
        self._clients: dict[str, VirtualHost] = {}
        self.queue: SqliteQueueStore
        self.directory: SqliteDirectory
        self.mailboxes: SqliteMailboxStore

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, weather: Weather = Weather()) -> AsyncIterator[House]:  # noqa: B008
        house = cls(folder, weather)
        folder.mkdir(parents=True, exist_ok=True)
        house.queue = await SqliteQueueStore.open(folder / "queue", 0, clock_now=house.clock.now, direct=True)
        house.directory = SqliteDirectory(folder / "directory.db", direct=True)
        house.mailboxes = SqliteMailboxStore(folder / "mail", direct=True)
        await house._furnish()
        try:
            yield house
        finally:
            await house.queue.close()
            await house.mailboxes.close()
            await house.directory.close()

    async def _furnish(self) -> None:
        """ann has a grant and a Unix user, bob is disabled, b.example is relayed for."""
        await self.directory.add_domain(Domain(name=HERE))
        await self.directory.add_domain(Domain(name="b.example", kind=DomainKind.RELAY))
        ann = Account(
            id=0,
            address=Mailbox("ann", HERE),
            display_name="Ann Author",
            password=PASSWORD,
            unix_user="ann",
            grants=(Mailbox("sales", HERE),),
        )
        self.ann = await self.directory.add_account(ann)
        await self.directory.add_account(Account(id=0, address=Mailbox("bob", HERE), password=PASSWORD, disabled=True))

    # ---- services ---------------------------------------------------------------------------------

    def _routing(self, recipients: tuple[Recipient, ...]) -> tuple[Group, ...]:
        return group_recipients(
            recipients, self.directory.domain, lists_in(self.directory), DeliverySettings(hostname=HOSTNAME)
        )

    @asynccontextmanager
    async def reception(
        self,
        *,
        policy: PolicySettings = ALL_OFF,
        limits: LimitSettings | None = None,
        dns: Resolver | None = None,
        tls: bool = True,
    ) -> AsyncIterator[Reception]:
        reception = Reception(
            settings=ReceptionSettings(
                hostname=HOSTNAME,
                limits=limits or LimitSettings(),
                policy=policy,
                tls_available=tls,
                own_uid=SERVER_UID,
            ),
            stores=Stores(queue=self.queue, directory=self.directory, passwords=self.passwords, ledger=self.ledger),
            around=Surroundings(
                clock=self.clock,
                network=self.machine,
                resolver=dns or Zone(),
                free_bytes=lambda: self.free_bytes,
                user_name=UNIX_USERS.get,
                entropy=VirtualEntropy(),
                channel_binding=lambda: self.channel_binding,
            ),
            onward=Onward(routing=self._routing, accepted=self.accepted.append),
        )
        async with reception:
            listeners = [
                self.machine.listen(PORTS[role], reception.connection(role), tls=role.implicit_tls) for role in DOORS
            ]
            for path, role in ((SOCKET, ListenerRole.LOCAL), (LMTP_SOCKET, ListenerRole.LMTP)):
                listeners.append(self.machine.listen_local(path, reception.connection(role)))
            for listener in listeners:
                reception.overload.watch(listener)
            yield reception
            for listener in listeners:
                listener.stop()

    @asynccontextmanager
    async def pop3(
        self, plaintext_login: PlaintextLogin = PlaintextLogin.ALWAYS, *, apop: bool = False
    ) -> AsyncIterator[Pop3Service]:
        pop3 = Pop3Service(
            settings=Pop3Settings(hostname=HOSTNAME, plaintext_login=plaintext_login, tls_available=True, apop=apop),
            stores=Pop3Stores(
                mailboxes=self.mailboxes, directory=self.directory, passwords=self.passwords, ledger=self.ledger
            ),
            clock=self.clock,
            network=self.machine,
            entropy=VirtualEntropy(),
            channel_binding=lambda: self.channel_binding,
        )
        async with pop3:
            listeners = [
                self.machine.listen(PORTS[role], pop3.connection(role), tls=role.implicit_tls)
                for role in (ListenerRole.POP3, ListenerRole.POP3S)
            ]
            yield pop3
            for listener in listeners:
                listener.stop()

    # ---- clients ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def client(self, role: ListenerRole = ListenerRole.SMTP, address: str = CLIENT) -> AsyncIterator[Client]:
        """A client that has read the greeting."""
        client = await self.connect(role, address)
        await client.expect(220)
        try:
            yield client
        finally:
            client.transport.close()

    async def connect(self, role: ListenerRole = ListenerRole.SMTP, address: str = CLIENT) -> Client:
        host = self._clients.get(address)
        if host is None:
            host = self._clients[address] = self.internet.host(address)
        server = "2001:db8::25" if ":" in address else SERVER
        _, protocol = await host.connect(Client, Endpoint(server, PORTS[role]), timeout_s=30)
        assert isinstance(protocol, Client)
        protocol.host = host
        if role.implicit_tls:
            await protocol.start_tls()
        return protocol

    async def connect_local(self, uid: int, path: str = SOCKET) -> Client:
        """From a process of this Unix user, on the server's own machine."""
        self.machine.user_id, before = uid, self.machine.user_id
        try:
            _, protocol = await self.machine.connect_local(Client, path, timeout_s=30)
        finally:
            self.machine.user_id = before
        assert isinstance(protocol, Client)
        return protocol

    # ---- what is there ----------------------------------------------------------------------------

    async def queued(self) -> int:
        return len(await self.queue.entries(QueueFilter(), 1000))

    def files(self) -> list[Path]:
        """Content files of the queue, finished or not."""
        return [each for each in (self.folder / "queue" / "0").rglob("*") if each.is_file()]

    async def content(self, n: int = -1) -> bytes:
        """The content of a message as the store has it."""
        stored = await self.queue.content(self.accepted[n].queue_id)
        return b"".join([chunk async for chunk in stored.chunks()])


class Client(asyncio.Protocol):
    """The other end of a connection, line by line."""

    host: VirtualHost
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed = False
        self._news = asyncio.Event()
        self.segments = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.segments += 1
        self.received += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._news.set()

    async def start_tls(self) -> None:
        self.transport, _ = await self.host.start_tls_as_client(self.transport, self, server_name=HOSTNAME, verify=True)

    async def line(self) -> bytes:
        """The next line without its CR LF; b"" when the connection is closed."""
        while (end := self.received.find(b"\r\n")) < 0:
            if self.closed:
                return b""
            self._news.clear()
            await self._news.wait()
        line = bytes(self.received[:end])
        del self.received[: end + 2]
        return line

    async def reply(self) -> str:
        """The next SMTP reply as text, its lines joined by LF."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = (await self.line()).decode()
            if not line:
                break
            lines.append(line)
        return "\n".join(lines)

    async def expect(self, code: int, status: str = "") -> str:
        """The next reply, which must begin so."""
        reply = await self.reply()
        wanted = f"{code} {status}".strip()
        assert reply.replace("-", " ", 1).startswith(wanted), f"{reply!r} instead of {wanted}"
        return reply

    def send(self, *lines: str | bytes) -> None:
        octets = [each if isinstance(each, bytes) else each.encode() for each in lines]
        self.transport.write(b"".join(each + b"\r\n" for each in octets))

    async def say(self, command: str, code: int, status: str = "") -> str:
        self.send(command)
        return await self.expect(code, status)

    async def give(self, content: bytes, *recipients: str, sender: str = "cat@c.example") -> str:
        """A whole transaction; the reply to the end of the data. `content` needs no transparency."""
        await self.say(f"MAIL FROM:<{sender}>", 250)
        for recipient in recipients or (f"ann@{HERE}",):
            await self.say(f"RCPT TO:<{recipient}>", 250)
        await self.say("DATA", 354)
        self.transport.write(content + b".\r\n")
        return await self.reply()

    async def log_in(self, name: str = f"ann@{HERE}", password: str = PASSWORD) -> str:
        """AUTH PLAIN; the reply."""
        response = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        self.send(f"AUTH PLAIN {response}")
        return await self.reply()

    async def until_closed(self) -> bytes:
        """What still came until the server closed."""
        while not self.closed:
            self._news.clear()
            await self._news.wait()
        return bytes(self.received)
