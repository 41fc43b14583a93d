"""Final delivery into mailboxes here (RFC 5321 section 4.3 and 4.4: Return-Path), batched by the store.

Each recipient's delivery is a future of the store, and a callback notes its outcome. The key of a delivery makes
it happen once, however often the group is tried. Binary content is made 7-bit first, once for the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from postroad.contracts.directory import Account, Alias, Directory
from postroad.contracts.errors import NoSuchMailbox
from postroad.contracts.mailbox_store import Delivery, MailboxStore
from postroad.contracts.queue_store import QueueStore
from postroad.message.convert import CannotConvert
from postroad.message.trace import return_path_field
from postroad.rules.body_form import Ask
from postroad.services.conversion import Conversions
from postroad.services.lanes import Errors
from postroad.services.parcel import Parcel
from postroad.services.store_lane import StoreLane
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import BodyType, Recipient
from postroad.vocabulary.outcome import Fate, Outcome

_DELIVERED = EnhancedStatus(2, 0, 0)
_NO_SUCH_USER = EnhancedStatus(5, 1, 1)
_DISABLED = EnhancedStatus(5, 2, 1)
_LEADS_NOWHERE = EnhancedStatus(5, 2, 4)
_NOWHERE = "The alias leads round in a circle, or to too many addresses; its administrator has to mend it."
_FOR_MAILBOXES = Ask(from_binary=True, eight_bit_may_stay=True)


class LocalDelivery(StoreLane):
    """The lane of the destination `mailbox`."""

    def __init__(
        self,
        *,
        mailboxes: MailboxStore,
        directory: Directory,
        queue: QueueStore,
        conversions: Conversions,
        tasks: asyncio.TaskGroup,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
        errors: Errors,
    ) -> None:
        super().__init__(place="mailbox", queue=queue, tasks=tasks, concluded=concluded, gone=gone, errors=errors)
        self._mailboxes = mailboxes
        self._directory = directory
        self._conversions = conversions

    def deliver(self, parcel: Parcel) -> None:
        work = parcel.work
        if work.envelope.body is BodyType.BINARY_MIME and parcel.needs is None:
            self._tasks.create_task(self._made_deliverable(parcel), name="binary content for a mailbox")
            return
        content = parcel.content if parcel.converted is None else parcel.converted.content
        assert content is not None, "fetched before it is delivered"
        head = return_path_field(work.envelope.reverse_path)
        recipients, parcel.unsent = parcel.unsent, ()
        for recipient in recipients:
            try:
                account = self._directory.recipient(recipient.forward_path)
                if not isinstance(account, Account) and recipient.expanded:
                    # RFC 3461 section 5.2.7.3: this recipient stands here to have that reported.
                    self.note(parcel, Outcome(recipient, Fate.EXPANDED, _DELIVERED, "The alias was followed."))
                    continue
                if isinstance(account, Alias):
                    self.note(parcel, _failure(recipient, _LEADS_NOWHERE, _NOWHERE))
                    continue
                if account is None:
                    self.note(parcel, _failure(recipient, _NO_SUCH_USER, "There is no such user here (any more)."))
                    continue
                if account.disabled:
                    self.note(parcel, _failure(recipient, _DISABLED, "The account is disabled and takes no mail."))
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
                self.note(parcel, self.trouble(recipient, error))
                continue
            future.add_done_callback(partial(self._delivered, parcel, recipient))

    async def _made_deliverable(self, parcel: Parcel) -> None:
        """Binary content is made 7-bit before it rests in a mailbox: POP3 sends lines, and what it says of their size
        is to be true (RFC 3030 section 3, RFC 1939 section 11)."""
        try:
            refusal = await self._convert(parcel)
        except Exception as error:
            recipients, parcel.unsent = parcel.unsent, ()
            for recipient in recipients:
                self.note(parcel, self.trouble(recipient, error))
        else:
            if refusal is None:
                self.deliver(parcel)
            else:
                text = f"The mailbox takes no binary content, and the message cannot be converted: {refusal.reason}."
                recipients, parcel.unsent = parcel.unsent, ()
                for recipient in recipients:
                    self.note(parcel, _failure(recipient, refusal.status, text))
        self.advance()

    async def _convert(self, parcel: Parcel) -> CannotConvert | None:
        """Octets over 127 may stay in a mailbox where they cannot be encoded; lone CR, LF and NUL may not. Raises
        StoreUnavailable."""
        content = parcel.content
        assert content is not None, "fetched before it is delivered"
        parcel.needs = await self._conversions.needs(content)
        if parcel.needs.body is not BodyType.BINARY_MIME:
            return None
        made = await self._conversions.convert(content, _FOR_MAILBOXES)
        if isinstance(made, CannotConvert):
            return made
        parcel.converted = made
        return None

    def _delivered(self, parcel: Parcel, recipient: Recipient, future: asyncio.Future[int]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            outcome = Outcome(recipient, Fate.DELIVERED, _DELIVERED)
        elif isinstance(error, NoSuchMailbox):
            outcome = _failure(recipient, _NO_SUCH_USER, "There is no such user here any more.")
        else:
            outcome = self.trouble(recipient, error)
        self.note(parcel, outcome)
        if parcel.is_concluded:
            self.advance()


def _failure(recipient: Recipient, status: EnhancedStatus, text: str) -> Outcome:
    return Outcome(recipient, Fate.FAILED, status, text)
