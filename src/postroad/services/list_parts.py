"""What the services of mailing lists are made of, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from postroad.contracts.aside import Aside
from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.mailing_lists import ListDuty, MailingList, WhoPosts
from postroad.contracts.queue_store import NewMessage, QueueStore, StoredContent
from postroad.contracts.resolver import Resolver
from postroad.message.list_fields import ListFacts
from postroad.services.notifications import Routing
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.story import Fact

DONE = EnhancedStatus(2, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParts:
    """`routing` groups recipients, and follows aliases."""

    hostname: str
    directory: Directory
    queue: QueueStore
    clock: Clock
    resolver: Resolver
    routing: Routing
    aside: Aside


class Served(msgspec.Struct, frozen=True):
    """What became of one message at one address of a list. `children` are to be written with its settlement."""

    text: str
    fate: Fate = Fate.DELIVERED
    status: EnhancedStatus = DONE
    children: tuple[NewMessage, ...] = ()
    facts: tuple[Fact, ...] = ()


def list_facts(one: MailingList) -> ListFacts:
    """For the fields that its messages have."""
    return ListFacts(
        address=one.address,
        description=one.description,
        request=one.at(ListDuty.REQUEST),
        join=one.at(ListDuty.JOIN),
        leave=one.at(ListDuty.LEAVE),
        owner=one.at(ListDuty.OWNER),
        posts=one.posters is not WhoPosts.OWNERS,
    )


async def beginning(content: bytes | StoredContent, at_most: int) -> bytes:
    """The first octets; of large content it may be a piece more."""
    octets = content if isinstance(content, bytes) else content.in_memory()
    if octets is not None:
        return octets[:at_most]
    assert not isinstance(content, bytes), "octets in memory were returned"
    pieces: list[bytes] = []
    size = 0
    async for chunk in content.chunks():
        pieces.append(chunk)
        size += len(chunk)
        if size >= at_most:
            break
    return b"".join(pieces)
