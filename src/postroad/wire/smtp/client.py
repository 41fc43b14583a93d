"""The SMTP client session: mail transactions in, commands out, and what the server said of each recipient.

RFC 5321 section 3.3, pipelined where the server allows it (RFC 2920). wire/session.py tells how it is driven,
client_events.py what it tells. How to send:

    on Wait.READY            begin(transaction, content)
    while `can_begin`        begin the next one: its MAIL, RCPT and DATA leave in the same write as the end of
                             this one's content (RFC 2920 section 3.1)
    on ContentWanted         (without content in memory) send_content(chunk) ..., end_content()
    at the end               quit()
"""

from __future__ import annotations

from collections import deque

from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.reply import Reply
from postroad.wire.smtp.client_commands import mail_line, rcpt_line
from postroad.wire.smtp.client_core import ClientProfile, Expect
from postroad.wire.smtp.client_events import (
    ContentWanted,
    LineSent,
    OutgoingTransaction,
    RecipientAnswered,
    Stage,
    TransactionEnded,
)
from postroad.wire.smtp.client_opening import ClientOpening
from postroad.wire.smtp.dot_stuffing import DotStuffer, stuffed

# Looked up in its enumeration a member costs 70 ns in Python 3.11; these are needed for each transaction.
_MAIL, _RCPT, _DATA, _END_OF_DATA = Expect.MAIL, Expect.RCPT, Expect.DATA, Expect.END_OF_DATA

__all__ = ["ClientProfile", "ClientSession"]


class _Delivery:
    """One transaction under way. `refusal` is the last 4yz or 5yz before the content."""

    __slots__ = ("accepted", "content", "content_sent", "mail_refused", "refusal", "transaction", "unsent")

    def __init__(self, transaction: OutgoingTransaction, content: bytes | None) -> None:
        self.transaction = transaction
        self.content = content
        self.accepted: list[Recipient] = []
        self.refusal: Reply | None = None
        self.mail_refused = False
        self.content_sent = False
        self.unsent = 0
        """(without PIPELINING) index of the next recipient to send."""


class ClientSession(ClientOpening):
    """One connection to one server."""

    __slots__ = ("_deliveries", "_needs_rset", "_stuffer")

    def __init__(self, profile: ClientProfile) -> None:
        super().__init__(profile)
        self._deliveries: deque[_Delivery] = deque()
        self._needs_rset = False
        self._stuffer: DotStuffer | None = None

    # ---- what the outside does -------------------------------------------------------------------

    @property
    def can_begin(self) -> bool:
        """Whether `begin` may be called: idle, or only the reply to the end of the content is still owed."""
        if not self._is_ready or self._is_over:
            return False
        if not self._deliveries:
            return not self._owed
        return len(self._deliveries) == 1 and self._deliveries[0].content_sent and "PIPELINING" in self._extensions

    def begin(self, transaction: OutgoingTransaction, content: bytes | None = None) -> None:
        """Start a transaction. With `content` it is sent as soon as the server says 354; without, ContentWanted
        will ask for it."""
        assert self.can_begin, "the session is not ready for a transaction"
        assert transaction.recipients, "a transaction has a recipient"
        delivery = _Delivery(transaction, content)
        self._deliveries.append(delivery)
        reset, self._needs_rset = self._needs_rset, False
        if "PIPELINING" in self._extensions:
            self._send_group(transaction, reset)
        elif reset:
            self._send(b"RSET\r\n", Expect.RSET)
        else:
            self._send(mail_line(transaction, self._extensions), Expect.MAIL)

    def send_content(self, chunk: bytes) -> None:
        """The next octets of the content, in any split; stuffed and repaired here."""
        assert self._stuffer is not None, "no content is wanted"
        octets = self._stuffer.feed(chunk)
        if octets:
            self._out.append(octets)

    def end_content(self) -> None:
        assert self._stuffer is not None, "no content is wanted"
        self._out.append(self._stuffer.end())
        self._stuffer = None
        self._streaming = False
        self._content_is_sent(self._deliveries[0])

    def quit(self) -> None:
        """Say goodbye; in the middle of anything the connection is simply to be closed."""
        if self._is_over:
            return
        if self._is_ready and not self._owed and not self._streaming:
            self._is_ready = False
            self._send(b"QUIT\r\n", Expect.QUIT)
        else:
            self._end("we gave the session up")

    # ---- sending ---------------------------------------------------------------------------------

    def _send_group(self, transaction: OutgoingTransaction, reset: bool) -> None:
        """RSET, MAIL, all RCPT and DATA in one write (RFC 2920 section 3.1: DATA last)."""
        extensions, owed = self._extensions, self._owed
        lines = [b"RSET\r\n"] if reset else []
        if reset:
            owed.append((Expect.RSET, None))
        lines.append(mail_line(transaction, extensions))
        owed.append((_MAIL, None))
        for recipient in transaction.recipients:
            lines.append(rcpt_line(recipient, extensions))
            owed.append((_RCPT, recipient))
        lines.append(b"DATA\r\n")
        owed.append((_DATA, None))
        self._out.append(b"".join(lines))
        if self._profile.record:
            self._events.extend(LineSent(line[:-2].decode("utf-8", "replace")) for line in lines)

    def _send_next(self, delivery: _Delivery) -> None:
        """(without PIPELINING) the next RCPT, or DATA, or nothing more."""
        recipients = delivery.transaction.recipients
        if delivery.mail_refused:
            self._finish(delivery)
        elif delivery.unsent < len(recipients):
            recipient = recipients[delivery.unsent]
            delivery.unsent += 1
            self._send(rcpt_line(recipient, self._extensions), Expect.RCPT, recipient)
        elif delivery.accepted:
            self._send(b"DATA\r\n", Expect.DATA)
        else:
            self._needs_rset = True
            self._finish(delivery)

    def _content_is_sent(self, delivery: _Delivery) -> None:
        delivery.content_sent = True
        delivery.content = None
        self._owed.append((_END_OF_DATA, None))
        if self._profile.record:
            self._events.append(LineSent(f"({delivery.transaction.size_bytes} octets of content)"))
            self._events.append(LineSent("."))

    # ---- replies ---------------------------------------------------------------------------------

    def _take_expected(self, expect: Expect, recipient: Recipient | None, given: Reply) -> None:
        if expect is _RCPT:
            assert recipient is not None
            self._take_rcpt(recipient, given)
        elif expect is _MAIL:
            self._take_mail(given)
        elif expect is _DATA:
            self._take_data(given)
        elif expect is _END_OF_DATA:
            self._take_end(given)
        elif expect is Expect.VOID_END:
            self._finish(self._deliveries[0])
        elif expect is Expect.RSET:
            self._take_rset(given)
        elif expect is Expect.QUIT:
            self._end("we said QUIT", given, Stage.QUIT)
        else:
            self._take_opening(expect, given)

    def _take_opening(self, expect: Expect, given: Reply) -> None:
        if expect is Expect.GREETING:
            self._take_greeting(given)
        elif expect is Expect.EHLO:
            self._take_ehlo(given)
        elif expect is Expect.HELO:
            self._take_helo(given)
        elif expect is Expect.STARTTLS:
            self._take_starttls(given)
        else:
            self._take_auth(given)

    def _take_rset(self, given: Reply) -> None:
        if given.code // 100 != 2:
            self._end("the server refused RSET", given, Stage.IDLE)
        elif "PIPELINING" not in self._extensions:
            self._send(mail_line(self._deliveries[0].transaction, self._extensions), Expect.MAIL)

    def _take_mail(self, given: Reply) -> None:
        delivery = self._deliveries[0]
        if given.code // 100 == 3:
            self._end("the server answered MAIL by a 3yz", given, Stage.MAIL)
            return
        if given.code >= 400:
            delivery.mail_refused = True
            delivery.refusal = given
            self._events.extend(RecipientAnswered(one, given) for one in delivery.transaction.recipients)
        if "PIPELINING" not in self._extensions:
            self._send_next(delivery)

    def _take_rcpt(self, recipient: Recipient, given: Reply) -> None:
        delivery = self._deliveries[0]
        code = given.code // 100
        if code == 3:
            self._end("the server answered RCPT by a 3yz", given, Stage.RCPT)
            return
        if not delivery.mail_refused:
            # After a refused MAIL the 503 to RCPT tells nothing new.
            if code == 2:
                delivery.accepted.append(recipient)
            else:
                delivery.refusal = given
            self._events.append(RecipientAnswered(recipient, given))
        if "PIPELINING" not in self._extensions:
            self._send_next(delivery)

    def _take_data(self, given: Reply) -> None:
        delivery = self._deliveries[0]
        code = given.code // 100
        if code == 2:
            self._end("the server answered DATA by a 2yz", given, Stage.DATA)
        elif code != 3:
            self._needs_rset = not delivery.mail_refused
            if delivery.accepted:
                delivery.refusal = given
            self._finish(delivery)
        elif not delivery.accepted:
            # RFC 2920 section 3.1: 354 though nobody is to have it; an empty content, whatever comes of it.
            self._out.append(b".\r\n")
            self._owed.appendleft((Expect.VOID_END, None))
        elif delivery.content is None:
            self._stuffer = DotStuffer()
            self._streaming = True
            self._events.append(ContentWanted())
        else:
            self._out.append(stuffed(delivery.content))
            self._content_is_sent(delivery)

    def _take_end(self, given: Reply) -> None:
        delivery = self._deliveries.popleft()
        if given.code // 100 == 3:
            self._end("the server answered the end of the data by a 3yz", given, Stage.END_OF_DATA)
        else:
            self._events.append(TransactionEnded(given, tuple(delivery.accepted)))

    def _finish(self, delivery: _Delivery) -> None:
        """The transaction came to nothing before its content."""
        assert delivery.refusal is not None, "something was refused"
        self._deliveries.popleft()
        self._events.append(TransactionEnded(delivery.refusal, tuple(delivery.accepted)))
