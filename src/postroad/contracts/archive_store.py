"""The journal of archived domains: what is appended to it can be removed by retention, and not be changed unnoticed.

Two sides. `ArchiveChain` is written by the one worker that owns a shard of the queue; `Archive` is what administrators
look into, from any process, and where every look, every legal hold and every removal is itself recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

import msgspec

from postroad.contracts.queue_store import StoredContent
from postroad.vocabulary.queue_id import QueueId


class JournalEnvelope(msgspec.Struct, frozen=True):
    """As SMTP said it, blind recipients with the others. `reverse_path` is empty for the null reverse-path;
    `leads_to` is whom aliases and forwarding among the recipients lead to, empty where none was followed; `about` the
    message (queue id) that a list has passed on as this one, empty for all others."""

    reverse_path: str
    recipients: tuple[str, ...]
    leads_to: tuple[str, ...] = ()
    about: str = ""

    def addresses(self) -> tuple[str, ...]:
        """Everybody named in it."""
        return (self.reverse_path, *self.recipients, *self.leads_to)


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A message for the journal. Its queue id is the key: a message is appended once, however often it is tried."""

    queue_id: QueueId
    envelope: JournalEnvelope
    content: bytes | StoredContent
    accepted_at: datetime
    recorded_at: datetime


class ArchiveChain(Protocol):
    """The part of the journal that one worker writes."""

    def append(self, record: NewRecord) -> asyncio.Future[bool]:
        """Durable when the future is done; False when the message was there already, and nothing was written.

        The future raises StoreFull or StoreUnavailable: it is not in the archive. Raises StoreUnavailable at once
        when too many wait. Nobody may cancel the future."""
        ...

    async def has(self, queue_id: QueueId) -> bool:
        """Whether it was appended. Raises StoreUnavailable."""
        ...

    async def close(self) -> None: ...


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looks into the archive, or gives it an order: who (the Unix user), when, what and why."""

    by: str
    at: datetime
    action: str
    """"search", "show", "export", "hold", "release", "verify", ..."""
    detail: str
    reason: str


class LegalHold(msgspec.Struct, frozen=True, kw_only=True):
    """What fits is not removed, however old, until the hold is released. `address` is an address, or a domain with "@"
    before it, or empty for everything; the times are those of acceptance."""

    name: str
    address: str = ""
    after: datetime | None = None
    before: datetime | None = None

    def fits(self, envelope: JournalEnvelope, accepted_at: datetime) -> bool:
        if self.after is not None and accepted_at < self.after:
            return False
        if self.before is not None and accepted_at >= self.before:
            return False
        wanted = self.address.lower()
        if not wanted:
            return True
        if wanted.startswith("@"):
            return any(address.lower().endswith(wanted) for address in envelope.addresses())
        return any(address.lower() == wanted for address in envelope.addresses())


class ChainHead(msgspec.Struct, frozen=True):
    """The last record of a chain: whoever has kept it elsewhere can prove what was before it."""

    chain: str
    month: str
    number: int
    hash: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """`complaints` is empty when nothing was changed, moved or taken away; `complaints_in_all` counts those beyond."""

    records: int
    removed: int
    heads: tuple[ChainHead, ...]
    complaints: tuple[str, ...]
    complaints_in_all: int


class ArchiveQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages. All conditions given must hold. `words` are looked for in subject, names and text; `sender` and
    `recipient` are addresses, or domains with "@" before them."""

    words: str = ""
    sender: str = ""
    recipient: str = ""
    after: datetime | None = None
    before: datetime | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the archive. `content_hash` is the BLAKE2b of its content, `hash` that of its record."""

    queue_id: QueueId
    envelope: JournalEnvelope
    accepted_at: datetime
    size_bytes: int
    content_hash: str
    hash: str
    subject: str = ""


class Unindexed(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the index does not know yet; `octets` are at most ARCHIVE_INDEXED_BYTES of it."""

    chain: str
    month: str
    number: int
    queue_id: QueueId
    envelope: JournalEnvelope
    accepted_at: datetime
    octets: bytes


class Words(msgspec.Struct, frozen=True):
    """What the index is to know of a message."""

    of: Unindexed
    subject: str
    text: str


class Archive(Protocol):
    """The whole journal, for administrators. Every method raises StoreUnavailable."""

    async def record(self, access: Access) -> None:
        """Durable when it returns; to be called before anything is shown."""
        ...

    async def accesses(self, limit: int) -> tuple[Access, ...]:
        """The last ones, latest first."""
        ...

    async def verify(self, heads: tuple[ChainHead, ...] = ()) -> Verified:
        """Look through every record and all content. `heads` were kept elsewhere, and must still be there."""
        ...

    async def heads(self) -> tuple[ChainHead, ...]: ...

    async def tie(self, now: datetime) -> bool:
        """Write the heads of all chains into the register, once a day. False when it was done that day."""
        ...

    async def show(self, queue_id: QueueId) -> Found | None:
        """None when it is not there, or its content was removed."""
        ...

    def content(self, queue_id: QueueId) -> AsyncIterator[bytes]:
        """In pieces. Raises KeyError when it is not there (any more)."""
        ...

    async def hold(self, hold: LegalHold, access: Access) -> bool:
        """False when there is one with this name."""
        ...

    async def release(self, name: str, access: Access) -> bool:
        """False when there is none with this name."""
        ...

    async def holds(self) -> tuple[LegalHold, ...]: ...

    async def remove_before(self, accepted_before: datetime, now: datetime) -> int:
        """Remove content and envelopes that are older and under no hold; their hashes stay. Returns how many."""
        ...

    async def unindexed(self, limit: int) -> tuple[Unindexed, ...]:
        """Messages that the index does not know, in order."""
        ...

    async def index(self, words: tuple[Words, ...]) -> None: ...

    async def forget_index(self) -> None:
        """It is made anew from the records."""
        ...

    async def search(self, query: ArchiveQuery, limit: int) -> tuple[Found, ...]:
        """By time of acceptance, latest first."""
        ...

    async def close(self) -> None: ...
