"""The header block of a message as octets (RFC 5322 section 2.2): where it ends, and which fields it holds.

Nothing here decodes, re-folds or repairs: fields are ranges of octets, and a value is unfolded only when
somebody asks for it. A line ends with LF, whether or not a CR stands before it: what reads our mail later
may take a bare LF for the end of a line, and what it would see as a field must not escape us. Everything is
linear in the octets and nothing raises, whatever they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# RFC 5322 section 2.2: a field name is printable US-ASCII without the colon; section 4.5 lets white space
# stand before the colon in messages of older programs.
_FIELD_START = re.compile(rb"([!-9;-~]++)[ \t]*+:")
# RFC 5322 section 2.2.3: a line that begins with white space continues the field.
_FIELD_END = re.compile(rb"\n(?![ \t])")
_EMPTY_LINE = re.compile(rb"\n\r?+\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


class Field(NamedTuple):
    """One header field: `octets[start:end]` is all of it with its last line end, `octets[value:end]` what
    follows the colon. `name` is in lower case."""

    name: bytes
    start: int
    value: int
    end: int


def find_body(octets: bytes, searched: int = 0) -> int:
    """The offset of the first octet after the empty line that ends the header, or -1 when it is not there.

    `searched` is how many octets an earlier call saw already, so that content can be looked at as it comes
    without reading any octet many times.
    """
    if searched < 2:
        # An empty line at the very beginning: a message without any field.
        if octets.startswith(b"\r\n"):
            return 2
        if octets.startswith(b"\n"):
            return 1
    found = _EMPTY_LINE.search(octets, max(0, searched - 2))
    return found.end() if found else -1


def begins_with_field(octets: bytes) -> bool:
    """Whether the first line is a header field; if not, the content has no header at all."""
    return _FIELD_START.match(octets) is not None


def split_header(content: bytes) -> tuple[bytes, bytes]:
    """`content` as (fields, rest): the rest begins with the empty line, or is empty. Their sum is `content`.

    When the first line is no field there are no fields: all is rest.
    """
    if not begins_with_field(content):
        return b"", content
    body = find_body(content)
    if body == -1:
        return content, b""
    empty_line = body - 2 if content[body - 2 : body] == b"\r\n" else body - 1
    return content[:empty_line], content[empty_line:]


def fields(header: bytes) -> Iterator[Field]:
    """The fields of a header block, in order. Ends at the empty line; lines that are no field are passed over."""
    start = 0
    total = len(header)
    while start < total:
        found = _FIELD_END.search(header, start)
        end = found.end() if found else total
        head = _FIELD_START.match(header, start, end)
        if head is not None:
            yield Field(head[1].lower(), start, head.end(), end)
        elif header[start:end] in (b"\r\n", b"\n"):
            return
        start = end


def finder(*names: bytes) -> re.Pattern[bytes]:
    """What `find_fields` needs to look for fields of these names, which are in lower case. Made once."""
    return re.compile(rb"\n(" + b"|".join(map(re.escape, names)) + rb")[ \t]*+:")


def find_fields(header: bytes, names: re.Pattern[bytes]) -> list[Field]:
    """The fields of the names of `finder`, in order; much faster than `fields` when few are wanted.

    `header` must end where the fields end and begin with a field (`split_header`).
    """
    # With a LF before it the first line is like the others; every offset is then one more than in `header`.
    # A continuation line begins with white space, so a name right after a LF is a field's.
    found = []
    for match in names.finditer(b"\n" + header.lower()):
        value = match.end() - 1
        end = _FIELD_END.search(header, value)
        found.append(Field(match[1], match.start(), value, end.end() if end else len(header)))
    return found


def unfold(header: bytes, field: Field) -> bytes:
    """The value as one line, without the line ends of folding and the white space around it (RFC 5322
    section 2.2.3)."""
    value = header[field.value : field.end].strip(b" \t\r\n")
    return _FOLD.sub(b"", value) if b"\n" in value else value


def first_value(header: bytes, name: bytes) -> bytes | None:
    """The unfolded value of the first field called `name` (lower case), or None. For places off the hot path."""
    for field in fields(header):
        if field.name == name:
            return unfold(header, field)
    return None
