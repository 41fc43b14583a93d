"""What the lanes into our own stores have in common: content is fetched where it is not at hand, so many groups are
under way at a time, and no task is made for one.

A subclass says how a group is delivered; its futures call `note` with an outcome for each recipient.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from postroad.contracts.errors import StoreDamaged, StoreFull, StoreUnavailable
from postroad.contracts.queue_store import QueueStore
from postroad.services.lanes import Errors
from postroad.services.parcel import NEVER_BEGAN, Parcel
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import CONTENT_FETCHES_AT_ONCE, LOCAL_DELIVERIES_AT_ONCE
from postroad.vocabulary.outcome import Fate, Outcome

_SYSTEM_FULL = EnhancedStatus(4, 3, 1)
_SYSTEM = EnhancedStatus(4, 3, 0)


class StoreLane:
    """`concluded` and `gone` as in `Lanes`. `place` is where the mail goes, for people: "mailbox", "hold". `at_once` is
    how many groups may be under way; LOCAL_DELIVERIES_AT_ONCE where it is not said."""

    def __init__(
        self,
        *,
        place: str,
        queue: QueueStore,
        tasks: asyncio.TaskGroup,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
        errors: Errors,
        at_once: int | None = None,
    ) -> None:
        self._place = place
        self._at_once = at_once or LOCAL_DELIVERIES_AT_ONCE
        self._queue = queue
        self._tasks = tasks
        self._concluded = concluded
        self._gone = gone
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Parcel] = deque()
        self._unfetched: deque[Parcel] = deque()
        self._fetching = 0
        self._under_way = 0
        self._stopping = False
        self._at_rest: asyncio.Future[None] | None = None

    def deliver(self, parcel: Parcel) -> None:
        """Hand everybody in `unsent` to the store; `note` follows for each, now or later. The content is there."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        return len(self._ready) + len(self._unfetched)

    @property
    def under_way(self) -> int:
        return self._under_way + self._fetching

    def put(self, parcel: Parcel) -> None:
        (self._unfetched if parcel.content is None else self._ready).append(parcel)
        self.advance()

    async def stop(self) -> None:
        """Begin nothing more; returns when nothing is under way. What waits stays due in the store."""
        self._stopping = True
        while self.under_way:
            self._at_rest = self._loop.create_future()
            await self._at_rest

    def advance(self) -> None:
        while self._ready and self._under_way < self._at_once and not self._stopping:
            self._under_way += 1
            parcel = self._ready.popleft()
            if parcel.began_s == NEVER_BEGAN:
                parcel.began_s = self._loop.time()
            self.deliver(parcel)
        # What is ready waits for the store already: more of it would only fill the memory.
        while self._unfetched and not self._ready and self._fetching < CONTENT_FETCHES_AT_ONCE and not self._stopping:
            self._fetching += 1
            self._tasks.create_task(self._fetch(self._unfetched.popleft()), name=f"content for a {self._place}")
        if self._at_rest is not None and not self._at_rest.done() and not self.under_way:
            self._at_rest.set_result(None)

    async def _fetch(self, parcel: Parcel) -> None:
        trouble: Exception | None = None
        try:
            parcel.content = await self._queue.content(parcel.work.queue_id)
        except Exception as error:
            trouble = error
        self._fetching -= 1
        if trouble is None:
            self._ready.append(parcel)
        elif isinstance(trouble, KeyError):
            self._gone(parcel)
        else:
            parcel.outcomes.extend(self.trouble(recipient, trouble) for recipient in parcel.unsent)
            self._concluded(parcel)
        self.advance()

    def note(self, parcel: Parcel, outcome: Outcome) -> None:
        parcel.outcomes.append(outcome)
        if parcel.is_concluded:
            self._under_way -= 1
            self._concluded(parcel)

    def trouble(self, recipient: Recipient, error: BaseException) -> Outcome:
        """A deferral for what is our own fault."""
        if isinstance(error, StoreFull):
            text = f"The disk that the {self._place} is on is full: {error}"
            return Outcome(recipient, Fate.DEFERRED, _SYSTEM_FULL, text)
        if isinstance(error, StoreDamaged):
            text = f"The {self._place} is damaged, and mail waits until it is restored: {error}"
            return Outcome(recipient, Fate.DEFERRED, _SYSTEM, text)
        if isinstance(error, StoreUnavailable):
            text = f"The {self._place} could not be written just now: {error}"
            return Outcome(recipient, Fate.DEFERRED, _SYSTEM, text)
        self._errors(f"delivery into a {self._place}", error)
        text = "An unexpected error in this server ended the delivery; it was reported to its administrator."
        return Outcome(recipient, Fate.DEFERRED, _SYSTEM, text)
