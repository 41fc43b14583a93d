"""What reception does to a header before the message is ours: a few edits by ranges of octets.

Removed are the Return-Path fields, which only final delivery may write (RFC 5321 section 4.4), and the
Authentication-Results fields that speak in our name (RFC 8601 section 5). On submission a missing Date or
Message-ID is added (RFC 6409 section 8). Every other octet stays as it came.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from postroad.message.header import Field, find_body, find_fields, finder, split_header, unfold
from postroad.vocabulary.limits import DOMAIN_BYTES, MESSAGE_ID_TEXT

__all__ = ["Prepared", "find_body", "prepare", "split_header"]


_OURS = finder(b"received", b"return-path", b"authentication-results", b"date", b"message-id")


class Prepared(msgspec.Struct, frozen=True):
    """A header made ready. The message is: trace fields, `added`, `octets`, the octets that were not given.

    `added` are fields of ours, and the empty line if the content has no header; `octets` is what was given
    without the removed ranges. `received_count` is for the hop limit (RFC 5321 section 6.3). `message_id` is
    the Message-ID as text for the story, made printable, "" when there is none. `has_end` tells whether the
    empty line after the header was among the octets, `has_header` whether they begin with a field.
    `removed` names the fields that were taken out, in lower case.
    """

    added: bytes
    octets: bytes
    received_count: int
    message_id: str
    has_header: bool
    has_end: bool
    removed: tuple[str, ...] = ()

    def with_trace(self, trace: bytes) -> bytes:
        """The beginning of the message as it is stored: `trace` is one or more whole fields."""
        return trace + self.added + self.octets


def prepare(
    octets: bytes,
    *,
    own_name: str,
    is_submission: bool,
    date: Callable[[], str],
    message_id: Callable[[], str],
) -> Prepared:
    """Make the beginning of a message's content ready for the queue.

    octets         the content from its first octet to at least the end of the header (`find_body`), or all
                   of it; what follows the header is passed through
    own_name       our authserv-id, the hostname
    is_submission  whether missing fields are ours to add (RFC 6409 section 8)
    date           gives the text of a Date field (`trace.date_text`); called only when it is missing
    message_id     gives the text of a Message-ID field with its angle brackets; likewise

    Pure, linear, and never raises whatever the octets.
    """
    header, rest = split_header(octets)
    if not header:
        return _without_header(octets, is_submission, date, message_id)
    count = 0
    text = ""
    has_date = has_id = False
    unwanted = []
    for field in find_fields(header, _OURS):
        match field.name:
            case b"received":
                count += 1
            case b"date":
                has_date = True
            case b"message-id":
                text = text if has_id else _id_text(unfold(header, field))
                has_id = True
            case b"return-path":
                unwanted.append(field)
            case b"authentication-results" if is_authserv_id(unfold(header, field), own_name):
                unwanted.append(field)
            case _:
                pass
    added = b""
    if is_submission and not has_id:
        text = message_id()
        added = _field("Message-ID", text)
    if is_submission and not has_date:
        added += _field("Date", date())
    return Prepared(
        added=added,
        octets=_cut(octets, unwanted) if unwanted else octets,
        received_count=count,
        message_id=text,
        has_header=True,
        has_end=bool(rest),
        removed=tuple([field.name.decode("ascii") for field in unwanted]),
    )


def _without_header(
    octets: bytes, is_submission: bool, date: Callable[[], str], message_id: Callable[[], str]
) -> Prepared:
    """Content whose first line is no field is all body: an empty line keeps it apart from the fields we put
    before it (RFC 5322 section 2.1), unless it begins with one."""
    text = message_id() if is_submission else ""
    added = _field("Message-ID", text) + _field("Date", date()) if is_submission else b""
    has_end = find_body(octets[:2]) != -1
    return Prepared(
        added=added if has_end else added + b"\r\n",
        octets=octets,
        received_count=0,
        message_id=text,
        has_header=False,
        has_end=has_end,
    )


def _cut(octets: bytes, unwanted: list[Field]) -> bytes:
    kept = []
    start = 0
    for field in unwanted:
        kept.append(octets[start : field.start])
        start = field.end
    kept.append(octets[start:])
    return b"".join(kept)


def _field(name: str, text: str) -> bytes:
    return f"{name}: {text}\r\n".encode()


def _id_text(value: bytes) -> str:
    text = value[:MESSAGE_ID_TEXT].decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def is_authserv_id(value: bytes, own_name: str) -> bool:
    """Whether the value of an Authentication-Results field claims to come from `own_name`.

    RFC 8601 section 2.2: authres-payload = [CFWS] authserv-id [ CFWS authres-version ] ...; the authserv-id
    is a token or a quoted-string, compared without regard to case.
    """
    claimed = _authserv_id(value)
    if not claimed.isascii():
        # RFC 8601 section 2.5: an internationalised name may be spelled in U-labels.
        try:
            claimed = claimed.decode("utf-8").encode("idna")
        except UnicodeError:
            return False
    return claimed.rstrip(b".").lower() == own_name.encode("ascii", "replace").rstrip(b".").lower()


def _authserv_id(value: bytes) -> bytes:
    start = _after_comments(value)
    if value[start : start + 1] == b'"':
        end = value.find(b'"', start + 1)
        return value[start + 1 : end if end != -1 else None].replace(b"\\", b"")[: DOMAIN_BYTES + 1]
    token = value[start : start + DOMAIN_BYTES + 2]
    for end, octet in enumerate(token):
        if octet in b" \t;/(,":
            return token[:end]
    return token


def _after_comments(value: bytes) -> int:
    """The offset after leading white space and comments, which nest (RFC 5322 section 3.2.2)."""
    depth = 0
    at = 0
    while at < len(value):
        octet = value[at : at + 1]
        if octet == b"(":
            depth += 1
        elif octet == b")" and depth:
            depth -= 1
        elif octet == b"\\" and depth:
            at += 1
        elif not depth and octet not in (b" ", b"\t", b"\r", b"\n"):
            return at
        at += 1
    return at
