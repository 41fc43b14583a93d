"""Aliases in directory.db: whom an address leads to, and the changes of what leads where.

A change is written first and looked at then, in the transaction that takes it back if it leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apsw

from postroad.contracts.directory import Account, Alias, AlreadyThere, DomainKind, Found, LeadsNowhere, NotThere
from postroad.contracts.mailing_lists import ListAddress
from postroad.storage.sqlite.commit import Verb
from postroad.storage.sqlite.directory_list_reads import find_list_address
from postroad.storage.sqlite.directory_reads import find_account, find_domain, find_first_account
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import ALIAS_ANCESTORS, ALIAS_RECIPIENTS, ALIAS_STEPS, ALIAS_TARGETS, FORWARD_TARGETS

_TARGETS = """
    SELECT local_part, domain, target_local_part, target_domain FROM alias_target
    WHERE address_key = ? ORDER BY position
"""
_ALL = """
    SELECT local_part, domain, target_local_part, target_domain FROM alias_target
    WHERE ?1 IN ('', domain) ORDER BY domain, address_key, position
"""
_LEADING_TO = """
    SELECT local_part, domain FROM alias_target WHERE target_key = ?1
    UNION SELECT account.local_part, account.domain
    FROM forward JOIN account ON account.id = forward.account_id WHERE forward.target_key = ?1
    ORDER BY 2, 1 LIMIT ?2
"""
_ADD_TARGET = """
    INSERT INTO alias_target (
        address_key, position, local_part, domain, target_key, target_local_part, target_domain
    ) VALUES (?, (SELECT ifnull(max(position), 0) + 1 FROM alias_target WHERE address_key = ?1), ?, ?, ?, ?, ?)
    ON CONFLICT (address_key, target_key) DO NOTHING
"""
_REMOVE_TARGET = "DELETE FROM alias_target WHERE address_key = ? AND target_key = ?"
_REMOVE_ALIAS = "DELETE FROM alias_target WHERE address_key = ?"
_REMOVE_FORWARDS = "DELETE FROM forward WHERE account_id = ?"
_ADD_FORWARD = "INSERT INTO forward (account_id, position, target_key, local_part, domain) VALUES (?, ?, ?, ?, ?)"


# ---- reading -------------------------------------------------------------------------------------


def find_recipient(connection: apsw.Connection, address: Mailbox) -> Found | None:
    """Whom mail for the address belongs to (contracts/directory.py)."""
    if not address.domain:
        return find_first_account(connection) if address.local_part.lower() == "postmaster" else None
    domain = find_domain(connection, address.domain)
    if domain is None or domain.kind is not DomainKind.LOCAL:
        return None
    found = _named(connection, address)
    if found is None:
        base = address.without_tag()
        found = _named(connection, base) if base != address else None
    if found is None:
        found = find_alias(connection, Mailbox("", address.domain))
    if found is None:
        role = address.without_tag().local_part.lower()
        if role == "postmaster":
            found = find_first_account(connection)
        elif role == "abuse":
            found = find_recipient(connection, Mailbox("postmaster", address.domain))
    return found


def _named(connection: apsw.Connection, address: Mailbox) -> Found | None:
    return (
        find_account(connection, address) or find_alias(connection, address) or find_list_address(connection, address)
    )


def find_alias(connection: apsw.Connection, address: Mailbox) -> Alias | None:
    return next(_aliases(connection.execute(_TARGETS, (address.key(),))), None)


def list_aliases(connection: apsw.Connection, domain: str) -> tuple[Alias, ...]:
    """Those of one domain, or all for an empty name."""
    return tuple(_aliases(connection.execute(_ALL, (domain,))))


def leading_to(connection: apsw.Connection, address: Mailbox) -> tuple[Mailbox, ...]:
    """Aliases and accounts that name exactly this address, at most ALIAS_ANCESTORS."""
    return tuple(Mailbox(*row) for row in connection.execute(_LEADING_TO, (address.key(), ALIAS_ANCESTORS)))


def _aliases(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[Alias]:
    address, targets = None, list[Mailbox]()
    for local_part, domain, target_local_part, target_domain in rows:
        if address is None or (address.local_part, address.domain) != (local_part, domain):
            if address is not None:
                yield Alias(address, tuple(targets))
            address, targets = Mailbox(local_part, domain), []
        targets.append(Mailbox(target_local_part, target_domain))
    if address is not None:
        yield Alias(address, tuple(targets))


# ---- changing ------------------------------------------------------------------------------------


def _add_targets(connection: apsw.Connection, alias: Alias) -> Alias:
    address = alias.address
    domain = find_domain(connection, address.domain)
    if domain is None or domain.kind is not DomainKind.LOCAL:
        raise NotThere(f"{address.domain} is no local domain. Add it first.")
    if find_account(connection, address) is not None:
        raise AlreadyThere(f"{address} is an account.")
    if find_list_address(connection, address) is not None:
        raise AlreadyThere(f"{address} is an address of a mailing list.")
    present = find_alias(connection, address)
    spelled = address if present is None else present.address
    for target in alias.targets:
        row = (spelled.local_part, spelled.domain, target.key(), target.local_part, target.domain)
        connection.execute(_ADD_TARGET, (address.key(), *row))
    changed = find_alias(connection, address)
    if changed is None or len(changed.targets) > ALIAS_TARGETS:
        raise LeadsNowhere(f"an alias names from one to {ALIAS_TARGETS} addresses; a mailing list may have more")
    check_where_it_leads(connection, changed, alias.targets)
    return changed


def _remove_targets(connection: apsw.Connection, alias: Alias) -> Alias:
    address = alias.address
    present = find_alias(connection, address)
    if present is None:
        raise NotThere(f"There is no alias {address}.")
    if not alias.targets:
        connection.execute(_REMOVE_ALIAS, (address.key(),))
        return Alias(present.address, ())
    for target in alias.targets:
        connection.execute(_REMOVE_TARGET, (address.key(), target.key()))
        if not connection.changes():
            raise NotThere(f"{address} does not lead to {target}.")
    return find_alias(connection, address) or Alias(present.address, ())


def put_forwards(connection: apsw.Connection, account: Account) -> None:
    """Raises LeadsNowhere for what is new, and NotThere for an address here that there is not."""
    before = find_account(connection, account.address)
    if before is not None and (before.forward_to, before.keeps_copy) == (account.forward_to, account.keeps_copy):
        return
    if len(account.forward_to) > FORWARD_TARGETS:
        raise LeadsNowhere(f"an account forwards to {FORWARD_TARGETS} addresses at most")
    connection.execute(_REMOVE_FORWARDS, (account.id,))
    connection.executemany(
        _ADD_FORWARD,
        [
            (account.id, position, each.key(), each.local_part, each.domain)
            for position, each in enumerate(account.forward_to)
        ],
    )
    if account.forward_to:
        check_where_it_leads(connection, account, account.forward_to)


def remove_forwards(connection: apsw.Connection, account_id: int) -> None:
    connection.execute(_REMOVE_FORWARDS, (account_id,))


def check_where_it_leads(connection: apsw.Connection, changed: Found, new: tuple[Mailbox, ...]) -> None:
    """Of what was written in this transaction: raises LeadsNowhere for a circle, for too many steps or addresses, also
    of an alias that leads to the changed one; NotThere for a new target that should be here and is not."""
    for target in new:
        domain = find_domain(connection, target.domain)
        here = domain is not None and domain.kind is DomainKind.LOCAL
        if here and find_recipient(connection, target) is None:
            raise NotThere(f"There is no {target} here. Add it first.")
    _count(connection, changed)
    above, seen = [changed.address], {changed.address.key()}
    while above and len(seen) <= ALIAS_ANCESTORS:
        for address in leading_to(connection, above.pop()):
            ancestor = _named(connection, address)
            if ancestor is not None and address.key() not in seen:
                seen.add(address.key())
                above.append(address)
                _count(connection, ancestor)


def _count(connection: apsw.Connection, found: Found) -> None:
    """How many addresses it leads to at last is bounded, and by how many steps. Raises LeadsNowhere."""
    last: set[str] = set()
    known: set[str] = set()

    def follow(here: Found, path: tuple[str, ...]) -> None:
        if len(path) > ALIAS_STEPS:
            raise LeadsNowhere(f"more than {ALIAS_STEPS} aliases one behind the other: {_chain(path)}")
        for target in _targets_of(here):
            then = find_recipient(connection, target)
            if then is None or not _targets_of(then):
                last.add(target.key())
            else:
                name = _name(then)
                if name in path:
                    raise LeadsNowhere(f"this would lead round in a circle: {_chain((*path, name))}")
                if isinstance(then, Account) and then.keeps_copy:
                    last.add(target.key())
                if name not in known:
                    follow(then, (*path, name))
                    known.add(name)
            if len(last) > ALIAS_RECIPIENTS:
                raise LeadsNowhere(
                    f"{_name(found)} would lead to more than {ALIAS_RECIPIENTS} addresses; use a mailing list"
                )

    follow(found, (_name(found),))


def _targets_of(found: Found) -> tuple[Mailbox, ...]:
    if isinstance(found, ListAddress):
        return ()
    return found.forward_to if isinstance(found, Account) else found.targets


def _name(found: Found) -> str:
    return found.address.key()


def _chain(path: tuple[str, ...]) -> str:
    return " -> ".join(path)


ADD_TARGETS: Verb[Alias, Alias] = Verb(_add_targets)
REMOVE_TARGETS: Verb[Alias, Alias] = Verb(_remove_targets)
