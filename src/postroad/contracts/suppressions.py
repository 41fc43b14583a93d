"""Addresses that merged letters are not sent to: those that bounced, and those that somebody put there."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from postroad.vocabulary.address import Mailbox


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is for people; `by` who put it there, "" for a failure; `bounce` names the letter that failed by its
    queue id, "" where nobody's letter did. `expires_at` None is never."""

    address: Mailbox
    since: datetime
    expires_at: datetime | None
    reason: str
    by: str = ""
    bounce: str = ""


class Awaited(msgspec.Struct, frozen=True, kw_only=True):
    """A letter to `address` that was handed in not before `since`, and whose end is not known yet."""

    queue_id: str
    address: Mailbox
    since: datetime


class SuppressionStore(Protocol):
    """Changes are durable when they return. All raise StoreUnavailable."""

    async def add(self, suppressions: tuple[Suppression, ...]) -> int:
        """All in one transaction; the later end is kept of an address that is there already. A letter that failed
        counts once: after `remove` the same letter does not put its address there again. Returns how many addresses
        came. Raises ValueError over SUPPRESSIONS_MAX."""
        ...

    async def remove(self, address: Mailbox) -> bool:
        """False when it was not there."""
        ...

    async def among(self, addresses: tuple[Mailbox, ...], now: datetime) -> tuple[Suppression, ...]:
        """Those of the addresses that are not to be written to at this time."""
        ...

    async def newest(self, now: datetime, limit: int) -> tuple[Suppression, ...]:
        """What is in force, the newest first."""
        ...

    async def expect(self, letters: tuple[Awaited, ...]) -> None:
        """Keep them until they are dropped; more than MERGE_AWAITED_MAX are not kept, and found only by who looks."""
        ...

    async def awaited(self, after: str, limit: int) -> tuple[Awaited, ...]:
        """Those with queue ids above this one, in their order."""
        ...

    async def drop_awaited(self, queue_ids: tuple[str, ...]) -> None: ...

    async def close(self) -> None: ...
