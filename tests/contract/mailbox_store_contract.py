"""What every mailbox store owes to the mail in it. A runner subclasses this and says how a store is opened."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroad.contracts.errors import MaildropLocked
from postroad.contracts.mailbox_store import Delivery, MailboxStore
from postroad.contracts.queue_store import StoredContent
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, READ_BYTES
from postroad.vocabulary.queue_id import QueueId

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HEAD = b"Return-Path: <ann@a.example>\r\n"
SMALL = b"Subject: a note\r\n\r\nHello.\r\n"
LARGE = b"Subject: a picture\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n" * 3000
ANN, BOB = 1, 2

DEADLINE_S = 30.0


class SealedFile:
    """Large content as a queue keeps it: a file, written and synced, that will not change any more."""

    def __init__(self, path: Path, octets: bytes) -> None:
        path.write_bytes(octets)
        self._path = path
        self._size_bytes = len(octets)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def in_memory(self) -> bytes | None:
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        octets = self._path.read_bytes()
        for start in range(0, len(octets), READ_BYTES):
            yield octets[start : start + READ_BYTES]

    def file_path(self) -> str | None:
        return str(self._path)


def a_delivery(
    key: str = "0000000000A0/ann@a.example",
    *,
    account_id: int = ANN,
    content: bytes | StoredContent = SMALL,
    received_at: datetime = T0,
) -> Delivery:
    return Delivery(
        account_id=account_id,
        key=key,
        queue_id=QueueId(key.partition("/")[0]),
        head=HEAD,
        content=content,
        received_at=received_at,
    )


async def whole(content: StoredContent) -> bytes:
    """All octets of the content, by its chunks, which must be what `in_memory` says where it says anything."""
    chunks = [chunk async for chunk in content.chunks()]
    octets = b"".join(chunks)
    assert all(0 < len(chunk) <= READ_BYTES for chunk in chunks)
    assert content.size_bytes == len(octets)
    # Fields put before it or a missing line end may carry content in its row a little over the border.
    assert content.in_memory() == octets or (content.in_memory() is None and len(octets) > CONTENT_IN_ROW_BYTES)
    return octets


async def uids(store: MailboxStore, account_id: int = ANN) -> list[int]:
    return [message.uid for message in await store.list_messages(account_id)]


class MailboxStoreContract:
    @abstractmethod
    def open_store(self, data: Path) -> MailboxStore:
        """A store on `data`; opened again on the same folder it finds what was there."""

    def run(self, data: Path, scene: Callable[[MailboxStore], Coroutine[Any, Any, None]]) -> None:
        """Play a scene on a store of its own, in a loop of its own, and close the store."""

        async def play() -> None:
            async with asyncio.timeout(DEADLINE_S), self.opened(data) as store:
                await scene(store)

        asyncio.run(play())

    @asynccontextmanager
    async def opened(self, data: Path) -> AsyncIterator[MailboxStore]:
        store = self.open_store(data)
        try:
            yield store
        finally:
            await store.close()

    def test_what_is_delivered_is_what_is_read(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            uid = await store.deliver(a_delivery())
            (message,) = await store.list_messages(ANN)
            assert (message.uid, message.queue_id, message.received_at) == (uid, "0000000000A0", T0)
            assert message.size_bytes == len(HEAD + SMALL)
            assert await whole(await store.content(ANN, uid)) == HEAD + SMALL

        self.run(tmp_path, scene)

    def test_a_repeated_delivery_is_one_delivery(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            first, second = store.deliver(a_delivery()), store.deliver(a_delivery())
            assert await first == await second
            assert await store.deliver(a_delivery()) == await first
            assert await uids(store) == [await first]

        self.run(tmp_path, scene)

    def test_a_delivery_repeated_after_its_message_was_fetched_and_removed_brings_nothing_back(
        self, tmp_path: Path
    ) -> None:
        async def scene(store: MailboxStore) -> None:
            uid = await store.deliver(a_delivery())
            async with store.open_maildrop(ANN) as maildrop:
                await maildrop.remove((uid,))
            assert await store.deliver(a_delivery()) == uid
            assert await uids(store) == []

        self.run(tmp_path, scene)

    def test_two_recipients_of_one_message_each_get_their_copy(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            for_ann = store.deliver(a_delivery("0000000000A0/ann@a.example"))
            for_sales = store.deliver(a_delivery("0000000000A0/sales@a.example"))
            for_bob = store.deliver(a_delivery("0000000000A0/bob@a.example", account_id=BOB))
            anns, bobs = [await for_ann, await for_sales], [await for_bob]
            assert await uids(store, BOB) == bobs
            assert await uids(store, ANN) == anns

        self.run(tmp_path, scene)

    def test_mail_is_still_there_after_the_store_was_closed(self, tmp_path: Path) -> None:
        async def before(store: MailboxStore) -> None:
            await store.deliver(a_delivery())

        async def after(store: MailboxStore) -> None:
            (message,) = await store.list_messages(ANN)
            assert await whole(await store.content(ANN, message.uid)) == HEAD + SMALL
            assert await store.deliver(a_delivery()) == message.uid

        self.run(tmp_path, before)
        self.run(tmp_path, after)

    def test_uids_rise_and_none_returns(self, tmp_path: Path) -> None:
        seen: list[tuple[int, int]] = []

        async def scene(store: MailboxStore) -> None:
            for turn in range(3):
                uid = await store.deliver(a_delivery(f"{len(seen):012d}/ann@a.example"))
                async with store.open_maildrop(ANN) as maildrop:
                    assert [message.uid for message in maildrop.messages] == [uid]
                    seen.append((maildrop.uid_validity, uid))
                    if turn % 2:
                        await maildrop.remove((uid,))
                if not turn % 2:
                    assert await store.remove_mailbox(ANN) == 1

        self.run(tmp_path, scene)
        self.run(tmp_path, scene)
        assert len(seen) == 6
        assert seen == sorted(set(seen))
        assert all(validity > 0 for validity, _ in seen)

    @pytest.mark.parametrize(
        ("content", "kept", "sealed"),
        [
            pytest.param(b"", HEAD, False, id="empty"),
            pytest.param(b"Subject: x\r\n\r\nno end", HEAD + b"Subject: x\r\n\r\nno end\r\n", False, id="unfinished"),
            pytest.param(SMALL, HEAD + SMALL, False, id="small"),
            pytest.param(b"x" * CONTENT_IN_ROW_BYTES, HEAD + b"x" * CONTENT_IN_ROW_BYTES + b"\r\n", False, id="border"),
            pytest.param(LARGE, HEAD + LARGE, False, id="large"),
            pytest.param(LARGE[:-2], HEAD + LARGE, False, id="large-unfinished"),
            pytest.param(LARGE, HEAD + LARGE, True, id="file"),
            pytest.param(LARGE[:-2], HEAD + LARGE, True, id="file-unfinished"),
        ],
    )
    def test_the_size_is_that_of_the_content_and_the_content_ends_in_crlf(
        self, tmp_path: Path, content: bytes, kept: bytes, sealed: bool
    ) -> None:
        given = SealedFile(tmp_path / "sealed", content) if sealed else content

        async def scene(store: MailboxStore) -> None:
            uid = await store.deliver(a_delivery(content=given))
            (message,) = await store.list_messages(ANN)
            assert message.size_bytes == len(kept)
            assert await whole(await store.content(ANN, uid)) == kept
            async with store.open_maildrop(ANN) as maildrop:
                assert await whole(await maildrop.content(uid)) == kept

        self.run(tmp_path / "data", scene)

    def test_large_content_outlives_the_queue_s_file(self, tmp_path: Path) -> None:
        sealed = tmp_path / "sealed"

        async def scene(store: MailboxStore) -> None:
            uid = await store.deliver(a_delivery(content=SealedFile(sealed, LARGE)))
            sealed.unlink()
            assert await whole(await store.content(ANN, uid)) == HEAD + LARGE

        self.run(tmp_path / "data", scene)

    def test_the_snapshot_of_a_maildrop_is_not_disturbed_by_a_delivery(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            first = await store.deliver(a_delivery("000000000001/ann@a.example"))
            async with store.open_maildrop(ANN) as maildrop:
                second = await store.deliver(a_delivery("000000000002/ann@a.example"))
                assert [message.uid for message in maildrop.messages] == [first]
                assert await whole(await maildrop.content(first)) == HEAD + SMALL
                await maildrop.remove((first,))
            async with store.open_maildrop(ANN) as maildrop:
                assert [message.uid for message in maildrop.messages] == [second]

        self.run(tmp_path, scene)

    def test_a_maildrop_lists_by_uid_and_lets_go_what_is_removed(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            given = [await store.deliver(a_delivery(f"{n:012d}/ann@a.example")) for n in range(5)]
            async with store.open_maildrop(ANN) as maildrop:
                assert [message.uid for message in maildrop.messages] == given == sorted(given)
                await maildrop.remove((given[1], given[3]))
                with pytest.raises(KeyError):
                    await maildrop.content(given[1])
                await maildrop.remove(())
            assert await uids(store) == [given[0], given[2], given[4]]
            with pytest.raises(KeyError):
                await store.content(ANN, given[3])
            with pytest.raises(KeyError):
                await store.content(BOB, given[0])

        self.run(tmp_path, scene)

    def test_two_sessions_exclude_each_other(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            async with self.opened(tmp_path) as another:
                async with store.open_maildrop(ANN):
                    for who in (store, another):
                        with pytest.raises(MaildropLocked):
                            async with who.open_maildrop(ANN):
                                pass
                    async with another.open_maildrop(BOB) as bobs:
                        assert bobs.messages == ()
                async with another.open_maildrop(ANN), store.open_maildrop(BOB):
                    pass

        self.run(tmp_path, scene)

    def test_a_session_that_fails_gives_the_maildrop_back(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            with pytest.raises(ZeroDivisionError):
                async with store.open_maildrop(ANN):
                    raise ZeroDivisionError
            async with store.open_maildrop(ANN):
                pass

        self.run(tmp_path, scene)

    def test_a_removed_mailbox_leaves_nothing_and_its_neighbour_alone(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            neighbour = ANN + 64
            for n in range(3):
                await store.deliver(a_delivery(f"{n:012d}/ann@a.example"))
                await store.deliver(a_delivery(f"{n:012d}/neighbour@a.example", account_id=neighbour))
            await store.deliver(a_delivery("000000000009/ann@a.example", content=SealedFile(tmp_path / "s", LARGE)))
            assert await store.remove_mailbox(ANN) == 4
            assert await uids(store, ANN) == []
            assert len(await uids(store, neighbour)) == 3
            assert await store.remove_mailbox(ANN) == 0

        self.run(tmp_path / "data", scene)

    def test_keys_old_enough_are_named_once_a_round_and_forgotten_when_told(self, tmp_path: Path) -> None:
        keys = {f"{n:012d}/{n}@a.example": n for n in range(1, 11)}

        async def a_round(store: MailboxStore, older_than: datetime) -> list[str]:
            """Ask until the store says that the round is over."""
            named: list[str] = []
            while some := await store.delivery_keys(older_than, 3):
                assert len(some) <= 3
                named += some
            return sorted(named)

        async def scene(store: MailboxStore) -> None:
            for key, account_id in keys.items():
                at = T0 + timedelta(hours=account_id)
                await store.deliver(a_delivery(key, account_id=account_id, received_at=at))
            old = [key for key, account_id in keys.items() if account_id <= 7]
            for _ in range(2):
                assert await a_round(store, T0 + timedelta(hours=7, minutes=1)) == old
            await store.forget_keys(tuple(old[:2]))
            assert await a_round(store, T0 + timedelta(days=1)) == sorted(keys)[2:]
            await store.deliver(a_delivery(old[0], account_id=1))
            await store.deliver(a_delivery(old[2], account_id=3))
            assert len(await uids(store, 1)) == 2
            assert len(await uids(store, 3)) == 1

        self.run(tmp_path, scene)

    def test_many_deliveries_at_once_all_arrive(self, tmp_path: Path) -> None:
        async def scene(store: MailboxStore) -> None:
            waiting = [store.deliver(a_delivery(f"{n:012d}/u@a.example", account_id=1 + n % 20)) for n in range(400)]
            for future in waiting:
                await future
            for account_id in range(1, 21):
                assert await uids(store, account_id) == list(range(1, 21))

        self.run(tmp_path, scene)

    def test_a_message_from_elsewhere_keeps_its_folder_flags_and_date(self, tmp_path: Path) -> None:
        old = T0 - timedelta(days=9000)

        async def scene(store: MailboxStore) -> None:
            brought = msgspec.structs.replace(
                a_delivery("import/1", received_at=old),
                folder="Work/2001",
                flags="\\Answered \\Seen",
                delivered_at=T0,
            )
            assert await store.deliver(brought) == 1
            assert await store.deliver(a_delivery()) == 2
            assert await store.deliver(brought) == 1
            assert await store.delivered(ANN, "import/1") == 1
            assert await store.delivered(BOB, "import/1") is await store.delivered(ANN, "import/2") is None
            here, delivered = await store.list_all(ANN)
            assert (here.folder, here.flags, here.received_at) == ("Work/2001", "\\Answered \\Seen", old)
            assert (delivered.folder, delivered.flags) == ("INBOX", "")
            # POP3 shows what was delivered, and its keys are as old as the delivery.
            assert await uids(store) == [2]
            assert await store.list_all(ANN, 1) == (delivered,)
            assert await store.list_all(ANN, 2) == await store.list_all(BOB) == ()
            assert await store.delivery_keys(T0, 10) == ()
            assert (await store.status(ANN)).uid_validity == int(T0.timestamp())

        self.run(tmp_path, scene)
