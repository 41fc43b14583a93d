"""A house with letters for ann, and clients that fetch them by POP3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from postroad.contracts.mailbox_store import Delivery
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.queue_id import QueueId
from tests.services.houses import HERE, PASSWORD, Client, House

LETTERS = [
    b"Subject: one\r\n\r\nHello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
    b"Subject: many lines\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(100)),
]
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 40_000


@asynccontextmanager
async def office(folder: Path, letters: list[bytes] = LETTERS, **options: object) -> AsyncIterator[House]:
    """A house with POP3 and some letters for ann."""
    async with House.open(folder) as house, house.pop3(**options):  # type: ignore[arg-type]
        for n, letter in enumerate(letters):
            await deliver(house, letter, n)
        yield house


async def deliver(house: House, letter: bytes, n: int) -> None:
    queue_id = QueueId(f"{n:012}")
    await house.mailboxes.deliver(
        Delivery(
            account_id=house.ann.id,
            key=f"{queue_id}/ann@{HERE}",
            queue_id=queue_id,
            head=b"Return-Path: <>\r\n",
            content=letter,
            received_at=house.clock.now(),
        )
    )


async def log_in(house: House, role: ListenerRole = ListenerRole.POP3) -> Client:
    client = await house.connect(role)
    await ok(client)
    await do(client, f"USER ann@{HERE}")
    await do(client, f"PASS {PASSWORD}")
    return client


async def ok(client: Client) -> str:
    line = (await client.line()).decode()
    assert line.startswith("+OK"), line
    return line


async def do(client: Client, command: str) -> str:
    client.send(command)
    return await ok(client)


async def refused(client: Client, command: str) -> str:
    client.send(command)
    line = (await client.line()).decode()
    assert line.startswith("-ERR"), line
    return line


async def lines(client: Client) -> list[bytes]:
    """A multi-line reply without its end."""
    lines: list[bytes] = []
    while (line := await client.line()) != b".":
        lines.append(line.removeprefix(b"."))
    return lines


async def fetch(client: Client, command: str) -> bytes:
    await do(client, command)
    return b"".join(line + b"\r\n" for line in await lines(client))
