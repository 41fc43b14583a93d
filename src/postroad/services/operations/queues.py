"""The queue as an administrator sees and moves it: list, show, flush."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from postroad.contracts.clock import Clock
from postroad.contracts.ledger import Ledger
from postroad.contracts.queue_store import QueueEntry, QueueFilter, QueueStore
from postroad.services.operations.arguments import argument, moment
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary import queue_id as queue_ids
from postroad.vocabulary.limits import QUEUE_LISTED
from postroad.vocabulary.story import Acted, Entry


class QueueOperations:
    """`wake` tells the scheduler, where one runs, that something became due."""

    def __init__(
        self, *, queues: tuple[QueueStore, ...], ledger: Ledger, clock: Clock, wake: Callable[[], None] | None = None
    ) -> None:
        self._queues = queues
        self._ledger = ledger
        self._clock = clock
        self._wake = wake

    def verbs(self) -> Verbs:
        return {"queue.list": self._list, "queue.show": self._show, "queue.flush": self._flush}

    async def _list(self, arguments: PlainObject) -> list[PlainObject]:
        chosen = _filter(arguments)
        limit = min(argument(arguments, "limit", QUEUE_LISTED), QUEUE_LISTED)
        found: list[PlainObject] = []
        for queue in self._queues:
            found += [_entry_object(entry) for entry in await queue.entries(chosen, limit - len(found))]
        return found

    async def _show(self, arguments: PlainObject) -> list[PlainObject]:
        """The groups of one message and its header block; an empty list when it is not in these shards."""
        chosen = _filter(arguments)
        if not chosen.queue_id:
            raise OperationFailed("which message? give its queue id", 2)
        for queue in self._queues:
            entries = await queue.entries(chosen, QUEUE_LISTED)
            if not entries:
                continue
            try:
                content = await queue.content(entries[0].queue_id)
            except KeyError:  # it left the queue between the two questions
                continue
            start = content.in_memory()
            if start is None:
                start = b""
                async for chunk in content.chunks():
                    start = chunk
                    break
            header = start.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
            return [{**_entry_object(entry), "header": header} for entry in entries]
        return []

    async def _flush(self, arguments: PlainObject) -> list[PlainObject]:
        chosen = _filter(arguments)
        now = self._clock.now()
        groups = 0
        for queue in self._queues:
            groups += await queue.make_due(chosen, now)
        if groups and chosen.queue_id:
            by = argument(arguments, "by", "")
            entry = Entry(chosen.queue_id, (chosen.queue_id,), (Acted(at=now, action="flush", by=by),))
            self._ledger.record(entry)
        if self._wake is not None:
            self._wake()
        return [{"groups": groups}]


def _filter(arguments: PlainObject) -> QueueFilter:
    queue_id = argument(arguments, "queue_id", "").upper()
    if queue_id:
        try:
            queue_ids.to_number(queue_id)
        except ValueError as error:
            raise OperationFailed(str(error), 2) from None
    return QueueFilter(
        queue_id=queue_id,
        domain=argument(arguments, "domain", "").lower(),
        sender=argument(arguments, "sender", ""),
        before=moment(arguments, "before"),
    )


def _entry_object(entry: QueueEntry) -> PlainObject:
    return {
        "queue_id": entry.queue_id,
        "destination": entry.destination,
        "sender": entry.reverse_path,
        "recipients": list(entry.recipients),
        "size_bytes": entry.size_bytes,
        "queued_at": _text(entry.queued_at),
        "due_at": _text(entry.due_at),
        "attempts": entry.attempts,
        "last": entry.last,
    }


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
