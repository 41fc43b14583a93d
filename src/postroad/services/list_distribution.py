"""A message to a mailing list becomes messages to its members (RFC 5321 section 3.9.2).

They are new messages, with the list's own reverse-path: what cannot be delivered goes back to the list and not to the
author. Of what the author asked for, nothing of reports and times goes on (RFC 3461 section 5.2.7.3); to be kept from
unsafe ways does. The octets of the message stay as they came; fields are taken out of its header as ranges and the
list's own put before it (`message/list_fields.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime

import msgspec

from postroad.contracts.directory import DomainKind, Found
from postroad.contracts.errors import DnsTemporary
from postroad.contracts.mailing_lists import ListAddress, ListDuty, MailingList
from postroad.contracts.queue_store import NewMessage, Spool, StoredContent, Work
from postroad.message.header import split_header
from postroad.message.list_fields import ListHeader, for_members, list_fields, read_header
from postroad.rules.expansion import expand
from postroad.rules.lists import judge_content, policy_forbids, policy_names
from postroad.services.leads import leads_in
from postroad.services.list_parts import ListParts, Served, beginning, list_facts
from postroad.services.list_posters import judge_posting
from postroad.services.parcel import Parcel
from postroad.vocabulary.address import Mailbox, path_text
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Envelope, Notify, Recipient
from postroad.vocabulary.limits import LIST_PAGE, LIST_PORTION, MIME_HEADER_BYTES
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Distributed, Entry, Expanded

_MAY_NOT_POST = EnhancedStatus(5, 7, 2)
_FAILURES = (Notify.FAILURE,)
"""A list wants to know who cannot be reached, and not who is late."""


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What all members get of a message: `header`, and then its octets from `body_at` on."""

    to: MailingList
    work: Work
    header: bytes
    body_at: int
    message_id: str
    at: datetime


class Distribution:
    def __init__(self, parts: ListParts) -> None:
        self._parts = parts
        self._lead_of = leads_in(parts.directory)

    async def distribute(self, parcel: Parcel, to: MailingList) -> Served:
        """Raises StoreUnavailable."""
        content = parcel.content
        assert content is not None, "fetched before it is passed on"
        refusal = self._refusal(parcel, to)
        if refusal:
            return Served(refusal, Fate.FAILED, _MAY_NOT_POST)
        fields = split_header(await beginning(content, MIME_HEADER_BYTES))[0]
        header = read_header(fields)
        against = judge_content(to.address, header)
        if against is not None:
            # Not a failure: of two lists with each other as members, each would count it as a bounce of the other.
            return Served(f"Not passed on. {against.text}")
        members = await self._members(to)
        if not members:
            return Served("The list has nobody to pass it on to.")
        added = list_fields(list_facts(to))
        copy = _Copy(
            to=to,
            work=parcel.work,
            header=for_members(fields, added, await self._rewritten(to, header)),
            body_at=len(fields),
            message_id=header.message_id,
            at=self._parts.clock.now(),
        )
        children = await self._children(copy, content, members)
        ids = tuple(child.queue_id for child in children)
        fact = Expanded(at=children[0].queued_at, address=str(to.address), to=ids, members=len(members))
        to_whom = "1 member" if len(members) == 1 else f"{len(members)} members"
        return Served(f"Passed on to {to_whom}.", children=children, facts=(fact,))

    def _refusal(self, parcel: Parcel, to: MailingList) -> str:
        """Who comes by way of an alias was not judged when the message came."""
        ruling = judge_posting(self._parts.directory, to, parcel.work.envelope.reverse_path)
        return "" if ruling.reply is None else f"{ruling.reply.lines[0]}."

    # ---- whom ------------------------------------------------------------------------------------

    async def _members(self, to: MailingList) -> list[Recipient]:
        """All who are not suspended, each once, by domain; those whom aliases among them lead to in their place. Never
        the list itself."""
        lists = self._parts.directory.lists
        direct: dict[str, Recipient] = {}
        leading: list[Recipient] = []
        after = ""
        while True:
            page = lists.members(to.id, after, LIST_PAGE)
            for member in page:
                if member.suspended or self._is_own(to, member.address):
                    continue
                recipient = Recipient(member.address, _FAILURES)
                if self._lead_of(member.address) is None:
                    direct[member.address.key()] = recipient
                else:
                    leading.append(recipient)
            if len(page) < LIST_PAGE:
                break
            after = page[-1].address.key()
            await asyncio.sleep(0)
        for each in expand(tuple(leading), self._lead_of).recipients:
            if not self._is_own(to, each.forward_path):
                direct.setdefault(each.forward_path.key(), each)
        return sorted(direct.values(), key=lambda each: (each.forward_path.domain, each.forward_path.local_part))

    def _is_own(self, to: MailingList, address: Mailbox) -> bool:
        found = self._found(address)
        return isinstance(found, ListAddress) and found.list_.id == to.id

    def _found(self, address: Mailbox) -> Found | None:
        domain = self._parts.directory.domain(address.domain)
        if domain is None or domain.kind is not DomainKind.LOCAL:
            return None
        return self._parts.directory.recipient(address)

    # ---- what ------------------------------------------------------------------------------------

    async def _rewritten(self, to: MailingList, header: ListHeader) -> tuple[Mailbox, str] | None:
        """Whether the list has to stand in From, and its name there. A policy that cannot be had counts as one that
        forbids: members get the message either way."""
        domain = header.author.rpartition("@")[2].lower()
        if not to.from_rewrite or not domain or domain == to.address.domain:
            return None
        rewritten = (to.address, to.description or to.address.local_part)
        for name in policy_names(domain):
            try:
                records = await self._parts.resolver.text(name)
            except DnsTemporary:
                return rewritten
            for record in records:
                forbids = policy_forbids(record, is_own=name == f"_dmarc.{domain}")
                if forbids is not None:
                    return rewritten if forbids else None
        return None

    async def _children(
        self, copy: _Copy, content: bytes | StoredContent, members: list[Recipient]
    ) -> tuple[NewMessage, ...]:
        portions = list(_portions(members))
        ids = [self._parts.queue.new_id(copy.at) for _ in portions]
        octets = content if isinstance(content, bytes) else content.in_memory()
        if octets is not None:
            return await self._written(copy, ids, portions, copy.header + octets[copy.body_at :])
        assert not isinstance(content, bytes), "octets in memory were returned"
        # One file for all portions: the queue links it for the others.
        spool = self._parts.queue.spool(ids[0])
        try:
            return await self._written(copy, ids, portions, await _spooled(spool, copy, content))
        except BaseException:
            spool.discard()
            raise

    async def _written(
        self,
        copy: _Copy,
        ids: list[QueueId],
        portions: list[tuple[Recipient, ...]],
        content: bytes | StoredContent,
    ) -> tuple[NewMessage, ...]:
        children = []
        for queue_id, portion in zip(ids, portions, strict=True):
            children.append(self._child(queue_id, copy, portion, content))
            await asyncio.sleep(0)  # others have their turn
        return tuple(children)

    def _child(
        self, queue_id: QueueId, copy: _Copy, portion: tuple[Recipient, ...], content: bytes | StoredContent
    ) -> NewMessage:
        to, about, original = copy.to, copy.work.queue_id, copy.work.envelope
        bounces = to.at(ListDuty.BOUNCES)
        needs_utf8 = not copy.header.isascii() or not all(each.forward_path.is_ascii for each in portion)
        envelope = Envelope(
            bounces,
            portion,
            original.body,
            smtputf8=original.smtputf8 or needs_utf8,
            require_tls=original.require_tls,
            priority=original.priority,
            verp=to.verp,
            about=about,
        )
        fact = Distributed(
            at=copy.at,
            list_=str(to.address),
            about=about,
            reverse_path=path_text(bounces),
            recipients=tuple(str(each.forward_path) for each in portion),
            message_id=copy.message_id,
            size_bytes=len(content) if isinstance(content, bytes) else content.size_bytes,
        )
        keys = [queue_id, about, to.address.key(), bounces.key(), copy.message_id]
        keys += [each.forward_path.key() for each in portion]
        story = Entry(queue_id, tuple(dict.fromkeys(key for key in keys if key)), (fact,))
        return NewMessage(queue_id, envelope, content, self._parts.routing(portion), copy.at, story)


async def _spooled(spool: Spool, copy: _Copy, content: StoredContent) -> StoredContent:
    """Raises StoreFull, StoreUnavailable."""
    spool.write(copy.header)
    left = copy.body_at
    async for chunk in content.chunks():
        skipped = min(left, len(chunk))
        left -= skipped
        if not spool.write(chunk[skipped:]):
            await spool.drained()
    return await spool.seal()


def _portions(members: list[Recipient]) -> Iterator[tuple[Recipient, ...]]:
    """Whoever can be written to in US-ASCII does not have to wait for SMTPUTF8 because of somebody else."""
    plain = [each for each in members if each.forward_path.is_ascii]
    other = [each for each in members if not each.forward_path.is_ascii] if len(plain) < len(members) else []
    for those in (plain, other):
        for at in range(0, len(those), LIST_PORTION):
            yield tuple(those[at : at + LIST_PORTION])
