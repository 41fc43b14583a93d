"""Mailing lists, for those who run them: create, change, delete, show, and who is a member."""

from __future__ import annotations

import msgspec

from postroad.contracts.clock import Clock
from postroad.contracts.directory import AlreadyThere, Directory, NotThere
from postroad.contracts.mailing_lists import ListAddress, ListDuty, MailingList, WhoPosts
from postroad.services.operations.arguments import address, addresses, argument, domain_name
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.address import SUBADDRESS_SEPARATOR, Mailbox
from postroad.vocabulary.limits import (
    LIST_DESCRIPTION_CHARACTERS,
    LIST_NAME_BYTES,
    LIST_OWNERS,
    LIST_PAGE,
)


class ListOperations:
    def __init__(self, *, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def verbs(self) -> Verbs:
        return {
            "list.create": self._create,
            "list.change": self._change,
            "list.delete": self._delete,
            "list.show": self._show,
            "list.members": self._members,
            "list.join": self._join,
            "list.leave": self._leave,
        }

    # ---- lists -----------------------------------------------------------------------------------

    async def _create(self, arguments: PlainObject) -> list[PlainObject]:
        name = address(argument(arguments, "address", ""))
        if SUBADDRESS_SEPARATOR in name.local_part or len(name.local_part.encode()) > LIST_NAME_BYTES:
            raise OperationFailed(
                f'{name}: the name of a list has no "{SUBADDRESS_SEPARATOR}" and at most {LIST_NAME_BYTES} octets, '
                "so that its other addresses have room behind it",
                2,
            )
        wanted = _with(MailingList(id=0, address=name), arguments)
        try:
            return [self._object(await self._directory.lists.create(wanted))]
        except (AlreadyThere, NotThere) as refused:
            raise OperationFailed(_sentence(refused)) from None

    async def _change(self, arguments: PlainObject) -> list[PlainObject]:
        """What is not given stays as it is."""
        one = self._existing(arguments)
        changed = _with(one, arguments)
        try:
            await self._directory.lists.change(changed)
        except NotThere as refused:
            raise OperationFailed(_sentence(refused)) from None
        return [self._object(changed)]

    async def _delete(self, arguments: PlainObject) -> list[PlainObject]:
        one = self._existing(arguments)
        shown = self._object(one)
        try:
            await self._directory.lists.delete(one.address)
        except (NotThere, ValueError) as refused:
            raise OperationFailed(_sentence(refused)) from None
        return [shown]

    async def _show(self, arguments: PlainObject) -> list[PlainObject]:
        asked = argument(arguments, "address", "")
        if "@" in asked:
            return [self._object(self._existing(arguments))]
        return [self._object(each) for each in self._directory.lists.of_domain(domain_name(asked) if asked else "")]

    # ---- members ---------------------------------------------------------------------------------

    async def _members(self, arguments: PlainObject) -> list[PlainObject]:
        """A page: LIST_PAGE of them, those behind the address `after`."""
        one = self._existing(arguments)
        after = argument(arguments, "after", "")
        members = self._directory.lists.members(one.id, address(after).key() if after else "", LIST_PAGE)
        return [
            {
                "address": str(each.address),
                "joined_at": each.joined_at.isoformat(),
                "bounces": each.bounces,
                "bounced_at": None if each.bounced_at is None else each.bounced_at.isoformat(),
                "suspended": each.suspended,
            }
            for each in members
        ]

    async def _join(self, arguments: PlainObject) -> list[PlainObject]:
        """One object for each of at most LIST_PAGE members, in their order."""
        one = self._existing(arguments)
        who = _some(arguments)
        for each in who:
            self._check_member(one, each)
        try:
            joined = await self._directory.lists.join(one.id, who, self._clock.now())
        except (NotThere, ValueError) as refused:
            raise OperationFailed(_sentence(refused)) from None
        new = {each.key() for each in joined}
        return [{"address": str(each), "list": str(one.address), "joined": each.key() in new} for each in who]

    async def _leave(self, arguments: PlainObject) -> list[PlainObject]:
        one = self._existing(arguments)
        who = _some(arguments)
        gone = {each.key() for each in await self._directory.lists.leave(one.id, who)}
        return [{"address": str(each), "list": str(one.address), "left": each.key() in gone} for each in who]

    def _check_member(self, one: MailingList, member: Mailbox) -> None:
        """A list does not write to itself; nor is it known only with the first message that nobody is there."""
        domain = self._directory.domain(member.domain)
        if domain is None or domain.relay_to or domain.kind.value != "local":
            return
        found = self._directory.recipient(member)
        if found is None:
            raise OperationFailed(f"there is no {member} here; nobody has joined")
        if isinstance(found, ListAddress) and (found.list_.id == one.id or found.duty is not ListDuty.POST):
            raise OperationFailed(f"{member} is an address of a list itself; nobody has joined")

    # ---- both ------------------------------------------------------------------------------------

    def _existing(self, arguments: PlainObject) -> MailingList:
        name = address(argument(arguments, "address", ""))
        one = self._directory.lists.find(name)
        if one is None:
            raise OperationFailed(f"there is no list {name}")
        return one

    def _object(self, one: MailingList) -> PlainObject:
        members, suspended = self._directory.lists.counts(one.id)
        return {
            "address": str(one.address),
            "description": one.description,
            "posters": one.posters.value,
            "owners": [str(owner) for owner in one.owners],
            "verp": one.verp,
            "from_rewrite": one.from_rewrite,
            "closed": one.closed,
            "members": members,
            "suspended": suspended,
        }


def _with(one: MailingList, arguments: PlainObject) -> MailingList:
    """The list with what the arguments say of it. Raises OperationFailed."""
    description = argument(arguments, "description", one.description).strip()
    if len(description) > LIST_DESCRIPTION_CHARACTERS or not description.isprintable():
        raise OperationFailed(f"the description is one line of at most {LIST_DESCRIPTION_CHARACTERS} characters", 2)
    posters = argument(arguments, "posters", one.posters.value)
    if posters not in [who.value for who in WhoPosts]:
        raise OperationFailed(f"posters: expected {', '.join(who.value for who in WhoPosts)}, got {posters!r}", 2)
    owners = addresses(arguments, "owners") if "owners" in arguments else one.owners
    if len(owners) > LIST_OWNERS:
        raise OperationFailed(f"a list has at most {LIST_OWNERS} owners", 2)
    return msgspec.structs.replace(
        one,
        description=description,
        posters=WhoPosts(posters),
        owners=owners,
        verp=argument(arguments, "verp", one.verp),
        from_rewrite=argument(arguments, "from_rewrite", one.from_rewrite),
        closed=argument(arguments, "closed", one.closed),
    )


def _some(arguments: PlainObject) -> tuple[Mailbox, ...]:
    who = addresses(arguments, "members")
    if not 0 < len(who) <= LIST_PAGE:
        raise OperationFailed(f"say whom: from one to {LIST_PAGE} addresses", 2)
    return who


def _sentence(refused: Exception) -> str:
    return str(refused).rstrip(".")
