"""Mailboxes that an earlier Postroad wrote are opened by this one with all that is in them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from shutil import copyfile

from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.upgrade import COPIES
from tests.contract.mailbox_store_contract import ANN, HEAD, SMALL, a_delivery, whole

OLDER = Path(__file__).parent / "older"
UID_VALIDITY = 1795435200


def test_a_mailbox_of_the_first_version_is_taken_over_with_all_it_holds(tmp_path: Path) -> None:
    """older/mailbox-0001.db was written by the version that knew the first migration only: three letters for Ann, the
    second of them removed."""

    async def scene() -> None:
        folder = tmp_path / "mail"
        folder.mkdir(mode=0o700)
        copyfile(OLDER / "mailbox-0001.db", folder / "01.db")
        store = SqliteMailboxStore(folder)
        try:
            async with store.open_maildrop(ANN) as maildrop:
                assert maildrop.uid_validity == UID_VALIDITY
                letters = {
                    message.uid: await whole(await maildrop.content(message.uid)) for message in maildrop.messages
                }
                assert [message.size_bytes for message in maildrop.messages] == [len(each) for each in letters.values()]
                assert letters == {1: HEAD + SMALL, 3: HEAD + b"Subject: second\r\n\r\nNo end\r\n"}
            # Delivered before the upgrade, one of them fetched and removed since: neither comes again.
            assert await store.deliver(a_delivery("0000000000A0/ann@a.example")) == 1
            assert await store.deliver(a_delivery("0000000000B0/ann@a.example")) == 2
            assert await store.deliver(a_delivery("0000000000D0/ann@a.example")) == 4
        finally:
            await store.close()
        assert [path.name for path in (folder / COPIES).iterdir()] == ["01.db.format-1"]

    asyncio.run(scene())
