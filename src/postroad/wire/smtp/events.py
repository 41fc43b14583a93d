"""What an SMTP server session asks and tells (RFC 5321).

A *question* is open until `ServerSession.answer` is called; a *notice* wants no answer.

The questions of AUTH are those of `wire/sasl_server.py`. CredentialsGiven and ProofGiven are answered with
`authenticated(identity)`, a proof only when it is right, or `answer(Reply)` of 4yz or 5yz; SecretAsked with
`give_secret(ScramKeys | CramSecret | None, fake_salt=...)`, or `answer(Reply)` of 4yz or 5yz.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.envelope import BodyType, DeliverBy, Notify, Way
from postroad.vocabulary.reply import Reply
from postroad.wire.sasl_server import CredentialsGiven, ProofGiven, SecretAsked

__all__ = [
    "ClientReplaced",
    "CommandRefused",
    "ContentAsked",
    "ContentEnded",
    "ContentReceived",
    "CredentialsGiven",
    "ExpandAsked",
    "Greeted",
    "ProofGiven",
    "QueueRunAsked",
    "RecipientGiven",
    "SecretAsked",
    "SenderGiven",
    "ServerEvent",
    "TransactionDropped",
    "TurnAsked",
    "VerifyAsked",
]


class Greeted(msgspec.Struct, frozen=True):
    """Question: HELO, EHLO or LHLO. `answer(None)` accepts: the session sends its own greeting or keyword list."""

    verb: str
    name: str


class SenderGiven(msgspec.Struct, frozen=True):
    """Question: MAIL, or SEND, SOML, SAML. SIZE over the limit was already refused; `size` is what the client
    declared or None. `auth` is the AUTH= parameter (RFC 4954 section 5), decoded, "" for <>, None if absent.

    Each of the following only where the profile offers it: `require_tls` (RFC 8689); `deliver_by` (RFC 2852);
    `hold_for_s` seconds or `hold_until`, aware and in UTC, never both, and within what was announced; a time that
    has passed is no reason to refuse (RFC 4865); `priority` -9 to 9, None when not given (RFC 6710)."""

    reverse_path: ReversePath
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    size: int | None = None
    ret: str = ""
    envid: str = ""
    auth: str | None = None
    way: Way = Way.MAIL
    require_tls: bool = False
    deliver_by: DeliverBy | None = None
    hold_for_s: int | None = None
    hold_until: datetime | None = None
    priority: int | None = None


class RecipientGiven(msgspec.Struct, frozen=True):
    """Question: RCPT. More than the limit were already answered 452 4.5.3.
    `forward_path.domain` is empty only for `<postmaster>`."""

    forward_path: Mailbox
    notify: tuple[Notify, ...] = ()
    original: str = ""


class ContentAsked(msgspec.Struct, frozen=True):
    """Question: DATA, or the first BDAT (RFC 3030), with at least one accepted recipient. `answer(None)` sends 354,
    or takes the chunk; a Reply of 4yz or 5yz refuses the content, and a chunk is swallowed."""

    by_chunks: bool = False


class ContentReceived(msgspec.Struct, frozen=True):
    """Notice: the next octets of the content, transparency dots removed, or of a BDAT chunk as they are. Any split."""

    data: bytes


class ContentEnded(msgspec.Struct, frozen=True):
    """Question: the end of the data (or of BDAT LAST) was seen and nothing is wrong with it on the wire.
    `answer(Reply)` must be 2yz only when the message is durable. Whatever the answer, the transaction is over.

    Over LMTP there is a reply for each accepted recipient (RFC 2033 section 4.2): `answer_each(replies)` in the
    order of the RCPTs; `answer(Reply)` says the same of all."""

    size_bytes: int


class TransactionDropped(msgspec.Struct, frozen=True):
    """Notice: what was collected of a transaction is void (RSET, EHLO, QUIT, STARTTLS, a fault in the content
    that the session answered itself, a cut). Forget spooled content."""

    reason: str


class VerifyAsked(msgspec.Struct, frozen=True):
    """Question: VRFY. Always wants a Reply."""

    argument: str


class ExpandAsked(msgspec.Struct, frozen=True):
    """Question: EXPN (RFC 5321 section 3.5). Always wants a Reply: the members, a line each."""

    argument: str


class QueueRunAsked(msgspec.Struct, frozen=True):
    """Question: ETRN (RFC 1985). Always wants a Reply: 250 to 253, 458, 459, or a refusal.
    `argument` is a domain in lower case, "@domain" for it and all below it, or "#name" of a queue."""

    argument: str


class TurnAsked(msgspec.Struct, frozen=True):
    """Question: `verb` is TURN (RFC 821 section 3.8; no domains) or ATRN (RFC 2645; no domains means all of the
    client's). The client has authenticated. `answer(None)` or 2yz: the session ends in Wait.TURNED, and the
    connection is for a client session that waits for the 220. Other replies leave all as it is:
    450 refused, 451 not now, 453 you have no mail (RFC 2645 section 7)."""

    verb: str
    domains: tuple[str, ...] = ()


class ClientReplaced(msgspec.Struct, frozen=True):
    """Question: XCLIENT, from a front end that tells whose connection it passes on. What is None was not said.
    A name, HELO or login that the front end does not have is "" ("[UNAVAILABLE]"), so is an address, and
    then `port` is 0. `name_later` tells that the name's look-up failed for now ("[TEMPUNAVAIL]").

    `answer(None)` accepts: the session begins anew, greeting and all, with `login` (when given) as the identity.
    `answer(Reply)` refuses; with 421 or 554 as the greeting that the client itself would have had."""

    name: str | None = None
    name_later: bool = False
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    helo: str | None = None
    login: str | None = None
    destination_address: str | None = None
    destination_port: int | None = None


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
    | SecretAsked
    | ProofGiven
    | VerifyAsked
    | ExpandAsked
    | QueueRunAsked
    | TurnAsked
    | ClientReplaced
    | CommandRefused
)
