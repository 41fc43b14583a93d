"""One mailbox out of a backup of several: folders, flags, times and octets come back, and nothing else changes."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from postroad.contracts.directory import Account, Domain, DomainKind
from postroad.contracts.mailbox_store import INBOX, Delivery
from postroad.message.surrogate import plan_surrogate
from postroad.services.operations.restoring import Restored, Restoring
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.queue_id import QueueId
from postroad.world.clock import SystemClock

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = ("ann", "bob", "cat")
FOLDERS = ((INBOX, ""), ("Sent", "\\Seen"), ("Lists/postroad", "\\Seen \\Flagged"), (INBOX, "\\Answered"))
Content = list[tuple[str, str, datetime, str, bytes]]


class Stores:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.directory = SqliteDirectory(folder / "directory.db")
        self.mailboxes = SqliteMailboxStore(folder / "mail")

    async def close(self) -> None:
        await self.mailboxes.close()
        await self.directory.close()

    def account(self, name: str) -> Account:
        found = self.directory.account(Mailbox(name, "a.example"))
        assert found is not None
        return found

    async def fill(self, name: str) -> None:
        """Small, large and internationalised messages, and the same one in two folders."""
        account = await self.directory.add_account(Account(id=0, address=Mailbox(name, "a.example")))
        for n in range(20):
            folder, flags = FOLDERS[n % len(FOLDERS)]
            text = b"x" * (100_000 if n == 7 else 200)
            header = "Subject: grüße".encode() if n in (5, 9) else b"Subject: greetings"
            letter = header + b"\r\n\r\n" + name.encode() + (b"twice" if n in (12, 13) else b"%d" % n) + text + b"\r\n"
            surrogate = plan_surrogate(letter)
            await self.mailboxes.deliver(
                Delivery(
                    account_id=account.id,
                    key=f"{name}/{n}",
                    queue_id=QueueId("0000000000AA" if n in (12, 13) else f"{n:012d}"),
                    head=b"",
                    content=letter,
                    received_at=T0 + timedelta(hours=n),
                    folder=folder,
                    flags=flags,
                    surrogate=b"" if surrogate is None else surrogate.edits,
                    surrogate_growth=0 if surrogate is None else surrogate.growth_bytes,
                )
            )

    async def content(self, name: str) -> Content:
        """Of all messages, by UID: folder, flags, time, hash and surrogate."""
        account, found, after = self.account(name), Content(), 0
        while page := await self.mailboxes.list_all(account.id, after):
            for each in page:
                stored = await self.mailboxes.content(account.id, each.uid)
                digest = hashlib.sha256(b"".join([chunk async for chunk in stored.chunks()])).hexdigest()
                surrogate = await self.mailboxes.surrogate(account.id, each.uid)
                found.append((each.folder, each.flags, each.received_at, digest, surrogate))
                after = each.uid
        return found


async def restore(backup: Stores, house: Stores, name: str) -> Restored:
    restoring = Restoring(
        backup_id="b",
        old_directory=backup.directory,
        old_mailboxes=backup.mailboxes,
        directory=house.directory,
        mailboxes=house.mailboxes,
        clock=SystemClock(),
        progress=lambda done, of: None,
    )
    return await restoring.restore(restoring.old_account(Mailbox(name, "a.example")))


def test_folders_flags_and_times_come_back_and_other_mailboxes_stay(tmp_path: Path) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as opened:
            backup, house = Stores(tmp_path / "backup"), Stores(tmp_path / "house")
            opened.push_async_callback(backup.close)
            opened.push_async_callback(house.close)
            for stores in (backup, house):
                await stores.directory.add_domain(Domain(name="a.example", kind=DomainKind.LOCAL))
                for name in NAMES:
                    await stores.fill(name)
            before = {name: await backup.content(name) for name in NAMES}
            bob = house.account("bob")
            old = await house.mailboxes.status(bob.id)
            # Of what was in two folders one is gone; then everything, account and all.
            await house.mailboxes.remove(bob.id, (1, 2, 3, 13))
            assert await restore(backup, house, "bob") == Restored("bob@a.example", 4, 16)
            assert sorted(await house.content("bob")) == sorted(before["bob"])
            assert await restore(backup, house, "bob") == Restored("bob@a.example", 0, 20)
            await house.directory.remove_account(bob.address)
            await house.mailboxes.remove_mailbox(bob.id)
            assert await restore(backup, house, "bob") == Restored("bob@a.example", 20, 0, made_account=True)
            assert await house.content("bob") == before["bob"]
            for name in ("ann", "cat"):
                assert await house.content(name) == before[name]
            # The UIDs begin again, so the mailbox must not pass for the old one (RFC 9051 section 2.3.1.1).
            assert (await house.mailboxes.status(house.account("bob").id)).uid_validity != old.uid_validity

    asyncio.run(scene())
