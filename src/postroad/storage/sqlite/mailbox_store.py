"""Mailboxes in SQLite: data/mail/<nn>.db, 64 shards by account id. Implements contracts/mailbox_store.py.

One thread writes all shards of this process: deliveries that wait are sorted by shard and each shard has one
commit. Other processes write the same files (the transport worker delivers, the access worker removes): every
write transaction begins IMMEDIATE and waits for the other's end, at most DATABASE_BUSY_S.

Crash states of a delivery with large content, in order: the file is linked (an orphan, swept); the folder is
synced (the same); committed (delivered; repeated by the queue, and made once by its key). Of a removal:
committed (the files are orphans, swept); unlinked (done).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from postroad.contracts.errors import MaildropLocked, StoreDamaged, StoreUnavailable
from postroad.contracts.mailbox_store import Delivery, MailboxStatus, Maildrop, StoredMessage
from postroad.contracts.queue_store import StoredContent
from postroad.storage.sqlite.blocking import make_calls
from postroad.storage.sqlite.commit import Item, Result, Verb
from postroad.storage.sqlite.database import make_folder, translating
from postroad.storage.sqlite.mailbox_aside import Noticed
from postroad.storage.sqlite.mailbox_content import ContentInFile
from postroad.storage.sqlite.mailbox_reads import Listing, MailboxReads
from postroad.storage.sqlite.mailbox_shard import (
    DELIVER,
    FORGET_KEYS,
    REMOVE,
    REMOVE_MAILBOX,
    SWEEP,
    MailboxShard,
)
from postroad.storage.sqlite.maildrop_lock import MaildropLock
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.row_content import ContentInRow
from postroad.storage.sqlite.writer import make_writer
from postroad.vocabulary.limits import (
    CONTENT_READERS,
    DELIVERY_KEYS_PER_COMMIT,
    MAILBOX_COMMIT_BATCH,
    MAILBOX_SHARDS,
)

A = TypeVar("A")
R = TypeVar("R")


class MailboxEngine:
    """The shards as one engine for the writer's thread. A shard whose disk failed is opened again with its next
    batch; the others do not notice."""

    is_open = True

    def __init__(self, shards: Sequence[MailboxShard]) -> None:
        self._shards = shards
        self._touched: tuple[MailboxShard, ...] = ()

    def open(self) -> None:
        """Nothing: each shard is opened when it is first written."""

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        positions: dict[MailboxShard, list[int]] = {}
        for position, (_, argument) in enumerate(batch):
            positions.setdefault(argument[0], []).append(position)
        results: list[Result] = [None] * len(batch)
        for shard, places in positions.items():
            for place, result in zip(places, shard.commit([batch[place] for place in places]), strict=True):
                results[place] = result
        self._touched = tuple(positions)
        return results

    def checkpoint_if_due(self) -> None:
        for shard in self._touched:
            shard.engine.checkpoint_if_due()

    def close(self) -> None:
        for shard in self._shards:
            shard.engine.close()


class SqliteMailboxStore:
    """`folder` is data/mail. To be made on the loop; `direct` for a loop with virtual time. `vfs` is SQLite's
    file layer. Raises StoreUnavailable when the folder cannot be made."""

    def __init__(self, folder: Path, *, direct: bool = False, vfs: str | None = None) -> None:
        self._locks = folder / "locks"
        with translating(str(folder)):
            make_folder(self._locks)
        self._shards = tuple(MailboxShard(number, folder, vfs) for number in range(MAILBOX_SHARDS))
        self._writer = make_writer(
            MailboxEngine(self._shards), direct=direct, name="mail writer", batch=MAILBOX_COMMIT_BATCH
        )
        self._reads = MailboxReads(self._shards)
        self._reader = make_calls(direct=direct, threads=1, name="mail reader")
        self._files = make_calls(direct=direct, threads=CONTENT_READERS, name="mail content")
        self._round: tuple[int, str] = (0, "")
        """Where the next `delivery_keys` goes on: a shard, and the last key named of it."""
        self._named: dict[str, MailboxShard] = {}
        """Where the keys of the last answer are."""

    def deliver(self, delivery: Delivery) -> asyncio.Future[int]:
        return self._submit(DELIVER, self._shard_of(delivery.account_id), delivery)

    async def delivered(self, account_id: int, key: str) -> int | None:
        return await self._reader.run(self._reads.delivered, (account_id, key))

    def open_maildrop(self, account_id: int) -> AbstractAsyncContextManager[Maildrop]:
        return self._maildrop(account_id)

    @asynccontextmanager
    async def _maildrop(self, account_id: int) -> AsyncIterator[Maildrop]:
        lock = self._lock(account_id)
        try:
            yield SqliteMaildrop(self, account_id, await self._listing(account_id))
        finally:
            lock.release()

    async def list_messages(self, account_id: int) -> tuple[StoredMessage, ...]:
        return (await self._listing(account_id)).messages

    async def list_all(self, account_id: int, after_uid: int = 0) -> tuple[StoredMessage, ...]:
        return await self._reader.run(self._reads.page, (account_id, after_uid))

    async def status(self, account_id: int) -> MailboxStatus:
        return await self._reader.run(self._reads.status, account_id)

    async def surrogate(self, account_id: int, uid: int) -> bytes:
        """What a maildrop's `surrogate` gives."""
        edits = await self._reader.run(self._reads.surrogate, (account_id, uid))
        if edits is None:
            raise KeyError(uid)
        return edits

    async def content(self, account_id: int, uid: int) -> StoredContent:
        row = await self._reader.run(self._reads.content, (account_id, uid))
        if row is None:
            raise KeyError(uid)
        head, tail, file, body, size_bytes = row
        if body is not None:
            return ContentInRow(b"".join((head, body, tail)))
        assert file is not None
        return ContentInFile(head, self._shard_of(account_id).files.path(file), tail, size_bytes, self._files)

    async def remove(self, account_id: int, uids: tuple[int, ...]) -> None:
        """What a maildrop's `remove` does: all of them or none."""
        await self._submit(REMOVE, self._shard_of(account_id), (account_id, uids))

    async def remove_mailbox(self, account_id: int) -> int:
        removed = await self._submit(REMOVE_MAILBOX, self._shard_of(account_id), account_id)
        try:
            lock = self._lock(account_id)
        except MaildropLocked:  # by a session that will find nothing any more; its empty lock file stays
            return removed.messages
        with translating(str(self._locks)):
            try:
                self._lock_path(account_id).unlink()
            finally:
                lock.release()
        return removed.messages

    async def delivery_keys(self, older_than: datetime, limit: int) -> tuple[str, ...]:
        before = to_microseconds(older_than)
        number, after = self._round
        self._named = {}
        while number < len(self._shards) and len(self._named) < limit:
            shard = self._shards[number]
            wanted = limit - len(self._named)
            try:
                keys = await self._reader.run(self._reads.keys, (shard, after, before, wanted))
            except StoreDamaged:  # it is set aside and told of; its keys stay, and the others go on
                keys = []
            self._named.update(dict.fromkeys(keys, shard))
            if len(keys) == wanted:
                after = keys[-1]
            else:
                number, after = number + 1, ""
        # The end of a round is told by an empty answer; the next begins anew.
        self._round = (number, after) if self._named else (0, "")
        return tuple(self._named)

    async def forget_keys(self, keys: tuple[str, ...]) -> None:
        by_shard: dict[MailboxShard, list[str]] = {}
        for key in keys:
            named = self._named.get(key)
            for shard in self._shards if named is None else (named,):
                by_shard.setdefault(shard, []).append(key)
        for shard, mine in by_shard.items():
            if not shard.path.exists():
                continue
            try:
                for start in range(0, len(mine), DELIVERY_KEYS_PER_COMMIT):
                    await self._submit(FORGET_KEYS, shard, tuple(mine[start : start + DELIVERY_KEYS_PER_COMMIT]))
            except StoreDamaged:
                continue  # as above

    async def sweep_content(self) -> int:
        removed = 0
        for shard in self._shards:
            try:
                if unknown := await self._reader.run(self._reads.unknown_files, shard):
                    removed += len((await self._submit(SWEEP, shard, unknown)).files)
            except StoreDamaged:
                continue  # nobody knows what its content belongs to: all of it stays
        return removed

    def when_set_aside(self, noticed: Noticed) -> None:
        """Tell of each damaged shard, once in this process; from any thread."""
        for shard in self._shards:
            shard.state.noticed = noticed

    async def set_aside(self) -> tuple[str, ...]:
        """What is wrong with each shard whose accounts wait for an administrator."""
        return await self._reader.run(
            lambda shards: tuple(filter(None, (one.state.trouble() for one in shards))), self._shards
        )

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close(self._reads.close)
        await self._files.close()

    async def _listing(self, account_id: int) -> Listing:
        return await self._reader.run(self._reads.listing, account_id)

    def _submit(self, verb: Verb[tuple[MailboxShard, A], R], shard: MailboxShard, argument: A) -> asyncio.Future[R]:
        """As the contract has it, a refusal comes by the future too."""
        try:
            return self._writer.submit(verb, (shard, argument))
        except StoreUnavailable as error:
            refused: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused

    def _shard_of(self, account_id: int) -> MailboxShard:
        return self._shards[account_id % MAILBOX_SHARDS]

    def _lock_path(self, account_id: int) -> Path:
        return self._locks / f"{account_id}.lock"

    def _lock(self, account_id: int) -> MaildropLock:
        """Taken on the loop: it never waits, and nobody can be cancelled between taking and keeping it."""
        with translating(str(self._locks)):
            return MaildropLock(self._lock_path(account_id))


class SqliteMaildrop:
    """The list is of the moment of opening; the contents are read when they are asked for."""

    def __init__(self, store: SqliteMailboxStore, account_id: int, listing: Listing) -> None:
        self._store = store
        self._account_id = account_id
        self._listing = listing

    @property
    def uid_validity(self) -> int:
        return self._listing.uid_validity

    @property
    def messages(self) -> tuple[StoredMessage, ...]:
        return self._listing.messages

    async def content(self, uid: int) -> StoredContent:
        return await self._store.content(self._account_id, uid)

    async def surrogate(self, uid: int) -> bytes:
        return await self._store.surrogate(self._account_id, uid)

    async def remove(self, uids: tuple[int, ...]) -> None:
        if uids:
            await self._store.remove(self._account_id, uids)
