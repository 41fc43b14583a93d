"""The envelope: who it is from and for, as SMTP said it, apart from the content (RFC 5321 section 2.3.1)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from postroad.vocabulary.address import Mailbox, ReversePath


class BodyType(StrEnum):
    """BODY= of MAIL (RFC 6152 section 2, RFC 3030 section 3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"


class Way(StrEnum):
    """Where a message is to go: the command that began its transaction (RFC 821 section 3.4)."""

    MAIL = "MAIL"
    """To the mailbox."""
    SEND = "SEND"
    """To the user's terminal, or nowhere."""
    SOML = "SOML"
    """To the terminal if the user is active and takes messages, otherwise to the mailbox."""
    SAML = "SAML"
    """To the mailbox, and to the terminal too if the user is active and takes messages."""


class DeliverBy(msgspec.Struct, frozen=True, array_like=True):
    """BY= of MAIL (RFC 2852 section 4). `seconds` counts from the end of the data, and is below zero when the time
    has passed already (`mode` "N" only). `mode`: "R" return the message then, "N" notify and go on.
    `trace`: the sender wants to be told of each relay."""

    seconds: int
    mode: str
    trace: bool = False


class Notify(StrEnum):
    """When the sender wants to hear of a recipient: NOTIFY= of RCPT (RFC 3461 section 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Recipient(msgspec.Struct, frozen=True, array_like=True):
    """One RCPT.

    `notify` is empty when the client did not say (failures and delays are then reported);
    `original` is ORCPT as given, "rfc822;bob@b.example", still in xtext (RFC 3461 section 4.2).
    `expanded`: all that its alias or its forwarding leads to is among the recipients already; neither is followed
    again. A mailbox gets its copy; of an alias the sender is told that it was expanded.
    New fields come last, with a default: rows of former versions are shorter.
    """

    forward_path: Mailbox
    notify: tuple[Notify, ...] = ()
    original: str = ""
    expanded: bool = False


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What travels beside the content and decides where it goes.

    `ret` is "FULL", "HDRS" or "" and `envid` the sender's xtext id or "" (RFC 3461 sections 4.3, 4.4);
    `smtputf8` says that an address or the header is not US-ASCII (RFC 6531 section 3.4); `require_tls` that it
    goes over verified TLS or not at all (RFC 8689); `deliver_by` counts from the moment the message was queued
    (RFC 2852); `release_at` is when it may go, at the earliest (RFC 4865); `priority` -9 to 9 (RFC 6710).
    New fields come last, with a default: rows of former versions are shorter.
    """

    reverse_path: ReversePath
    recipients: tuple[Recipient, ...]
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
    deliver_by: DeliverBy | None = None
    release_at: datetime | None = None
    priority: int = 0
    way: Way = Way.MAIL
    given: tuple[Mailbox, ...] = ()
    """Whom the client named, where aliases among them were followed; empty where the recipients say it."""
    verp: bool = False
    """Each recipient has a reverse-path of its own, as members of a list have (rules/verp.py)."""
    about: str = ""
    """The message (queue id) that this one takes to members of a list; empty for all others."""
