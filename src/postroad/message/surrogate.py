"""An internationalised message as a client that knows nothing of UTF-8 in headers may have it (RFC 6858).

What rests in the mailbox stays as it came; the surrogate is a list of edits to it by ranges of octets, made once when
the message is delivered and kept beside it, so that its size is known to every listing and never changes. Bodies stay
as they are: only header fields with octets over 127 are touched, those of parts and of messages within too. A field
that is no UTF-8 is not internationalised mail (RFC 6532) but older than it, and stays as well.

In memory:  plan_surrogate(content)
Streaming:  structure.StructureScanner, headers_to_edit, then edits_of over the octets of those ranges
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from postroad.message.convert import Conversion, Edit, Rewriter
from postroad.message.encoded_words import encoded_words
from postroad.message.header import Field, fields, unfold
from postroad.message.structure import Place, Structure, scan

NOBODY = "<invalid@internationalized-address.invalid>"
"""In the place of an address that cannot be shown: no address of anybody (RFC 6858 section 3.1, RFC 2606)."""

_ADDRESSES = frozenset(
    (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc",
     b"resent-from", b"resent-sender", b"resent-reply-to", b"resent-to", b"resent-cc", b"resent-bcc")
)  # fmt: skip
_WITH_PARAMETERS = frozenset((b"content-type", b"content-disposition"))
_TEXT = frozenset((b"subject", b"comments", b"content-description"))

_PACKED = msgspec.msgpack.Encoder()
_UNPACKED = msgspec.msgpack.Decoder(list[tuple[int, int, bytes]])


class Surrogate(msgspec.Struct, frozen=True):
    """`edits`, packed, and by how many octets they make the message grow; negative when it shrinks."""

    edits: bytes
    growth_bytes: int

    def behind(self, head: bytes) -> bytes:
        """The edits where these octets, which need none themselves, stand before the message."""
        return _PACKED.encode(
            [(start + len(head), end + len(head), to) for start, end, to in _UNPACKED.decode(self.edits)]
        )


def plan_surrogate(content: bytes) -> Surrogate | None:
    """For a message in memory; None where it can be shown to everybody as it is."""
    if content.isascii():
        return None
    return edits_of((start, content[start:end]) for start, end in headers_to_edit(scan(content)))


def headers_to_edit(structure: Structure) -> list[tuple[int, int]]:
    """Ranges of the headers that may have something to change. A message over a budget has none, and is left alone."""
    return [
        (region.start, region.end)
        for region in structure.regions
        if region.place is Place.HEADER and region.facts.eight_bit
    ]


def edits_of(headers: Iterable[tuple[int, bytes]]) -> Surrogate | None:
    """`headers` in order, each with the offset at which it begins."""
    edits = [edit for start, header in headers for edit in _edits(start, header)]
    if not edits:
        return None
    growth = sum(len(added) - (end - start) for start, end, added in edits)
    return Surrogate(_PACKED.encode(edits), growth)


def rewriter(edits: bytes) -> Rewriter:
    """What turns the octets of the message into those of its surrogate, in any split."""
    return Rewriter(Conversion(tuple(Edit(start, end, added) for start, end, added in _UNPACKED.decode(edits)), True))


def _edits(start: int, header: bytes) -> Iterator[tuple[int, int, bytes]]:
    for field in fields(header):
        octets = header[field.start : field.end]
        if octets.isascii():
            continue
        try:
            text = unfold(header, field).decode("utf-8")
        except UnicodeDecodeError:
            continue
        yield start + field.start, start + field.end, _shown(header, field, text)


def _shown(header: bytes, field: Field, text: str) -> bytes:
    """The field as it can be shown; b"" for one that cannot (RFC 6858 section 3.4)."""
    name = header[field.start : field.start + len(field.name)]
    if field.name in _TEXT:
        value = encoded_words(text)
    elif field.name in _ADDRESSES:
        value = ",\r\n ".join(map(_shown_address, _split(text, ",")))
    elif field.name in _WITH_PARAMETERS:
        # RFC 6858 section 3.2: a parameter that cannot be shown is left out.
        first, *parameters = _split(text, ";")
        value = ";\r\n ".join([first, *filter(str.isascii, parameters)]) if first.isascii() else ""
    else:
        value = ""
    return b"%b: %b\r\n" % (name, value.encode("ascii")) if value and name.isascii() else b""


def _shown_address(text: str) -> str:
    """RFC 6858 section 3.1: the display name says whose address it was. A group is shown like a name."""
    if text.isascii():
        return text
    name, bracket, rest = text.rpartition("<")
    address, closed, after = rest.partition(">")
    if bracket and closed and not after.strip():
        if address.isascii():
            return f"{encoded_words(_unquoted(name))} <{address}>"
        # encoded words stand in a phrase: what was the address is a word of it too
        return f"{encoded_words(f'{_unquoted(name)} {address}'.strip())} {NOBODY}"
    return f"{encoded_words(text)} {NOBODY}"


def _unquoted(name: str) -> str:
    name = name.strip()
    if len(name) >= 2 and name[0] == name[-1] == '"':
        return name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return name


def _split(text: str, separator: str) -> list[str]:
    """At the separators outside quoted strings, comments and angle brackets, without the white space around them and
    without empty items; there is at least one item."""
    items: list[str] = []
    begin = depth = 0
    quoted = escaped = in_brackets = False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\" and (quoted or depth):
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif character in "<>":
            in_brackets = character == "<"
        elif character == separator and not in_brackets:
            items.append(text[begin:at].strip())
            begin = at + 1
    items.append(text[begin:].strip())
    return [item for item in items if item] or [""]
