"""Where delivered mail rests until its owner fetches it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from postroad.contracts.queue_store import StoredContent
from postroad.vocabulary.queue_id import QueueId

INBOX = "INBOX"
"""The folder that mail is delivered into, and the one that POP3 shows (RFC 9051 section 5.1)."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One copy for one mailbox.

    `key` makes it once: a second delivery with the same key changes nothing (RFC 5321 section 6.1 lets us
    not lose mail; the key lets us not double it). `head` is put before the content (Return-Path). `surrogate` are
    edits that the store keeps beside the message and gives back as they are (RFC 6858), b"" for none;
    `surrogate_growth` tells by how many octets they change its size. `flags` are separated by spaces, as IMAP spells
    them. `received_at` becomes the internal date; `delivered_at` is now, where mail comes that is older (None: they
    are the same).
    """

    account_id: int
    key: str
    """"<queue id>/<forward-path>"."""
    queue_id: QueueId
    head: bytes
    content: bytes | StoredContent
    received_at: datetime
    surrogate: bytes = b""
    surrogate_growth: int = 0
    folder: str = INBOX
    flags: str = ""
    delivered_at: datetime | None = None


class MailboxStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What IMAP asks about a mailbox (RFC 9051 section 6.3.11, RFC 7162). `uid_validity` is 0 for one to which nothing
    was ever delivered; `uid_next` is above every UID there is, or was."""

    uid_validity: int
    uid_next: int
    mod_seq: int
    """The highest of its messages and removals; it never falls."""
    messages: int
    size_bytes: int


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a maildrop as the snapshot lists it. `size_bytes` counts octets with CR LF line ends
    and without dot-stuffing (RFC 1939 section 11); `uid` rises and never returns (UIDVALIDITY:UID is the UIDL).
    `received_at` is IMAP's internal date, `mod_seq` the mailbox's when the message last changed (RFC 7162), `flags`
    are separated by spaces. `surrogate_growth`: by how many octets its surrogate is larger; None where it has none."""

    uid: int
    size_bytes: int
    queue_id: QueueId
    received_at: datetime
    mod_seq: int = 0
    flags: str = ""
    folder: str = INBOX
    surrogate_growth: int | None = None


class Maildrop(Protocol):
    """An exclusive hold on one mailbox, with the list of messages as it was when it was opened."""

    @property
    def uid_validity(self) -> int: ...

    @property
    def messages(self) -> tuple[StoredMessage, ...]:
        """By UID. New deliveries do not change it."""
        ...

    async def content(self, uid: int) -> StoredContent:
        """Raises KeyError when it is gone, StoreUnavailable."""
        ...

    async def surrogate(self, uid: int) -> bytes:
        """The edits that were given at delivery, b"" for none. Raises KeyError when it is gone, StoreUnavailable."""
        ...

    async def remove(self, uids: tuple[int, ...]) -> None:
        """All of them or none (RFC 1939 section 6, the UPDATE state). Durable when it returns.
        Raises StoreUnavailable."""
        ...


class MailboxStore(Protocol):
    def deliver(self, delivery: Delivery) -> asyncio.Future[int]:
        """The UID it has; durable when the future is done. Deliveries to mailboxes of one shard share a commit.

        For a key that was delivered before, the UID it got then. The future raises StoreFull,
        StoreUnavailable or NoSuchMailbox."""
        ...

    async def delivered(self, account_id: int, key: str) -> int | None:
        """The UID that a delivery with this key got; None where there was none. Raises StoreUnavailable."""
        ...

    def open_maildrop(self, account_id: int) -> AbstractAsyncContextManager[Maildrop]:
        """Raises MaildropLocked when another session has it, StoreUnavailable."""
        ...

    async def list_messages(self, account_id: int) -> tuple[StoredMessage, ...]:
        """For administrators: without the lock."""
        ...

    async def list_all(self, account_id: int, after_uid: int = 0) -> tuple[StoredMessage, ...]:
        """The messages of all folders with UIDs above `after_uid`, by UID, a page at a time: none at the end. Without
        the lock. Raises StoreUnavailable."""
        ...

    async def status(self, account_id: int) -> MailboxStatus:
        """Without the lock. Raises StoreUnavailable."""
        ...

    async def content(self, account_id: int, uid: int) -> StoredContent:
        """For administrators. Raises KeyError, StoreUnavailable."""
        ...

    async def remove_mailbox(self, account_id: int) -> int:
        """The account is gone: its messages go. Returns how many."""
        ...

    async def delivery_keys(self, older_than: datetime, limit: int) -> tuple[str, ...]:
        """Keys that may be swept if their queue id is final. Each call goes on where the last one ended, and an
        empty answer ends the round: keys that cannot be swept yet do not stand before those that can."""
        ...

    async def forget_keys(self, keys: tuple[str, ...]) -> None: ...

    async def sweep_content(self) -> int:
        """Remove files of large content that a crash has left without a message; safe at any time. Returns how
        many. Raises StoreUnavailable."""
        ...

    async def close(self) -> None: ...
