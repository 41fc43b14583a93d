"""Domains and accounts: add, remove, list, password, disable, grants."""

from __future__ import annotations

import msgspec

from postroad.contracts.directory import Account, AlreadyThere, Directory, Domain, DomainKind, NotThere
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.passwords import Passwords
from postroad.services.operations.arguments import address, argument, domain_name, host_and_port
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject

PASSWORD_CHARACTERS_MIN = 8


class AccountOperations:
    def __init__(self, *, directory: Directory, mailboxes: MailboxStore, passwords: Passwords) -> None:
        self._directory = directory
        self._mailboxes = mailboxes
        self._passwords = passwords

    def verbs(self) -> Verbs:
        return {
            "domain.add": self._add_domain,
            "domain.remove": self._remove_domain,
            "domain.list": self._list_domains,
            "account.add": self._add_account,
            "account.remove": self._remove_account,
            "account.list": self._list_accounts,
            "account.passwd": self._change_password,
            "account.disable": self._disable,
            "account.grant": self._grant,
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
            raise OperationFailed(f"{name} still has accounts; remove them first") from None
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
            password=await self._hash(argument(arguments, "password", "")),
            unix_user=argument(arguments, "unix_user", ""),
        )
        try:
            return [_account_object(await self._directory.add_account(account))]
        except AlreadyThere:
            raise OperationFailed(f"{mailbox} is here already") from None
        except NotThere:
            raise OperationFailed(
                f"{mailbox.domain} is not a local domain; add it first: postroad domain add {mailbox.domain}"
            ) from None

    async def _remove_account(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        try:
            await self._directory.remove_account(account.address)
        except NotThere:
            raise OperationFailed(f"there is no account {account.address}") from None
        messages = await self._mailboxes.remove_mailbox(account.id)
        return [{"address": str(account.address), "removed": True, "messages_removed": messages}]

    async def _list_accounts(self, arguments: PlainObject) -> list[PlainObject]:
        return [_account_object(account) for account in self._directory.accounts(argument(arguments, "domain", ""))]

    async def _change_password(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._existing(argument(arguments, "address", ""))
        return await self._change(account, password=await self._hash(argument(arguments, "password", "")))

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
        except NotThere:
            raise OperationFailed(f"there is no account {account.address}") from None
        return [_account_object(changed)]

    def _existing(self, text: str) -> Account:
        mailbox = address(text)
        account = self._directory.account(mailbox)
        # The directory answers for postmaster with another's account; here the very account is meant.
        if account is None or account.address.key() != mailbox.key():
            raise OperationFailed(f"there is no account {mailbox}")
        return account

    async def _hash(self, password: str) -> str:
        if len(password) < PASSWORD_CHARACTERS_MIN:
            raise OperationFailed(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters", 2)
        try:
            return await self._passwords.hash(password)
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
    }
