"""From DATA to the answer to the end of the data: the half of the decisions that is about content.

The message is durable when the client hears 250, and the scheduler has it in memory by then (RFC 5321
sections 4.1.1.4 and 6.1). Whatever goes wrong before is forgotten whole.
"""

from __future__ import annotations

import asyncio

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.contracts.queue_store import NewMessage, StoredContent
from postroad.message.trace import received_field
from postroad.rules import client_policy
from postroad.rules.ruling import Ruling
from postroad.services.answers import ACCEPT, NOTICE, Answer, Pending
from postroad.services.client_screen import ClientScreen
from postroad.services.content_intake import ContentIntake, ContentRefused
from postroad.services.reception_parts import Desk
from postroad.services.refusals import Refusals
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_ways import SmtpWays
from postroad.services.transaction import Transaction
from postroad.vocabulary.address import path_text
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Way
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.story import Verdict
from postroad.wire.smtp.events import ContentAsked, ContentEnded, ContentReceived

# RFC 3463 section 3.4.
STORE_FULL = reply(452, "Insufficient storage, try again later", status="4.3.1")
STORE_UNAVAILABLE = reply(451, "The queue is not available, try again later", status="4.3.0")
_ACCEPTED = EnhancedStatus(2, 0, 0)
_MAIL, _LMTP = Way.MAIL, ListenerRole.LMTP
_SHOWN = reply(250, "Ok: shown", status="2.0.0")


class SmtpContent:
    """Holds the transaction of one connection. `screen` is None where no rule about clients applies."""

    __slots__ = ("_client", "_desk", "_gone", "_refusals", "accepted", "screen", "transaction")

    def __init__(self, desk: Desk, client: SmtpClient, refusals: Refusals, screen: ClientScreen | None) -> None:
        self._desk = desk
        self._client = client
        self._refusals = refusals
        self.screen = screen
        self.transaction: Transaction | None = None
        self.accepted = 0
        """Messages of this connection."""
        self._gone = False

    @property
    def ways(self) -> SmtpWays:
        return SmtpWays(self._desk)

    def under_way(self) -> Transaction:
        assert self.transaction is not None, "the session asks about a transaction that was never begun"
        return self.transaction

    def drop(self) -> None:
        """Nothing of the transaction is kept."""
        if self.transaction is not None:
            self.transaction.drop()
            self.transaction = None

    def cut(self, committing: bool) -> None:
        """The connection is gone. What is with the store by now stays there; everything else is dropped."""
        self._gone = True
        if not committing:
            self.drop()

    def asked(self, event: ContentAsked) -> Answer:
        transaction, desk = self.under_way(), self._desk
        now = desk.clock.now()
        transaction.intake = ContentIntake(
            desk.queue,
            desk.queue.new_id(now),
            hostname=desk.hostname,
            hops_max=desk.limits.hops,
            is_submission=self._client.role.is_submission,
            at=now,
            trace=self._trace_fields,
        )
        return ACCEPT

    def _trace_fields(self) -> bytes:
        """Authentication-Results of the rules that tag, and Received below it (RFC 8601 section 4)."""
        transaction, desk = self.under_way(), self._desk
        intake = transaction.intake
        assert intake is not None
        results = b""
        if self.screen is not None:
            self._client.confirmed(self.screen.host)
            results = client_policy.authentication_results(desk.hostname, self.screen.tags())
        received = received_field(
            self._client.facts(),
            hostname=desk.hostname,
            queue_id=intake.queue_id,
            at=intake.at,
            recipient=transaction.only_recipient(),
            smtputf8=transaction.sender.smtputf8,
            lmtp=self._client.role is _LMTP,
            priority=transaction.sender.priority,
        )
        return results + received if results else received

    def received(self, event: ContentReceived) -> Answer:
        transaction = self.under_way()
        intake = transaction.intake
        assert intake is not None
        if intake.receive(event.data):
            return NOTICE
        # The spool is behind: the shell stops reading until it has caught up.
        drained = self._desk.errands.start(intake.drained())
        return Pending(drained, lambda _: NOTICE)

    def ended(self, event: ContentEnded) -> Answer:
        intake = self.under_way().intake
        assert intake is not None
        intake.end()
        if intake.streaming:
            sealed = self._desk.errands.start(intake.sealed())
            return Pending(sealed, self._sealed, though_gone=True)
        try:
            return self._accept(intake.whole())
        except ContentRefused as refusal:
            return self._refuse_content(refusal.ruling)
        except StoreUnavailable as failure:
            return self._not_stored(failure)

    def _sealed(self, done: asyncio.Future[StoredContent]) -> Answer:
        if self._gone:
            self.drop()  # a cut before the message was ours: nothing is kept
            done.cancelled() or done.exception()
            return NOTICE
        try:
            return self._accept(done.result())
        except ContentRefused as refusal:
            return self._refuse_content(refusal.ruling)
        except StoreUnavailable as failure:
            return self._not_stored(failure)

    def _accept(self, content: bytes | StoredContent) -> Answer:
        """The finished content is here. Raises StoreUnavailable."""
        transaction = self.under_way()
        if transaction.sender.way is _MAIL:
            return self._enqueue(content)
        showing = self.ways.show(transaction, content)
        return Pending(showing, lambda done: self._shown(content, done.result()), though_gone=True)

    def _shown(self, content: bytes | StoredContent, shown: frozenset[str]) -> Answer:
        """It was shown at these accounts' terminals; the others may get it as mail. Raises StoreUnavailable."""
        transaction = self.under_way()
        if self._gone:
            self.drop()  # the client will not hear that it was shown, and sends it again
            return NOTICE
        to_mailboxes = self.ways.to_mailboxes(transaction, content, shown)
        if isinstance(to_mailboxes, Ruling):
            return self._refuse_content(to_mailboxes)
        self.ways.tell(transaction, shown)
        if to_mailboxes:
            transaction.recipients = list(to_mailboxes)
            try:
                return self._enqueue(content)
            except StoreUnavailable as failure:
                return self._not_stored(failure)
        if transaction.tab is not None:
            transaction.tab.charge()
        self.drop()
        return _SHOWN

    def _enqueue(self, content: bytes | StoredContent) -> Answer:
        """Hand the message to the queue; it is no longer ours to drop. Raises StoreUnavailable."""
        transaction, desk = self.under_way(), self._desk
        message = transaction.message(
            content,
            at=desk.clock.now(),
            role=self._client.role,
            peer=self._client.facts(),
            routing=desk.onward.routing,
            lead_of=desk.lead_of,
            verdicts=() if self.screen is None else self.screen.verdicts(),
        )
        committed = desk.queue.accept(message)
        return Pending(committed, lambda done: self._committed(message, transaction, done), True)

    def _committed(self, message: NewMessage, transaction: Transaction, done: asyncio.Future[None]) -> Answer:
        self.transaction = None
        try:
            done.result()
        except StoreUnavailable as failure:
            transaction.drop()
            return self._not_stored(failure)
        except BaseException:
            transaction.drop()  # a defect of ours costs no file either
            raise
        if transaction.tab is not None:
            transaction.tab.charge()
        self.accepted += 1
        self._desk.messages += 1
        self._desk.onward.accepted(message)
        return Reply(250, (f"Ok: queued as {message.queue_id}",), _ACCEPTED)

    def _not_stored(self, failure: StoreUnavailable) -> Answer:
        self.drop()
        answer = STORE_FULL if isinstance(failure, StoreFull) else STORE_UNAVAILABLE
        self._refusals.note("content", "", answer, Verdict("store", "defer", str(failure)))
        return answer

    def _refuse_content(self, ruling: Ruling) -> Answer:
        path = self.under_way().sender.reverse_path
        self.drop()
        return self._refusals.refuse("content", path_text(path), ruling, path)
