"""The header of a message that goes over a mailing list: what it says, and what the list puts before it.

RFC 2369 and RFC 2919 for the List- fields, RFC 3834 section 5 for Auto-Submitted. Octets stay as they came: the fields
that say whose list it is are taken out as ranges and the list's own put before the rest, for of each there may be one
only (RFC 2369 section 4). `X-Loop` names every list it has been through, and is never taken out.
"""

from __future__ import annotations

import re

import msgspec

from postroad.message.encoded_words import phrase
from postroad.message.header import fields, unfold
from postroad.vocabulary.address import Mailbox

_LIST_FIELDS = frozenset(
    b"list-" + name for name in b"id help subscribe unsubscribe unsubscribe-post post owner archive".split()
) | {b"precedence"}
_AUTHOR_FIELDS = frozenset({b"from", b"reply-to"})
_BULK = (b"bulk", b"list", b"junk")
_ATEXT = rb"[\w!#$%&'*+\-/=?^`{|}~"
_QUOTED = rb'"(?:[^"\\\r\n]|\\[^\r\n])*"'
_PHRASE = re.compile(b"(?:%b]+|%b)(?:[ \\t]+(?:%b.]+|%b))*" % (_ATEXT, _QUOTED, _ATEXT, _QUOTED))
_COMMENT = re.compile(rb"\([^()]*\)")
_ADDRESS = re.compile(rb"[^\s<>@,;:()\[\]\"\\]+@[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?")


class ListHeader(msgspec.Struct, frozen=True):
    """`passed` are the lists that passed it on before (`Mailbox.key()`); `auto_submitted` is the first word of that
    field in lower case, empty where there is none; `author` the address in From, empty where there is no single one;
    `author_field` the value of From as it came."""

    passed: frozenset[str] = frozenset()
    auto_submitted: str = ""
    is_bulk: bool = False
    subject: str = ""
    message_id: str = ""
    author: str = ""
    author_field: bytes = b""


def read_header(header: bytes) -> ListHeader:
    """Of the fields of a message (`header.split_header`)."""
    passed: set[str] = set()
    values: dict[bytes, bytes] = {}
    for field in fields(header):
        if field.name == b"x-loop":
            passed.add(unfold(header, field).decode("utf-8", "replace").lower())
        elif field.name in (b"auto-submitted", b"precedence", b"subject", b"message-id", b"from", b"list-id"):
            values.setdefault(field.name, unfold(header, field))
    author_field = values.get(b"from", b"")
    return ListHeader(
        passed=frozenset(passed),
        auto_submitted=_COMMENT.sub(b"", values.get(b"auto-submitted", b""))
        .partition(b";")[0]
        .strip()
        .lower()
        .decode("utf-8", "replace"),
        is_bulk=values.get(b"precedence", b"").lower() in _BULK or b"list-id" in values,
        subject=values.get(b"subject", b"")[:998].decode("utf-8", "replace"),
        message_id=values.get(b"message-id", b"")[:998].decode("ascii", "replace"),
        author=_author(author_field),
        author_field=author_field,
    )


def _author(value: bytes) -> str:
    bare = _COMMENT.sub(b"", value)
    inside = re.findall(rb"<([^<>]*)>", bare)
    found = _ADDRESS.fullmatch((inside[0] if len(inside) == 1 else bare).strip()) if len(inside) < 2 else None
    return found[0].decode("utf-8", "replace") if found else ""


class ListFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the fields are made of: the list's addresses as texts, and `posts` False where only owners write to it."""

    address: Mailbox
    description: str
    request: Mailbox
    join: Mailbox
    leave: Mailbox
    owner: Mailbox
    posts: bool = True


def list_id(address: Mailbox) -> str:
    """`friends.a.example` (RFC 2919 section 2)."""
    return f"{address.local_part.lower()}.{address.domain}"


def list_fields(facts: ListFacts) -> bytes:
    """The fields of the list, with their CR LF. The form with HTTPS of RFC 8058 is for signed mail with a web address,
    and is not offered."""
    name = f"{phrase(facts.description)} " if facts.description else ""
    lines = (
        f"List-Id: {name}<{list_id(facts.address)}>",
        f"List-Post: <mailto:{facts.address}>" if facts.posts else "List-Post: NO",
        f"List-Help: <mailto:{facts.request}?subject=help>",
        f"List-Subscribe: <mailto:{facts.join}>",
        f"List-Unsubscribe: <mailto:{facts.leave}>",
        f"List-Owner: <mailto:{facts.owner}>",
        "Precedence: list",
        f"X-Loop: {facts.address.key()}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8")


def for_members(header: bytes, added: bytes, rewritten: tuple[Mailbox, str] | None = None) -> bytes:
    """The fields as members get them: `added` first, then what came, without the fields of another list. With
    `rewritten` (the list, and its name) the list stands in From and the author in Reply-To.

    The author's own Reply-To goes in that case: it is for the answers that From cannot take any more, and the author is
    who they are for.
    """
    dropped = _LIST_FIELDS if rewritten is None else _LIST_FIELDS | _AUTHOR_FIELDS
    kept = []
    at = 0
    value, reply_to = b"", b""
    for field in fields(header):
        if field.name not in dropped:
            continue
        if field.name == b"from":
            value = value or unfold(header, field)
        elif field.name == b"reply-to":
            reply_to = reply_to or unfold(header, field)
        kept.append(header[at : field.start])
        at = field.end
    kept.append(header[at:])
    if rewritten is None:
        return added + b"".join(kept)
    address, name = rewritten
    answers = _folded(b"Reply-To: ", reply_to or value)
    return added + b"From: " + _via(value, address, name) + b"\r\n" + answers + b"".join(kept)


def _via(value: bytes, address: Mailbox, name: str) -> bytes:
    """`"Ann Lee" via friends <friends@a.example>`, from the octets of the author's name."""
    display = _COMMENT.sub(b"", value).partition(b"<")[0].strip() if b"<" in value else b""
    if not display or len(display) > 200 or not _PHRASE.fullmatch(display):
        shown = _author(value).replace("\\", "").replace('"', "") or "somebody"
        display = f'"{shown}"'.encode()
    return display + f" via {phrase(name)} <{address}>".encode()


def _folded(name: bytes, value: bytes) -> bytes:
    """A value that was unfolded, in lines again: at the commas between addresses."""
    return name + value.replace(b", ", b",\r\n ") + b"\r\n"
