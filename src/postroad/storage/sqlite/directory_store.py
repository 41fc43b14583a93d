"""The directory in SQLite: data/directory.db. Implements contracts/directory.py.

Lookups are answered from a cache on the loop. What it does not hold is read there and then: a few index pages
that the system has in memory, in ten microseconds, and in WAL mode no writer makes a reader wait. Reading
everything at the start costs a fifth of a second and some 60 MB for 100,000 accounts, and the same again after
each change; so a change costs the next mail for each account one such read.

Whether another connection has committed is asked of SQLite (`PRAGMA data_version`) at most every
DIRECTORY_RECHECK_S of the loop's time; when it was a change of domains or accounts, and not only of the counters
of what accounts send, the cache begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from postroad.contracts.directory import Account, Alias, Domain, Found
from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.commit import CommitEngine, Verb
from postroad.storage.sqlite.database import DatabaseKind, open_database, sql_folder
from postroad.storage.sqlite.directory_aliases import (
    ADD_TARGETS,
    REMOVE_TARGETS,
    find_recipient,
    leading_to,
    list_aliases,
)
from postroad.storage.sqlite.directory_lists import SqliteMailingLists
from postroad.storage.sqlite.directory_notes import BEGIN_REPLY, BEGIN_WARNING, Replying
from postroad.storage.sqlite.directory_reads import (
    changes,
    data_version,
    fake_salt_key,
    find_addressed,
    find_domain,
    find_unix_user,
    find_usage,
    list_accounts,
    list_domains,
    standing_orders,
)
from postroad.storage.sqlite.directory_writes import (
    ADD_ACCOUNT,
    ADD_DOMAIN,
    ADD_USAGE,
    CHANGE_ACCOUNT,
    GIVE_ORDER,
    REMOVE_ACCOUNT,
    REMOVE_DOMAIN,
    TAKE_BACK_ORDER,
    count_changes,
)
from postroad.storage.sqlite.writer import ReadingConnection, make_writer
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import DIRECTORY_CACHE_ENTRIES, DIRECTORY_LOOKUP_BUSY_S, DIRECTORY_RECHECK_S
from postroad.vocabulary.standing_order import OrderKind, StandingOrder
from postroad.vocabulary.usage import Sent, Usage

DIRECTORY = DatabaseKind("directory", application_id=0x50524452, sql=sql_folder("directory"), cache_kib=4096)

A = TypeVar("A")
R = TypeVar("R")
K = TypeVar("K")
V = TypeVar("V")


class SqliteDirectory:
    """To be made on the loop. `monotonic` tells seconds that only rise, by default the loop's own time; `direct`
    for a loop with virtual time; `vfs` is SQLite's file layer. Raises StoreFull, StoreUnavailable."""

    def __init__(
        self,
        path: Path,
        *,
        direct: bool = False,
        monotonic: Callable[[], float] | None = None,
        vfs: str | None = None,
    ) -> None:
        def connect() -> apsw.Connection:
            return open_database(path, DIRECTORY, vfs=vfs)

        def connect_for_lookups() -> apsw.Connection:
            connection = connect()
            connection.set_busy_timeout(int(DIRECTORY_LOOKUP_BUSY_S * 1000))
            return connection

        engine = CommitEngine(connect, finish_batch=count_changes)
        engine.open()
        self._writer = make_writer(engine, direct=direct, name="directory writer")
        self._reading = ReadingConnection(connect_for_lookups)
        self._monotonic = monotonic or asyncio.get_running_loop().time
        self._recheck_at = self._monotonic()
        self._version: int | None = None
        self._changes: int | None = None
        self.lists = SqliteMailingLists(self._read, self._change, self._writer.submit)
        self._fake_salt_key = b""
        self._is_closed = False
        # By the spelling asked for. None is remembered too: guessed names must not cost a read each.
        self._accounts: dict[Mailbox, Account | None] = {}
        self._recipients: dict[Mailbox, Found | None] = {}
        self._unix_users: dict[str, Account | None] = {}
        self._domains: dict[str, Domain | None] = {}

    def account(self, address: Mailbox) -> Account | None:
        if self._monotonic() >= self._recheck_at:
            self._recheck()
        try:
            return self._accounts[address]
        except KeyError:
            return self._remember(self._accounts, address, self._read(find_addressed, address))

    def recipient(self, address: Mailbox) -> Found | None:
        if self._monotonic() >= self._recheck_at:
            self._recheck()
        try:
            return self._recipients[address]
        except KeyError:
            return self._remember(self._recipients, address, self._read(find_recipient, address))

    def domain(self, name: str) -> Domain | None:
        if self._monotonic() >= self._recheck_at:
            self._recheck()
        try:
            return self._domains[name]
        except KeyError:
            return self._remember(self._domains, name, self._read(find_domain, name))

    def account_by_unix_user(self, name: str) -> Account | None:
        if self._monotonic() >= self._recheck_at:
            self._recheck()
        try:
            return self._unix_users[name]
        except KeyError:
            return self._remember(self._unix_users, name, self._read(find_unix_user, name))

    def domains(self) -> tuple[Domain, ...]:
        return self._read(list_domains, None)

    def accounts(self, domain: str = "") -> tuple[Account, ...]:
        return self._read(list_accounts, domain)

    def aliases(self, domain: str = "") -> tuple[Alias, ...]:
        return self._read(list_aliases, domain)

    def leading_to(self, address: Mailbox) -> tuple[Mailbox, ...]:
        return self._read(leading_to, address)

    def fake_salt_key(self) -> bytes:
        if not self._fake_salt_key:
            self._fake_salt_key = self._read(fake_salt_key, None)
        return self._fake_salt_key

    def usage(self, account_id: int) -> Usage:
        return self._read(find_usage, account_id)

    def standing_orders(self) -> tuple[StandingOrder, ...]:
        return self._read(standing_orders, None)

    async def add_domain(self, domain: Domain) -> None:
        await self._change(ADD_DOMAIN, domain)

    async def remove_domain(self, name: str) -> None:
        await self._change(REMOVE_DOMAIN, name)

    async def add_account(self, account: Account) -> Account:
        return msgspec.structs.replace(account, id=await self._change(ADD_ACCOUNT, account))

    async def change_account(self, account: Account) -> None:
        await self._change(CHANGE_ACCOUNT, account)

    async def remove_account(self, address: Mailbox) -> Account:
        return await self._change(REMOVE_ACCOUNT, address)

    async def add_targets(self, alias: Alias) -> Alias:
        return await self._change(ADD_TARGETS, alias)

    async def remove_targets(self, alias: Alias) -> Alias:
        return await self._change(REMOVE_TARGETS, alias)

    async def begin_reply(self, account_id: int, sender: str, now: datetime, again_after: timedelta) -> bool:
        return await self._writer.submit(BEGIN_REPLY, Replying(account_id, sender, now, again_after))

    async def begin_warning(self, account_id: int, warned: bool) -> bool:
        return await self._writer.submit(BEGIN_WARNING, (account_id, warned))

    async def add_usage(self, sent: tuple[Sent, ...]) -> dict[int, Usage]:
        return await self._writer.submit(ADD_USAGE, sent)

    async def give_order(self, order: StandingOrder) -> None:
        await self._writer.submit(GIVE_ORDER, order)

    async def take_back_order(self, kind: OrderKind, subject: str = "") -> bool:
        return await self._writer.submit(TAKE_BACK_ORDER, (kind, subject))

    async def close(self) -> None:
        self._is_closed = True
        self._forget()
        self._reading.close()
        await self._writer.close()

    async def _change(self, verb: Verb[A, R], argument: A) -> R:
        try:
            return await self._writer.submit(verb, argument)
        finally:
            self._forget()

    def _read(self, query: Callable[[apsw.Connection, A], R], argument: A) -> R:
        if self._is_closed:
            raise StoreUnavailable("The directory is closed.")
        try:
            return self._reading.run(query, argument)
        except StoreUnavailable:
            # The connection may be another one next time, and its data_version cannot be compared.
            self._version = None
            raise

    def _recheck(self) -> None:
        version = self._read(data_version, None)
        if version != self._version:
            number = self._read(changes, None)
            if number != self._changes:
                self._forget()
            self._version, self._changes = version, number
        self._recheck_at = self._monotonic() + DIRECTORY_RECHECK_S

    def _forget(self) -> None:
        self._accounts.clear()
        self._recipients.clear()
        self._unix_users.clear()
        self._domains.clear()

    def _remember(self, cache: dict[K, V], key: K, value: V) -> V:
        """A full cache begins anew: what is asked all the time is back with the next question."""
        if len(cache) >= DIRECTORY_CACHE_ENTRIES:
            cache.clear()
        cache[key] = value
        return value
