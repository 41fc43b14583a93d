"""The durable queue: verbs that are transactions.

One store object is one *shard*, owned by one worker: whoever opens it holds its lock and raises its epoch,
so taking work writes nothing and a new owner may take everything at once.

    accept   a message becomes ours                       durable when the future is done
    settle   one group's outcome and all that follows      durable when the future is done

Both are group-committed: the future of every item of a batch is done after the one sync. An item that
fails rolls back to its own savepoint and fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from postroad.vocabulary.destination import Destination
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Acted, Entry


class StoredContent(Protocol):
    """Content in the store: header block, empty line, body, lines ended by CR LF, no dot-stuffing."""

    @property
    def size_bytes(self) -> int: ...

    def in_memory(self) -> bytes | None:
        """The whole of it where it lives in its row: at most CONTENT_IN_ROW_BYTES and what we put before it;
        else None."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """All of it from the beginning, in pieces of at most READ_BYTES. Read off the loop.
        Raises StoreUnavailable."""
        ...

    def file_path(self) -> str | None:
        """The file that large content lives in, to be linked into a mailbox; None for small content."""
        ...


class Spool(Protocol):
    """Content on its way into the store, for messages over CONTENT_IN_ROW_BYTES.

    `write` returns at once and the octets go to the file in a thread; when more than SPOOL_AHEAD_BYTES wait,
    the caller must stop reading from the peer until `drained` is done.
    """

    def write(self, data: bytes) -> bool:
        """False when the caller must wait for `drained()` before it reads on."""
        ...

    async def drained(self) -> None:
        """Returns when little is waiting. Raises StoreFull or StoreUnavailable if the writing failed."""
        ...

    async def seal(self) -> StoredContent:
        """Everything is written and the file and its folder are synced. Raises StoreFull, StoreUnavailable."""
        ...

    def discard(self) -> None:
        """Forget it and remove the file. Harmless after `seal` was followed by `accept`."""
        ...


class NewMessage(msgspec.Struct, frozen=True):
    """A message to be taken into the queue. `content` is the finished content: trace fields included.

    `groups` together hold every recipient of the envelope exactly once."""

    queue_id: QueueId
    envelope: Envelope
    content: bytes | StoredContent
    groups: tuple[Group, ...]
    queued_at: datetime
    story: Entry
    due_at: datetime | None = None
    """The first attempt; None means at once."""
    key: str = ""
    """Of what comes out of another store and may come twice, after a crash: this shard takes one message with the
    key, and no second until `forget_keys`. Empty for all others."""


class Work(msgspec.Struct, frozen=True):
    """One group whose time has come. `envelope` has no recipients: those still to be served are in `recipients`."""

    queue_id: QueueId
    destination: Destination
    recipients: tuple[Recipient, ...]
    envelope: Envelope
    size_bytes: int
    queued_at: datetime
    attempts: int
    """How many attempts this group has had."""
    warned: bool
    """Whether a "delayed" notification was sent."""
    lease: int
    """The epoch of the owner that took it."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one attempt for one group, and all that follows from it, in one transaction.

    `remaining` stay in the queue and are due at `due_at` (None if nobody remains: the group is over).
    `enqueue` are the messages that this outcome creates (notifications, later a list's children);
    `moved` are groups that take over recipients whose way changed; they are due at once.
    When no group of a message is left its row and content go."""

    queue_id: QueueId
    destination: Destination
    lease: int
    remaining: tuple[Recipient, ...] = ()
    due_at: datetime | None = None
    attempts: int = 0
    warned: bool = False
    last: str = ""
    """The last reply or error in one printable line, for `queue list`."""
    enqueue: tuple[NewMessage, ...] = ()
    moved: tuple[Group, ...] = ()
    story: Entry | None = None


class QueueFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which groups an administrator means. All conditions given must hold; none given means all."""

    queue_id: str = ""
    domain: str = ""
    """A recipient's domain."""
    sender: str = ""
    """The reverse-path, or its domain."""
    before: datetime | None = None
    """Queued before this."""
    held: bool | None = None
    """Only those that are held, or only those that are not."""


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One group as an administrator sees it."""

    queue_id: QueueId
    destination: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_bytes: int
    queued_at: datetime
    due_at: datetime
    attempts: int
    last: str
    held: bool = False
    """An administrator has it held until it is released."""


class DestinationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one destination, in groups. `held` and `due` are among `groups`; `last` is the last reply or
    error for the oldest of them; `next_attempt_at` is None where all are held."""

    destination: str
    groups: int
    held: int
    due: int
    oldest_at: datetime
    next_attempt_at: datetime | None
    last: str


class QueueSummary(msgspec.Struct, frozen=True):
    """Some destinations, those with most groups first, and the totals of all there are."""

    destinations: tuple[DestinationSummary, ...]
    destinations_in_all: int
    groups: int
    held: int
    due: int


Cursor = tuple[str, str]
"""How far a long walk through the queue has come: a message and a destination of it; START at its beginning."""

START: Cursor = ("", "")


GroupKeys = frozenset[tuple[QueueId, Destination]]
Recall = Callable[[GroupKeys], GroupKeys]
"""Asks whoever has work in hand to let go of these groups. It is called on the loop and returns those that stay in hand
because they are being tried."""


class Claim(msgspec.Struct, frozen=True):
    """A page of groups that are ours to settle. `in_hand` counts those that fit as well but are being tried just
    now; `after` is where the next page begins, None at the end."""

    works: tuple[Work, ...]
    in_hand: int
    after: Cursor | None


class OldWork(msgspec.Struct, frozen=True):
    """A page of groups that have waited for long; `after` is where the next page begins, None at the end.
    `next_queued_at` is when the oldest was queued of those that are younger, None when there is none."""

    works: tuple[Work, ...]
    after: Cursor | None
    next_queued_at: datetime | None


class QueueStore(Protocol):
    @property
    def shard(self) -> int: ...

    @property
    def epoch(self) -> int:
        """The lease of everything this owner takes, also of a message that was handed on by memory."""
        ...

    def new_id(self, now: datetime) -> QueueId:
        """A fresh id of this shard: never given out before, nor again."""
        ...

    def spool(self, queue_id: QueueId) -> Spool: ...

    def accept(self, message: NewMessage) -> asyncio.Future[None]:
        """Take a message in. Only when the future is done may the 250 be sent.

        The future raises StoreFull (452 4.3.1) or StoreUnavailable (451 4.3.0): nothing was kept.
        Raises StoreUnavailable at once when WRITER_QUEUE items wait. Nobody may cancel the future.
        The future raises AcceptedBefore when a message with its key was taken before.
        """
        ...

    async def keys(self, prefix: str, after: str, limit: int) -> tuple[str, ...]:
        """Keys of messages that were taken, with this beginning and above `after`, in order. Raises
        StoreUnavailable."""
        ...

    def forget_keys(self, keys: tuple[str, ...]) -> asyncio.Future[None]:
        """Whoever gave these keys will never give them again. At most COMMIT_BATCH."""
        ...

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        """Write the outcome of one attempt, wholly or not at all.

        The future raises LeaseLost if another owner has the shard, or the group is settled already: drop the
        outcomes, do not retry;
        StoreFull or StoreUnavailable: nothing was written, settle again later.
        """
        ...

    async def take_due(
        self,
        now: datetime,
        limit: int,
        taken: Callable[[QueueId, Destination], bool],
        without: frozenset[Destination] = frozenset(),
    ) -> tuple[Work, ...]:
        """Groups due at or before `now`, the longest due first, at most `limit`, without those for which
        `taken` says that they are in hand already, and those to the destinations `without`, which are passed
        over quickly. Writes nothing. Raises StoreUnavailable.

        `taken` may be asked from another thread and must be a mere look-up; it is asked again on the loop just
        before this returns. Nothing is given out that was accepted or settled while this ran."""
        ...

    async def next_due_at(self) -> datetime | None:
        """When the next group is due that `take_due` was not yet asked for (after the `now` it was last given, or
        made due since then); None when there is none."""
        ...

    async def take_old(
        self, now: datetime, queued_before: datetime, taken: Callable[[QueueId, Destination], bool], after: Cursor
    ) -> OldWork:
        """Groups of the oldest messages, by time of arrival: due at or before `now`, not held, of messages that came
        at or before `queued_before` (a message whose id was given out while the clock was ahead comes later). For the
        rest as `take_due`. Raises StoreUnavailable."""
        ...

    async def bring_forward(self, latest: datetime) -> int:
        """Groups that are due later than `latest`, although their sender has not asked for it (RFC 4865), are due
        then: the clock was wrong when that was written. Returns how many. Raises StoreUnavailable."""
        ...

    async def content(self, queue_id: QueueId) -> StoredContent:
        """Raises StoreUnavailable; KeyError when there is no such message (any more)."""
        ...

    async def entries(self, filter: QueueFilter, limit: int) -> tuple[QueueEntry, ...]:
        """For administrators: by time of arrival, oldest first."""
        ...

    async def make_due(self, filter: QueueFilter, now: datetime) -> int:
        """Every matching group that is not held becomes due now. Returns how many. Durable when it returns."""
        ...

    async def hold(self, filter: QueueFilter, act: Acted, recall: Recall) -> int:
        """Matching groups are not due any more, until they are released; their stories say so. Returns how many.
        Durable when it returns.

        Whoever has them in hand is asked to let go of them; an attempt under way ends as it would, and what then
        remains of the group is held."""
        ...

    async def release(self, filter: QueueFilter, act: Acted) -> int:
        """The matching groups that are held are due as they were before. Returns how many."""
        ...

    def claim(self, filter: QueueFilter, after: Cursor, recall: Recall) -> AbstractAsyncContextManager[Claim]:
        """A page of matching groups, for the caller to settle in the `async with`: `take_due` gives out none of them
        while it lasts, and whoever has them in hand is asked to let go of them before. What was not settled then is
        due as it was. Writes nothing by itself."""
        ...

    async def summary(self, now: datetime, limit: int, destination: str = "") -> QueueSummary:
        """What waits for each destination, or for one; at most `limit` of them."""
        ...

    async def counts(self, now: datetime) -> dict[str, int]:
        """ "messages", "groups", "due" and "held" (groups), "bytes"."""
        ...

    async def known(self, queue_ids: tuple[QueueId, ...]) -> frozenset[QueueId]:
        """Those of the ids that are still in this shard; for the sweep of delivery keys."""
        ...

    async def outbox(self, limit: int) -> tuple[tuple[int, bytes], ...]:
        """The oldest blobs of the outbox with their numbers: `story.to_bytes` of the entries of a transaction."""
        ...

    def clear_outbox(self, up_to: int) -> asyncio.Future[None]:
        """The ledger has synced everything up to this number."""
        ...

    async def close(self) -> None:
        """Finish what was accepted for writing, checkpoint, give the lock back."""
        ...
