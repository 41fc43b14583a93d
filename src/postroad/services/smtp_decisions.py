"""The decisions of one SMTP connection: each event of the session gets its answer here.

The facts are gathered, a rule is asked, the answer is given; nothing here reads or writes a socket. Most
answers are there at once; one that must wait for the DNS, a password or the commit is `Pending`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postroad.contracts.directory import Account, DomainKind, Found
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailing_lists import ListAddress, ListDuty
from postroad.message.trace import address_literal
from postroad.rules import acceptance, client_policy, quota
from postroad.rules.acceptance import AccountState, Place
from postroad.rules.expansion import where_it_leads
from postroad.rules.ruling import Ruling
from postroad.services.answers import ACCEPT, NOTICE, Answer, Identified, Pending
from postroad.services.front_end import FrontEnd, Readmit
from postroad.services.list_posters import judge_posting
from postroad.services.reception_parts import Desk
from postroad.services.refusals import Refusals
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_content import STORE_UNAVAILABLE, SmtpContent
from postroad.services.smtp_login import SmtpLogin
from postroad.services.smtp_requests import SmtpRequests
from postroad.services.transaction import Transaction, is_held_too_long
from postroad.vocabulary.address import Mailbox, ReversePath, path_text
from postroad.vocabulary.envelope import Recipient, Way
from postroad.vocabulary.limits import (
    DISK_RESERVE_BYTES,
    EXPANDED_RECIPIENTS,
)
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import OverQuota
from postroad.vocabulary.story import Verdict
from postroad.wire.smtp import replies
from postroad.wire.smtp.events import (
    ClientReplaced,
    CommandRefused,
    ContentAsked,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    ExpandAsked,
    Greeted,
    ProofGiven,
    QueueRunAsked,
    RecipientGiven,
    SecretAsked,
    SenderGiven,
    TransactionDropped,
    TurnAsked,
    VerifyAsked,
)

# In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are needed for each command.
_LOCAL, _PICKUP, _MAIL = ListenerRole.LOCAL, ListenerRole.PICKUP, Way.MAIL
_RELAY_DOMAIN, _POST = DomainKind.RELAY, ListDuty.POST
_HERE, _RELAY, _OUR_ADDRESS, _ELSEWHERE = Place.HERE, Place.RELAY, Place.OUR_ADDRESS, Place.ELSEWHERE
_THERE, _DISABLED, _UNKNOWN = AccountState.THERE, AccountState.DISABLED, AccountState.UNKNOWN


class SmtpDecisions:
    """`readmit` is for XCLIENT (services/front_end.py); None for a client to whom that is not offered."""

    __slots__ = ("_desk", "_readmit", "client", "content", "login", "refusals")

    def __init__(self, desk: Desk, client: SmtpClient, *, readmit: Readmit | None) -> None:
        self._desk = desk
        self.client = client
        self.refusals = Refusals(desk, client)
        self.content = SmtpContent(desk, client, self.refusals, client.screen())
        self.login = SmtpLogin(desk, client, self.refusals)
        self._readmit = readmit

    def decide(self, event: Any) -> Answer:
        """The answer to any event. A store that fails is answered 451 4.3.0."""
        try:
            return _DECISIONS[type(event)](self, event)
        except StoreUnavailable:
            return STORE_UNAVAILABLE

    def _requests(self) -> SmtpRequests:
        return SmtpRequests(self._desk, self.client, self.refusals)

    # ---- before the transaction ------------------------------------------------------------------

    def _greeted(self, event: Greeted) -> Answer:
        self.client.greeted(event.verb, event.name)
        if self.content.screen is not None:
            self.content.screen.greeted(event.name)
        return ACCEPT

    def _log_in(self, answer: Answer) -> Answer:
        if isinstance(answer, Pending):
            return Pending(answer.future, lambda done: self._log_in(answer.then(done)))
        if isinstance(answer, Identified):
            self.content.screen = None  # a user of ours is no stranger, wherever it calls from
        return answer

    def _client_replaced(self, event: ClientReplaced) -> Answer:
        assert self._readmit is not None, "XCLIENT was taken from a client to whom it is not offered"
        front_end = FrontEnd(
            self._desk,
            self.client,
            content=self.content,
            login=self.login,
            refusals=self.refusals,
            readmit=self._readmit,
        )
        return front_end.replaced(event)

    # ---- MAIL ------------------------------------------------------------------------------------

    def _sender(self, event: SenderGiven) -> Answer:
        desk, client, path = self._desk, self.client, event.reverse_path
        if desk.free_bytes() < DISK_RESERVE_BYTES + (event.size or 0):
            # RFC 1870 section 6.1: 452 where there is no room now for as much as was announced.
            ruling = acceptance.DISK_RESERVE
        elif event.deliver_by is not None and is_held_too_long(event, desk.clock.now()):
            ruling = acceptance.HELD_TOO_LONG
        else:
            ruling = self._judge_sender(path)
        if ruling.reply is not None:
            return self.refusals.refuse("MAIL", path_text(path), ruling, path)
        if self.content.screen is not None:
            self.content.screen.sender_given(path, path is not None and desk.directory.domain(path.domain) is not None)
        transaction = Transaction(event, ruling.verdict)
        account = client.record()
        if account is not None:
            waiting = desk.usage.wanting(account)
            if waiting is not None:
                return Pending(waiting, lambda _: self.decide(event))
            tab = desk.usage.open_tab(account)
            if isinstance(tab, Ruling):
                return self.refusals.refuse("MAIL", path_text(path), tab, path)
            transaction.tab = tab
        submitter = acceptance.judge_submitter(event.auth, client.account, client.allowed_senders())
        if submitter is not None:
            transaction.note(submitter)
        self.content.transaction = transaction
        return ACCEPT

    def _judge_sender(self, path: ReversePath) -> Ruling:
        desk, client = self._desk, self.client
        if client.role is _LOCAL:
            local = path is not None and _is_local(desk, path.domain)
            allowed = client.allowed_senders(path)
            return acceptance.judge_unix_sender(path, client.unix_user, client.trusted, desk.hostname, allowed, local)
        if client.account or client.role.is_submission:
            # An account that was closed since its login is no login any more, not even for the null reverse-path.
            account = client.account if client.record() is not None else ""
            return acceptance.judge_submission_sender(path, account, client.allowed_senders(path))
        if desk.blocks_senders:
            blocked = acceptance.judge_blocked_sender(path, desk.blocked_addresses, desk.blocked_domains)
            if blocked is not None:
                return blocked
        return acceptance.open_sender(path)

    # ---- RCPT ------------------------------------------------------------------------------------

    def _recipient(self, event: RecipientGiven) -> Answer:
        transaction = self.content.under_way()
        if self.content.screen is not None and not transaction.screened:
            waiting = self.content.screen.unanswered()
            if waiting is not None:
                return Pending(waiting, lambda _: self.decide(event))
            ruling = self.content.screen.refusal()
            if ruling is not None:
                return self.refusals.refuse("RCPT", str(event.forward_path), ruling, event.forward_path)
            transaction.screened = True
        path, place, found = self._find(event.forward_path)
        client = self.client
        may_relay = not client.is_stranger and client.role is not _PICKUP
        ruling = acceptance.judge_recipient(path.local_part, place, _state_of(found), may_relay)
        if ruling.reply is not None:
            return self.refusals.refuse_guess("RCPT", str(event.forward_path), ruling, event.forward_path)
        if isinstance(found, ListAddress) and found.duty is _POST:
            posting = judge_posting(self._desk.directory, found.list_, transaction.sender.reverse_path)
            if posting.reply is not None:
                return self.refusals.refuse("RCPT", str(event.forward_path), posting, event.forward_path)
        full = self._without_room(event, path, found)
        if full is not None:
            return full
        if transaction.sender.way is not _MAIL:
            account = found if isinstance(found, Account) else None
            verdict = self.content.ways.judge_recipient(transaction.sender.way, account)
            if isinstance(verdict, Ruling):
                return self.refusals.refuse("RCPT", str(event.forward_path), verdict, event.forward_path)
            if verdict is not None:
                return Pending(verdict, lambda done: self._active(event, path, found, ruling, done.result()))
        return self._add(event, path, found, ruling)

    def _without_room(self, event: RecipientGiven, path: Mailbox, found: Found | None) -> Answer | None:
        """The answer for a mailbox that is full, or of which that has to be asked first; None where there is room."""
        quotas = self._desk.quotas
        if quotas is None or not isinstance(found, Account) or not quotas.of(found) or quota.is_exempt(path):
            return None
        if found.forward_to and not found.keeps_copy:
            return None
        used = quotas.used(found)
        if used is None:
            looking = self._desk.errands.start(quotas.look(found))
            return Pending(looking, lambda done: STORE_UNAVAILABLE if done.exception() else self.decide(event))
        if quota.has_room(used, self.content.under_way().sender.size or 0, quotas.of(found)):
            return None
        ruling = quota.FULL_FOR_NOW if quotas.limits.over_quota is OverQuota.DEFER else quota.FULL
        return self.refusals.refuse("RCPT", str(event.forward_path), ruling, event.forward_path)

    def _active(
        self, event: RecipientGiven, path: Mailbox, found: Found | None, ruling: Ruling, active: bool
    ) -> Answer:
        if active:
            return self._add(event, path, found, ruling)
        return self.refusals.refuse("RCPT", str(event.forward_path), self.content.ways.not_active(), event.forward_path)

    def _add(self, event: RecipientGiven, path: Mailbox, found: Found | None, ruling: Ruling) -> Answer:
        transaction = self.content.under_way()
        identity = path.key() if found is not None else path
        if transaction.has(identity):
            return ACCEPT
        lead = None if found is None else self._desk.lead_of(path)
        led_to = 0 if lead is None else len(where_it_leads(path, self._desk.lead_of))
        if lead is not None and not led_to:
            return self.refusals.refuse("RCPT", str(event.forward_path), acceptance.LEADS_NOWHERE, event.forward_path)
        if transaction.led_to + led_to > EXPANDED_RECIPIENTS:
            ruling = acceptance.LEADS_TO_TOO_MANY
            return self.refusals.refuse("RCPT", str(event.forward_path), ruling, event.forward_path)
        waiting = transaction.tab.wanting() if transaction.tab is not None else None
        if waiting is not None:
            return Pending(waiting, lambda _: self._add(event, path, found, ruling))
        over = transaction.tab.add_recipient() if transaction.tab is not None else None
        if over is not None:
            return self.refusals.refuse("RCPT", str(event.forward_path), over, event.forward_path)
        transaction.led_to += led_to
        transaction.add(identity, Recipient(path, event.notify, event.original))
        transaction.note(ruling.verdict)
        return ACCEPT

    def _find(self, path: Mailbox) -> tuple[Mailbox, Place, Found | None]:
        """The forward-path as we deliver to it, where that is, and whose it is if it is here."""
        directory = self._desk.directory
        if not path.domain or (path.is_literal and self._is_our_address(path.domain)):
            # RFC 5321 section 4.5.1; delivered as the bare name, which the directory leads to somebody.
            bare = Mailbox(path.local_part, "")
            return bare, _OUR_ADDRESS, directory.recipient(bare)
        domain = directory.domain(path.domain)
        if domain is None or domain.kind is _RELAY_DOMAIN:
            return path, self._place_elsewhere(path.domain, relayed=domain is not None), None
        return path, _HERE, directory.recipient(path)

    def _place_elsewhere(self, domain: str, *, relayed: bool) -> Place:
        """What was fetched for us is for mailboxes here: nothing of it goes on."""
        if self.client.role is _PICKUP:
            return _ELSEWHERE
        return _RELAY if relayed or domain in self._desk.settings.hold_domains else _ELSEWHERE

    def _is_our_address(self, literal: str) -> bool:
        ours = self.client.local.address
        own = address_literal(ours)
        return literal == own or client_policy.same_address(literal.strip("[]").removeprefix("IPv6:"), ours)

    # ---- endings ---------------------------------------------------------------------------------

    def _dropped(self, event: TransactionDropped) -> Answer:
        self.content.drop()
        return NOTICE

    def _command_refused(self, event: CommandRefused) -> Answer:
        if event.reply is replies.SPOKEN_TOO_EARLY:
            early = Verdict("greeting_delay", "reject", "spoke before the greeting")
            self.refusals.note("connect", self.client.remote.address, event.reply, early)
            return NOTICE
        self.refusals.note(event.command, "", event.reply, Verdict("protocol", "reject", event.reply.lines[0]))
        return NOTICE


_DECISIONS: dict[type, Callable[[SmtpDecisions, Any], Answer]] = {
    Greeted: SmtpDecisions._greeted,
    SenderGiven: SmtpDecisions._sender,
    RecipientGiven: SmtpDecisions._recipient,
    ContentAsked: lambda self, event: self.content.asked(event),
    ContentReceived: lambda self, event: self.content.received(event),
    ContentEnded: lambda self, event: self.content.ended(event),
    TransactionDropped: SmtpDecisions._dropped,
    CredentialsGiven: lambda self, event: self._log_in(self.login.credentials(event)),
    SecretAsked: lambda self, event: self.login.secret(event),
    ProofGiven: lambda self, event: self._log_in(self.login.proof(event)),
    VerifyAsked: lambda self, event: self._requests().verify(event),
    ExpandAsked: lambda self, event: self._requests().expand(event),
    QueueRunAsked: lambda self, event: self._requests().run_queue(event),
    TurnAsked: lambda self, event: self._requests().turn(event),
    ClientReplaced: SmtpDecisions._client_replaced,
    CommandRefused: SmtpDecisions._command_refused,
}


def _state_of(found: Found | None) -> AccountState:
    if found is None:
        return _UNKNOWN
    return _DISABLED if isinstance(found, Account) and found.disabled else _THERE


def _is_local(desk: Desk, domain: str) -> bool:
    known = desk.directory.domain(domain)
    return known is not None and known.kind is DomainKind.LOCAL
