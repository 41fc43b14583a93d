"""Who is here: domains and accounts."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from postroad.vocabulary.address import Mailbox


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One user. `id` names the mailbox and is never used again. `password` is the argon2id string, empty
    if the account cannot log in; `grants` are further addresses it may send as."""

    id: int
    address: Mailbox
    display_name: str = ""
    password: str = ""
    disabled: bool = False
    unix_user: str = ""
    grants: tuple[Mailbox, ...] = ()


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

    async def close(self) -> None: ...
