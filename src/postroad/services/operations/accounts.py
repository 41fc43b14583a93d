"""Domains and accounts: add, remove, list, password, limits, disable, grants; the rest is account_mail.py's."""

from __future__ import annotations

from typing import Any

import msgspec

from postroad.contracts.clock import Clock
from postroad.contracts.directory import (
    Account,
    Alias,
    AlreadyThere,
    Directory,
    Domain,
    DomainKind,
    LeadsNowhere,
    NotThere,
    Vacation,
)
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.passwords import Passwords
from postroad.services.operations.account_mail import AccountMailOperations
from postroad.services.operations.aliases import AliasOperations
from postroad.services.operations.arguments import (
    LIMIT_MAX,
    QUOTA_MAX,
    address,
    argument,
    domain_name,
    host_and_port,
    limit,
)
from postroad.services.operations.lists import ListOperations
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.user_imports import UserImports

PASSWORD_CHARACTERS_MIN = 8
LIMITS = {
    "messages_per_hour": LIMIT_MAX,
    "recipients_per_day": LIMIT_MAX,
    "connections": LIMIT_MAX,
    "quota_bytes": QUOTA_MAX,
}
"""Limits of an account, with the highest that can be set; null where those of everybody hold, 0 for none."""


class AccountOperations:
    def __init__(self, *, directory: Directory, mailboxes: MailboxStore, passwords: Passwords, clock: Clock) -> None:
        self._directory = directory
        self._mailboxes = mailboxes
        self._passwords = passwords
        self._mail = AccountMailOperations(existing=self._existing, change=self._change)
        self._aliases = AliasOperations(directory=directory)
        self._lists = ListOperations(directory=directory, clock=clock)
        self._imports = UserImports(directory=directory, secrets=self._secrets)

    def verbs(self) -> Verbs:
        return {
            "domain.add": self._add_domain,
            "domain.remove": self._remove_domain,
            "domain.list": self._list_domains,
            "account.add": self._add_account,
            "account.remove": self._remove_account,
            "account.list": self._list_accounts,
            "account.passwd": self._change_password,
            "account.limit": self._limit,
            "account.disable": self._disable,
            "account.grant": self._grant,
            **self._mail.verbs(),
            **self._aliases.verbs(),
            **self._lists.verbs(),
            **self._imports.verbs(),
        }

    # ---- domains ---------------------------------------------------------------------------------

    async def _add_domain(self, arguments: PlainObject) -> list[PlainObject]:
        name = domain_name(argument(arguments, "domain", ""))
        kind = DomainKind.RELAY if argument(arguments, "relay", False) else DomainKind.LOCAL
        onward = argument(arguments, "relay_to", "")
        domain = Domain(name=name, kind=kind, relay_to=host_and_port(onward) if onward else "")
        try:
            await self._directory.add_domain(domain)
        except AlreadyThere:
            raise OperationFailed(f"{name} is here already") from None
        return [_domain_object(domain)]

    async def _remove_domain(self, arguments: PlainObject) -> list[PlainObject]:
        name = domain_name(argument(arguments, "domain", ""))
        try:
            await self._directory.remove_domain(name)
        except NotThere:
            raise OperationFailed(f"{name} is not a domain of this server") from None
        except ValueError:
            raise OperationFailed(f"{name} still has accounts or aliases; remove them first") from None
        return [{"domain": name, "removed": True}]

    async def _list_domains(self, arguments: PlainObject) -> list[PlainObject]:
        return [_domain_object(domain) for domain in self._directory.domains()]

    # ---- accounts --------------------------------------------------------------------------------

    async def _add_account(self, arguments: PlainObject) -> list[PlainObject]:
        mailbox = address(argument(arguments, "address", ""))
        account = Account(
            id=0,
            address=mailbox,
            display_name=argument(arguments, "display_name", ""),
            unix_user=argument(arguments, "unix_user", ""),
            **await self._secrets(arguments),
        )
        try:
            return [_account_object(await self._directory.add_account(account))]
        except AlreadyThere:
            raise OperationFailed(self._taken(account)) from None
        except NotThere:
            raise OperationFailed(
                f"{mailbox.domain} is not a local domain; add it first: postroad domain add {mailbox.domain}"
            ) from None

    def _taken(self, account: Account) -> str:
        mailbox = account.address
        found = self._directory.recipient(mailbox)
        if isinstance(found, Alias) and found.address.key() == mailbox.key():
            return f"{mailbox} is an alias; remove it first: postroad alias remove {mailbox}"
        if self._directory.account_by_unix_user(account.unix_user) is not None:
            return f"the Unix user {account.unix_user} has an account already"
        return f"{mailbox} is here already"

    async def _remove_account(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        try:
            await self._directory.remove_account(account.address)
        except NotThere:
            raise OperationFailed(f"there is no account {account.address}") from None
        messages = await self._mailboxes.remove_mailbox(account.id)
        still = [str(each) for each in self._directory.leading_to(account.address)]
        removed = {"address": str(account.address), "removed": True, "messages_removed": messages}
        return [{**removed, "still_leading_there": still}]

    async def _list_accounts(self, arguments: PlainObject) -> list[PlainObject]:
        return [_account_object(account) for account in self._directory.accounts(argument(arguments, "domain", ""))]

    async def _change_password(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        return await self._change(account, **await self._secrets(arguments))

    async def _limit(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        limits = {name: limit(arguments, name, getattr(account, name), most) for name, most in LIMITS.items()}
        if all(getattr(account, name) == value for name, value in limits.items()):
            return [_account_object(account)]
        return await self._change(account, **limits)

    async def _disable(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        return await self._change(account, disabled=argument(arguments, "disabled", True))

    async def _grant(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        granted = address(argument(arguments, "granted", ""))
        others = tuple(grant for grant in account.grants if grant.key() != granted.key())
        keep = () if argument(arguments, "revoke", False) else (granted,)
        return await self._change(account, grants=(*others, *keep))

    async def _change(self, account: Account, **changes: object) -> list[PlainObject]:
        changed = msgspec.structs.replace(account, **changes)
        try:
            await self._directory.change_account(changed)
        except NotThere as refused:
            raise OperationFailed(str(refused).rstrip(".")) from None
        except LeadsNowhere as refused:
            raise OperationFailed(f"{account.address} is not changed: {refused}") from None
        return [_account_object(changed)]

    def _existing(self, text: str) -> Account:
        mailbox = address(text)
        account = self._directory.account(mailbox)
        # The directory answers for postmaster with another's account; here the very account is meant.
        if account is None or account.address.key() != mailbox.key():
            raise OperationFailed(f"there is no account {mailbox}")
        return account

    async def _secrets(self, arguments: PlainObject) -> dict[str, Any]:
        """All that an account keeps of a new password: nothing stays of the one before. Raises OperationFailed."""
        password = argument(arguments, "password", "")
        if len(password) < PASSWORD_CHARACTERS_MIN:
            raise OperationFailed(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters", 2)
        try:
            return {
                "password": await self._passwords.hash(password),
                "scram": await self._passwords.scram_keys(password) if argument(arguments, "scram", True) else None,
                "cram_secret": password if argument(arguments, "cram_md5", False) else "",
            }
        except ValueError as error:
            raise OperationFailed(f"this password cannot be used: {error}", 2) from None


def _domain_object(domain: Domain) -> PlainObject:
    return {"domain": domain.name, "kind": domain.kind.value, "relay_to": domain.relay_to}


def _account_object(account: Account) -> PlainObject:
    return {
        "address": str(account.address),
        "display_name": account.display_name,
        "disabled": account.disabled,
        "unix_user": account.unix_user,
        "grants": [str(grant) for grant in account.grants],
        "scram": account.scram is not None,
        "cram_md5": bool(account.cram_secret),
        **{name: getattr(account, name) for name in LIMITS},
        "forward_to": [str(target) for target in account.forward_to],
        "keeps_copy": account.keeps_copy,
        "vacation": None if account.vacation is None else _vacation_object(account.vacation),
    }


def _vacation_object(vacation: Vacation) -> PlainObject:
    until = None if vacation.until is None else vacation.until.isoformat()
    return {"text": vacation.text, "subject": vacation.subject, "days": vacation.days, "until": until}
