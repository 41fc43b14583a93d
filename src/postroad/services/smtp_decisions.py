"""The decisions of one SMTP connection: each event of the session gets its answer here.

The facts are gathered, a rule is asked, the answer is given; nothing here reads or writes a socket. Most
answers are there at once; one that must wait for the DNS, a password or the commit is `Pending`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from postroad.contracts.directory import Account, DomainKind
from postroad.contracts.errors import Busy, StoreFull, StoreUnavailable
from postroad.contracts.queue_store import NewMessage, StoredContent
from postroad.message.trace import address_literal, received_field
from postroad.rules import acceptance, client_policy
from postroad.rules.acceptance import AccountState, Place
from postroad.rules.ruling import Ruling
from postroad.services.answers import Answer, Identified, Pending, Plain
from postroad.services.authentication import TooManyGuesses
from postroad.services.client_screen import ClientScreen
from postroad.services.content_intake import ContentIntake, ContentRefused
from postroad.services.reception_parts import Desk
from postroad.services.smtp_client import SmtpClient
from postroad.services.transaction import Transaction
from postroad.vocabulary.address import Mailbox, ReversePath, path_text
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import (
    AUTH_DELAY_S,
    AUTH_FAILURES,
    DISK_RESERVE_BYTES,
    REFUSED_RECIPIENT_DELAY_S,
    REFUSED_RECIPIENTS,
    REFUSED_RECIPIENTS_DELAYED,
)
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.settings import WhoMayAsk
from postroad.vocabulary.story import Entry, Refused, Verdict
from postroad.wire.smtp.events import (
    CommandRefused,
    ContentAsked,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    Greeted,
    RecipientGiven,
    SenderGiven,
    TransactionDropped,
    VerifyAsked,
)

# RFC 3463 sections 3.4 and 3.8.
STORE_FULL = reply(452, "Insufficient storage, try again later", status="4.3.1")
STORE_UNAVAILABLE = reply(451, "The queue is not available, try again later", status="4.3.0")
_AUTH_UNAVAILABLE = reply(454, "Temporary authentication failure", status="4.7.0")  # RFC 4954 section 6
_AUTH_FAILED = reply(535, "Authentication credentials invalid", status="5.7.8")
_AUTH_TOO_OFTEN = reply(421, "Too many failed logins, closing", status="4.7.0")
_TOO_MANY_UNKNOWN = reply(421, "Too many refused recipients, closing", status="4.7.0")
_ACCEPTED = EnhancedStatus(2, 0, 0)


class SmtpDecisions:
    """`screen` is None where no rule about clients is on, or none applies to this one."""

    def __init__(self, desk: Desk, client: SmtpClient, screen: ClientScreen | None) -> None:
        self._desk = desk
        self.client = client
        self.transaction: Transaction | None = None
        self.gone = False
        self._screen = screen
        self._auth_failures = 0
        self._refused_recipients = 0

    def decide(self, event: Any) -> Answer:
        """The answer to any event. A store that fails is answered 451 4.3.0."""
        try:
            return _DECISIONS[type(event)](self, event)
        except StoreUnavailable:
            return STORE_UNAVAILABLE

    # ---- before the transaction ------------------------------------------------------------------

    def _greeted(self, event: Greeted) -> Answer:
        self.client.greeted(event.verb, event.name)
        if self._screen is not None:
            self._screen.greeted(event.name)
        return Plain.ACCEPT

    def _credentials(self, event: CredentialsGiven) -> Answer:
        check = self._desk.authentication.log_in(
            self.client.remote.address, event.name, event.password, event.authorization_id
        )
        return Pending(self._desk.errands.start(check), lambda done: self._checked(event.name, done))

    def _checked(self, name: str, done: asyncio.Future[Account | None]) -> Answer:
        try:
            account = done.result()
        except (Busy, StoreUnavailable):
            return _AUTH_UNAVAILABLE
        except TooManyGuesses:
            return self._end_login(name)
        if account is not None:
            self.client.authenticated(str(account.address))
            self._screen = None  # a user of ours is no stranger, wherever it calls from
            return Identified(str(account.address))
        self._auth_failures += 1
        if self._auth_failures >= AUTH_FAILURES:
            return self._end_login(name)
        self.note_refusal("AUTH", name, _AUTH_FAILED, Verdict("password", "reject", "wrong name or password"))
        return self._later(AUTH_DELAY_S * 2 ** (self._auth_failures - 1), _AUTH_FAILED)

    def _end_login(self, name: str) -> Reply:
        self.note_refusal("AUTH", name, _AUTH_TOO_OFTEN, Verdict("password", "reject", "too many failed logins"))
        return _AUTH_TOO_OFTEN

    def _verify(self, event: VerifyAsked) -> Answer:
        who = self._desk.settings.policy.vrfy
        known = bool(self.client.account or self.client.unix_user)
        may_ask = who is WhoMayAsk.ANYONE or (who is WhoMayAsk.AUTHENTICATED and known)
        address = _address_of(event.argument) if may_ask else None
        domain = self._desk.directory.domain(address.domain) if address else None
        here = domain is not None and domain.kind is DomainKind.LOCAL
        account = self._desk.directory.account(address) if address is not None and here else None
        ruling = acceptance.judge_verify(
            account.address if account else address,
            may_ask=may_ask,
            display_name=account.display_name if account else "",
            state=_state_of(account),
            here=here,
        )
        assert ruling.reply is not None
        if ruling.reply.is_positive:
            return ruling.reply
        return self._refuse_guess("VRFY", event.argument, ruling)

    # ---- MAIL ------------------------------------------------------------------------------------

    def _sender(self, event: SenderGiven) -> Answer:
        desk, path = self._desk, event.reverse_path
        if desk.free_bytes() < DISK_RESERVE_BYTES:
            ruling = acceptance.DISK_RESERVE
        else:
            ruling = self._judge_sender(path)
        if ruling.reply is not None:
            return self._refuse("MAIL", path_text(path), ruling, path)
        if self._screen is not None:
            self._screen.sender_given(path, path is not None and desk.directory.domain(path.domain) is not None)
        self.transaction = Transaction(event, ruling.verdict)
        return Plain.ACCEPT

    def _judge_sender(self, path: ReversePath) -> Ruling:
        desk, client = self._desk, self.client
        if client.role is ListenerRole.LOCAL:
            local = path is not None and _is_local(desk, path.domain)
            allowed = client.allowed_senders()
            return acceptance.judge_unix_sender(path, client.unix_user, client.trusted, desk.hostname, allowed, local)
        if client.account or client.role.is_submission:
            return acceptance.judge_submission_sender(path, client.account, client.allowed_senders())
        if desk.blocks_senders:
            blocked = acceptance.judge_blocked_sender(path, desk.blocked_addresses, desk.blocked_domains)
            if blocked is not None:
                return blocked
        return acceptance.open_sender(path)

    # ---- RCPT ------------------------------------------------------------------------------------

    def _recipient(self, event: RecipientGiven) -> Answer:
        transaction = self._under_way()
        if self._screen is not None and not transaction.screened:
            waiting = self._screen.unanswered()
            if waiting is not None:
                return Pending(waiting, lambda _: self.decide(event))
            ruling = self._screen.refusal()
            if ruling is not None:
                return self._refuse("RCPT", str(event.forward_path), ruling, event.forward_path)
            transaction.screened = True
        path, place, account = self._find(event.forward_path)
        client = self.client
        may_relay = not client.is_stranger
        ruling = acceptance.judge_recipient(path.local_part, place, _state_of(account), may_relay)
        if ruling.reply is not None:
            return self._refuse_guess("RCPT", str(event.forward_path), ruling, event.forward_path)
        if transaction.is_new(path.key() if account is not None else path):
            transaction.recipients.append(Recipient(path, event.notify, event.original))
            transaction.note(ruling.verdict)
        return Plain.ACCEPT

    def _find(self, path: Mailbox) -> tuple[Mailbox, Place, Account | None]:
        """The forward-path as we deliver to it, where that is, and whose it is if it is here."""
        directory = self._desk.directory
        if not path.domain or (path.is_literal and self._is_our_address(path.domain)):
            # RFC 5321 section 4.5.1; delivered as the bare name, which the directory leads to somebody.
            bare = Mailbox(path.local_part, "")
            return bare, Place.OUR_ADDRESS, directory.account(bare)
        domain = directory.domain(path.domain)
        if domain is None:
            return path, Place.ELSEWHERE, None
        if domain.kind is DomainKind.RELAY:
            return path, Place.RELAY, None
        return path, Place.HERE, directory.account(path)

    def _is_our_address(self, literal: str) -> bool:
        ours = self.client.local.address
        own = address_literal(ours)
        return literal == own or client_policy.same_address(literal.strip("[]").removeprefix("IPv6:"), ours)

    # ---- content ---------------------------------------------------------------------------------

    def _content_asked(self, event: ContentAsked) -> Answer:
        transaction, desk = self._under_way(), self._desk
        now = desk.clock.now()
        transaction.intake = ContentIntake(
            desk.queue,
            desk.queue.new_id(now),
            hostname=desk.hostname,
            hops_max=desk.limits.hops,
            is_submission=self.client.role.is_submission,
            at=now,
            trace=self._trace_fields,
        )
        return Plain.ACCEPT

    def _trace_fields(self) -> bytes:
        """Authentication-Results of the rules that tag, and Received below it (RFC 8601 section 4)."""
        transaction, desk = self._under_way(), self._desk
        intake = transaction.intake
        assert intake is not None
        results = b""
        if self._screen is not None:
            self.client.confirmed(self._screen.host)
            results = client_policy.authentication_results(desk.hostname, self._screen.tags())
        received = received_field(
            self.client.facts(),
            hostname=desk.hostname,
            queue_id=intake.queue_id,
            at=intake.at,
            recipient=transaction.only_recipient(),
            smtputf8=transaction.sender.smtputf8,
        )
        return results + received if results else received

    def _content_received(self, event: ContentReceived) -> Answer:
        transaction = self._under_way()
        intake = transaction.intake
        assert intake is not None
        if intake.receive(event.data):
            return Plain.NOTICE
        # The spool is behind: the shell stops reading until it has caught up.
        drained = self._desk.errands.start(intake.drained())
        return Pending(drained, lambda _: Plain.NOTICE)

    def _content_ended(self, event: ContentEnded) -> Answer:
        intake = self._under_way().intake
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
        if self.gone:
            self._drop()  # a cut before the message was ours: nothing is kept
            done.cancelled() or done.exception()
            return Plain.NOTICE
        try:
            return self._accept(done.result())
        except ContentRefused as refusal:
            return self._refuse_content(refusal.ruling)
        except StoreUnavailable as failure:
            return self._not_stored(failure)

    def _accept(self, content: bytes | StoredContent) -> Answer:
        """Hand the message to the queue; it is no longer ours to drop. Raises StoreUnavailable."""
        transaction, desk = self._under_way(), self._desk
        message = transaction.message(
            content,
            at=desk.clock.now(),
            role=self.client.role,
            peer=self.client.facts(),
            routing=desk.onward.routing,
            verdicts=() if self._screen is None else self._screen.verdicts(),
        )
        committed = desk.queue.accept(message)
        return Pending(committed, lambda done: self._committed(message, transaction, done), though_gone=True)

    def _committed(self, message: NewMessage, transaction: Transaction, done: asyncio.Future[None]) -> Answer:
        self.transaction = None
        try:
            done.result()
        except StoreUnavailable as failure:
            transaction.drop()
            return self._not_stored(failure)
        self._desk.messages += 1
        self._desk.onward.accepted(message)
        return Reply(250, (f"Ok: queued as {message.queue_id}",), _ACCEPTED)

    def _not_stored(self, failure: StoreUnavailable) -> Answer:
        self._drop()
        answer = STORE_FULL if isinstance(failure, StoreFull) else STORE_UNAVAILABLE
        self.note_refusal("content", "", answer, Verdict("store", "defer", str(failure)))
        return answer

    def _refuse_content(self, ruling: Ruling) -> Answer:
        path = self._under_way().sender.reverse_path
        self._drop()
        return self._refuse("content", path_text(path), ruling, path)

    # ---- endings ---------------------------------------------------------------------------------

    def _dropped(self, event: TransactionDropped) -> Answer:
        self._drop()
        return Plain.NOTICE

    def _command_refused(self, event: CommandRefused) -> Answer:
        self.note_refusal(event.command, "", event.reply, Verdict("protocol", "reject", event.reply.lines[0]))
        return Plain.NOTICE

    def _drop(self) -> None:
        if self.transaction is not None:
            self.transaction.drop()
            self.transaction = None

    def cut(self, committing: bool) -> None:
        """The connection is gone. What is with the store by now stays there; everything else is dropped."""
        self.gone = True
        if not committing:
            self._drop()

    def tls_started(self) -> None:
        """RFC 3207 section 4.2; the look-ups about the address remain true."""
        self._drop()

    # ---- helpers ---------------------------------------------------------------------------------

    def _under_way(self) -> Transaction:
        assert self.transaction is not None, "the session asks about a transaction that was never begun"
        return self.transaction

    def _refuse(self, stage: str, subject: str, ruling: Ruling, path: ReversePath) -> Reply:
        assert ruling.reply is not None
        self.note_refusal(stage, subject, ruling.reply, ruling.verdict, () if path is None else (path.key(),))
        return ruling.reply

    def _refuse_guess(self, stage: str, subject: str, ruling: Ruling, path: ReversePath = None) -> Answer:
        """A refusal that tells whether an address exists: whoever collects them is slowed down, then cut."""
        answer = self._refuse(stage, subject, ruling, path)
        self._refused_recipients += 1
        if self._refused_recipients > REFUSED_RECIPIENTS:
            return _TOO_MANY_UNKNOWN
        if self._refused_recipients > REFUSED_RECIPIENTS_DELAYED:
            return self._later(REFUSED_RECIPIENT_DELAY_S, answer)
        return answer

    def _later(self, delay_s: float, answer: Answer) -> Pending:
        return Pending(self._desk.errands.after(delay_s), lambda _: answer)

    def note_refusal(
        self, stage: str, subject: str, answer: Reply | None, verdict: Verdict, keys: tuple[str, ...] = ()
    ) -> None:
        refused = Refused(
            at=self._desk.clock.now(),
            listener=self.client.role.value,
            peer=self.client.facts(),
            stage=stage,
            subject=subject,
            reply="" if answer is None else str(answer),
            verdicts=(verdict,),
        )
        self._desk.ledger.record(Entry("", keys, (refused,)))


_DECISIONS: dict[type, Callable[[SmtpDecisions, Any], Answer]] = {
    Greeted: SmtpDecisions._greeted,
    SenderGiven: SmtpDecisions._sender,
    RecipientGiven: SmtpDecisions._recipient,
    ContentAsked: SmtpDecisions._content_asked,
    ContentReceived: SmtpDecisions._content_received,
    ContentEnded: SmtpDecisions._content_ended,
    TransactionDropped: SmtpDecisions._dropped,
    CredentialsGiven: SmtpDecisions._credentials,
    VerifyAsked: SmtpDecisions._verify,
    CommandRefused: SmtpDecisions._command_refused,
}


def _state_of(account: Account | None) -> AccountState:
    if account is None:
        return AccountState.UNKNOWN
    return AccountState.DISABLED if account.disabled else AccountState.THERE


def _is_local(desk: Desk, domain: str) -> bool:
    known = desk.directory.domain(domain)
    return known is not None and known.kind is DomainKind.LOCAL


def _address_of(argument: str) -> Mailbox | None:
    """The address that VRFY was given, with or without angle brackets."""
    local_part, at, domain = argument.strip().removeprefix("<").removesuffix(">").rpartition("@")
    return Mailbox(local_part, domain.lower()) if at and local_part and domain else None
