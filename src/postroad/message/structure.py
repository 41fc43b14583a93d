"""Where the parts of a message are: an index of offsets over its raw octets (RFC 2045, RFC 2046).

Give it the content in any split; memory is that of one header and one piece, time is linear, and nothing raises
whatever the octets are:

    scanner = StructureScanner()
    scanner.feed(chunk) ...
    structure = scanner.end()

Nothing is decoded. A message with more parts, depth, header or would-be boundaries than the limits allow is
"unparsed": it has no parts, only the facts about its octets. A boundary is a line of its own between two CR LF, as
RFC 2046 section 5.1.1 has it; where two open multiparts have the same one, it is the inner's.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from postroad.message.header import begins_with_field, fields, find_body, unfold
from postroad.message.media_type import MESSAGE, TEXT, MediaType, media_type, transfer_encoding
from postroad.message.octet_facts import OctetFacts
from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import (
    CONTENT_LINE_BYTES,
    MIME_BOUNDARY_BYTES,
    MIME_DASHED_LINES,
    MIME_DEPTH,
    MIME_HEADER_BYTES,
    MIME_HEADERS_BYTES,
    MIME_PARTS,
    READ_BYTES,
)

IDENTITY_ENCODINGS = frozenset({b"7bit", b"8bit", b"binary"})
"""The encodings that leave the octets as they are (RFC 2045 section 6.2)."""

_DASHED_LINE = re.compile(rb"\r\n--([^\r\n]*+)")
_LOOK_AHEAD_BYTES = 4096
"""Of a header, before more of the piece is taken."""


class Kind(Enum):
    LEAF = "leaf"
    MULTIPART = "multipart"
    MESSAGE = "message"
    """message/rfc822: its body is one part, the message in it."""


class Part:
    """One part, or the message itself. All offsets count from the beginning of the content.

    parent           index of the part that it lies in, -1 for the message
    depth            0 for the message
    encoding         Content-Transfer-Encoding in lower case; b"" when there is none
    encoding_fields  ranges of its fields of that name; `encodings_differ` when they contradict each other
    fields_end       where another field can be put, before the empty line; `has_empty_line` tells whether it is there
    is_divided       (a multipart) at least one of its boundaries was found
    is_signed        lies in a multipart/signed (RFC 1847 section 2.1), so that no octet of it may change
    """

    __slots__ = ("body_start", "boundary", "depth", "encoding", "encoding_fields", "encodings_differ", "end",
                 "fields_end", "has_empty_line", "has_media_type", "has_mime_version", "header_start", "is_divided",
                 "is_signed", "kind", "media_type", "parent")  # fmt: skip

    def __init__(self, parent: int, depth: int, default: MediaType, start: int, is_signed: bool) -> None:
        self.parent = parent
        self.depth = depth
        self.kind = Kind.LEAF
        self.media_type = default
        self.boundary = b""
        self.encoding = b""
        self.encoding_fields: list[tuple[int, int]] = []
        self.encodings_differ = False
        self.has_mime_version = self.has_media_type = self.has_empty_line = self.is_divided = False
        self.is_signed = is_signed
        self.header_start = self.fields_end = self.body_start = self.end = start

    @property
    def is_multipart_signed(self) -> bool:
        return self.kind is Kind.MULTIPART and self.media_type.subtype == b"signed"

    def read_header(self, header: bytes) -> None:
        """Take what counts from the octets of the header, which begin at `header_start`."""
        start = self.header_start
        for field in fields(header):
            match field.name:
                case b"content-type" if not self.has_media_type:
                    self.has_media_type = True
                    self.media_type = media_type(unfold(header, field))
                case b"content-transfer-encoding":
                    given = transfer_encoding(unfold(header, field))
                    self.encodings_differ = self.encodings_differ or given != (self.encoding or given)
                    self.encoding = self.encoding or given
                    self.encoding_fields.append((start + field.start, start + field.end))
                case b"mime-version":
                    self.has_mime_version = True
                case _:
                    pass
        # A composite part may not be encoded (RFC 2045 section 6.4); one that says it is, is not looked into.
        if not self.encoding or self.encoding in IDENTITY_ENCODINGS:
            if self.media_type[:2] == MESSAGE[:2]:
                self.kind = Kind.MESSAGE
            elif self.media_type.type == b"multipart":
                self.kind = Kind.MULTIPART
                if len(self.media_type.boundary) <= MIME_BOUNDARY_BYTES:
                    self.boundary = self.media_type.boundary


class Place(Enum):
    """What a region of the content is."""

    HEADER = "header"
    BODY = "body"
    """Of a leaf."""
    PREAMBLE = "preamble"
    """Before the first boundary of a multipart; all of it when there is none."""
    EPILOGUE = "epilogue"
    """After the closing boundary."""
    UNPARSED = "unparsed"


class Region(NamedTuple):
    """`start` to `end` of the content belong to `part` (an index) and are `place`. Together the regions are all of
    the content but its boundary lines."""

    place: Place
    part: int
    start: int
    end: int
    facts: OctetFacts


class Structure(NamedTuple):
    """`parts` in the order of their headers; empty when the content was over a budget, which `unparsed` then names
    in words. `regions` are in the order of the octets."""

    parts: tuple[Part, ...]
    regions: tuple[Region, ...]
    size_bytes: int
    unparsed: str = ""

    @property
    def needs(self) -> BodyType:
        """The least BODY that the content needs, whatever its transaction declared."""
        is_eight_bit = False
        for region in self.regions:
            if region.facts.is_binary:
                return BodyType.BINARY_MIME
            is_eight_bit = is_eight_bit or region.facts.eight_bit
        return BodyType.EIGHT_BIT_MIME if is_eight_bit else BodyType.SEVEN_BIT

    @property
    def has_eight_bit_header(self) -> bool:
        """Whether a header may hold what SMTPUTF8 is for (RFC 6532): in an unparsed message any octet may."""
        headers = (Place.HEADER, Place.UNPARSED)
        return any(region.facts.eight_bit for region in self.regions if region.place in headers)


class _Delimiter(NamedTuple):
    """A boundary line: `start` is that of the CR LF before it, which belongs to it; `end` is after its own."""

    start: int
    end: int
    level: int
    closes: bool


class StructureScanner:
    """See the module. What is called `_at` is an offset in the buffer, whose first octet is `_base` of the content."""

    def __init__(self, piece_bytes: int = READ_BYTES // 2) -> None:
        """`piece_bytes`: so many octets are waited for before they are looked at."""
        self._piece_bytes = piece_bytes
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._buffer = b""
        self._base = 0
        self._at = 0
        """What is before it belongs to a region already."""
        self._search_at = 0
        """No boundary line begins before it."""
        self._header_searched = 0
        self._facts = OctetFacts()
        self._region_start = 0
        self._place = Place.HEADER
        self._parts = [Part(-1, 0, TEXT, 0, is_signed=False)]
        self._current = 0
        self._regions: list[Region] = []
        self._levels: list[tuple[bytes, int]] = []
        """The open multiparts, the innermost last: boundary and index of the part."""
        self._levels_of: dict[bytes, list[int]] = {}
        self._dashed_lines = 0
        self._header_bytes = 0
        self._unparsed = ""

    def feed(self, chunk: bytes) -> None:
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes >= self._piece_bytes:
            self._scan(at_end=False)

    def end(self) -> Structure:
        """That was all."""
        self._scan(at_end=True)
        size = self._base + len(self._buffer)
        self._close_region(size)
        self._end_parts(-1, size)
        parts = () if self._unparsed else tuple(self._parts)
        return Structure(parts, tuple(self._regions), size, self._unparsed)

    def _scan(self, at_end: bool) -> None:
        self._buffer = b"".join((self._buffer, *self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0
        while self._header(at_end) if self._place is Place.HEADER else self._body(at_end):
            pass
        # The two octets before what is to come may be the CR LF of a boundary line.
        done = max(0, min(self._at, self._search_at) - 2)
        if not at_end and done:
            self._buffer = self._buffer[done:]
            self._base += done
            self._at -= done
            self._search_at = max(0, self._search_at - done)

    # ---- headers ---------------------------------------------------------------------------------

    def _header(self, at_end: bool) -> bool:
        """Take the header of the current part, if it is all there. True if something was done."""
        at = self._at
        body_at = self._header_end(at_end)
        found = self._delimiter(at_end, len(self._buffer) if body_at == -1 else body_at - 2)
        if self._unparsed:
            return True
        if found is not None:
            # The part ends before its header does.
            stop = max(at, found.start)
            if self._take_header(stop, stop, has_empty_line=False):
                self._divide(found)
        elif body_at != -1:
            if self._take_header(body_at, body_at, has_empty_line=body_at > at):
                self._enter_body()
        else:
            total = len(self._buffer)
            if at_end or total - at > MIME_HEADER_BYTES:
                self._take_header(total, total, has_empty_line=False)
            return bool(self._unparsed)
        return True

    def _header_end(self, at_end: bool) -> int:
        """Where the body begins in the buffer, -1 when that cannot be said yet. `at` when there is no header."""
        at, buffer = self._at, self._buffer
        body = find_body(buffer[at : at + _LOOK_AHEAD_BYTES]) if not self._header_searched else -1
        if body == -1:
            head = buffer[at:]
            body = find_body(head, self._header_searched)
            self._header_searched = len(head)
        if body in (1, 2):
            return at + body
        line = buffer[at : at + CONTENT_LINE_BYTES]
        if not begins_with_field(line) and (at_end or b"\n" in line or len(line) == CONTENT_LINE_BYTES):
            return at
        return at + body if body != -1 else -1

    def _take_header(self, end_at: int, body_at: int, *, has_empty_line: bool) -> bool:
        """False when it was too much."""
        size = end_at - self._at
        self._header_bytes += size
        if size > MIME_HEADER_BYTES:
            return self._give_up(f"a header of more than {MIME_HEADER_BYTES} octets")
        if self._header_bytes > MIME_HEADERS_BYTES:
            return self._give_up(f"headers of more than {MIME_HEADERS_BYTES} octets together")
        part = self._parts[self._current]
        header = self._buffer[self._at : end_at]
        part.read_header(header)
        part.has_empty_line = has_empty_line
        part.body_start = self._base + body_at
        part.fields_end = part.body_start
        if has_empty_line:
            part.fields_end -= 2 if header.endswith(b"\r\n") else 1
        self._consume(end_at)
        self._close_region(part.body_start)
        self._header_searched = 0
        return True

    def _enter_body(self) -> None:
        """The header of the current part is over: what comes is its body."""
        index, part = self._current, self._parts[self._current]
        if part.kind is Kind.MESSAGE:
            self._begin_part(index, TEXT)
        elif part.kind is Kind.LEAF:
            self._place = Place.BODY
        else:
            self._place = Place.PREAMBLE
            if part.boundary:
                self._levels_of.setdefault(part.boundary, []).append(len(self._levels))
                self._levels.append((part.boundary, index))

    # ---- bodies and boundaries -------------------------------------------------------------------

    def _body(self, at_end: bool) -> bool:
        """Go on to the next boundary line. False when none is in sight."""
        total = len(self._buffer)
        if self._unparsed or not self._levels:
            self._consume(total)
            self._search_at = max(self._search_at, total - 2)
            return False
        found = self._delimiter(at_end, total)
        if found is not None:
            self._divide(found)
            return True
        if not self._unparsed:
            self._consume(total if at_end else max(self._at, min(self._search_at, total - 3)))
        return bool(self._unparsed)

    def _delimiter(self, at_end: bool, until: int) -> _Delimiter | None:
        """The next boundary line of an open multipart that begins before `until`. Without one `_search_at` is where
        to look on: at a line that is not all there yet, or at the end."""
        if not self._levels:
            return None
        buffer = self._buffer
        total = len(buffer)
        # A line that begins right at `_at`: its CR LF has been taken for the end of the line before.
        start = max(self._search_at, self._at - 2, 0)
        for match in _DASHED_LINE.finditer(buffer, start):
            begin, end = match.span()
            if begin >= until:
                break
            after = buffer[end : end + 2]
            if end - begin > CONTENT_LINE_BYTES:
                continue
            if not at_end and after in (b"", b"\r"):
                self._search_at = begin
                return None
            if after not in (b"", b"\r\n"):
                continue
            self._dashed_lines += 1
            if self._dashed_lines > MIME_DASHED_LINES:
                self._give_up(f"more than {MIME_DASHED_LINES} lines that might be boundaries")
                return None
            level, closes = self._level_of(match[1])
            if level != -1:
                return _Delimiter(begin, end + len(after), level, closes)
        self._search_at = max(start, min(until, total - 3))
        return None

    def _level_of(self, text: bytes) -> tuple[int, bool]:
        """The innermost open multipart whose boundary a line is, or -1; and whether it is its last one."""
        text = text.rstrip(b" \t")  # transport padding
        opened = self._levels_of.get(text)
        closed = self._levels_of.get(text[:-2]) if text.endswith(b"--") else None
        if closed is not None and (opened is None or closed[-1] > opened[-1]):
            return closed[-1], True
        return (-1, False) if opened is None else (opened[-1], False)

    def _divide(self, found: _Delimiter) -> None:
        """A boundary line: everything inside its multipart that is open ends here."""
        start_at = max(self._at, found.start)
        start = self._base + start_at
        self._consume(start_at)
        self._close_region(start)
        index = self._levels[found.level][1]
        multipart = self._parts[index]
        self._end_parts(index, start)
        keep = found.level if found.closes else found.level + 1
        while len(self._levels) > keep:
            boundary, _ = self._levels.pop()
            levels = self._levels_of[boundary]
            levels.pop()
            if not levels:
                del self._levels_of[boundary]
        self._current = index
        multipart.is_divided = True
        self._at = found.end
        self._search_at = found.end - 2
        self._region_start = self._base + found.end
        if found.closes:
            self._place = Place.EPILOGUE
        else:
            self._begin_part(index, MESSAGE if multipart.media_type.subtype == b"digest" else TEXT)

    def _begin_part(self, parent: int, default: MediaType) -> None:
        depth = self._parts[parent].depth + 1
        if depth > MIME_DEPTH:
            self._give_up(f"parts more than {MIME_DEPTH} deep")
        elif len(self._parts) >= MIME_PARTS:
            self._give_up(f"more than {MIME_PARTS} parts")
        else:
            above = self._parts[parent]
            is_signed = above.is_signed or above.is_multipart_signed
            self._parts.append(Part(parent, depth, default, self._base + self._at, is_signed))
            self._current = len(self._parts) - 1
            self._place = Place.HEADER
            self._header_searched = 0

    # ---- regions ---------------------------------------------------------------------------------

    def _consume(self, to_at: int) -> None:
        if to_at > self._at:
            self._facts.look(self._buffer[self._at : to_at])
            self._at = to_at

    def _close_region(self, end: int) -> None:
        if end > self._region_start:
            self._facts.finish()
            index = -1 if self._place is Place.UNPARSED else self._current
            self._regions.append(Region(self._place, index, self._region_start, end, self._facts))
            self._facts = OctetFacts()
        self._region_start = end

    def _end_parts(self, above: int, end: int) -> None:
        """The current part and those it lies in end here, up to but without `above`."""
        index = self._current
        while index not in (above, -1):
            self._parts[index].end = end
            index = self._parts[index].parent

    def _give_up(self, why: str) -> bool:
        """Only the facts about the octets are collected from here on."""
        self._close_region(self._base + self._at)
        self._unparsed = why
        self._place = Place.UNPARSED
        self._current = -1
        self._levels.clear()
        self._levels_of.clear()
        return False


def scan(content: bytes) -> Structure:
    """The structure of content in memory."""
    scanner = StructureScanner()
    for start in range(0, len(content), READ_BYTES):
        scanner.feed(content[start : start + READ_BYTES])
    return scanner.end()
