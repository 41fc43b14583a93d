"""What an SMTP server session remembers that decides its next answer, as one value (RFC 5321 section 4.1.4)."""

from __future__ import annotations

import msgspec

from postroad.vocabulary.endpoint import TlsFacts
from postroad.wire.sasl import Challenge
from postroad.wire.smtp.events import Greeted, RecipientGiven, SenderGiven
from postroad.wire.smtp.transitions import Phase


class Transaction(msgspec.Struct, frozen=True):
    """A mail transaction: one value, replaced whole by MAIL and RCPT and dropped whole by everything that
    ends it, so that nothing of one can be left over in the next. Only what was accepted is in it."""

    sender: SenderGiven
    recipients: tuple[RecipientGiven, ...] = ()


class State(msgspec.Struct, frozen=True):
    """Two sessions with equal states answer alike, but for the counters of offences and messages.

    `greeted` is the accepted EHLO or HELO; `identity` who the client is known to be, "" for nobody;
    `transaction` is given in SENDER, RECIPIENTS and CONTENT, and in no other phase.
    """

    phase: Phase
    greeted: Greeted | None = None
    tls: TlsFacts | None = None
    identity: str = ""
    transaction: Transaction | None = None
    challenge: Challenge | None = None
    data_refused: bool = False
    """The last command was a DATA that was refused: what is no command now is content sent nevertheless."""
