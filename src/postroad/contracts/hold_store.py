"""Where mail for a `[[hold]]` domain waits until its owner fetches it: by ETRN, ATRN or TURN.

    deliver    a group of the queue is in the hold, each recipient once        durable when the future is done
    settle     what one delivery to the owner's host came to, for one message   durable when the future is done

Any process may deliver into a hold. One at a time may empty it: who has opened it holds its lock, which the kernel
frees with the process. A recipient whose mail must go back to its sender moves from "waiting" to a `Report` in one
transaction; the report stays until the queue has the notification (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from postroad.contracts.queue_store import StoredContent
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.outcome import Outcome
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry


class HoldLocked(Exception):
    """Another session empties this hold just now."""


class HoldDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message for the hold of `domain`; `envelope` has the recipients of this domain only.

    Each (queue id, forward-path) is taken once: a second delivery of it changes nothing."""

    domain: str
    queue_id: QueueId
    envelope: Envelope
    content: bytes | StoredContent
    queued_at: datetime
    held_at: datetime
    deadline_at: datetime | None = None
    """When something is to be done or said at the latest (RFC 2852)."""


class HeldMessage(msgspec.Struct, frozen=True, kw_only=True):
    """`envelope` has the recipients that still wait. `number` rises and never returns. `attempts` counts the
    deliveries that were settled."""

    number: int
    queue_id: QueueId
    envelope: Envelope
    size_bytes: int
    queued_at: datetime
    held_at: datetime
    attempts: int


class HoldSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """`remaining` of the waiting recipients wait on; `to_report` are outcomes that their sender is to be told of;
    everybody else is served. With `deadline_passed` there is no deadline any more. All of it, or nothing, happens."""

    number: int
    remaining: tuple[Recipient, ...] = ()
    to_report: tuple[Outcome, ...] = ()
    deadline_passed: bool = False
    story: Entry | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes of one message that its sender has not been told of yet. `key` is that of the notification
    (`NewMessage.key`); no two reports ever have the same. `envelope` has no recipients."""

    key: str
    number: int
    message: int
    """The held message's number, for its `content`."""
    queue_id: QueueId
    envelope: Envelope
    size_bytes: int
    queued_at: datetime
    outcomes: tuple[Outcome, ...]


class HoldSummary(msgspec.Struct, frozen=True):
    """What waits in a hold. `oldest_held_at` is None where nothing does; `next_deadline_at` where nothing that waits
    has a deadline."""

    messages: int
    size_bytes: int
    oldest_held_at: datetime | None
    next_deadline_at: datetime | None = None


class Hold(Protocol):
    """A hold that we alone may empty."""

    @property
    def domain(self) -> str: ...

    async def messages(self, after: int, limit: int) -> tuple[HeldMessage, ...]:
        """Those that wait, with a number above `after`, in the order in which they came. Raises StoreUnavailable."""
        ...

    async def overdue(self, now: datetime, limit: int) -> tuple[HeldMessage, ...]:
        """Those that wait and whose deadline has come. Raises StoreUnavailable."""
        ...

    async def content(self, number: int) -> StoredContent:
        """Exactly as it was delivered. Raises KeyError when the message is gone, StoreUnavailable."""
        ...

    def settle(self, settlement: HoldSettlement) -> asyncio.Future[None]:
        """The future raises KeyError when the message does not wait (any more), StoreFull, StoreUnavailable."""
        ...


class HoldStore(Protocol):
    def deliver(self, delivery: HoldDelivery) -> asyncio.Future[None]:
        """The future raises StoreFull or StoreUnavailable: nothing was kept."""
        ...

    def open_hold(self, domain: str) -> AbstractAsyncContextManager[Hold]:
        """Raises HoldLocked when another session has it, StoreUnavailable."""
        ...

    async def summary(self, domain: str) -> HoldSummary: ...

    async def domains(self) -> tuple[str, ...]:
        """Every domain that ever had a hold here, at most HOLDS."""
        ...

    async def reports(self, domain: str, limit: int) -> tuple[Report, ...]:
        """The oldest first."""
        ...

    async def content(self, domain: str, number: int) -> StoredContent:
        """Of a message that waits or is to be reported. Raises KeyError, StoreUnavailable."""
        ...

    def reported(self, domain: str, number: int, story: Entry | None) -> asyncio.Future[None]:
        """The queue has the notification of this report. Harmless when repeated."""
        ...

    async def outbox(self, domain: str, limit: int) -> tuple[tuple[int, bytes], ...]:
        """Stories for the ledger, as `QueueStore.outbox`."""
        ...

    def clear_outbox(self, domain: str, up_to: int) -> asyncio.Future[None]: ...

    async def delivery_keys(self, domain: str, after: str, older_than: datetime, limit: int) -> tuple[str, ...]:
        """Keys "<queue id>/<forward-path>" above `after`, in order: those of a queue id that is final may go."""
        ...

    async def forget_keys(self, domain: str, keys: tuple[str, ...]) -> None: ...

    async def sweep_content(self) -> int:
        """Remove files of large content that a crash has left without a message; safe at any time. Returns how
        many. Raises StoreUnavailable."""
        ...

    async def close(self) -> None: ...
