"""SEND, SOML and SAML: messages to the terminals of users who are there (RFC 821 section 3.4).

SEND needs an active user at RCPT (450) and again when the message has come: those who have left meanwhile get it in
their mailbox, so that nothing that was accepted is lost, unless nobody has seen it: then it is 451. SOML goes to the
mailbox of those it could not be shown to, SAML to everybody's.
"""

from __future__ import annotations

import asyncio
from datetime import UTC

from postroad.contracts.directory import Account
from postroad.contracts.queue_store import StoredContent
from postroad.message.terminal_text import safe_line, terminal_text
from postroad.rules.acceptance import NOT_ACTIVE, TERMINAL_GONE, TOO_LARGE_FOR_TERMINALS, USER_NOT_LOCAL
from postroad.rules.ruling import Ruling
from postroad.services.reception_parts import Desk
from postroad.services.terminals import TerminalMessage, Terminals
from postroad.services.transaction import Transaction
from postroad.vocabulary.address import path_text
from postroad.vocabulary.envelope import Recipient, Way
from postroad.vocabulary.limits import TERMINAL_MESSAGE_BYTES
from postroad.vocabulary.story import Entry, Shown


class SmtpWays:
    """The terminals as one connection's decisions use them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def _terminals(self) -> Terminals:
        assert self._desk.onward.terminals is not None, "SEND is offered where there are terminals"
        return self._desk.onward.terminals

    def judge_recipient(self, way: Way, account: Account | None) -> Ruling | asyncio.Future[bool] | None:
        """None: taken. A future: whether the user is active, which SEND asks for."""
        if account is None:
            return USER_NOT_LOCAL
        if way is not Way.SEND:
            return None
        return self._desk.errands.start(self._terminals.is_active(account.address.key()))

    @staticmethod
    def not_active() -> Ruling:
        return NOT_ACTIVE

    def show(self, transaction: Transaction, content: bytes | StoredContent) -> asyncio.Future[frozenset[str]]:
        """The accounts (`Mailbox.key()`) at whose terminals the message was shown."""
        addresses = tuple(dict.fromkeys(key for key in map(self._account_of, transaction.recipients) if key))
        if not isinstance(content, bytes) or len(content) > TERMINAL_MESSAGE_BYTES:
            nobody: asyncio.Future[frozenset[str]] = asyncio.get_running_loop().create_future()
            nobody.set_result(frozenset())
            return nobody
        text = terminal_text(content)
        message = TerminalMessage(
            at=self._desk.clock.now().astimezone(UTC).isoformat(timespec="seconds"),
            way=transaction.sender.way.value,
            envelope_from=safe_line(path_text(transaction.sender.reverse_path)),
            from_=text.from_,
            subject=text.subject,
            lines=text.lines,
        )
        return self._desk.errands.start(self._terminals.show(message, addresses))

    def _account_of(self, recipient: Recipient) -> str:
        found = self._desk.directory.recipient(recipient.forward_path)
        return found.address.key() if isinstance(found, Account) else ""

    def to_mailboxes(
        self, transaction: Transaction, content: bytes | StoredContent, shown: frozenset[str]
    ) -> tuple[Recipient, ...] | Ruling:
        """Who gets it as mail; or why the message is refused."""
        everybody = tuple(transaction.recipients)
        unseen = tuple(each for each in everybody if self._account_of(each) not in shown)
        if transaction.sender.way is Way.SAML:
            return everybody
        if transaction.sender.way is Way.SEND and len(unseen) == len(everybody):
            small = isinstance(content, bytes) and len(content) <= TERMINAL_MESSAGE_BYTES
            return TERMINAL_GONE if small else TOO_LARGE_FOR_TERMINALS
        return unseen

    def tell(self, transaction: Transaction, shown: frozenset[str]) -> None:
        """Put what was shown into the story."""
        if not shown:
            return
        assert transaction.intake is not None
        queue_id = transaction.intake.queue_id
        fact = Shown(
            at=self._desk.clock.now(),
            way=transaction.sender.way.value,
            reverse_path=path_text(transaction.sender.reverse_path),
            accounts=tuple(sorted(shown)),
        )
        self._desk.ledger.record(Entry(queue_id, (queue_id, *sorted(shown)), (fact,)))
