"""What an SMTP server session remembers that decides its next answer, as one value (RFC 5321 section 4.1.4)."""

from __future__ import annotations

import msgspec

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.reply import Reply
from postroad.wire.sasl_server import Stage
from postroad.wire.smtp.events import Greeted, SenderGiven
from postroad.wire.smtp.transitions import Phase


class Transaction(msgspec.Struct, frozen=True):
    """A mail transaction: one value, replaced whole by MAIL and RCPT and dropped whole by everything that
    ends it, so that nothing of one can be left over in the next. Only what was accepted is in it."""

    sender: SenderGiven
    recipients: int = 0
    """How many. Who they are is remembered by whoever accepted them: a value with all of them in it, made anew at each
    RCPT, would take a time that grows with their square."""


class Chunk(msgspec.Struct, frozen=True):
    """A BDAT whose octets are coming (RFC 3030 section 2). With a `refusal` they are swallowed, then it is said,
    and `after` is the phase."""

    left: int
    size: int
    is_last: bool
    refusal: Reply | None = None
    after: Phase = Phase.READY
    is_ours: bool = True
    """The refusal is the session's own."""


class State(msgspec.Struct, frozen=True):
    """Two sessions with equal states answer alike, but for the counters of offences, idle commands and messages and
    what came of the content so far.

    `greeted` is the accepted EHLO or HELO; `identity` who the client is known to be, "" for nobody;
    `transaction` is given in SENDER, RECIPIENTS, CONTENT, CHUNKS and in a CHUNK that is kept, and in no other phase.
    """

    phase: Phase
    greeted: Greeted | None = None
    tls: TlsFacts | None = None
    identity: str = ""
    transaction: Transaction | None = None
    exchange: Stage | None = None
    chunk: Chunk | None = None
    data_refused: bool = False
    """The last command was a DATA that was refused: what is no command now is content sent nevertheless."""
