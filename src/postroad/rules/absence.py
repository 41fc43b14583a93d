"""Whether a notice of absence answers a message (RFC 3834 section 2). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from postroad.message.encoded_words import decoded
from postroad.message.header import find_fields, finder, first_value, unfold
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.limits import VACATION_SUBJECT_CHARACTERS

_ASKED_OF = finder(b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc")
_OF_LISTS = finder(b"list-id", b"list-help", b"list-unsubscribe", b"list-post", b"list-subscribe", b"mailing-list")
_SUPPRESSED = frozenset({"all", "oof", "autoreply"})


def is_over(until: datetime | None, now: datetime) -> bool:
    return until is not None and now >= until


def why_no_answer(reverse_path: ReversePath, header: bytes, own: Iterable[Mailbox]) -> str:
    """Why the message is not answered, in words; empty where it is. `header` are its fields (`split_header`), `own` the
    addresses that count as the user's own."""
    own = tuple(own)
    if reverse_path is None:
        return "it has the null reverse-path"
    if _is_no_person(reverse_path.local_part.lower()):
        return f"{reverse_path} is no person"
    if any(reverse_path.key() == each.key() for each in own):
        return "the user wrote it"
    submitted = (first_value(header, b"auto-submitted") or b"no").partition(b";")[0].strip().lower()
    if submitted != b"no":
        return "a machine wrote it (Auto-Submitted)"
    if (first_value(header, b"precedence") or b"").strip().lower() in (b"bulk", b"list", b"junk"):
        return "it was sent to many (Precedence)"
    if find_fields(header, _OF_LISTS):
        return "it came by a mailing list"
    suppressed = (first_value(header, b"x-auto-response-suppress") or b"").decode("latin-1").lower()
    if _SUPPRESSED.intersection(word.strip() for word in suppressed.split(",")):
        return "its sender wants no automatic answer"
    asked_of = b" ".join(unfold(header, field) for field in find_fields(header, _ASKED_OF)).lower()
    if not any(_stands_in(each, asked_of) for each in own):
        return "the user is not named in To or Cc"
    return ""


def subject_of_answer(given: str, header: bytes) -> str:
    """RFC 3834 section 3.1.5: the subject of the message after "Auto:", where the user has given none."""
    if given:
        return given
    original = decoded(first_value(header, b"subject") or b"")
    return f"Auto: {''.join(c for c in original if c.isprintable())[:VACATION_SUBJECT_CHARACTERS]}".rstrip()


def _is_no_person(name: str) -> bool:
    """RFC 3834 section 2: names of programs, and of those who look after lists."""
    return (
        name in ("mailer-daemon", "listserv", "majordomo", "noreply", "no-reply")
        or name.startswith("owner-")
        or name.endswith(("-owner", "-request", "-bounces"))
    )


def _stands_in(address: Mailbox, text: bytes) -> bool:
    wanted = re.escape(str(address).lower().encode())
    return re.search(rb"(?<![\w.+\-])" + wanted + rb"(?![\w.\-])", text) is not None
