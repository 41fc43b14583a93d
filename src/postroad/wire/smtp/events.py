"""What an SMTP server session asks and tells (RFC 5321).

A *question* is open until `ServerSession.answer` is called; a *notice* wants no answer.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.envelope import BodyType, Notify
from postroad.vocabulary.reply import Reply


class Greeted(msgspec.Struct, frozen=True):
    """Question: HELO, EHLO or LHLO. `answer(None)` accepts: the session sends its own greeting or keyword list."""

    verb: str
    name: str


class SenderGiven(msgspec.Struct, frozen=True):
    """Question: MAIL. SIZE over the limit was already refused; `size` is what the client declared or None.
    `auth` is the AUTH= parameter (RFC 4954 section 5), decoded, "" for <>, None if absent."""

    reverse_path: ReversePath
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    size: int | None = None
    ret: str = ""
    envid: str = ""
    auth: str | None = None


class RecipientGiven(msgspec.Struct, frozen=True):
    """Question: RCPT. More than the limit were already answered 452 4.5.3.
    `forward_path.domain` is empty only for `<postmaster>`."""

    forward_path: Mailbox
    notify: tuple[Notify, ...] = ()
    original: str = ""


class ContentAsked(msgspec.Struct, frozen=True):
    """Question: DATA, with at least one accepted recipient. `answer(None)` sends 354."""


class ContentReceived(msgspec.Struct, frozen=True):
    """Notice: the next octets of the content, transparency dots removed. Any split."""

    data: bytes


class ContentEnded(msgspec.Struct, frozen=True):
    """Question: the end of the data was seen and nothing is wrong with it on the wire. `answer(Reply)` must
    be 2yz only when the message is durable. Whatever the answer, the transaction is over."""

    size_bytes: int


class TransactionDropped(msgspec.Struct, frozen=True):
    """Notice: what was collected of a transaction is void (RSET, EHLO, QUIT, STARTTLS, a fault in the content
    that the session answered itself, a cut). Forget spooled content."""

    reason: str


class CredentialsGiven(msgspec.Struct, frozen=True):
    """Question: AUTH PLAIN or LOGIN has brought a name and a password.
    Answer with `authenticated(identity)` or `answer(Reply)` of 4yz or 5yz."""

    mechanism: str
    authorization_id: str
    name: str
    password: str


class VerifyAsked(msgspec.Struct, frozen=True):
    """Question: VRFY. Always wants a Reply."""

    argument: str


class CommandRefused(msgspec.Struct, frozen=True):
    """Notice: the session itself refused something (syntax, order, limits); for the ledger."""

    command: str
    reply: Reply


ServerEvent: TypeAlias = (
    Greeted
    | SenderGiven
    | RecipientGiven
    | ContentAsked
    | ContentReceived
    | ContentEnded
    | TransactionDropped
    | CredentialsGiven
    | VerifyAsked
    | CommandRefused
)
