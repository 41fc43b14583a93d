"""Queries for mailing lists in directory.db."""

from __future__ import annotations

from typing import Any

import apsw

from postroad.contracts.mailing_lists import ListAddress, ListDuty, MailingList, Member, WhoPosts
from postroad.storage.sqlite.moments import from_microseconds
from postroad.vocabulary.address import Mailbox

_COLUMNS = "id, local_part, domain, description, posters, verp, from_rewrite, closed"
_BY_KEY = f"SELECT {_COLUMNS} FROM mailing_list WHERE address_key = ?"
_ALL = f"SELECT {_COLUMNS} FROM mailing_list WHERE ?1 IN ('', domain) ORDER BY domain, address_key"
_OWNERS = "SELECT local_part, domain FROM list_owner WHERE list_id = ? ORDER BY position"
_MEMBER_COLUMNS = "local_part, domain, joined_at, bounces, bounced_at, suspended"
_MEMBER = f"SELECT {_MEMBER_COLUMNS} FROM list_member WHERE list_id = ? AND address_key = ?"
_MEMBERS = f"""
    SELECT {_MEMBER_COLUMNS} FROM list_member WHERE list_id = ? AND address_key > ? ORDER BY address_key LIMIT ?
"""
_COUNTS = "SELECT count(*), ifnull(sum(suspended), 0) FROM list_member WHERE list_id = ?"

# What people and other list programs are used to stands for the same.
_DUTIES = {duty.value: duty for duty in ListDuty if duty.value} | {"join": ListDuty.JOIN, "leave": ListDuty.LEAVE}


def find_list(connection: apsw.Connection, address: Mailbox) -> MailingList | None:
    row = connection.execute(_BY_KEY, (address.key(),)).get
    return None if row is None else _list(connection, row)


def find_list_address(connection: apsw.Connection, address: Mailbox) -> ListAddress | None:
    """The list that this is an address of, without sub-addresses."""
    found = find_list(connection, address)
    if found is not None:
        return ListAddress(found.address, found, ListDuty.POST)
    name, hyphen, suffix = address.local_part.lower().rpartition("-")
    duty = _DUTIES.get(suffix)
    if not hyphen or duty is None:
        return None
    found = find_list(connection, Mailbox(name, address.domain))
    return None if found is None else ListAddress(found.at(duty), found, duty)


def list_lists(connection: apsw.Connection, domain: str) -> tuple[MailingList, ...]:
    return tuple(_list(connection, row) for row in connection.execute(_ALL, (domain,)).fetchall())


def find_member(connection: apsw.Connection, asked: tuple[int, Mailbox]) -> Member | None:
    list_id, address = asked
    row = connection.execute(_MEMBER, (list_id, address.key())).get
    return None if row is None else _member(row)


def list_members(connection: apsw.Connection, asked: tuple[int, str, int]) -> tuple[Member, ...]:
    return tuple(_member(row) for row in connection.execute(_MEMBERS, asked))


def count_members(connection: apsw.Connection, list_id: int) -> tuple[int, int]:
    members, suspended = connection.execute(_COUNTS, (list_id,)).get
    return members, suspended


def _list(connection: apsw.Connection, row: Any) -> MailingList:
    list_id, local_part, domain, description, posters, verp, from_rewrite, closed = row
    return MailingList(
        id=list_id,
        address=Mailbox(local_part, domain),
        description=description,
        posters=WhoPosts(posters),
        verp=bool(verp),
        from_rewrite=bool(from_rewrite),
        closed=bool(closed),
        owners=tuple(Mailbox(*owner) for owner in connection.execute(_OWNERS, (list_id,))),
    )


def _member(row: Any) -> Member:
    local_part, domain, joined_at, bounces, bounced_at, suspended = row
    return Member(
        address=Mailbox(local_part, domain),
        joined_at=from_microseconds(joined_at),
        bounces=bounces,
        bounced_at=None if bounced_at is None else from_microseconds(bounced_at),
        suspended=bool(suspended),
    )
