"""Mailing lists in directory.db: implements contracts/mailing_lists.py for the directory that it is a part of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

import apsw

from postroad.contracts.directory import AlreadyThere, DomainKind, NotThere
from postroad.contracts.mailing_lists import ListDuty, MailingList, Member
from postroad.storage.sqlite.commit import Verb
from postroad.storage.sqlite.directory_aliases import find_alias, leading_to
from postroad.storage.sqlite.directory_list_reads import (
    count_members,
    find_list,
    find_list_address,
    find_member,
    list_lists,
    list_members,
)
from postroad.storage.sqlite.directory_reads import find_account, find_domain
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import LIST_MEMBERS

A = TypeVar("A")
R = TypeVar("R")

_CREATE = """
    INSERT INTO mailing_list (
        address_key, local_part, domain, description, posters, verp, from_rewrite, closed
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_CHANGE = """
    UPDATE mailing_list SET description = ?, posters = ?, verp = ?, from_rewrite = ?, closed = ? WHERE id = ?
"""
_DELETE = "DELETE FROM mailing_list WHERE id = ?"
_DELETE_MEMBERS = "DELETE FROM list_member WHERE list_id = ?"
_DELETE_OWNERS = "DELETE FROM list_owner WHERE list_id = ?"
_ADD_OWNER = "INSERT INTO list_owner (list_id, position, local_part, domain) VALUES (?, ?, ?, ?)"
_IS_THERE = "SELECT 1 FROM mailing_list WHERE id = ?"
_JOIN = """
    INSERT INTO list_member (list_id, address_key, local_part, domain, joined_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET bounces = 0, bounced_at = NULL, suspended = 0, joined_at = excluded.joined_at
    WHERE suspended
"""
_LEAVE = "DELETE FROM list_member WHERE list_id = ? AND address_key = ?"
_NOTE_BOUNCES = """
    UPDATE list_member SET bounces = ?, bounced_at = ?, suspended = ? WHERE list_id = ? AND address_key = ?
"""


def _create(connection: apsw.Connection, new: MailingList) -> int:
    domain = find_domain(connection, new.address.domain)
    if domain is None or domain.kind is not DomainKind.LOCAL:
        raise NotThere(f"{new.address.domain} is no local domain. Add it first.")
    for duty in ListDuty:
        address = new.at(duty)
        for found, what in (
            (find_account(connection, address), "an account"),
            (find_alias(connection, address), "an alias"),
            (find_list_address(connection, address), "a list's address"),
        ):
            if found is not None:
                raise AlreadyThere(f"{address} is {what}.")
    address = new.address
    list_id: int = connection.execute(
        _CREATE, (address.key(), address.local_part, address.domain, *_changeable(new))
    ).get
    _put_owners(connection, list_id, new)
    return list_id


def _change(connection: apsw.Connection, changed: MailingList) -> None:
    known = find_list(connection, changed.address)
    if known is None or known.id != changed.id:
        raise NotThere(f"There is no list {changed.address}.")
    connection.execute(_CHANGE, (*_changeable(changed), changed.id))
    _put_owners(connection, changed.id, changed)


def _delete(connection: apsw.Connection, address: Mailbox) -> MailingList:
    known = find_list(connection, address)
    if known is None:
        raise NotThere(f"There is no list {address}.")
    for duty in ListDuty:
        above = leading_to(connection, known.at(duty))
        if above:
            raise ValueError(f"{above[0]} still leads to {known.at(duty)}. Remove that first.")
    for statement in (_DELETE_MEMBERS, _DELETE_OWNERS, _DELETE):
        connection.execute(statement, (known.id,))
    return known


def _changeable(one: MailingList) -> tuple[object, ...]:
    return (one.description, one.posters.value, one.verp, one.from_rewrite, one.closed)


def _put_owners(connection: apsw.Connection, list_id: int, one: MailingList) -> None:
    connection.execute(_DELETE_OWNERS, (list_id,))
    rows = [(list_id, position, owner.local_part, owner.domain) for position, owner in enumerate(one.owners)]
    connection.executemany(_ADD_OWNER, rows)


def _join(connection: apsw.Connection, asked: tuple[int, tuple[Mailbox, ...], int]) -> tuple[Mailbox, ...]:
    list_id, who, now = asked
    if connection.execute(_IS_THERE, (list_id,)).get is None:
        raise NotThere("There is no such list any more.")
    new = []
    for address in who:
        connection.execute(_JOIN, (list_id, address.key(), address.local_part, address.domain, now))
        if connection.changes():
            new.append(address)
    if count_members(connection, list_id)[0] > LIST_MEMBERS:
        raise ValueError(f"A list has at most {LIST_MEMBERS} members.")
    return tuple(new)


def _leave(connection: apsw.Connection, asked: tuple[int, tuple[Mailbox, ...]]) -> tuple[Mailbox, ...]:
    list_id, who = asked
    gone = []
    for address in who:
        connection.execute(_LEAVE, (list_id, address.key()))
        if connection.changes():
            gone.append(address)
    return tuple(gone)


def _note_bounces(connection: apsw.Connection, asked: tuple[int, tuple[Member, ...]]) -> None:
    list_id, changed = asked
    for member in changed:
        at = None if member.bounced_at is None else to_microseconds(member.bounced_at)
        row = (member.bounces, at, member.suspended, list_id, member.address.key())
        connection.execute(_NOTE_BOUNCES, row)


CREATE: Verb[MailingList, int] = Verb(_create)
CHANGE: Verb[MailingList, None] = Verb(_change)
DELETE: Verb[Mailbox, MailingList] = Verb(_delete)
JOIN: Verb[tuple[int, tuple[Mailbox, ...], int], tuple[Mailbox, ...]] = Verb(_join)
LEAVE: Verb[tuple[int, tuple[Mailbox, ...]], tuple[Mailbox, ...]] = Verb(_leave)
NOTE_BOUNCES: Verb[tuple[int, tuple[Member, ...]], None] = Verb(_note_bounces)

UNREMEMBERED: tuple[Verb[Any, Any], ...] = (JOIN, LEAVE, NOTE_BOUNCES)
"""Members are not remembered by the directory's cache: their changes need not empty it."""


class Read(Protocol):
    """Run a query now."""

    def __call__(self, query: Callable[[apsw.Connection, A], R], argument: A, /) -> R: ...


class Change(Protocol):
    """Run a verb in a transaction."""

    def __call__(self, verb: Verb[A, R], argument: A, /) -> Awaitable[R]: ...


class SqliteMailingLists:
    """`read` and `change` are the directory's; `write` changes what its cache does not hold."""

    def __init__(self, read: Read, change: Change, write: Change) -> None:
        self._read = read
        self._change = change
        self._write = write

    def of_domain(self, domain: str = "") -> tuple[MailingList, ...]:
        return self._read(list_lists, domain)

    def find(self, address: Mailbox) -> MailingList | None:
        return self._read(find_list, address)

    def member(self, list_id: int, address: Mailbox) -> Member | None:
        return self._read(find_member, (list_id, address))

    def members(self, list_id: int, after: str, limit: int) -> tuple[Member, ...]:
        return self._read(list_members, (list_id, after, limit))

    def counts(self, list_id: int) -> tuple[int, int]:
        return self._read(count_members, list_id)

    async def create(self, new: MailingList) -> MailingList:
        list_id = await self._change(CREATE, new)
        made = self.find(new.address)
        assert made is not None, f"list {list_id} was just made"
        return made

    async def change(self, changed: MailingList) -> None:
        await self._change(CHANGE, changed)

    async def delete(self, address: Mailbox) -> MailingList:
        return await self._change(DELETE, address)

    async def join(self, list_id: int, who: tuple[Mailbox, ...], now: datetime) -> tuple[Mailbox, ...]:
        return await self._write(JOIN, (list_id, who, to_microseconds(now)))

    async def leave(self, list_id: int, who: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
        return await self._write(LEAVE, (list_id, who))

    async def note_bounces(self, list_id: int, changed: tuple[Member, ...]) -> None:
        await self._write(NOTE_BOUNCES, (list_id, changed))
