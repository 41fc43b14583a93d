"""The ledger's facts: one message, one story.

A step of a message's way is written as one `Entry`: the keys it is found by, and its facts. Facts that
belong to a transaction of a store travel in that transaction's outbox; the others are recorded as they
happen and may lose the last second in a crash.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

from postroad.vocabulary.endpoint import Endpoint, PeerFacts, TlsFacts
from postroad.vocabulary.outcome import Outcome


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """One rule's word on one question, with what it was decided from."""

    rule: str
    result: str
    """"pass", "tag", "defer" or "reject"."""
    reason: str = ""
    inputs: tuple[str, ...] = ()
    """What was looked at, and what the DNS said: "MX c.example: mx.c.example"."""


class Received(msgspec.Struct, frozen=True, tag="received", kw_only=True):
    """A message was accepted: the commit that this fact is part of is what the 250 stands for."""

    at: datetime
    listener: str
    """A ListenerRole: "smtp", "smtp_proxy", "lmtp", "submission", "submissions", "local"."""
    peer: PeerFacts
    reverse_path: str
    recipients: tuple[str, ...]
    message_id: str = ""
    size_bytes: int
    verdicts: tuple[Verdict, ...] = ()


class Notified(msgspec.Struct, frozen=True, tag="notified", kw_only=True):
    """This message is a notification (RFC 3464) that we wrote about `about`."""

    at: datetime
    about: str
    action: str
    recipients: tuple[str, ...]
    message_id: str = ""
    size_bytes: int


class Attempted(msgspec.Struct, frozen=True, tag="attempted", kw_only=True):
    """One attempt for one group, and what became of each recipient."""

    at: datetime
    destination: str
    attempt: int
    remote: Endpoint | None = None
    remote_name: str = ""
    tls: TlsFacts | None = None
    took_ms: int = 0
    outcomes: tuple[Outcome, ...] = ()
    next_attempt_at: datetime | None = None
    notification: str = ""
    """The queue id of the notification that was queued in the same transaction."""


class Moved(msgspec.Struct, frozen=True, tag="moved", kw_only=True):
    """The configuration changed: the recipients of a group go another way now."""

    at: datetime
    destination: str
    to: tuple[str, ...]


class Expanded(msgspec.Struct, frozen=True, tag="expanded", kw_only=True):
    """A recipient is an alias, or forwards: these get it instead, or as well where it is among them. Of a mailing
    list `to` are the messages (queue ids) in which its `members` get it."""

    at: datetime
    address: str
    to: tuple[str, ...]
    members: int = 0


class Distributed(msgspec.Struct, frozen=True, tag="distributed", kw_only=True):
    """This message takes `about` to members of a mailing list."""

    at: datetime
    list_: str
    about: str
    reverse_path: str
    recipients: tuple[str, ...]
    message_id: str = ""
    size_bytes: int


class ListAnswered(msgspec.Struct, frozen=True, tag="list_answered", kw_only=True):
    """This message is what a mailing list answers to somebody who wrote to it about joining or leaving."""

    at: datetime
    list_: str
    about: str
    to: str
    size_bytes: int


class Fetched(msgspec.Struct, frozen=True, tag="fetched", kw_only=True):
    """A user fetched it (POP3 RETR)."""

    at: datetime
    account: str
    uid: int
    remote: Endpoint
    removed: bool = False
    """True in the second fact, written when QUIT removed it from the mailbox."""


class ReadByAdministrator(msgspec.Struct, frozen=True, tag="read", kw_only=True):
    """`postroad read` showed it to an administrator; with uid 0 it was the list of the mailbox."""

    at: datetime
    account: str
    uid: int
    by: str
    reason: str = ""


class Refused(msgspec.Struct, frozen=True, tag="refused", kw_only=True):
    """We said no: at which command, to whom, in which words."""

    at: datetime
    listener: str
    peer: PeerFacts
    stage: str
    """"connect", "HELO", "MAIL", "RCPT", "DATA", "content", "AUTH", ..."""
    subject: str
    """What was refused: an address, a name, or empty."""
    reply: str
    verdicts: tuple[Verdict, ...] = ()


class Shown(msgspec.Struct, frozen=True, tag="shown", kw_only=True):
    """A message was shown at the terminals of these accounts (SEND, SOML, SAML)."""

    at: datetime
    way: str
    reverse_path: str
    accounts: tuple[str, ...]


class Reported(msgspec.Struct, frozen=True, tag="reported", kw_only=True):
    """The sender of a message out of a hold was told what became of it."""

    at: datetime
    destination: str
    recipients: tuple[str, ...]
    notification: str
    """The queue id of the notification."""


class Answered(msgspec.Struct, frozen=True, tag="answered", kw_only=True):
    """The account's notice of absence, this message, answers `about` (RFC 3834)."""

    at: datetime
    account: str
    about: str
    to: str
    message_id: str = ""
    size_bytes: int = 0


class Acted(msgspec.Struct, frozen=True, tag="acted", kw_only=True):
    """An administrator did something to it."""

    at: datetime
    action: str
    by: str
    recipients: tuple[str, ...] = ()
    """Whom it was about, where that was not all of the message."""
    notification: str = ""
    """The queue id of the notification that was queued in the same transaction."""


Fact: TypeAlias = (
    Received
    | Notified
    | Attempted
    | Moved
    | Expanded
    | Distributed
    | ListAnswered
    | Fetched
    | ReadByAdministrator
    | Refused
    | Shown
    | Reported
    | Answered
    | Acted
)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One step of a story. `keys` are the queue id, addresses (`Mailbox.key()` form) and Message-IDs
    by which it is found; `queue_id` is empty for a refusal before there was one."""

    queue_id: str
    keys: tuple[str, ...]
    facts: tuple[Fact, ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[Entry, ...])


def to_bytes(entries: tuple[Entry, ...]) -> bytes:
    return _ENCODER.encode(entries)


def from_bytes(octets: bytes) -> tuple[Entry, ...]:
    """The inverse of to_bytes. Raises msgspec.DecodeError for anything else."""
    return _DECODER.decode(octets)


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    """An Entry whose facts are left as they came."""

    queue_id: str
    keys: tuple[str, ...]
    facts: msgspec.Raw


_SEALED_DECODER = msgspec.msgpack.Decoder(tuple[_Sealed, ...])
_FACTS_DECODER = msgspec.msgpack.Decoder(tuple[Fact, ...])


def keys_in(octets: bytes) -> set[str]:
    """The keys of all entries in what `to_bytes` made, without decoding the facts. Raises msgspec.DecodeError."""
    return {key for sealed in _SEALED_DECODER.decode(octets) for key in sealed.keys}


def entries_with(key: str, octets: bytes) -> list[Entry]:
    """Those entries in what `to_bytes` made that carry the key; only their facts are decoded.
    Raises msgspec.DecodeError."""
    return [
        Entry(sealed.queue_id, sealed.keys, _FACTS_DECODER.decode(sealed.facts))
        for sealed in _SEALED_DECODER.decode(octets)
        if key in sealed.keys
    ]
