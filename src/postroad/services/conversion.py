"""Content made 7-bit for a next hop or a mailbox that cannot have it as it is (`message.convert`).

Small content is converted on the spot. Large content is read through twice, piece by piece and aside from the loop,
and the result goes to a file of the queue's spool that nothing names: `Converted.discard` removes it, and if we do
not come to that, the sweep when the shard is next taken does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec

from postroad.contracts.aside import Aside
from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import QueueStore, Spool, StoredContent
from postroad.message.convert import CannotConvert, Conversion, Rewriter, plan_conversion, rewrite
from postroad.message.structure import Structure, StructureScanner, scan
from postroad.message.surrogate import Surrogate, edits_of, headers_to_edit, plan_surrogate
from postroad.rules.body_form import Ask, ContentNeeds
from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import CONVERSIONS_AT_ONCE

A = TypeVar("A")
R = TypeVar("R")

_NOWHERE = sys.maxsize
"""Beyond the end of any content."""


class Converted(msgspec.Struct, frozen=True):
    """Content in another form. `body` is what it needs now; `ask` how it was made."""

    ask: Ask
    content: bytes | StoredContent
    body: BodyType
    spool: Spool | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.size_bytes

    def discard(self) -> None:
        """It is not wanted any more. Whoever linked the file keeps it."""
        if self.spool is not None:
            self.spool.discard()


async def in_place(function: Callable[[A], R], argument: A) -> R:
    """An `Aside` that is not aside."""
    return function(argument)


def needs_of(structure: Structure) -> ContentNeeds:
    return ContentNeeds(structure.needs, structure.has_eight_bit_header)


def needs_of_small(octets: bytes) -> ContentNeeds:
    return needs_of(scan(octets))


def convert_small(octets: bytes, ask: Ask) -> Converted | CannotConvert:
    plan = _plan(scan(octets), ask)
    if isinstance(plan, CannotConvert):
        return plan
    return Converted(ask, rewrite(octets, plan), _body(plan))


class Conversions:
    """`store` gives the spool for large content; without one such content can be examined, and has to wait."""

    def __init__(self, store: QueueStore | None, clock: Clock, aside: Aside = in_place) -> None:
        self._store = store
        self._clock = clock
        self._aside = aside
        self._turns = asyncio.Semaphore(CONVERSIONS_AT_ONCE)

    async def needs(self, content: bytes | StoredContent) -> ContentNeeds:
        """Reads it through. Raises StoreUnavailable."""
        if isinstance(content, bytes):
            return needs_of_small(content)
        octets = content.in_memory()
        if octets is not None:
            return needs_of_small(octets)
        async with self._turns:
            return needs_of(await self._scanned(content))

    async def convert(self, content: bytes | StoredContent, ask: Ask) -> Converted | CannotConvert:
        """The converted content is complete and synced. Raises StoreUnavailable, StoreFull."""
        if isinstance(content, bytes):
            return convert_small(content, ask)
        octets = content.in_memory()
        if octets is not None:
            return convert_small(octets, ask)
        if self._store is None:
            raise StoreUnavailable("there is no room for it in another form.")
        async with self._turns:
            structure = await self._scanned(content)
            plan = await self._aside(lambda asked: _plan(structure, asked), ask)
            if isinstance(plan, CannotConvert):
                return plan
            spool = self._store.spool(self._store.new_id(self._clock.now()))
            try:
                return Converted(ask, await self._rewritten(content, plan, spool), _body(plan), spool)
            except BaseException:
                spool.discard()
                raise

    async def surrogate(self, head: bytes, content: bytes | StoredContent) -> Surrogate | None:
        """What clients without UTF-8 in headers get in the place of `head` and `content` (RFC 6858); None where they
        can have these. Raises StoreUnavailable."""
        octets = content if isinstance(content, bytes) else content.in_memory()
        if octets is not None:
            return plan_surrogate(head + octets)
        assert not isinstance(content, bytes)
        async with self._turns:
            ranges = headers_to_edit(await self._scanned(content, head))
            if not ranges:
                return None
            return edits_of(await _cut_out(head, content, ranges))

    async def _scanned(self, content: StoredContent, head: bytes = b"") -> Structure:
        scanner = StructureScanner()
        scanner.feed(head)
        async for chunk in content.chunks():
            await self._aside(scanner.feed, chunk)
        return await self._aside(lambda ended: ended.end(), scanner)

    async def _rewritten(self, content: StoredContent, plan: Conversion, spool: Spool) -> StoredContent:
        rewriter = Rewriter(plan)
        async for chunk in content.chunks():
            octets = await self._aside(rewriter.feed, chunk)
            if octets and not spool.write(octets):
                await spool.drained()
        if octets := rewriter.end():
            spool.write(octets)
        return await spool.seal()


async def _cut_out(head: bytes, content: StoredContent, ranges: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """The octets of the ranges, which are in order, each with where it begins. They are headers, and so together no
    more than MIME_HEADERS_BYTES."""
    found: list[tuple[int, bytes]] = []
    wanted = iter(ranges)
    start, end = next(wanted)
    pieces: list[bytes] = []
    offset = 0

    async def all_octets() -> AsyncIterator[bytes]:
        yield head
        async for chunk in content.chunks():
            yield chunk

    async for chunk in all_octets():
        after = offset + len(chunk)
        while start < after:
            pieces.append(chunk[max(0, start - offset) : end - offset])
            if end > after:
                break
            found.append((start, b"".join(pieces)))
            pieces.clear()
            start, end = next(wanted, (_NOWHERE, _NOWHERE))
        offset = after
    return found


def _plan(structure: Structure, ask: Ask) -> Conversion | CannotConvert:
    return plan_conversion(structure, from_binary=ask.from_binary, eight_bit_may_stay=ask.eight_bit_may_stay)


def _body(plan: Conversion) -> BodyType:
    return BodyType.EIGHT_BIT_MIME if plan.stays_eight_bit else BodyType.SEVEN_BIT
