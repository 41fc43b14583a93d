"""Lanes that wait for a slot, and whose turn it is.

New mail and retries take turns, and within each the messages do: neither a backlog of dead sites nor one message to
ten thousand domains keeps a letter waiting that has just come in.
"""

from __future__ import annotations

from collections import OrderedDict

from postroad.services.lane import Lane
from postroad.vocabulary.queue_id import QueueId


class Turns:
    """A lane stands here once, by the message that was first in it when it came."""

    def __init__(self) -> None:
        self._fresh: OrderedDict[QueueId, OrderedDict[Lane, None]] = OrderedDict()
        self._retries: OrderedDict[QueueId, OrderedDict[Lane, None]] = OrderedDict()
        self._places: dict[Lane, tuple[OrderedDict[QueueId, OrderedDict[Lane, None]], QueueId]] = {}
        self._retries_next = False

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, lane: Lane) -> bool:
        return lane in self._places

    def add(self, lane: Lane) -> None:
        """It has work. It goes behind those of its message, and its message behind the others."""
        if lane in self._places:
            return
        work = lane.waiting.first().work
        messages = self._retries if work.attempts else self._fresh
        messages.setdefault(work.queue_id, OrderedDict())[lane] = None
        self._places[lane] = (messages, work.queue_id)

    def next(self) -> Lane:
        """There is one."""
        first, second = (self._retries, self._fresh) if self._retries_next else (self._fresh, self._retries)
        messages = first or second
        self._retries_next = messages is self._fresh
        queue_id = next(iter(messages))
        lane = next(iter(messages[queue_id]))
        self.discard(lane)
        if queue_id in messages:
            messages.move_to_end(queue_id)
        return lane

    def discard(self, lane: Lane) -> None:
        place = self._places.pop(lane, None)
        if place is None:
            return
        messages, queue_id = place
        lanes = messages[queue_id]
        del lanes[lane]
        if not lanes:
            del messages[queue_id]
