"""Final delivery into mailboxes here (RFC 5321 section 4.3 and 4.4: Return-Path), batched by the store.

No task per message: each recipient's delivery is a future of the store, and a callback notes its outcome. The key
of a delivery makes it happen once, however often the group is tried.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from postroad.contracts.directory import Directory
from postroad.contracts.errors import NoSuchMailbox, StoreFull, StoreUnavailable
from postroad.contracts.mailbox_store import Delivery, MailboxStore
from postroad.contracts.queue_store import QueueStore
from postroad.message.trace import return_path_field
from postroad.services.lanes import Errors
from postroad.services.parcel import NEVER_BEGAN, Parcel
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import CONTENT_FETCHES_AT_ONCE, LOCAL_DELIVERIES_AT_ONCE
from postroad.vocabulary.outcome import Fate, Outcome

_DELIVERED = EnhancedStatus(2, 0, 0)
_NO_SUCH_USER = EnhancedStatus(5, 1, 1)
_DISABLED = EnhancedStatus(5, 2, 1)
_SYSTEM_FULL = EnhancedStatus(4, 3, 1)
_SYSTEM = EnhancedStatus(4, 3, 0)


class LocalDelivery:
    """The lane of the destination `mailbox`. `concluded` and `gone` as in `Lanes`."""

    def __init__(
        self,
        *,
        mailboxes: MailboxStore,
        directory: Directory,
        queue: QueueStore,
        tasks: asyncio.TaskGroup,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
        errors: Errors,
    ) -> None:
        self._mailboxes = mailboxes
        self._directory = directory
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

    @property
    def waiting(self) -> int:
        return len(self._ready) + len(self._unfetched)

    @property
    def under_way(self) -> int:
        return self._under_way + self._fetching

    def put(self, parcel: Parcel) -> None:
        (self._unfetched if parcel.content is None else self._ready).append(parcel)
        self._advance()

    async def stop(self) -> None:
        """Begin nothing more; returns when nothing is under way. What waits stays due in the store."""
        self._stopping = True
        while self.under_way:
            self._at_rest = self._loop.create_future()
            await self._at_rest

    def _advance(self) -> None:
        while self._ready and self._under_way < LOCAL_DELIVERIES_AT_ONCE and not self._stopping:
            self._under_way += 1
            self._deliver(self._ready.popleft())
        while self._unfetched and self._fetching < CONTENT_FETCHES_AT_ONCE and not self._stopping:
            self._fetching += 1
            self._tasks.create_task(self._fetch(self._unfetched.popleft()), name="content for a mailbox")
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
            parcel.outcomes.extend(self._trouble(recipient, trouble) for recipient in parcel.unsent)
            self._concluded(parcel)
        self._advance()

    def _deliver(self, parcel: Parcel) -> None:
        work = parcel.work
        content = parcel.content
        assert content is not None, "fetched before it is delivered"
        if parcel.began_s == NEVER_BEGAN:
            parcel.began_s = self._loop.time()
        head = return_path_field(work.envelope.reverse_path)
        recipients, parcel.unsent = parcel.unsent, ()
        for recipient in recipients:
            try:
                account = self._directory.account(recipient.forward_path)
                if account is None:
                    self._note(parcel, _failure(recipient, _NO_SUCH_USER, "There is no such user here (any more)."))
                    continue
                if account.disabled:
                    self._note(parcel, _failure(recipient, _DISABLED, "The account is disabled and takes no mail."))
                    continue
                future = self._mailboxes.deliver(
                    Delivery(
                        account_id=account.id,
                        key=f"{work.queue_id}/{recipient.forward_path.key()}",
                        queue_id=work.queue_id,
                        head=head,
                        content=content,
                        received_at=work.queued_at,
                    )
                )
            except Exception as error:
                self._note(parcel, self._trouble(recipient, error))
                continue
            future.add_done_callback(partial(self._delivered, parcel, recipient))

    def _delivered(self, parcel: Parcel, recipient: Recipient, future: asyncio.Future[int]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            outcome = Outcome(recipient, Fate.DELIVERED, _DELIVERED)
        elif isinstance(error, NoSuchMailbox):
            outcome = _failure(recipient, _NO_SUCH_USER, "There is no such user here any more.")
        else:
            outcome = self._trouble(recipient, error)
        self._note(parcel, outcome)
        if parcel.is_concluded:
            self._advance()

    def _note(self, parcel: Parcel, outcome: Outcome) -> None:
        parcel.outcomes.append(outcome)
        if parcel.is_concluded:
            self._under_way -= 1
            self._concluded(parcel)

    def _trouble(self, recipient: Recipient, error: BaseException) -> Outcome:
        """A deferral for what is our own fault."""
        if isinstance(error, StoreFull):
            return Outcome(recipient, Fate.DEFERRED, _SYSTEM_FULL, f"The disk of the mailboxes is full: {error}")
        if isinstance(error, StoreUnavailable):
            return Outcome(recipient, Fate.DEFERRED, _SYSTEM, f"The mailbox could not be written just now: {error}")
        self._errors("local delivery", error)
        text = "An unexpected error in this server ended the delivery; it was reported to its administrator."
        return Outcome(recipient, Fate.DEFERRED, _SYSTEM, text)


def _failure(recipient: Recipient, status: EnhancedStatus, text: str) -> Outcome:
    return Outcome(recipient, Fate.FAILED, status, text)
