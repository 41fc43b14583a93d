"""Bringing mail from elsewhere into a mailbox.

Each message has a key: the hash of its folder and its octets, and how many like it came before in the same source. The
mailbox store makes a key once. So a command that was killed, or ran out of room, is given again and goes on where it
ended, whatever of the mail its owner has fetched and removed in the meantime.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Account
from postroad.contracts.mailbox_store import Delivery, MailboxStore
from postroad.contracts.queue_store import StoredContent
from postroad.message.surrogate import Surrogate, plan_surrogate
from postroad.rules.quota import has_room
from postroad.services.conversion import Conversions
from postroad.vocabulary.limits import (
    IMPORT_BYTES_UNDER_WAY,
    IMPORT_MESSAGES,
    IMPORT_MESSAGES_UNDER_WAY,
    IMPORT_PROBLEMS_TOLD,
)
from postroad.vocabulary.queue_id import QueueId


class Brought(Protocol):
    """One message of a source, complete."""

    folder: str
    flags: str
    received_at: datetime
    content: bytes | StoredContent
    """With CR LF."""
    digest: bytes
    """Of the folder and the octets."""

    def release(self) -> None:
        """It is in the mailbox, or will not be: what it takes on the disk may go."""
        ...


class Unreadable(msgspec.Struct, frozen=True):
    """Something of the source that is no message, or one that cannot be taken."""

    where: str
    reason: str


@dataclass
class Imported:
    """What became of the messages so far. `present` were brought in by an earlier run."""

    imported: int = 0
    present: int = 0
    size_bytes: int = 0
    unreadable: int = 0
    problems: tuple[Unreadable, ...] = ()
    over_quota: bool = False
    """The import ended before a message that has no room."""
    too_many: bool = False

    @property
    def seen(self) -> int:
        return self.imported + self.present + self.unreadable


class Importing:
    """`again` tells this run from every other: what was imported before comes in once more. "" is what it usually is.
    `quota_bytes` 0 is none."""

    def __init__(
        self,
        *,
        mailboxes: MailboxStore,
        clock: Clock,
        account: Account,
        quota_bytes: int = 0,
        again: str = "",
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._mailboxes = mailboxes
        self._clock = clock
        self._account = account
        self._quota_bytes = quota_bytes
        self._again = again
        self._progress = progress
        self._conversions = Conversions(None, clock)
        self._under_way: deque[tuple[asyncio.Future[int], Brought, int]] = deque()
        self._bytes_under_way = 0
        self._alike: dict[bytes, int] = {}
        self._used = self._first_new = 0
        self.result = Imported()

    async def run(self, source: Iterable[Brought | Unreadable]) -> Imported:
        """Everything the source gives. `result` says at any time what was done, also after an exception. Raises
        StoreFull, StoreUnavailable, and what the source raises."""
        status = await self._mailboxes.status(self._account.id)
        self._used, self._first_new = status.size_bytes, status.uid_next
        try:
            for one in source:
                if isinstance(one, Unreadable):
                    self._note(one)
                    continue
                if len(self._alike) >= IMPORT_MESSAGES:
                    self.result.too_many = True
                    break
                if not await self._put(one):
                    self.result.over_quota = True
                    break
                self._progress(self.result.seen)
            await self._settle_all()
        finally:
            self._drop_all()
        return self.result

    async def _put(self, brought: Brought) -> bool:
        """False when there is no room for it."""
        try:
            key = self._key_of(brought)
            size_bytes = _size(brought.content)
            if self._quota_bytes and not has_room(self._used, size_bytes, self._quota_bytes):
                await self._settle_all()
                fits = has_room(self._used, size_bytes, self._quota_bytes)
                if not fits and await self._mailboxes.delivered(self._account.id, key) is None:
                    brought.release()
                    return False
            surrogate = await self._surrogate(brought.content)
            future = self._mailboxes.deliver(
                Delivery(
                    account_id=self._account.id,
                    key=key,
                    queue_id=QueueId(""),
                    head=b"",
                    content=brought.content,
                    received_at=brought.received_at,
                    surrogate=surrogate.edits if surrogate is not None else b"",
                    surrogate_growth=surrogate.growth_bytes if surrogate is not None else 0,
                    folder=brought.folder,
                    flags=brought.flags,
                    delivered_at=self._clock.now(),
                )
            )
        except BaseException:
            brought.release()
            raise
        self._under_way.append((future, brought, size_bytes))
        self._bytes_under_way += size_bytes
        self._used += size_bytes
        while len(self._under_way) > IMPORT_MESSAGES_UNDER_WAY or self._bytes_under_way > IMPORT_BYTES_UNDER_WAY:
            await self._settle_first()
        return True

    def _key_of(self, brought: Brought) -> str:
        before = self._alike.get(brought.digest, 0)
        self._alike[brought.digest] = before + 1
        return f"import{self._again}/{brought.digest.hex()}/{before}"

    async def _surrogate(self, content: bytes | StoredContent) -> Surrogate | None:
        if isinstance(content, bytes):
            return plan_surrogate(content)
        return await self._conversions.surrogate(b"", content)

    async def _settle_first(self) -> None:
        future, brought, size_bytes = self._under_way[0]
        uid = await future
        self._under_way.popleft()
        self._bytes_under_way -= size_bytes
        brought.release()
        if uid >= self._first_new:
            self.result.imported += 1
            self.result.size_bytes += size_bytes
        else:
            self.result.present += 1
            self._used -= size_bytes

    async def _settle_all(self) -> None:
        while self._under_way:
            await self._settle_first()

    def _drop_all(self) -> None:
        """After a failure: what the store has taken meanwhile counts, and the files go."""
        for future, brought, size_bytes in self._under_way:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.result.imported += future.result() >= self._first_new
                self.result.size_bytes += size_bytes
            else:
                # Its outcome is nobody's any more; the next run meets the key, or not.
                future.cancel()
            brought.release()
        self._under_way.clear()

    def _note(self, unreadable: Unreadable) -> None:
        self.result.unreadable += 1
        if len(self.result.problems) < IMPORT_PROBLEMS_TOLD:
            self.result.problems += (unreadable,)


def _size(content: bytes | StoredContent) -> int:
    return len(content) if isinstance(content, bytes) else content.size_bytes
