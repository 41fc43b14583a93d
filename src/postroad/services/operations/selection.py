"""Which groups of the queue a verb means: its arguments as a filter of the store."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import structs

from postroad.contracts.queue_store import QueueFilter
from postroad.services.operations.arguments import argument, moment
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary import queue_id as queue_ids

_NOTHING = QueueFilter()


def selection(arguments: PlainObject) -> QueueFilter:
    """Raises OperationFailed for what is no queue id, no time, no text."""
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
        held=argument(arguments, "held", False) or None,
    )


def chosen(arguments: PlainObject) -> QueueFilter:
    """As `selection`, for what changes mail: the whole queue only where "all" says so."""
    filter = selection(arguments)
    if structs.replace(filter, held=None) == _NOTHING and not argument(arguments, "all", False):
        raise OperationFailed("which mail? give a queue id, --domain, --from, --older or --all", 2)
    return filter


def moment_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
