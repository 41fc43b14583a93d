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
from collections.abc import Callable

from postroad.vocabulary.envelope import BodyType, Recipient
from postroad.vocabulary.reply import Reply
from postroad.wire.smtp.client_commands import mail_line, rcpt_line, takes_binary
from postroad.wire.smtp.client_core import ClientProfile, Expect
from postroad.wire.smtp.client_events import (
    ContentWanted,
    LineSent,
    OutgoingTransaction,
    RecipientAnswered,
    Stage,
    TransactionEnded,
)
from postroad.wire.smtp.client_requests import ClientRequests
from postroad.wire.smtp.dot_stuffing import DotStuffer, LineMender, stuffed, with_whole_line_ends

# Looked up in its enumeration a member costs 70 ns in Python 3.11; these are needed for each transaction.
_MAIL, _RCPT, _DATA, _END_OF_DATA = Expect.MAIL, Expect.RCPT, Expect.DATA, Expect.END_OF_DATA

__all__ = ["ClientProfile", "ClientSession"]


class _Delivery:
    """One transaction under way. `refusal` is the last 4yz or 5yz before the content."""

    __slots__ = (
        "accepted",
        "answered",
        "by_chunks",
        "chunk_refused",
        "content",
        "content_sent",
        "each",
        "mail_refused",
        "refusal",
        "transaction",
        "unsent",
    )

    def __init__(self, transaction: OutgoingTransaction, content: bytes | None, by_chunks: bool) -> None:
        self.transaction = transaction
        self.content = content
        self.by_chunks = by_chunks
        self.chunk_refused = False
        self.answered = 0
        """RCPTs; counted where the content goes by BDAT."""
        self.each: list[Reply] = []
        """(LMTP) the replies to the end of the content."""
        self.accepted: list[Recipient] = []
        self.refusal: Reply | None = None
        self.mail_refused = False
        self.content_sent = False
        self.unsent = 0
        """(without PIPELINING) index of the next recipient to send."""


class ClientSession(ClientRequests):
    """One connection to one server."""

    __slots__ = ("_deliveries", "_mender", "_needs_rset")

    def __init__(self, profile: ClientProfile, random_octets: Callable[[int], bytes] | None = None) -> None:
        super().__init__(profile, random_octets)
        self._deliveries: deque[_Delivery] = deque()
        self._needs_rset = False
        self._mender: LineMender | None = None

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
        delivery = _Delivery(transaction, content, self._goes_by_chunks(transaction))
        self._deliveries.append(delivery)
        reset, self._needs_rset = self._needs_rset, False
        if "PIPELINING" in self._extensions:
            self._send_group(delivery, reset)
        elif reset:
            self._send(b"RSET\r\n", Expect.RSET)
        else:
            self._send(self._mail_line(transaction), Expect.MAIL)

    def send_content(self, chunk: bytes) -> None:
        """The next octets of the content, in any split; stuffed and repaired here, or a chunk of BDAT each."""
        assert self._streaming, "no content is wanted"
        octets = self._mender.feed(chunk) if self._mender is not None else chunk
        if not octets:
            return
        delivery = self._deliveries[0]
        if not delivery.by_chunks:
            self._out.append(octets)
        elif not delivery.chunk_refused:
            self._out.append(b"BDAT %d\r\n" % len(octets))
            self._out.append(octets)
            self._owed.append((Expect.CHUNK, None))

    def end_content(self) -> None:
        assert self._streaming, "no content is wanted"
        delivery, mender = self._deliveries[0], self._mender
        self._mender = None
        self._streaming = False
        if not delivery.by_chunks:
            assert isinstance(mender, DotStuffer)
            self._out.append(mender.end())
        elif not delivery.chunk_refused:
            rest = mender.rest() if mender is not None else b""
            self._out.append(b"BDAT %d LAST\r\n" % len(rest) + rest)
        else:
            # The rest was not sent: the transaction is over when what was is answered.
            delivery.content_sent = False
            if not self._owed:
                self._finish_chunks(delivery)
            return
        self._content_is_sent(delivery)

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

    def _goes_by_chunks(self, transaction: OutgoingTransaction) -> bool:
        if transaction.body is BodyType.BINARY_MIME:
            return takes_binary(self._extensions)
        above = self._profile.chunks_above
        return above is not None and transaction.size_bytes > above and "CHUNKING" in self._extensions

    def _mail_line(self, transaction: OutgoingTransaction) -> bytes:
        return mail_line(transaction, self._extensions, logged_in=self._profile.credentials is not None)

    def _send_group(self, delivery: _Delivery, reset: bool) -> None:
        """RSET, MAIL, all RCPT and DATA in one write (RFC 2920 section 3.1: DATA last). A BDAT has its octets behind
        it, so it waits until somebody is known to get them."""
        transaction, extensions, owed = delivery.transaction, self._extensions, self._owed
        lines = [b"RSET\r\n"] if reset else []
        if reset:
            owed.append((Expect.RSET, None))
        lines.append(self._mail_line(transaction))
        owed.append((_MAIL, None))
        for recipient in transaction.recipients:
            lines.append(rcpt_line(recipient, extensions))
            owed.append((_RCPT, recipient))
        if not delivery.by_chunks:
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
        elif delivery.accepted and not delivery.by_chunks:
            self._send(b"DATA\r\n", Expect.DATA)
        else:
            self._begin_chunks(delivery)

    def _begin_chunks(self, delivery: _Delivery) -> None:
        """All RCPTs are answered: send the content by BDAT, if anybody is to get it."""
        if not delivery.accepted:
            self._needs_rset = not delivery.mail_refused
            self._finish(delivery)
            return
        if self._spoke_too_soon():
            return
        is_binary = delivery.transaction.body is BodyType.BINARY_MIME
        if delivery.content is None:
            # Lone CR and LF leave us in binary content only (RFC 3030 section 2).
            self._mender = None if is_binary else LineMender()
            self._streaming = True
            self._events.append(ContentWanted())
        else:
            content = delivery.content if is_binary else with_whole_line_ends(delivery.content)
            self._out.append(b"BDAT %d LAST\r\n" % len(content))
            self._out.append(content)
            self._content_is_sent(delivery)

    def _content_is_sent(self, delivery: _Delivery) -> None:
        delivery.content_sent = True
        delivery.content = None
        # RFC 2033 section 4.2: over LMTP a reply for each accepted recipient.
        self._owed.extend([(_END_OF_DATA, None)] * (len(delivery.accepted) if self._profile.lmtp else 1))
        if self._profile.record:
            self._events.append(LineSent(f"({delivery.transaction.size_bytes} octets of content)"))
            self._events.append(LineSent("(by BDAT)" if delivery.by_chunks else "."))

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
        elif expect is Expect.CHUNK:
            self._take_chunk(given)
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
        elif expect is Expect.AUTH:
            self._take_auth(given)
        else:
            self._take_request(expect, given)

    def _take_rset(self, given: Reply) -> None:
        if given.code // 100 != 2:
            self._end("the server refused RSET", given, Stage.IDLE)
        elif "PIPELINING" not in self._extensions:
            self._send(self._mail_line(self._deliveries[0].transaction), Expect.MAIL)

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
        elif delivery.by_chunks:
            delivery.answered += 1
            if delivery.answered == len(delivery.transaction.recipients):
                self._begin_chunks(delivery)

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
        elif not delivery.accepted and self._profile.lmtp:
            # RFC 2033 section 4.2 forbids it, and nobody knows how many replies would come.
            self._end("the server answered DATA by a 354 and nobody is to have it", given, Stage.DATA)
        elif not delivery.accepted:
            # RFC 2920 section 3.1: 354 though nobody is to have it; an empty content, whatever comes of it.
            self._out.append(b".\r\n")
            self._owed.appendleft((Expect.VOID_END, None))
        elif self._spoke_too_soon():
            return
        elif delivery.content is None:
            self._mender = DotStuffer()
            self._streaming = True
            self._events.append(ContentWanted())
        else:
            self._out.append(stuffed(delivery.content))
            self._content_is_sent(delivery)

    def _spoke_too_soon(self) -> bool:
        """Whether the server says more although nothing is owed, and the content would be next: a 250 that is here
        already would be taken for the reply to it (RFC 5321 section 4.1.1.4). Then the session is over."""
        is_too_soon = not self._owed and not self._replies.is_empty
        if is_too_soon:
            self._end("the server sent more replies than it was asked for, before the content", stage=Stage.DATA)
        return is_too_soon

    def _take_chunk(self, given: Reply) -> None:
        """A 2yz means no more than "go on" (RFC 3030 section 2)."""
        delivery = self._deliveries[0]
        if given.code // 100 == 3:
            self._end("the server answered BDAT by a 3yz", given, Stage.CONTENT)
            return
        if given.code >= 400 and not delivery.chunk_refused:
            delivery.chunk_refused = True
            delivery.refusal = given
        if delivery.chunk_refused and not self._streaming and not delivery.content_sent and not self._owed:
            self._finish_chunks(delivery)

    def _finish_chunks(self, delivery: _Delivery) -> None:
        self._needs_rset = True
        self._finish(delivery)

    def _take_end(self, given: Reply) -> None:
        delivery = self._deliveries[0]
        if given.code // 100 == 3:
            self._end("the server answered the end of the data by a 3yz", given, Stage.END_OF_DATA)
            return
        if self._profile.lmtp:
            delivery.each.append(given)
            if len(delivery.each) < len(delivery.accepted):
                return
            given = next((each for each in delivery.each if each.code >= 400), given)
        self._deliveries.popleft()
        if delivery.chunk_refused:
            # What came after a refused chunk is answered by a 503, which tells nothing new.
            assert delivery.refusal is not None
            given = delivery.refusal
            self._needs_rset = True
        self._events.append(TransactionEnded(given, tuple(delivery.accepted), tuple(delivery.each)))

    def _finish(self, delivery: _Delivery) -> None:
        """The transaction came to nothing before its content."""
        assert delivery.refusal is not None, "something was refused"
        self._deliveries.popleft()
        self._events.append(TransactionEnded(delivery.refusal, tuple(delivery.accepted)))
