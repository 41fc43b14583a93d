"""What a POP3 server session asks and tells (RFC 1939).

A *question* is open until it is answered with the methods named; a *notice* wants no answer.

The questions of a login are those of `wire/sasl_server.py`, with the mechanisms "USER" for USER and PASS, and "APOP":
- CredentialsGiven: `opened(sizes, uidls)` when the password is right and the maildrop is locked and listed, or
  `refuse(text, code)` with a response code of RFC 2449 or RFC 3206 ("AUTH", "IN-USE", "SYS/TEMP", "SYS/PERM").
- SecretAsked: `give_secret(ScramKeys | CramSecret | None, fake_salt)` or `refuse`. With None the login goes on as for
  a known name and ends in a ProofGiven that is wrong; `fake_salt` is always the same for a name, and not guessable.
- ProofGiven: as CredentialsGiven; `opened` only when it is right.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from postroad.wire.sasl_server import CredentialsGiven, ProofGiven, SecretAsked

__all__ = [
    "CredentialsGiven",
    "MaildropReleased",
    "MessageAsked",
    "OutputDue",
    "Pop3Event",
    "ProofGiven",
    "Question",
    "SecretAsked",
    "UpdateAsked",
]


class MessageAsked(msgspec.Struct, frozen=True):
    """Question: RETR or TOP. Answer with `send_message()`, then `send_chunk(octets)`
    any number of times, then `end_message()`; or `refuse`. `lines` is None for RETR: send all.
    For TOP the session itself stops after the header and so many lines and `wants_more` turns False;
    chunks given after that are dropped, `end_message()` is due all the same. When the content cannot be read
    to its end after `send_message()`, `break_off(reason)`: POP3 has no words for that but the cut."""

    number: int
    """1-based message-number."""
    lines: int | None


class UpdateAsked(msgspec.Struct, frozen=True):
    """Question: QUIT in TRANSACTION state: remove these (may be empty), then `updated()` or `refuse`. Either way the
    session is over and whoever answers gives the lock back; no MaildropReleased follows."""

    numbers: tuple[int, ...]


class MaildropReleased(msgspec.Struct, frozen=True):
    """Notice: the session is over without UPDATE: nothing is removed; give the lock back."""

    reason: str


class OutputDue(msgspec.Struct, frozen=True):
    """Notice: more than POP3_OUTPUT_BYTES of replies are waiting. Write `data_to_send()` and let the peer take
    it before the next call of `next_event`, so that pipelined listings do not pile up in memory."""

    waiting_bytes: int


Question: TypeAlias = CredentialsGiven | SecretAsked | ProofGiven | MessageAsked | UpdateAsked
Pop3Event: TypeAlias = Question | MaildropReleased | OutputDue
