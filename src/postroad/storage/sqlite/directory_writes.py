"""Changes of directory.db. Each is one item of a transaction that began IMMEDIATE, so that what it asks before it
writes stays true until it has written; a refusal is raised before anything is."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from postroad.contracts.directory import Account, AlreadyThere, Domain, DomainKind, NotThere, Vacation
from postroad.storage.sqlite.commit import Done, Verb
from postroad.storage.sqlite.directory_aliases import find_alias, put_forwards, remove_forwards
from postroad.storage.sqlite.directory_list_reads import find_list_address
from postroad.storage.sqlite.directory_lists import UNREMEMBERED
from postroad.storage.sqlite.directory_notes import BEGIN_REPLY, BEGIN_WARNING, forget_notes, forget_replies
from postroad.storage.sqlite.directory_reads import find_account, find_domain, find_unix_user, find_usage
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import ScramKeys
from postroad.vocabulary.standing_order import OrderKind, StandingOrder
from postroad.vocabulary.usage import Sent, Usage

_ADD_DOMAIN = "INSERT INTO domain (name, kind, relay_to) VALUES (?, ?, ?)"
_REMOVE_DOMAIN = "DELETE FROM domain WHERE name = ?"
_HAS_ADDRESSES = """
    SELECT 1 FROM account WHERE domain = ?1 UNION ALL SELECT 1 FROM alias_target WHERE domain = ?1
    UNION ALL SELECT 1 FROM mailing_list WHERE domain = ?1 LIMIT 1
"""
_ADD_ACCOUNT = """
    INSERT INTO account (
        address_key, local_part, domain, display_name, password, disabled, unix_user,
        scram_salt, scram_iterations, scram_stored_key, scram_server_key, cram_secret,
        messages_per_hour, recipients_per_day, connections,
        quota_bytes, keeps_copy, vacation_text, vacation_subject, vacation_days, vacation_until
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_CHANGE_ACCOUNT = """
    UPDATE account SET
        display_name = ?, password = ?, disabled = ?, unix_user = ?,
        scram_salt = ?, scram_iterations = ?, scram_stored_key = ?, scram_server_key = ?, cram_secret = ?,
        messages_per_hour = ?, recipients_per_day = ?, connections = ?,
        quota_bytes = ?, keeps_copy = ?,
        vacation_text = ?, vacation_subject = ?, vacation_days = ?, vacation_until = ?
    WHERE id = ?
"""
_REMOVE_ACCOUNT = "DELETE FROM account WHERE id = ?"
_ADD_GRANT = "INSERT INTO send_grant (account_id, position, local_part, domain) VALUES (?, ?, ?, ?)"
_REMOVE_GRANTS = "DELETE FROM send_grant WHERE account_id = ?"
_REMOVE_USAGE = "DELETE FROM account_usage WHERE account_id = ?"
_HAS_ACCOUNT = "SELECT 1 FROM account WHERE id = ?"
_PUT_USAGE = """
    INSERT OR REPLACE INTO account_usage (account_id, hour_began_at, messages, day_began_at, recipients)
    VALUES (?, ?, ?, ?, ?)
"""
_GIVE_ORDER = "INSERT OR IGNORE INTO standing_order (kind, subject, given_at, given_by) VALUES (?, ?, ?, ?)"
_TAKE_BACK_ORDER = "DELETE FROM standing_order WHERE kind = ? AND subject = ?"
_COUNT_CHANGES = "UPDATE house SET changes = changes + ?"


def _add_domain(connection: apsw.Connection, domain: Domain) -> None:
    if find_domain(connection, domain.name) is not None:
        raise AlreadyThere(f"The domain {domain.name} is there already.")
    connection.execute(_ADD_DOMAIN, (domain.name, domain.kind.value, domain.relay_to))


def _remove_domain(connection: apsw.Connection, name: str) -> None:
    if find_domain(connection, name) is None:
        raise NotThere(f"There is no domain {name}.")
    if connection.execute(_HAS_ADDRESSES, (name,)).get is not None:
        raise ValueError(f"The domain {name} still has accounts, aliases or lists. Remove them first.")
    connection.execute(_REMOVE_DOMAIN, (name,))


def _add_account(connection: apsw.Connection, account: Account) -> int:
    address = account.address
    domain = find_domain(connection, address.domain)
    if domain is None or domain.kind is not DomainKind.LOCAL:
        raise NotThere(f"{address.domain} is no local domain. Add it first.")
    if find_account(connection, address) is not None:
        raise AlreadyThere(f"The account {address} is there already.")
    if find_alias(connection, address) is not None:
        raise AlreadyThere(f"{address} is an alias.")
    if find_list_address(connection, address) is not None:
        raise AlreadyThere(f"{address} is an address of a mailing list.")
    _must_be_free(connection, account, 0)
    account_id: int = connection.execute(
        _ADD_ACCOUNT,
        (address.key(), address.local_part, address.domain, *_changeable(account)),
    ).get
    _put_grants(connection, account_id, account.grants)
    if account.forward_to:
        put_forwards(connection, msgspec.structs.replace(account, id=account_id))
    return account_id


def _change_account(connection: apsw.Connection, account: Account) -> None:
    known = find_account(connection, account.address)
    if known is None or known.id != account.id:
        raise NotThere(f"There is no account {account.address}.")
    _must_be_free(connection, account, account.id)
    if known.vacation != account.vacation:
        forget_replies(connection, account.id)
    put_forwards(connection, account)
    connection.execute(_CHANGE_ACCOUNT, (*_changeable(account), account.id))
    _put_grants(connection, account.id, account.grants)


def _remove_account(connection: apsw.Connection, address: Mailbox) -> Account:
    account = find_account(connection, address)
    if account is None:
        raise NotThere(f"There is no account {address}.")
    connection.execute(_REMOVE_GRANTS, (account.id,))
    connection.execute(_REMOVE_USAGE, (account.id,))
    remove_forwards(connection, account.id)
    forget_notes(connection, account.id)
    connection.execute(_REMOVE_ACCOUNT, (account.id,))
    return account


def _changeable(account: Account) -> tuple[object, ...]:
    """Everything but id, address and grants, in the order of the columns."""
    scram = account.scram or ScramKeys(b"", 0, b"", b"")
    return (
        account.display_name,
        account.password,
        account.disabled,
        account.unix_user,
        scram.salt,
        scram.iterations,
        scram.stored_key,
        scram.server_key,
        account.cram_secret,
        account.messages_per_hour,
        account.recipients_per_day,
        account.connections,
        account.quota_bytes,
        account.keeps_copy,
        *_vacation(account.vacation),
    )


def _vacation(vacation: Vacation | None) -> tuple[object, ...]:
    vacation = vacation or Vacation(text="")
    until = None if vacation.until is None else to_microseconds(vacation.until)
    return (vacation.text, vacation.subject, vacation.days, until)


def _add_usage(connection: apsw.Connection, sent: tuple[Sent, ...]) -> dict[int, Usage]:
    counters = {}
    for each in sent:
        if connection.execute(_HAS_ACCOUNT, (each.account_id,)).get is None:
            continue
        usage = find_usage(connection, each.account_id).plus(each.messages, each.recipients, each.at)
        row = (to_microseconds(usage.hour_began_at), usage.messages, to_microseconds(usage.day_began_at))
        connection.execute(_PUT_USAGE, (each.account_id, *row, usage.recipients))
        counters[each.account_id] = usage
    return counters


def _give_order(connection: apsw.Connection, order: StandingOrder) -> None:
    row = (order.kind.value, order.subject, to_microseconds(order.given_at), order.by)
    connection.execute(_GIVE_ORDER, row)


def _take_back_order(connection: apsw.Connection, asked: tuple[OrderKind, str]) -> bool:
    kind, subject = asked
    connection.execute(_TAKE_BACK_ORDER, (kind.value, subject))
    return connection.changes() > 0


def _must_be_free(connection: apsw.Connection, account: Account, account_id: int) -> None:
    """A Unix user speaks for one account at most."""
    other = find_unix_user(connection, account.unix_user)
    if other is not None and other.id != account_id:
        raise AlreadyThere(f"The Unix user {account.unix_user} belongs to {other.address} already.")


def _put_grants(connection: apsw.Connection, account_id: int, grants: tuple[Mailbox, ...]) -> None:
    connection.execute(_REMOVE_GRANTS, (account_id,))
    connection.executemany(
        _ADD_GRANT, [(account_id, position, grant.local_part, grant.domain) for position, grant in enumerate(grants)]
    )


ADD_DOMAIN: Verb[Domain, None] = Verb(_add_domain)
REMOVE_DOMAIN: Verb[str, None] = Verb(_remove_domain)
ADD_ACCOUNT: Verb[Account, int] = Verb(_add_account)
CHANGE_ACCOUNT: Verb[Account, None] = Verb(_change_account)
REMOVE_ACCOUNT: Verb[Mailbox, Account] = Verb(_remove_account)
ADD_USAGE: Verb[tuple[Sent, ...], dict[int, Usage]] = Verb(_add_usage)

GIVE_ORDER: Verb[StandingOrder, None] = Verb(_give_order)
TAKE_BACK_ORDER: Verb[tuple[OrderKind, str], bool] = Verb(_take_back_order)

_NOT_REMEMBERED = (ADD_USAGE, GIVE_ORDER, TAKE_BACK_ORDER, BEGIN_REPLY, BEGIN_WARNING, *UNREMEMBERED)


def count_changes(connection: apsw.Connection, done: Sequence[Done]) -> None:
    """In the transaction of a batch: tell those who remember accounts that there is something new."""
    changed = sum(verb not in _NOT_REMEMBERED for verb, _, _ in done)
    if changed:
        connection.execute(_COUNT_CHANGES, (changed,))
