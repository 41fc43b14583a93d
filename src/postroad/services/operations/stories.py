"""`postroad trace`: the story of a message, by queue id, address or Message-ID."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from postroad.contracts.ledger import Ledger
from postroad.services.operations.arguments import address, argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary import queue_id as queue_ids
from postroad.vocabulary.limits import TRACE_ENTRIES, TRACE_MESSAGES
from postroad.vocabulary.story import Entry


class StoryOperations:
    """`drains` bring what waits in the outboxes of this process's queue shards into the ledger."""

    def __init__(self, *, ledger: Ledger, drains: tuple[Callable[[], Awaitable[None]], ...] = ()) -> None:
        self._ledger = ledger
        self._drains = drains

    def verbs(self) -> Verbs:
        return {"ledger.flush": self._flush, "story.find": self._find}

    async def _flush(self, arguments: PlainObject) -> list[PlainObject]:
        for drain in self._drains:
            await drain()
        await self._ledger.flush()
        return []

    async def _find(self, arguments: PlainObject) -> list[PlainObject]:
        """One object a step, oldest first. For an address or Message-ID: the whole story of every message that
        it belongs to, and the refusals that name it."""
        key = _key(argument(arguments, "key", ""))
        named = await self._ledger.find(key, TRACE_ENTRIES)
        entries: dict[bytes, Entry] = {}
        stories = dict.fromkeys(entry.queue_id for entry in named if entry.queue_id)
        for queue_id in list(stories)[-TRACE_MESSAGES:]:
            for entry in await self._whole_story(queue_id):
                entries[msgspec.msgpack.encode(entry)] = entry
        for entry in named:
            if not entry.queue_id:
                entries[msgspec.msgpack.encode(entry)] = entry
        steps = [(fact.at, entry, fact) for entry in entries.values() for fact in entry.facts]
        steps.sort(key=lambda step: step[0])
        return [{"queue_id": entry.queue_id, **msgspec.to_builtins(fact)} for _, entry, fact in steps]

    async def _whole_story(self, queue_id: str) -> list[Entry]:
        """The message's own steps and those of the notifications about it (one generation: a notification
        goes out under the null reverse-path and never causes another)."""
        own = list(await self._ledger.find(queue_id, TRACE_ENTRIES))
        for notification in {name for entry in own for fact in entry.facts if (name := _notification(fact))}:
            own += await self._ledger.find(notification, TRACE_ENTRIES)
        return own


def _notification(fact: object) -> str:
    return getattr(fact, "notification", "")


def _key(text: str) -> str:
    """The form in which the ledger knows a queue id, a Message-ID or an address. Raises OperationFailed."""
    text = text.strip()
    if text.startswith("<") and text.endswith(">"):
        return text  # a Message-ID keeps its angle brackets
    try:
        queue_ids.to_number(text)
    except ValueError:
        pass
    else:
        return text.upper()
    if "@" not in text:
        raise OperationFailed(f"{text!r} is neither a queue id, nor an address, nor a <Message-ID>", 2)
    return address(text).key()
