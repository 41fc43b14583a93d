"""What comes back from the members of a mailing list: counted, and after a run of it the member is suspended.

A member is known by the reverse-path it was written to under (`rules/verp.py`), or named in the report (RFC 3464). The
count is durable before the message is settled; should it come to a second time, it counts nothing twice, for a day of
bounces counts as one.
"""

from __future__ import annotations

import asyncio

from msgspec import structs

from postroad.contracts.mailing_lists import MailingList, Member
from postroad.contracts.queue_store import NewMessage
from postroad.message.header import split_header
from postroad.message.list_fields import read_header
from postroad.message.list_notices import suspended
from postroad.message.status_report import RecipientStatus, read_report
from postroad.rules.lists import after_bounce
from postroad.rules.verp import digest_of, named_by
from postroad.services.list_letters import ListLetters
from postroad.services.list_parts import ListParts, Served, beginning, list_facts
from postroad.services.parcel import Parcel
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import LIST_BOUNCE_BYTES, LIST_PAGE

_MEMBERS_TOLD = 20


class Bounces:
    def __init__(self, parts: ListParts, letters: ListLetters) -> None:
        self._parts = parts
        self._letters = letters

    async def take(self, parcel: Parcel, of: MailingList, came_to: Mailbox) -> Served:
        """Raises StoreUnavailable."""
        if parcel.work.envelope.reverse_path is not None:
            return Served("Not counted: it is no notification, for it has a reverse-path.")
        assert parcel.content is not None, "fetched before it is looked into"
        content = await beginning(parcel.content, LIST_BOUNCE_BYTES)
        members = await self._members(of, came_to, content)
        if not members:
            return Served("Not counted: it says of no member that mail cannot be delivered.")
        now = self._parts.clock.now()
        changed = []
        for member in members:
            run = after_bounce(member, now)
            if run is not None:
                changed.append(
                    structs.replace(member, bounces=run.bounces, bounced_at=run.bounced_at, suspended=run.suspended)
                )
        if not changed:
            return Served(f"Not counted: {_names(members)} had one within a day, or is suspended.")
        await self._parts.directory.lists.note_bounces(of.id, tuple(changed))
        over = [member for member in changed if member.suspended]
        text = f"Counted for {_names(changed)}."
        if over:
            text += f" Suspended: {_names(over)}."
        return Served(text, children=self._told(parcel, of, over))

    async def _members(self, of: MailingList, came_to: Mailbox, content: bytes) -> list[Member]:
        report = await self._parts.aside(read_report, content)
        named = named_by(came_to)
        if report is None:
            # RFC 3834 section 4: what answers by itself answers to the reverse-path, and says what it is.
            header = read_header(split_header(content)[0])
            if named is None or header.auto_submitted == "auto-replied":
                return []
        elif not any(each.speaks_against_address for each in report):
            return []
        if named is not None:
            member = await self._named(of, named)
            if member is not None:
                return [member]
        return [] if report is None else self._reported(of, report)

    async def _named(self, of: MailingList, named: Mailbox | str) -> Member | None:
        lists = self._parts.directory.lists
        if isinstance(named, Mailbox):
            return lists.member(of.id, named)
        after = ""
        while True:
            page = lists.members(of.id, after, LIST_PAGE)
            for member in page:
                if digest_of(member.address) == named:
                    return member
            if len(page) < LIST_PAGE:
                return None
            after = page[-1].address.key()
            await asyncio.sleep(0)

    def _reported(self, of: MailingList, report: tuple[RecipientStatus, ...]) -> list[Member]:
        """Of each recipient the first address that is a member's: the original one, where it is said."""
        found: dict[str, Member] = {}
        for each in report:
            if not each.speaks_against_address:
                continue
            for text in each.addresses:
                local_part, at, domain = text.rpartition("@")
                member = None
                if at and local_part:
                    member = self._parts.directory.lists.member(of.id, Mailbox(local_part, domain.lower()))
                if member is not None:
                    found.setdefault(member.address.key(), member)
                    break
        return list(found.values())

    def _told(self, parcel: Parcel, of: MailingList, over: list[Member]) -> tuple[NewMessage, ...]:
        """The owners hear of it, once."""
        if not over:
            return ()
        words = suspended(list_facts(of), [(member.address, member.bounces) for member in over])
        return self._letters.to_owners(parcel, of, words)


def _names(members: list[Member]) -> str:
    named = ", ".join(str(member.address) for member in members[:_MEMBERS_TOLD])
    return named if len(members) <= _MEMBERS_TOLD else f"{named} and {len(members) - _MEMBERS_TOLD} more"
