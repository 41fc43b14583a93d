"""What follows a delivery into a mailbox: a notice of absence to its sender (RFC 3834), a warning to its owner.

Neither holds the delivery up, and neither is worth a second try: a notice that cannot be written is written for the
sender's next message, unless the directory has noted it already. Noting comes first: nobody is told twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Account, Directory
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailbox_store import Delivery, MailboxStore
from postroad.contracts.queue_store import NewMessage, QueueStore, StoredContent, Work
from postroad.message.automatic import Writer, absence_notice, quota_warning
from postroad.message.header import split_header
from postroad.message.trace import message_id_text, return_path_field
from postroad.rules.absence import is_over, subject_of_answer, why_no_answer
from postroad.rules.quota import is_nearly_full
from postroad.services.lanes import Errors
from postroad.services.notifications import Routing
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Envelope, Notify, Recipient
from postroad.vocabulary.limits import NOTIFICATION_HEADER_BYTES, QUOTA_ANSWERS, VACATION_REPLIES_AT_ONCE
from postroad.vocabulary.story import Answered, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxParts:
    """`routing` groups recipients; `fresh` is handed each message once it is durable."""

    hostname: str
    directory: Directory
    mailboxes: MailboxStore
    queue: QueueStore
    clock: Clock
    routing: Routing
    fresh: Callable[[NewMessage], None]
    tasks: asyncio.TaskGroup
    errors: Errors


class Answering:
    def __init__(self, parts: MailboxParts) -> None:
        self._parts = parts
        self._under_way = 0
        self._warned: dict[int, bool] = {}
        """Accounts of which we know whether they have been warned."""

    def delivered(self, work: Work, account: Account, recipient: Recipient, content: bytes | StoredContent) -> None:
        """The message is in the mailbox."""
        vacation, reverse_path = account.vacation, work.envelope.reverse_path
        if vacation is None or reverse_path is None or is_over(vacation.until, self._parts.clock.now()):
            return
        if self._under_way < VACATION_REPLIES_AT_ONCE:
            self._start(self._answer(work, account, recipient, content), "a notice of absence")

    def filled(self, account: Account, used: int, quota: int) -> None:
        """The mailbox has so many octets now."""
        warn = is_nearly_full(used, quota)
        known = self._warned.get(account.id)
        if warn != known and self._under_way < VACATION_REPLIES_AT_ONCE:
            self._start(self._warn(account, used, quota, warn), "a warning of a full mailbox")

    def _start(self, doing: Coroutine[Any, Any, None], what: str) -> None:
        async def done() -> None:
            try:
                await doing
            except StoreUnavailable:
                pass
            except Exception as error:
                parts.errors(what, error)
            finally:
                self._under_way -= 1

        parts = self._parts
        self._under_way += 1
        parts.tasks.create_task(done(), name=what)

    # ---- absence ---------------------------------------------------------------------------------

    async def _answer(self, work: Work, account: Account, recipient: Recipient, content: bytes | StoredContent) -> None:
        """Raises StoreUnavailable."""
        parts, vacation, to = self._parts, account.vacation, work.envelope.reverse_path
        assert vacation is not None
        assert to is not None
        header = split_header(await _beginning(content))[0]
        if why_no_answer(to, header, self._own(account, recipient)):
            return
        now = parts.clock.now()
        if not await parts.directory.begin_reply(account.id, to.key(), now, timedelta(days=vacation.days)):
            return
        queue_id = parts.queue.new_id(now)
        message_id = message_id_text(queue_id, parts.hostname)
        try:
            notice = absence_notice(
                Writer(account.address, account.display_name),
                to,
                subject=subject_of_answer(vacation.subject, header),
                text=vacation.text,
                about=header,
                at=now,
                message_id=message_id,
            )
        except ValueError:  # an address that may stand in an envelope, and in no header field
            return
        # RFC 3834 section 3.3: the null reverse-path, so that nobody answers; and nobody is told if it does not arrive.
        recipients = (Recipient(to, (Notify.NEVER,)),)
        fact = Answered(
            at=now,
            account=str(account.address),
            about=work.queue_id,
            to=str(to),
            message_id=message_id,
            size_bytes=len(notice.content),
        )
        keys = (queue_id, work.queue_id, to.key(), account.address.key(), message_id)
        message = NewMessage(
            queue_id,
            Envelope(None, recipients, smtputf8=notice.smtputf8),
            notice.content,
            parts.routing(recipients),
            now,
            Entry(queue_id, keys, (fact,)),
        )
        await parts.queue.accept(message)
        parts.fresh(message)

    def _own(self, account: Account, recipient: Recipient) -> tuple[Mailbox, ...]:
        """The user's addresses: also the one that was written to, and the aliases that name the account."""
        aliases = self._parts.directory.leading_to(account.address)
        original = recipient.original.partition(";")[2].rpartition("@")
        written_to = (Mailbox(original[0], original[2].lower()),) if original[0] else ()
        return (account.address, recipient.forward_path, *account.grants, *aliases, *written_to)

    # ---- quota -----------------------------------------------------------------------------------

    async def _warn(self, account: Account, used: int, quota: int, warn: bool) -> None:
        """Raises StoreUnavailable."""
        parts = self._parts
        if len(self._warned) >= QUOTA_ANSWERS:
            self._warned.clear()
        self._warned[account.id] = warn
        if not await parts.directory.begin_warning(account.id, warn) or not warn:
            return
        now = parts.clock.now()
        queue_id = parts.queue.new_id(now)
        message_id = message_id_text(queue_id, parts.hostname)
        warning = quota_warning(account.address, used=used, quota=quota, at=now, message_id=message_id)
        await parts.mailboxes.deliver(
            Delivery(
                account_id=account.id,
                key=f"{queue_id}/{account.address.key()}",
                queue_id=queue_id,
                head=return_path_field(None),
                content=warning.content,
                received_at=now,
            )
        )


async def _beginning(content: bytes | StoredContent) -> bytes:
    """As much as a header may have."""
    octets = content if isinstance(content, bytes) else content.in_memory()
    if octets is not None:
        return octets[:NOTIFICATION_HEADER_BYTES]
    assert not isinstance(content, bytes), "octets in memory were returned"
    pieces: list[bytes] = []
    async for chunk in content.chunks():
        pieces.append(chunk)
        if sum(map(len, pieces)) >= NOTIFICATION_HEADER_BYTES:
            break
    return b"".join(pieces)
