"""Content for a transport that cannot carry it as it is, made 7-bit part by part (RFC 6152 section 3, RFC 3030
section 3).

A leaf part that needs it becomes quoted-printable (text) or base64, and its Content-Transfer-Encoding says so; parts
round it that were labelled 8bit or binary are labelled anew (RFC 2045 section 6.4). All other octets stay as they
are: what changes is a list of edits by ranges of octets. What stands before the first boundary of a multipart and
after its last is no content (RFC 2046 section 5.1.1), and is left out where it is not 7-bit.

What cannot be converted: a signed part (RFC 1847 section 2.1), headers, and what `structure` could not parse. A
DKIM signature does not hinder: whoever signs what is not 7-bit has been told (RFC 6376 section 5.3).

In memory:  to_seven_bit(content, from_binary=True)
Streaming:  structure.StructureScanner, then plan_conversion, then Rewriter over the same octets
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from postroad.message.octet_facts import needs
from postroad.message.structure import IDENTITY_ENCODINGS, Kind, Part, Place, Region, Structure, scan
from postroad.message.transfer_encoding import Base64, CleanBase64, CleanQuotedPrintable, Encoder, QuotedPrintable
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import READ_BYTES

__all__ = ["CannotConvert", "Conversion", "Rewriter", "needs", "plan_conversion", "to_seven_bit"]

_CONVERSION_REQUIRED = EnhancedStatus(5, 6, 3)
"""Conversion required but not supported (RFC 3463 section 3.7)."""

_MIME_VERSION = b"MIME-Version: 1.0\r\n"
_UNKNOWN_TEXT = b"Content-Type: text/plain; charset=unknown-8bit\r\n"
"""RFC 1428 section 3: 8-bit text whose character set nobody has named."""


class CannotConvert(msgspec.Struct, frozen=True):
    """Why content cannot be made 7-bit: a clause for people, "it is signed and ..."."""

    reason: str
    status: EnhancedStatus = _CONVERSION_REQUIRED


class Edit(NamedTuple):
    """In the place of the octets from `start` to `end` comes what `encoder` makes of them (nothing without one),
    and `added` before it."""

    start: int
    end: int
    added: bytes = b""
    encoder: Callable[[], Encoder] | None = None


class Conversion(NamedTuple):
    """`edits` in order, none overlapping; empty when nothing needs to change. `stays_eight_bit`: the result
    still has octets over 127, in a header or a signed part."""

    edits: tuple[Edit, ...]
    stays_eight_bit: bool


def plan_conversion(
    structure: Structure, *, from_binary: bool, eight_bit_may_stay: bool = False
) -> Conversion | CannotConvert:
    """How to make content 7-bit.

    from_binary         NUL, lone CR and LF and long lines are cured as well; otherwise octets over 127 alone count
    eight_bit_may_stay  the transport carries 8bit but not binary: octets over 127 may stay where they cannot be
                        encoded, in headers and signed parts
    """
    return _Planning(structure, from_binary, eight_bit_may_stay).plan()


def to_seven_bit(content: bytes, *, from_binary: bool, eight_bit_may_stay: bool = False) -> bytes | CannotConvert:
    """`plan_conversion`, carried out on content in memory; `content` itself when nothing needs to change."""
    plan = plan_conversion(scan(content), from_binary=from_binary, eight_bit_may_stay=eight_bit_may_stay)
    if isinstance(plan, CannotConvert):
        return plan
    return rewrite(content, plan) if plan.edits else content


def rewrite(content: bytes, plan: Conversion) -> bytes:
    """The plan carried out on content in memory."""
    rewriter = Rewriter(plan)
    pieces = [rewriter.feed(content[start : start + READ_BYTES]) for start in range(0, len(content), READ_BYTES)]
    pieces.append(rewriter.end())
    return b"".join(pieces)


class Rewriter:
    """Carries a plan out over the content that it was made for, in any split."""

    def __init__(self, plan: Conversion) -> None:
        self._edits = plan.edits
        self._next = 0
        self._offset = 0
        self._encoder: Encoder | None = None
        self._is_inside = False

    def feed(self, chunk: bytes) -> bytes:
        out: list[bytes] = []
        at = 0
        base = self._offset
        while at < len(chunk):
            edit = self._edits[self._next] if self._next < len(self._edits) else None
            if edit is None or base + at < edit.start:
                stop = len(chunk) if edit is None else min(len(chunk), edit.start - base)
                out.append(chunk[at:stop])
                at = stop
                continue
            stop = min(len(chunk), edit.end - base)
            self._enter(edit, out)
            if self._encoder is not None:
                out.append(self._encoder.feed(chunk[at:stop]))
            at = stop
            if base + at == edit.end:
                self._leave(out)
        self._offset = base + len(chunk)
        return b"".join(out)

    def end(self) -> bytes:
        """What is added after the last octet."""
        out: list[bytes] = []
        while self._next < len(self._edits):
            self._enter(self._edits[self._next], out)
            self._leave(out)
        return b"".join(out)

    def _enter(self, edit: Edit, out: list[bytes]) -> None:
        if not self._is_inside:
            self._is_inside = True
            out.append(edit.added)
            self._encoder = edit.encoder() if edit.encoder is not None else None

    def _leave(self, out: list[bytes]) -> None:
        if self._encoder is not None:
            out.append(self._encoder.end())
            self._encoder = None
        self._is_inside = False
        self._next += 1


class _Blocked(Exception):
    """The conversion cannot be; raised and caught in this file."""


class _Planning:
    """One plan in the making."""

    def __init__(self, structure: Structure, from_binary: bool, eight_bit_may_stay: bool) -> None:
        self._structure = structure
        self._parts = structure.parts
        self._from_binary = from_binary
        self._eight_bit_may_stay = eight_bit_may_stay
        self._edits: list[Edit] = []
        self._encoded: set[int] = set()
        self._new_fields: dict[int, bytes] = {}
        self._eight_bit_within: set[int] = set()
        """Composite parts in which octets over 127 stay."""
        self._stays_eight_bit = False

    def plan(self) -> Conversion | CannotConvert:
        regions = [region for region in self._structure.regions if self._is_wanting(region)]
        try:
            if regions and self._structure.unparsed:
                raise _Blocked(f"it has {self._structure.unparsed}, and so cannot be converted part by part")
            for region in regions:
                self._take(region)
            if self._edits or self._encoded:
                self._relabel()
        except _Blocked as blocked:
            return CannotConvert(str(blocked))
        edits = [*self._edits, *self._insertions()]
        edits.sort(key=lambda edit: (edit.start, edit.end))
        return Conversion(tuple(edits), self._stays_eight_bit)

    def _is_wanting(self, region: Region) -> bool:
        return region.facts.eight_bit or (self._from_binary and region.facts.is_binary)

    def _take(self, region: Region) -> None:
        part = self._parts[region.part]
        facts = region.facts
        if region.place is Place.HEADER:
            if self._from_binary and facts.is_broken:
                raise _Blocked("a header in it has NUL octets or line ends that are none")
            if facts.eight_bit:
                # The label of a part is about its body: its header is the affair of the parts round it.
                self._leave(part.parent, "a header in it has octets that are not ASCII")
        elif part.is_signed or part.is_multipart_signed:
            why = "it is signed, and a conversion would break the signature"
            if self._from_binary and facts.is_binary:
                raise _Blocked(why)
            self._leave(region.part, why)
        elif region.place is Place.BODY:
            self._encode(region, part)
        elif part.is_divided:
            self._edits.append(Edit(region.start, region.end))
        else:
            raise _Blocked("one of its multiparts has no part that could be found")

    def _leave(self, index: int, why: str) -> None:
        """Octets over 127 stay in this part and those round it, if they may."""
        if not self._eight_bit_may_stay:
            raise _Blocked(why)
        self._stays_eight_bit = True
        while index != -1 and index not in self._eight_bit_within:
            self._eight_bit_within.add(index)
            index = self._parts[index].parent

    def _encode(self, region: Region, part: Part) -> None:
        kind = part.media_type
        if part.encodings_differ:
            raise _Blocked("one of its parts has two different Content-Transfer-Encoding fields")
        identity = not part.encoding or part.encoding in IDENTITY_ENCODINGS
        label = b""
        encoder: Callable[[], Encoder]
        if part.encoding == b"base64":
            encoder = CleanBase64
        elif part.encoding == b"quoted-printable":
            encoder = CleanQuotedPrintable
        elif not identity:
            raise _Blocked("one of its parts is encoded in a way that is not known here")
        elif kind.type in (b"multipart", b"message") and not kind.subtype.startswith(b"global"):
            # RFC 2045 section 6.4 forbids to encode these; RFC 6532 section 3.7 allows it for message/global.
            raise _Blocked("one of its parts is of a kind that may not be encoded")
        elif kind.type == b"text":
            encoder, label = QuotedPrintable, b"quoted-printable"
        else:
            encoder, label = Base64, b"base64"
        self._edits.append(Edit(region.start, region.end, encoder=encoder))
        if encoder in (Base64, CleanBase64) and region.end == self._structure.size_bytes:
            self._edits.append(Edit(region.end, region.end, b"\r\n"))
        self._encoded.add(region.part)
        if label:
            self._declare(region.part, part)
            self._label(region.part, label)

    def _declare(self, index: int, part: Part) -> None:
        """An encoding means nothing in a message that is not MIME (RFC 2045 section 4)."""
        root_index, root = index, part
        while root.parent != -1 and self._parts[root.parent].kind is not Kind.MESSAGE:
            root_index, root = root.parent, self._parts[root.parent]
        if not root.has_mime_version and root_index not in self._new_fields:
            fields = _MIME_VERSION
            if not root.has_media_type:
                fields += _UNKNOWN_TEXT
            self._new_fields[root_index] = fields

    def _label(self, index: int, encoding: bytes) -> None:
        """Let the part's Content-Transfer-Encoding be this: its first such field is replaced, others go."""
        part = self._parts[index]
        field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
        if not part.encoding_fields:
            self._new_fields[index] = self._new_fields.get(index, b"") + field
            return
        for number, (start, end) in enumerate(part.encoding_fields):
            self._edits.append(Edit(start, end, b"" if number else field))

    def _relabel(self) -> None:
        for index, part in enumerate(self._parts):
            if part.encoding not in (b"8bit", b"binary") or part.is_signed or index in self._encoded:
                continue
            if part.encodings_differ or not part.has_empty_line:
                continue
            if part.kind is Kind.LEAF and not self._from_binary and part.encoding == b"binary":
                continue  # nobody has asked whether it may be called 7bit
            label = b"8bit" if index in self._eight_bit_within else b"7bit"
            if part.encoding != label:
                self._label(index, label)

    def _insertions(self) -> list[Edit]:
        insertions = []
        for index, fields in self._new_fields.items():
            part = self._parts[index]
            # A part whose first line is no field is all body: the empty line keeps it apart from the new fields.
            text = fields if part.has_empty_line else fields + b"\r\n"
            if part.parent != -1 and self._is_bare_message(self._parts[part.parent]):
                text = b"\r\n" + text
            insertions.append(Edit(part.fields_end, part.fields_end, text))
        return insertions

    @staticmethod
    def _is_bare_message(part: Part) -> bool:
        """A message in a digest without so much as an empty line before it: fields of it would be the part's own."""
        return part.kind is Kind.MESSAGE and not part.has_empty_line
