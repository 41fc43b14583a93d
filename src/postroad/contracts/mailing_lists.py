"""Mailing lists: an address whose mail goes to its members, and the addresses that belong to it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from postroad.vocabulary.address import Mailbox


class WhoPosts(StrEnum):
    MEMBERS = "members"
    """And owners."""
    ANYONE = "anyone"
    OWNERS = "owners"


class ListDuty(StrEnum):
    """What one of a list's addresses is for: `friends@`, `friends-request@`, ... (RFC 2142 section 6). The value
    stands after the hyphen."""

    POST = ""
    REQUEST = "request"
    JOIN = "subscribe"
    LEAVE = "unsubscribe"
    CONFIRM = "confirm"
    BOUNCES = "bounces"
    OWNER = "owner"


class MailingList(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is never used again. `verp`: each member has a reverse-path of its own, by which a bounce is known.
    `from_rewrite`: the list stands in From, and the author in Reply-To, where the author's domain lets no other server
    send its mail. `closed`: only an administrator lets people in. Without `owners` it belongs to the postmaster."""

    id: int
    address: Mailbox
    description: str = ""
    posters: WhoPosts = WhoPosts.MEMBERS
    verp: bool = True
    from_rewrite: bool = False
    closed: bool = False
    owners: tuple[Mailbox, ...] = ()

    def at(self, duty: ListDuty) -> Mailbox:
        """The list's address for this duty."""
        local_part, domain = self.address.local_part, self.address.domain
        return Mailbox(f"{local_part}-{duty.value}", domain) if duty.value else self.address

    @property
    def responsible(self) -> tuple[Mailbox, ...]:
        return self.owners or (Mailbox("postmaster", self.address.domain),)


class ListAddress(msgspec.Struct, frozen=True):
    """One of the addresses of a list: `address` without the tag of a sub-address."""

    address: Mailbox
    list_: MailingList
    duty: ListDuty


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """`bounces` is how many were counted in the present run, `bounced_at` when the last was. A suspended member gets
    nothing until it joins again."""

    address: Mailbox
    joined_at: datetime
    bounces: int = 0
    bounced_at: datetime | None = None
    suspended: bool = False


class MailingLists(Protocol):
    """A part of the directory: lookups do not wait, changes are durable when they return. All raise
    StoreUnavailable. An address of a list is found by `Directory.recipient`."""

    def of_domain(self, domain: str = "") -> tuple[MailingList, ...]:
        """By domain and name; all for an empty name."""
        ...

    def find(self, address: Mailbox) -> MailingList | None:
        """The list of exactly this address, but for case."""
        ...

    def member(self, list_id: int, address: Mailbox) -> Member | None: ...

    def members(self, list_id: int, after: str, limit: int) -> tuple[Member, ...]:
        """By `Mailbox.key()`, those behind `after`, suspended ones too."""
        ...

    def counts(self, list_id: int) -> tuple[int, int]:
        """All members, and how many of them are suspended."""
        ...

    async def create(self, new: MailingList) -> MailingList:
        """`id` is ignored and given. Raises AlreadyThere where anybody has one of its addresses, NotThere if the domain
        is not local."""
        ...

    async def change(self, changed: MailingList) -> None:
        """Everything but id and address. Raises NotThere."""
        ...

    async def delete(self, address: Mailbox) -> MailingList:
        """The list and its members. Raises NotThere; ValueError while aliases or accounts lead to it."""
        ...

    async def join(self, list_id: int, who: tuple[Mailbox, ...], now: datetime) -> tuple[Mailbox, ...]:
        """Those who were no members, or were suspended; all are members now. Raises NotThere for a list that is gone,
        ValueError for more than LIST_MEMBERS."""
        ...

    async def leave(self, list_id: int, who: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
        """Those who were members."""
        ...

    async def note_bounces(self, list_id: int, changed: tuple[Member, ...]) -> None:
        """Their numbers and whether they are suspended; who has left meanwhile stays away."""
        ...
