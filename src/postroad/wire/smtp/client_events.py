"""What an SMTP client session is given and tells (RFC 5321)."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TypeAlias

import msgspec

from postroad.vocabulary.address import ReversePath
from postroad.vocabulary.envelope import BodyType, DeliverBy, Recipient
from postroad.vocabulary.reply import Reply


class TlsUse(Enum):
    NEVER = "never"
    IF_OFFERED = "if offered"
    """Opportunistic: a broken handshake is the shell's to retry in clear on a new connection."""
    REQUIRED = "required"
    """No STARTTLS in the EHLO answer ends the session with Ended."""


class OutgoingTransaction(msgspec.Struct, frozen=True):
    """One mail transaction. At least one recipient. `size_bytes` is sent as SIZE= where it is announced;
    `body`, `smtputf8`, the DSN parameters and the others likewise; what the server does not announce is left out
    (whether it *may* be left out is decided before, by the rules, from `Ready.extensions`). `deliver_by` holds the
    time that is left (RFC 2852 section 4.1.3); `priority` 0 is not said (RFC 6710 section 4.1);
    `hold_for_s` or `hold_until` (RFC 4865). BODY=BINARYMIME goes by BDAT, where BINARYMIME and CHUNKING are both
    announced."""

    reverse_path: ReversePath
    recipients: tuple[Recipient, ...]
    size_bytes: int
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
    deliver_by: DeliverBy | None = None
    priority: int = 0
    hold_for_s: int | None = None
    hold_until: datetime | None = None


class Ready(msgspec.Struct, frozen=True):
    """Notice: greeting, EHLO (or HELO), STARTTLS and AUTH are done. `extensions` maps keywords in upper case
    to their parameters; empty after HELO."""

    extensions: dict[str, str]
    server_name: str


class RecipientAnswered(msgspec.Struct, frozen=True):
    """Notice: the reply to one RCPT (or, when MAIL was refused, to MAIL, once for each recipient)."""

    recipient: Recipient
    reply: Reply


class ContentWanted(msgspec.Struct, frozen=True):
    """Notice: 354 came and at least one recipient was accepted: `send_content` chunks, then `end_content`.
    Not given for a transaction that was begun with its content in memory."""


class TransactionEnded(msgspec.Struct, frozen=True):
    """Notice: the server answered the end of the data, or the transaction failed before it. `reply` applies to
    every recipient that was accepted in its RCPT; `accepted` are those. The session is ready for the next.

    Over LMTP `each` is the reply to each of `accepted` (RFC 2033 section 4.2), and `reply` the first that refuses, if
    one does."""

    reply: Reply
    accepted: tuple[Recipient, ...]
    each: tuple[Reply, ...] = ()


class CommandAnswered(msgspec.Struct, frozen=True):
    """Notice: the answer to `etrn`, `atrn` or `turn`; `verb` is which. After a 2yz to ATRN or TURN the session ends in
    Wait.TURNED: the connection is for a server session, which sends the 220."""

    verb: str
    reply: Reply


class Stage(Enum):
    """Where a session ended; decides the wording and the risk of a duplicate."""

    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    TLS = "TLS handshake"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    END_OF_DATA = "end of data"
    """The dot was sent and no reply came: the server may or may not have the message."""
    ETRN = "ETRN"
    TURN = "TURN"
    """TURN or ATRN."""
    IDLE = "idle"
    QUIT = "QUIT"


class Ended(msgspec.Struct, frozen=True):
    """Notice: the session is over. `reply` is the server's last word where that was the reason (a 554 greeting,
    a refused AUTH, a 421), else None and `reason` says what happened in words for people.
    A transaction under way got no TransactionEnded: its recipients are deferred by this."""

    stage: Stage
    reason: str
    reply: Reply | None = None


class LineSent(msgspec.Struct, frozen=True):
    """Notice, only with `record=True`: for showing the conversation. Content is summed up, not quoted;
    secrets of AUTH are never in it."""

    text: str


class LineReceived(msgspec.Struct, frozen=True):
    """Notice, only with `record=True`."""

    text: str


ClientEvent: TypeAlias = (
    Ready | RecipientAnswered | ContentWanted | TransactionEnded | CommandAnswered | Ended | LineSent | LineReceived
)
