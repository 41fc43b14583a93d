"""What a POP3 server session asks and tells (RFC 1939).

A *question* is open until it is answered with the methods named; a *notice* wants no answer.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class CredentialsGiven(msgspec.Struct, frozen=True):
    """Question: USER and PASS came. Answer with `opened(sizes, uidls)` when the password is right and the maildrop
    is locked and listed, or `refuse(text, code)` with a response code of RFC 2449/3206 ("AUTH", "IN-USE",
    "SYS/TEMP", "SYS/PERM")."""

    name: str
    password: str


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


Pop3Event: TypeAlias = CredentialsGiven | MessageAsked | UpdateAsked | MaildropReleased | OutputDue
