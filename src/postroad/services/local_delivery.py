"""Final delivery into mailboxes here (RFC 5321 section 4.3 and 4.4: Return-Path), batched by the store.

Each recipient's delivery is a future of the store, and a callback notes its outcome. The key of a delivery makes
it happen once, however often the group is tried. Binary content is made 7-bit first, once for the group; so is the
plan of what clients without UTF-8 in headers will see (RFC 6858).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from postroad.contracts.directory import Account
from postroad.contracts.errors import NoSuchMailbox
from postroad.contracts.mailbox_store import Delivery
from postroad.contracts.mailing_lists import ListAddress, ListDuty
from postroad.contracts.queue_store import StoredContent
from postroad.message.convert import CannotConvert
from postroad.message.surrogate import plan_surrogate
from postroad.message.trace import return_path_field
from postroad.rules.body_form import Ask
from postroad.rules.quota import has_room, is_exempt
from postroad.rules.verp import is_told_apart, reverse_path_of
from postroad.services.answering import Answering, MailboxParts
from postroad.services.conversion import Conversions
from postroad.services.parcel import Parcel
from postroad.services.quotas import Quotas
from postroad.services.store_lane import StoreLane
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import BodyType, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.settings import OverQuota

_DELIVERED = EnhancedStatus(2, 0, 0)
_NO_SUCH_USER = EnhancedStatus(5, 1, 1)
_DISABLED = EnhancedStatus(5, 2, 1)
_FULL_FOR_NOW = EnhancedStatus(4, 2, 2)
_FULL = EnhancedStatus(5, 2, 2)
_LEADS_NOWHERE = EnhancedStatus(5, 2, 4)
_CHANGED = EnhancedStatus(4, 2, 4)
_NOWHERE = "The alias leads round in a circle, or to too many addresses; its administrator has to mend it."
_FOR_MAILBOXES = Ask(from_binary=True, eight_bit_may_stay=True)


class LocalDelivery(StoreLane):
    """The lane of the destination `mailbox`."""

    def __init__(
        self,
        parts: MailboxParts,
        *,
        conversions: Conversions,
        quotas: Quotas,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
    ) -> None:
        super().__init__(
            place="mailbox",
            queue=parts.queue,
            tasks=parts.tasks,
            concluded=concluded,
            gone=gone,
            errors=parts.errors,
        )
        self._mailboxes = parts.mailboxes
        self._directory = parts.directory
        self._conversions = conversions
        self._quotas = quotas
        self._answering = Answering(parts)

    def deliver(self, parcel: Parcel) -> None:
        work = parcel.work
        if work.envelope.body is BodyType.BINARY_MIME and parcel.needs is None:
            self._tasks.create_task(self._made_deliverable(parcel), name="binary content for a mailbox")
            return
        content = parcel.content if parcel.converted is None else parcel.converted.content
        assert content is not None, "fetched before it is delivered"
        told_apart = work.envelope.verp and is_told_apart(work.envelope)
        head = b"" if told_apart else return_path_field(work.envelope.reverse_path)
        octets = content if isinstance(content, bytes) else content.in_memory()
        if octets is not None:
            surrogate = None if octets.isascii() and head.isascii() else plan_surrogate(head + octets)
        elif parcel.surrogate_sought:
            surrogate = parcel.surrogate
        else:
            self._tasks.create_task(self._made_readable(parcel, head, content), name="a surrogate for a mailbox")
            return
        recipients, parcel.unsent = parcel.unsent, ()
        for recipient in recipients:
            try:
                account = self._account_of(parcel, recipient)
                if account is None:
                    continue
                if told_apart:
                    head = return_path_field(reverse_path_of(work.envelope, recipient))
                delivery = Delivery(
                    account_id=account.id,
                    key=f"{work.queue_id}/{recipient.forward_path.key()}",
                    queue_id=work.queue_id,
                    head=head,
                    content=content,
                    received_at=work.queued_at,
                    surrogate=b"" if surrogate is None else surrogate.behind(head) if told_apart else surrogate.edits,
                    surrogate_growth=surrogate.growth_bytes if surrogate is not None else 0,
                )
                if self._quotas.of(account) and not is_exempt(recipient.forward_path):
                    self._put_within_quota(parcel, recipient, account, delivery)
                else:
                    self._put(parcel, recipient, account, delivery)
            except Exception as error:
                self.note(parcel, self.trouble(recipient, error))

    def _account_of(self, parcel: Parcel, recipient: Recipient) -> Account | None:
        """Whose mailbox it is; None when the recipient's outcome is noted instead. Raises StoreUnavailable."""
        found = self._directory.recipient(recipient.forward_path)
        if isinstance(found, Account) and not found.disabled:
            return found
        if isinstance(found, Account):
            outcome = _failure(recipient, _DISABLED, "The account is disabled and takes no mail.")
        elif recipient.expanded:
            # RFC 3461 section 5.2.7.3: this recipient stands here to have that reported.
            outcome = Outcome(recipient, Fate.EXPANDED, _DELIVERED, "The alias was followed.")
        elif found is None:
            outcome = _failure(recipient, _NO_SUCH_USER, "There is no such user here (any more).")
        elif isinstance(found, ListAddress) and found.duty is not ListDuty.OWNER:
            outcome = Outcome(recipient, Fate.DEFERRED, _CHANGED, "It has just become the address of a mailing list.")
        else:
            outcome = _failure(recipient, _LEADS_NOWHERE, _NOWHERE)
        self.note(parcel, outcome)
        return None

    def _put(self, parcel: Parcel, recipient: Recipient, account: Account, delivery: Delivery) -> None:
        """Raises what the store raises at once."""
        future = self._mailboxes.deliver(delivery)
        future.add_done_callback(partial(self._delivered, parcel, recipient, account, delivery))

    def _put_within_quota(self, parcel: Parcel, recipient: Recipient, account: Account, delivery: Delivery) -> None:
        used = self._quotas.used(account)
        if used is None:
            looking = self._put_when_known(parcel, recipient, account, delivery)
            self._tasks.create_task(looking, name="how full a mailbox is")
            return
        size_bytes = len(delivery.head) + _size(delivery.content)
        if has_room(used, size_bytes, self._quotas.of(account)):
            self._quotas.add(account, size_bytes)
            self._put(parcel, recipient, account, delivery)
        elif self._quotas.limits.over_quota is OverQuota.DEFER:
            self.note(parcel, Outcome(recipient, Fate.DEFERRED, _FULL_FOR_NOW, "The mailbox is full."))
        else:
            self.note(parcel, _failure(recipient, _FULL, "The mailbox is full."))

    async def _put_when_known(self, parcel: Parcel, recipient: Recipient, account: Account, delivery: Delivery) -> None:
        try:
            await self._quotas.look(account)
            self._put_within_quota(parcel, recipient, account, delivery)
        except Exception as error:
            self.note(parcel, self.trouble(recipient, error))
        if parcel.is_concluded:
            self.advance()

    async def _made_deliverable(self, parcel: Parcel) -> None:
        """Binary content is made 7-bit before it rests in a mailbox: POP3 sends lines, and what it says of their size
        is to be true (RFC 3030 section 3, RFC 1939 section 11)."""
        try:
            refusal = await self._convert(parcel)
        except Exception as error:
            self._give_up(parcel, error)
        else:
            if refusal is None:
                self.deliver(parcel)
            else:
                text = f"The mailbox takes no binary content, and the message cannot be converted: {refusal.reason}."
                recipients, parcel.unsent = parcel.unsent, ()
                for recipient in recipients:
                    self.note(parcel, _failure(recipient, refusal.status, text))
        self.advance()

    async def _made_readable(self, parcel: Parcel, head: bytes, content: bytes | StoredContent) -> None:
        """Large content is looked through for headers in UTF-8 before it is delivered."""
        try:
            parcel.surrogate = await self._conversions.surrogate(head, content)
            parcel.surrogate_sought = True
        except Exception as error:
            self._give_up(parcel, error)
        else:
            self.deliver(parcel)
        self.advance()

    def _give_up(self, parcel: Parcel, error: Exception) -> None:
        """The content cannot be read: each recipient hears of it."""
        recipients, parcel.unsent = parcel.unsent, ()
        for recipient in recipients:
            self.note(parcel, self.trouble(recipient, error))

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

    def _delivered(
        self,
        parcel: Parcel,
        recipient: Recipient,
        account: Account,
        delivery: Delivery,
        future: asyncio.Future[int],
    ) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            outcome = Outcome(recipient, Fate.DELIVERED, _DELIVERED)
            self._follow_up(parcel, recipient, account, delivery)
        elif isinstance(error, NoSuchMailbox):
            outcome = _failure(recipient, _NO_SUCH_USER, "There is no such user here any more.")
        else:
            outcome = self.trouble(recipient, error)
        self.note(parcel, outcome)
        if parcel.is_concluded:
            self.advance()

    def _follow_up(self, parcel: Parcel, recipient: Recipient, account: Account, delivery: Delivery) -> None:
        if account.vacation is not None:
            self._answering.delivered(parcel.work, account, recipient, delivery.content)
        quota, used = self._quotas.of(account), self._quotas.used(account)
        if quota and used is not None:
            self._answering.filled(account, used, quota)


def _size(content: bytes | StoredContent) -> int:
    return len(content) if isinstance(content, bytes) else content.size_bytes


def _failure(recipient: Recipient, status: EnhancedStatus, text: str) -> Outcome:
    return Outcome(recipient, Fate.FAILED, status, text)
