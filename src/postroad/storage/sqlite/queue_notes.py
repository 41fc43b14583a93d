"""What the owner of a shard knows beside the file: what happens while it looks for work, and who joined whom.

Taking work writes nothing, so three things must be kept in memory, on the loop's thread:

- A group that is settled while `take_due` reads must not come out as it was before.
- Recipients that a settlement moves into a group which is in hand must outlive that group's own settlement.
- What becomes due at a moment that was looked at already must be found by the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from postroad.contracts.queue_store import NewMessage, Settlement, Work
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.queue_id import QueueId

Key = tuple[QueueId, Destination]
Touched = set[QueueId | Key]


class OwnersNotes:
    def __init__(self) -> None:
        self.looked_up_to = 0
        """In microseconds: the `now` of the last look, or just before the earliest group made due since."""
        self._joined: dict[Key, tuple[Recipient, ...]] = {}
        """Recipients moved into a group since it was last taken; bounded by the groups there are."""
        self._touched: Touched | None = None
        """While a look is under way: the messages accepted and the groups settled since it began."""
        self.claimed: set[Key] = set()
        """Groups that an administrator is settling: they are given out to nobody. Bounded by a page for each order."""

    def heed(self, due_at: datetime | None) -> None:
        """A group is made due then (None: at an unknown moment in the past)."""
        due = 0 if due_at is None else to_microseconds(due_at)
        self.looked_up_to = min(self.looked_up_to, due - 1)

    def accepting(self, message: NewMessage) -> None:
        """A message without `due_at` is its acceptor's to try; the others are found when they are due."""
        if message.due_at is not None:
            self.heed(message.due_at)
        if self._touched is not None:
            self._touched.add(message.queue_id)

    def settling(self, settlement: Settlement) -> tuple[Recipient, ...]:
        """Returns the recipients that came to the group after its work was taken."""
        key = (settlement.queue_id, settlement.destination)
        joined = self._joined.get(key, ()) if self._joined else ()
        if settlement.remaining or joined:
            self.heed(None if joined else settlement.due_at)
        if self._touched is not None:
            self._touched.add(key)
        for message in settlement.enqueue:
            self.accepting(message)
        return joined

    def moving(self, settlement: Settlement, now: datetime) -> None:
        """Recipients go to other groups of the message, which may be in hand just now."""
        self.heed(now)
        for group in settlement.moved:
            key = (settlement.queue_id, group.destination)
            self._joined[key] = tuple(dict.fromkeys((*self._joined.get(key, ()), *group.recipients)))
            if self._touched is not None:
                self._touched.add(key)

    def settled(self, key: Key, joined: tuple[Recipient, ...], future: asyncio.Future[None]) -> None:
        """The group's settlement is written: those who joined are now like all others of it."""
        if not future.cancelled() and future.exception() is None and self._joined.get(key) is joined:
            del self._joined[key]

    def touch(self, keys: Iterable[Key]) -> None:
        """An administrator changes these groups: a look under way may have found them as they were."""
        if self._touched is not None:
            self._touched.update(keys)

    @contextmanager
    def looking(self, now: int) -> Iterator[Touched]:
        """A look at what is due. One at a time. What is given is filled while it lasts."""
        before, self.looked_up_to = self.looked_up_to, now
        try:
            with self.watching() as touched:
                yield touched
        except BaseException:
            self.looked_up_to = min(before, self.looked_up_to)
            raise

    @contextmanager
    def watching(self) -> Iterator[Touched]:
        """Any look, under the same lock. What is given is filled while it lasts."""
        self._touched = touched = set[QueueId | Key]()
        try:
            yield touched
        finally:
            self._touched = None

    def hand_out(
        self, found: Iterable[Work], touched: Touched, taken: Callable[[QueueId, Destination], bool]
    ) -> tuple[Work, ...]:
        """What of the work that was found is still as it was found."""
        handed_out = []
        for work in found:
            key = (work.queue_id, work.destination)
            if work.queue_id in touched or key in touched or key in self.claimed or taken(*key):
                continue
            self._joined.pop(key, None)
            handed_out.append(work)
        return tuple(handed_out)
