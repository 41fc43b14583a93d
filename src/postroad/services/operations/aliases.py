"""Aliases: add, remove, list. A catch-all is written "@domain"."""

from __future__ import annotations

from postroad.contracts.directory import Alias, AlreadyThere, Directory, LeadsNowhere, NotThere
from postroad.rules.expansion import where_it_leads
from postroad.services.leads import leads_in
from postroad.services.operations.arguments import address, addresses, argument, domain_name
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.address import Mailbox


class AliasOperations:
    def __init__(self, *, directory: Directory) -> None:
        self._directory = directory

    def verbs(self) -> Verbs:
        return {"alias.add": self._add, "alias.remove": self._remove, "alias.list": self._list}

    async def _add(self, arguments: PlainObject) -> list[PlainObject]:
        name = alias_address(argument(arguments, "address", ""))
        targets = addresses(arguments, "targets")
        if not targets:
            raise OperationFailed("say where the alias leads to: at least one address", 2)
        try:
            return [self._object(await self._directory.add_targets(Alias(name, targets)))]
        except (AlreadyThere, NotThere) as refused:
            raise OperationFailed(_sentence(refused)) from None
        except LeadsNowhere as refused:
            raise OperationFailed(f"{alias_text(name)} is not changed: {refused}") from None

    async def _remove(self, arguments: PlainObject) -> list[PlainObject]:
        name = alias_address(argument(arguments, "address", ""))
        try:
            left = await self._directory.remove_targets(Alias(name, addresses(arguments, "targets")))
        except NotThere as refused:
            raise OperationFailed(_sentence(refused)) from None
        return [self._object(left)]

    async def _list(self, arguments: PlainObject) -> list[PlainObject]:
        asked = argument(arguments, "address", "")
        if "@" not in asked:
            return [self._object(each) for each in self._directory.aliases(domain_name(asked) if asked else "")]
        name = alias_address(asked)
        those = [each for each in self._directory.aliases(name.domain) if each.address.key() == name.key()]
        if not those:
            raise OperationFailed(f"there is no alias {alias_text(name)}")
        return [self._object(each) for each in those]

    def _object(self, alias: Alias) -> PlainObject:
        ends = where_it_leads(alias.address, leads_in(self._directory)) if alias.targets else ()
        return {
            "address": alias_text(alias.address),
            "catch_all": alias.is_catch_all,
            "targets": [str(target) for target in alias.targets],
            "leads_to": [str(end) for end in ends],
        }


def alias_address(text: str) -> Mailbox:
    """An address, or "@domain" for a catch-all. Raises OperationFailed with the reason."""
    text = text.strip()
    return Mailbox("", domain_name(text[1:])) if text.startswith("@") else address(text)


def alias_text(address: Mailbox) -> str:
    return str(address) if address.local_part else f"@{address.domain}"


def _sentence(refused: Exception) -> str:
    return str(refused).rstrip(".")
