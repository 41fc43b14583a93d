"""Who is here: domains and accounts."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import ScramKeys
from postroad.vocabulary.standing_order import OrderKind, StandingOrder
from postroad.vocabulary.usage import Sent, Usage


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One user. `id` names the mailbox and is never used again. `password` is the argon2id string, empty
    if the account cannot log in; `grants` are further addresses it may send as.

    `scram` and `cram_secret` are of the same password: None and empty where the account does not keep them.
    The three limits stand in for those of everybody (`[limits.account]`) where they are not None; 0 is no limit."""

    id: int
    address: Mailbox
    display_name: str = ""
    password: str = ""
    disabled: bool = False
    unix_user: str = ""
    grants: tuple[Mailbox, ...] = ()
    scram: ScramKeys | None = None
    cram_secret: str = ""
    messages_per_hour: int | None = None
    recipients_per_day: int | None = None
    connections: int | None = None

    def __repr__(self) -> str:
        """Without its secrets: it may stand in a traceback."""
        return f"Account({self.id}, {str(self.address)!r}, ...)"


class DomainKind(StrEnum):
    LOCAL = "local"
    RELAY = "relay"
    """Accepted here and delivered onward (backup MX)."""


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: DomainKind = DomainKind.LOCAL
    relay_to: str = ""
    """"host:port", empty for by MX."""


class AlreadyThere(Exception):
    """The name is taken."""


class NotThere(Exception):
    """No such domain or account."""


class Directory(Protocol):
    """Lookups are answered from memory and notice changes by other processes within a second; they do
    not wait and may be called from the loop. Changes are durable when they return. All raise StoreUnavailable."""

    def domain(self, name: str) -> Domain | None: ...

    def account(self, address: Mailbox) -> Account | None:
        """The account that mail for `address` belongs to: without regard to case; `postmaster` of a local
        domain, or without a domain, that has no account of its own leads to the first account there is."""
        ...

    def account_by_unix_user(self, name: str) -> Account | None: ...

    def domains(self) -> tuple[Domain, ...]: ...

    def accounts(self, domain: str = "") -> tuple[Account, ...]: ...

    def fake_salt_key(self) -> bytes:
        """32 octets that only this installation has and that never change: salts for names without an account
        are made with it, so that a name has the same one each time."""
        ...

    def usage(self, account_id: int) -> Usage:
        """What was written down last by whichever process; empty for an account that has sent nothing."""
        ...

    def standing_orders(self) -> tuple[StandingOrder, ...]:
        """Those in force, by kind and subject."""
        ...

    async def add_domain(self, domain: Domain) -> None:
        """Raises AlreadyThere."""
        ...

    async def remove_domain(self, name: str) -> None:
        """Raises NotThere; ValueError while it has accounts."""
        ...

    async def add_account(self, account: Account) -> Account:
        """`id` is ignored and given; returns the account with it. Raises AlreadyThere, also for a Unix user who
        has an account; NotThere if the domain is not local."""
        ...

    async def change_account(self, account: Account) -> None:
        """Everything but id and address. Raises NotThere; AlreadyThere for another account's Unix user."""
        ...

    async def remove_account(self, address: Mailbox) -> Account:
        """Returns what was removed. Raises NotThere."""
        ...

    async def add_usage(self, sent: tuple[Sent, ...]) -> dict[int, Usage]:
        """Add to the counters, all in one transaction; returns those of the accounts named. Accounts that are
        gone meanwhile are left out."""
        ...

    async def give_order(self, order: StandingOrder) -> None:
        """From now on, and after every restart. One that was in force already stays as it was given first."""
        ...

    async def take_back_order(self, kind: OrderKind, subject: str = "") -> bool:
        """False when there was no such order."""
        ...

    async def close(self) -> None: ...
