"""The queue as an administrator sees and moves it: list, show, flush, retry."""

from __future__ import annotations

from postroad.contracts.clock import Clock
from postroad.contracts.ledger import Ledger
from postroad.contracts.queue_store import QueueEntry, QueueStore
from postroad.services.operations.arguments import argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.schedulers import Schedulers
from postroad.services.operations.selection import chosen, moment_text, selection
from postroad.vocabulary.limits import QUEUE_LISTED
from postroad.vocabulary.story import Acted, Entry


class QueueOperations:
    def __init__(self, *, queues: tuple[QueueStore, ...], ledger: Ledger, clock: Clock, schedulers: Schedulers) -> None:
        self._queues = queues
        self._ledger = ledger
        self._clock = clock
        self._schedulers = schedulers

    def verbs(self) -> Verbs:
        return {
            "queue.list": self._list,
            "queue.show": self._show,
            "queue.flush": self._flush,
            "queue.retry": self._retry,
        }

    async def _list(self, arguments: PlainObject) -> list[PlainObject]:
        filter = selection(arguments)
        limit = min(argument(arguments, "limit", QUEUE_LISTED), QUEUE_LISTED)
        found: list[PlainObject] = []
        for queue in self._queues:
            found += [_entry_object(entry) for entry in await queue.entries(filter, limit - len(found))]
        return found

    async def _show(self, arguments: PlainObject) -> list[PlainObject]:
        """The groups of one message and its header block; an empty list when it is not in these shards."""
        filter = selection(arguments)
        if not filter.queue_id:
            raise OperationFailed("which message? give its queue id", 2)
        for queue in self._queues:
            entries = await queue.entries(filter, QUEUE_LISTED)
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
        """Due now, whatever is remembered of the hosts."""
        return await self._make_due("flush", arguments, forgetting=True)

    async def _retry(self, arguments: PlainObject) -> list[PlainObject]:
        """Due now; a host that is known to be dead is left alone for as long as before."""
        return await self._make_due("retry", arguments, forgetting=False)

    async def _make_due(self, action: str, arguments: PlainObject, *, forgetting: bool) -> list[PlainObject]:
        filter = chosen(arguments)
        now = self._clock.now()
        groups = sum([await queue.make_due(filter, now) for queue in self._queues])
        if groups and filter.queue_id:
            by = argument(arguments, "by", "")
            entry = Entry(filter.queue_id, (filter.queue_id,), (Acted(at=now, action=action, by=by),))
            self._ledger.record(entry)
        if forgetting:
            self._schedulers.wake()
        else:
            self._schedulers.look()
        return [{"groups": groups}]


def _entry_object(entry: QueueEntry) -> PlainObject:
    return {
        "queue_id": entry.queue_id,
        "destination": entry.destination,
        "sender": entry.reverse_path,
        "recipients": list(entry.recipients),
        "size_bytes": entry.size_bytes,
        "queued_at": moment_text(entry.queued_at),
        "due_at": moment_text(entry.due_at),
        "attempts": entry.attempts,
        "last": entry.last,
        "held": entry.held,
    }
