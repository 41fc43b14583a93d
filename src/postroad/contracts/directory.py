"""Who is here: domains, accounts and aliases."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from postroad.contracts.mailing_lists import ListAddress, MailingLists
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import ScramKeys
from postroad.vocabulary.standing_order import OrderKind, StandingOrder
from postroad.vocabulary.usage import Sent, Usage


class Vacation(msgspec.Struct, frozen=True, kw_only=True):
    """What senders are told while the user is away (RFC 3834): each of them once in `days`, until `until`. An empty
    `subject` is that of the message, with a word before it."""

    text: str
    subject: str = ""
    days: int = 7
    until: datetime | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One user. `id` names the mailbox and is never used again. `password` is the argon2id string, empty
    if the account cannot log in; `grants` are further addresses it may send as.

    `scram` and `cram_secret` are of the same password: None and empty where the account does not keep them.
    The three limits and the quota stand in for those of everybody (`[limits.account]`) where they are not None; 0 is
    no limit. Mail for an account with `forward_to` goes there, and into the mailbox too where it `keeps_copy`."""

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
    quota_bytes: int | None = None
    forward_to: tuple[Mailbox, ...] = ()
    keeps_copy: bool = True
    vacation: Vacation | None = None

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


class Alias(msgspec.Struct, frozen=True):
    """An address that leads to others, here or elsewhere, to aliases too. With an empty local part it is the
    catch-all of its domain: for all mail there that belongs to nobody else."""

    address: Mailbox
    targets: tuple[Mailbox, ...]

    @property
    def is_catch_all(self) -> bool:
        return not self.address.local_part


Found: TypeAlias = Account | Alias | ListAddress
"""Whom mail may belong to."""


class AlreadyThere(Exception):
    """The name is taken."""


class NotThere(Exception):
    """No such domain, account or alias."""


class LeadsNowhere(Exception):
    """Aliases and forwarding may not lead round in a circle, to nobody, to too many, or over too many steps. The
    text says which, for people."""


class Directory(Protocol):
    """Lookups are answered from memory and notice changes by other processes within a second; they do
    not wait and may be called from the loop. Changes are durable when they return. All raise StoreUnavailable."""

    @property
    def lists(self) -> MailingLists: ...

    def domain(self, name: str) -> Domain | None: ...

    def account(self, address: Mailbox) -> Account | None:
        """The account that mail for `address` belongs to: without regard to case; `postmaster` of a local
        domain, or without a domain, that has no account of its own leads to the first account there is."""
        ...

    def recipient(self, address: Mailbox) -> Found | None:
        """What mail for `address` belongs to, without regard to case: in this order the account, alias or list of that
        name; for `user+tag` those of `user` (RFC 5233); the catch-all of the domain; for postmaster and abuse of a
        local domain (RFC 5321 section 4.5.1, RFC 2142 section 4), and for postmaster without a domain, the first
        account that is not disabled. Where there is none of these abuse leads where postmaster does."""
        ...

    def account_by_unix_user(self, name: str) -> Account | None: ...

    def domains(self) -> tuple[Domain, ...]: ...

    def accounts(self, domain: str = "") -> tuple[Account, ...]: ...

    def aliases(self, domain: str = "") -> tuple[Alias, ...]:
        """By domain and name, a catch-all before the others."""
        ...

    def leading_to(self, address: Mailbox) -> tuple[Mailbox, ...]:
        """The aliases, and accounts that forward, which name exactly this address."""
        ...

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
        """Raises NotThere; ValueError while it has accounts or aliases."""
        ...

    async def add_account(self, account: Account) -> Account:
        """`id` is ignored and given; returns the account with it. Raises AlreadyThere, also where an alias has the name
        and for a Unix user who has an account; NotThere if the domain is not local; LeadsNowhere for where it
        forwards."""
        ...

    async def change_account(self, account: Account) -> None:
        """Everything but id and address. Raises NotThere; AlreadyThere for another account's Unix user; LeadsNowhere
        for where it forwards, if that has changed."""
        ...

    async def remove_account(self, address: Mailbox) -> Account:
        """Returns what was removed. Raises NotThere."""
        ...

    async def add_targets(self, alias: Alias) -> Alias:
        """Make the alias, or let the one that is there lead to these addresses too. Returns it as it is now. Raises
        NotThere if its domain is not local; AlreadyThere if there is an account of that name; LeadsNowhere."""
        ...

    async def remove_targets(self, alias: Alias) -> Alias:
        """Let the alias lead to these no more; no targets stand for all. The alias goes with its last one. Returns
        what is left. Raises NotThere for an alias or a target that is not there."""
        ...

    async def begin_reply(self, account_id: int, sender: str, now: datetime, again_after: timedelta) -> bool:
        """Whether the account answers this sender (`Mailbox.key()`) now: not again before the time is over. It counts
        as answered from then on, whatever happens. A vacation that is changed begins anew."""
        ...

    async def begin_warning(self, account_id: int, warned: bool) -> bool:
        """Note whether the account has been told that its mailbox is nearly full. False when that was noted already."""
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
