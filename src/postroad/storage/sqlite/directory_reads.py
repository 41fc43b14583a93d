"""Queries of directory.db, and how its rows become accounts and domains. Each fetches all it needs and ends."""

from __future__ import annotations

from typing import Any

import apsw

from postroad.contracts.directory import Account, Domain, DomainKind, Vacation
from postroad.storage.sqlite.moments import from_microseconds
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import ScramKeys
from postroad.vocabulary.standing_order import OrderKind, StandingOrder
from postroad.vocabulary.usage import Usage

_COLUMNS = """
    id, local_part, domain, display_name, password, disabled, unix_user,
    scram_salt, scram_iterations, scram_stored_key, scram_server_key, cram_secret,
    messages_per_hour, recipients_per_day, connections,
    quota_bytes, keeps_copy, vacation_text, vacation_subject, vacation_days, vacation_until
"""
_BY_KEY = f"SELECT {_COLUMNS} FROM account WHERE address_key = ?"
_BY_UNIX_USER = f"SELECT {_COLUMNS} FROM account WHERE unix_user = ? AND unix_user <> ''"
_FIRST = f"SELECT {_COLUMNS} FROM account ORDER BY disabled, id LIMIT 1"
_ALL = f"SELECT {_COLUMNS} FROM account WHERE ?1 IN ('', domain) ORDER BY domain, address_key"
_GRANTS = "SELECT local_part, domain FROM send_grant WHERE account_id = ? ORDER BY position"
_ALL_GRANTS = "SELECT account_id, local_part, domain FROM send_grant ORDER BY account_id, position"
_FORWARDS = "SELECT local_part, domain FROM forward WHERE account_id = ? ORDER BY position"
_ALL_FORWARDS = "SELECT account_id, local_part, domain FROM forward ORDER BY account_id, position"
_DOMAIN = "SELECT name, kind, relay_to FROM domain WHERE name = ?"
_DOMAINS = "SELECT name, kind, relay_to FROM domain ORDER BY name"
_USAGE = "SELECT hour_began_at, messages, day_began_at, recipients FROM account_usage WHERE account_id = ?"
_STANDING_ORDERS = "SELECT kind, subject, given_at, given_by FROM standing_order ORDER BY kind, subject"


def find_account(connection: apsw.Connection, address: Mailbox) -> Account | None:
    """The account of exactly this address, but for case."""
    return _whole(connection, connection.execute(_BY_KEY, (address.key(),)).get)


def find_addressed(connection: apsw.Connection, address: Mailbox) -> Account | None:
    """The account of the address. RFC 5321 section 4.5.1: there is always a postmaster, of every domain served here
    and without a domain; the first account that is not disabled where nobody else was made it."""
    account = find_account(connection, address)
    if account is not None or address.local_part.lower() != "postmaster":
        return account
    if address.domain:
        domain = find_domain(connection, address.domain)
        if domain is None or domain.kind is not DomainKind.LOCAL:
            return None
    return find_first_account(connection)


def find_first_account(connection: apsw.Connection) -> Account | None:
    """The oldest that is not disabled, if there is one."""
    return _whole(connection, connection.execute(_FIRST).get)


def find_unix_user(connection: apsw.Connection, name: str) -> Account | None:
    return _whole(connection, connection.execute(_BY_UNIX_USER, (name,)).get)


def find_domain(connection: apsw.Connection, name: str) -> Domain | None:
    row = connection.execute(_DOMAIN, (name,)).get
    return None if row is None else _domain(row)


def list_domains(connection: apsw.Connection, _: None) -> tuple[Domain, ...]:
    return tuple(_domain(row) for row in connection.execute(_DOMAINS))


def list_accounts(connection: apsw.Connection, domain: str) -> tuple[Account, ...]:
    """By address; those of one domain, or all for an empty name."""
    grants, forwards = (_by_account(connection, query) for query in (_ALL_GRANTS, _ALL_FORWARDS))
    rows = connection.execute(_ALL, (domain,))
    return tuple(_account(row, tuple(grants.get(row[0], ())), tuple(forwards.get(row[0], ()))) for row in rows)


def _by_account(connection: apsw.Connection, query: str) -> dict[int, list[Mailbox]]:
    addresses: dict[int, list[Mailbox]] = {}
    for account_id, local_part, domain in connection.execute(query):
        addresses.setdefault(account_id, []).append(Mailbox(local_part, domain))
    return addresses


def find_usage(connection: apsw.Connection, account_id: int) -> Usage:
    row = connection.execute(_USAGE, (account_id,)).get
    if row is None:
        return Usage()
    hour_began_at, messages, day_began_at, recipients = row
    return Usage(from_microseconds(hour_began_at), messages, from_microseconds(day_began_at), recipients)


def fake_salt_key(connection: apsw.Connection, _: None) -> bytes:
    key: bytes = connection.execute("SELECT fake_salt_key FROM house").get
    return key


def changes(connection: apsw.Connection, _: None) -> int:
    """How often domains and accounts have changed since the file was made."""
    number: int = connection.execute("SELECT changes FROM house").get
    return number


def data_version(connection: apsw.Connection, _: None) -> int:
    """A number that changes when another connection has committed."""
    version: int = connection.pragma("data_version")
    return version


def standing_orders(connection: apsw.Connection, _: None) -> tuple[StandingOrder, ...]:
    return tuple(
        StandingOrder(kind=OrderKind(kind), subject=subject, given_at=from_microseconds(given_at), by=by)
        for kind, subject, given_at, by in connection.execute(_STANDING_ORDERS)
    )


def _whole(connection: apsw.Connection, row: Any) -> Account | None:
    if row is None:
        return None
    grants = tuple(Mailbox(*address) for address in connection.execute(_GRANTS, (row[0],)))
    forwards = tuple(Mailbox(*address) for address in connection.execute(_FORWARDS, (row[0],)))
    return _account(row, grants, forwards)


def _account(row: Any, grants: tuple[Mailbox, ...], forwards: tuple[Mailbox, ...]) -> Account:
    account_id, local_part, domain, display_name, password, disabled, unix_user, *more = row
    (
        salt,
        iterations,
        stored_key,
        server_key,
        cram_secret,
        messages_per_hour,
        recipients_per_day,
        connections,
        *newer,
    ) = more
    quota_bytes, keeps_copy, text, subject, days, until = newer
    return Account(
        id=account_id,
        address=Mailbox(local_part, domain),
        display_name=display_name,
        password=password,
        disabled=bool(disabled),
        unix_user=unix_user,
        grants=grants,
        scram=ScramKeys(salt, iterations, stored_key, server_key) if iterations else None,
        cram_secret=cram_secret,
        messages_per_hour=messages_per_hour,
        recipients_per_day=recipients_per_day,
        connections=connections,
        quota_bytes=quota_bytes,
        forward_to=forwards,
        keeps_copy=bool(keeps_copy),
        vacation=Vacation(
            text=text, subject=subject, days=days, until=None if until is None else from_microseconds(until)
        )
        if text
        else None,
    )


def _domain(row: Any) -> Domain:
    name, kind, relay_to = row
    return Domain(name=name, kind=DomainKind(kind), relay_to=relay_to)
