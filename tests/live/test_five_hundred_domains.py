"""Five hundred messages to five hundred domains over real sockets, each domain with a server of its own.

One in ten greylists for two seconds, one in twenty refuses connections, one in twenty accepts them and never speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic

from postroad.contracts.directory import Domain
from postroad.contracts.queue_store import NewMessage
from postroad.services.delivery import Delivery, DeliveryPlan, DeliveryWorld
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import DeliverySettings, RetrySettings
from postroad.vocabulary.story import Entry
from postroad.vocabulary.zone import a, mx
from postroad.world.clock import SystemClock
from postroad.world.dns import DnsResolver
from postroad.world.dns_server import DnsServer
from postroad.world.entropy import SystemEntropy
from postroad.world.tcp import RealNetwork
from tests.support.peer import Answer, Peer, Temper

DOMAINS = 500
GREYLISTED_S = 2.0
ENOUGH_S = 10.0
PATIENCE_S = 60.0
OPEN_FILES = 4096
CONTENT = b"From: ann@a.example\r\nSubject: to all\r\n\r\nHello.\r\n"
REFUSES, HANGS, GREYLISTS = 3, 13, 7
"""Of each twenty domains these numbers are dead; of each ten the last one greylists."""


def address(number: int) -> str:
    return f"127.0.{1 + number // 200}.{1 + number % 200}"


def kind(number: int) -> int:
    """What the server of the domain does; 0 for those that take their mail at once."""
    if number % 20 in (REFUSES, HANGS):
        return number % 20
    return GREYLISTS if number % 10 == GREYLISTS else 0


class Servers:
    """All of them, in this process, at one port."""

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}
        self.living = {number for number in range(DOMAINS) if kind(number) in (0, GREYLISTS)}
        self.all_have_theirs = asyncio.Event()

    async def start(self, port: int) -> list[asyncio.AbstractServer]:
        loop = asyncio.get_running_loop()
        for number in range(DOMAINS):
            if kind(number) == REFUSES:
                continue
            peer = self.peers[number] = Peer(f"mx.d{number}.example")
            peer.on_content = self._look
            if kind(number) == HANGS:
                peer.greeting = Temper.HANG
            elif kind(number) == GREYLISTS:
                peer.on_recipient = _greylist()
        return [await loop.create_server(peer.connection, address(number), port) for number, peer in self.peers.items()]

    def _look(self, content: bytes) -> Answer:
        asyncio.get_running_loop().call_soon(self._count)
        return None

    def _count(self) -> None:
        if all(self.peers[number].mail for number in self.living):
            self.all_have_theirs.set()


def test_all_living_domains_have_their_mail_in_ten_seconds(tmp_path: Path) -> None:
    async def scene() -> None:
        servers = Servers()
        port = _free_port()
        listening = await servers.start(port)
        dns = DnsServer(
            {
                f"d{number}.example": [
                    mx(f"d{number}.example", 10, f"mx.d{number}.example"),
                    a(f"mx.d{number}.example", address(number)),
                ]
                for number in range(DOMAINS)
            }
        )
        name_server = await dns.start()
        clock = SystemClock()
        queue = await SqliteQueueStore.open(tmp_path / "queue", 0, clock_now=clock.now)
        mailboxes = SqliteMailboxStore(tmp_path / "mail")
        directory = SqliteDirectory(tmp_path / "directory.db")
        await directory.add_domain(Domain(name="a.example"))
        problems: list[BaseException] = []
        async with asyncio.timeout(PATIENCE_S), RealNetwork() as network, asyncio.TaskGroup() as tasks:
            delivery = Delivery(
                DeliveryWorld(
                    queue=queue,
                    mailboxes=mailboxes,
                    directory=directory,
                    clock=clock,
                    network=network,
                    resolver=DnsResolver((str(name_server),)),
                    entropy=SystemEntropy(),
                ),
                DeliveryPlan(
                    settings=DeliverySettings(hostname="mx.a.example", port=port, private_destinations_allowed=True),
                    retry=RetrySettings(waits=(timedelta(seconds=1), timedelta(seconds=2))),
                ),
                errors=lambda where, error: problems.append(error),
            )
            running = tasks.create_task(delivery.run())
            began_s = monotonic()
            for number in range(DOMAINS):
                await _send(queue, delivery, clock, (f"bob@d{number}.example",))
            await _send(queue, delivery, clock, tuple(f"bob{n}@d0.example" for n in range(100)))
            await servers.all_have_theirs.wait()
            took_s = monotonic() - began_s
            delivery.stop()
            await running
        assert took_s < ENOUGH_S
        assert sorted(len(taken.recipients) for taken in servers.peers[0].mail) == [1, 100]
        for number in servers.living - {0}:
            assert servers.peers[number].recipients == [f"bob@d{number}.example"]
        assert problems == []
        for each in listening:
            each.close()
        await dns.stop()
        for store in (queue, mailboxes, directory):
            await store.close()

    with _enough_files():
        asyncio.run(scene())


def _greylist() -> Callable[[Mailbox], Answer]:
    """An answer to RCPT: not before GREYLISTED_S have passed since the first."""
    since: list[float] = []

    def answer(_: Mailbox) -> Answer:
        since.append(monotonic())
        return None if since[-1] - since[0] >= GREYLISTED_S else reply(451, "Greylisted", status="4.7.1")

    return answer


async def _send(queue: SqliteQueueStore, delivery: Delivery, clock: SystemClock, names: tuple[str, ...]) -> None:
    now = clock.now()
    queue_id = queue.new_id(now)
    recipients = tuple(Recipient(Mailbox(*name.split("@"))) for name in names)
    message = NewMessage(
        queue_id,
        Envelope(Mailbox("ann", "a.example"), recipients),
        CONTENT,
        delivery.routing(recipients),
        now,
        Entry(queue_id, (queue_id,), ()),
    )
    await queue.accept(message)
    delivery.hand_over(message)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((address(0), 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def _enough_files() -> Iterator[None]:
    """Both ends of all connections are here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted) if soft != resource.RLIM_INFINITY else soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
