"""Importing a list of users, a page at a time: first the accounts, then what leads where, so that users of one list may
forward to each other.

Run again nothing is doubled: what is there already is brought to what the list says. A password is set where the
account is new, and of others only when asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from postroad.contracts.directory import Account, Alias, AlreadyThere, Directory, DomainKind, LeadsNowhere, NotThere
from postroad.services.operations.arguments import address, addresses, argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import USER_LIST_PAGE

Secrets = Callable[[PlainObject], Awaitable[dict[str, Any]]]
_FIELDS = ("display_name", "disabled", "quota_bytes")


class UserImports:
    """`secrets` makes what an account keeps of the password in a request; raises OperationFailed."""

    def __init__(self, *, directory: Directory, secrets: Secrets) -> None:
        self._directory = directory
        self._secrets = secrets

    def verbs(self) -> Verbs:
        return {"account.import": self._import}

    async def _import(self, arguments: PlainObject) -> list[PlainObject]:
        """`rows` of user_list.py, each with its "address"; `step` "check", "accounts" or "leads". One answer each:
        {"address", "result": "created", "changed", "unchanged" or "refused", "reason"}."""
        rows, step = arguments.get("rows", []), argument(arguments, "step", "check")
        if not isinstance(rows, list) or len(rows) > USER_LIST_PAGE or step not in ("check", "accounts", "leads"):
            raise OperationFailed("account.import: expected a page of rows and a step", 2)
        set_passwords = argument(arguments, "set_passwords", False)
        answers = []
        for row in rows:
            result, reason = "refused", ""
            try:
                mailbox = address(argument(row, "address", ""))
                if step == "leads":
                    result = await self._leads(mailbox, row)
                else:
                    result = await self._account(mailbox, row, set_passwords, check=step == "check")
            except (OperationFailed, AlreadyThere, NotThere, LeadsNowhere) as refused:
                reason = str(refused).rstrip(".")
            answers.append({"address": row.get("address", ""), "result": result, "reason": reason})
        return answers

    async def _account(self, mailbox: Mailbox, row: PlainObject, set_passwords: bool, *, check: bool) -> str:
        present = self._present(mailbox)
        if present is None:
            domain = self._directory.domain(mailbox.domain)
            if domain is None or domain.kind is not DomainKind.LOCAL:
                raise OperationFailed(
                    f"{mailbox.domain} is not a local domain; add it first: postroad domain add {mailbox.domain}"
                )
            found = self._directory.recipient(mailbox)
            if found is not None and found.address.key() == mailbox.key():
                raise OperationFailed(f"{mailbox} is something else here already: an alias, or a mailing list")
        wanted = present or Account(id=0, address=mailbox)
        wanted = msgspec.structs.replace(wanted, **{name: row[name] for name in _FIELDS if name in row})
        if row.get("password") and (present is None or set_passwords):
            secrets = await self._secrets({"password": row["password"]})
            wanted = msgspec.structs.replace(wanted, **secrets)
        if wanted == present:
            return "unchanged"
        if not check:
            await (self._directory.add_account(wanted) if present is None else self._directory.change_account(wanted))
        return "created" if present is None else "changed"

    async def _leads(self, mailbox: Mailbox, row: PlainObject) -> str:
        present = self._present(mailbox)
        if present is None:
            raise OperationFailed(f"there is no account {mailbox}")
        result = "unchanged"
        wanted = present
        if "forward_to" in row:
            wanted = msgspec.structs.replace(wanted, forward_to=addresses(row, "forward_to"))
        if "keeps_copy" in row:
            wanted = msgspec.structs.replace(wanted, keeps_copy=argument(row, "keeps_copy", True))
        if wanted != present:
            await self._directory.change_account(wanted)
            result = "changed"
        for alias in addresses(row, "aliases"):
            found = self._directory.recipient(alias)
            named = isinstance(found, Alias) and found.address.key() == alias.key()
            if isinstance(found, Alias) and named and mailbox.key() in {each.key() for each in found.targets}:
                continue
            await self._directory.add_targets(Alias(alias, (mailbox,)))
            result = "changed"
        return result

    def _present(self, mailbox: Mailbox) -> Account | None:
        account = self._directory.account(mailbox)
        return account if account is not None and account.address.key() == mailbox.key() else None
