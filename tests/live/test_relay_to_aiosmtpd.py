"""Delivery over real sockets to an SMTP server that is not ours."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from postroad.contracts.directory import Domain
from postroad.contracts.queue_store import NewMessage
from postroad.services.delivery import Delivery, DeliveryPlan, DeliveryWorld
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary import envelope as ours
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.settings import DeliverySettings, RetrySettings, Route
from postroad.vocabulary.story import Entry
from postroad.world.clock import SystemClock
from postroad.world.entropy import SystemEntropy
from postroad.world.tcp import RealNetwork
from tests.services.dns import Zone

DEADLINE_S = 30.0


class Sink:
    """An aiosmtpd handler that keeps what it gets and tells when there is enough."""

    def __init__(self, expected: int) -> None:
        self.mail: list[tuple[str, list[str], bytes]] = []
        self.full = asyncio.Event()
        self._expected = expected

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content
        assert content is not None
        self.mail.append((envelope.mail_from or "", list(envelope.rcpt_tos), content))
        if len(self.mail) == self._expected:
            self.full.set()
        return "250 taken"


def test_aiosmtpd_gets_every_message_octet_for_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        sink = Sink(expected=31)

        def serve() -> Any:
            return SMTP(sink, hostname="sink.example", loop=loop, decode_data=False, enable_SMTPUTF8=True)

        server = await loop.create_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        queue = await SqliteQueueStore.open(tmp_path / "queue", 0, clock_now=clock.now)
        mailboxes = SqliteMailboxStore(tmp_path / "mail")
        directory = SqliteDirectory(tmp_path / "directory.db")
        await directory.add_domain(Domain(name="a.example"))
        problems: list[BaseException] = []
        settings = DeliverySettings(hostname="mx.a.example", routes=(Route("*", "127.0.0.1", port),))
        async with asyncio.timeout(DEADLINE_S), RealNetwork() as network:
            world = DeliveryWorld(
                queue=queue,
                mailboxes=mailboxes,
                directory=directory,
                clock=clock,
                network=network,
                resolver=Zone(),
                entropy=SystemEntropy(),
            )
            delivery = Delivery(
                world,
                DeliveryPlan(settings=settings, retry=RetrySettings()),
                errors=lambda where, error: problems.append(error),
            )
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(delivery.run())
                large = b"Subject: large\r\n\r\n" + b".dots and \xfftext\r\n" * 20_000
                contents = [b"Subject: %d\r\n\r\n..\r\n.\r\nend\r\n" % n for n in range(30)] + [large]
                for content in contents:
                    message = await _accept(queue, delivery, clock, content)
                    delivery.hand_over(message)
                await sink.full.wait()
                delivery.stop()
                await running
        server.close()
        await server.wait_closed()
        assert sorted(content for _, _, content in sink.mail) == sorted(contents)
        assert {(sender, *recipients) for sender, recipients, _ in sink.mail} == {("ann@a.example", "bob@b.example")}
        assert (await queue.counts(clock.now()))["messages"] == 0
        assert problems == []
        for store in (queue, mailboxes, directory):
            await store.close()

    asyncio.run(scene())


async def _accept(queue: SqliteQueueStore, delivery: Delivery, clock: SystemClock, content: bytes) -> NewMessage:
    now = clock.now()
    queue_id = queue.new_id(now)
    recipients = (ours.Recipient(Mailbox("bob", "b.example")),)
    stored: Any = content
    if len(content) > 65_536:
        spool = queue.spool(queue_id)
        if not spool.write(content):
            await spool.drained()
        stored = await spool.seal()
    message = NewMessage(
        queue_id,
        ours.Envelope(Mailbox("ann", "a.example"), recipients),
        stored,
        delivery.routing(recipients),
        now,
        Entry(queue_id, (queue_id,), ()),
    )
    await queue.accept(message)
    return message
