"""Mailboxes as files in the mbox format (RFC 4155 and its relatives), octets in and out, nothing decoded.

A message begins with a line `From <sender> <date>`; lines of its text that look so are quoted with `>`:

    mboxrd   every line of `>`s and "From " gets one `>` more, and loses it again when it is read. What we write
    mboxo    only "From " gets one, and a reader cannot tell whether it was there before: it stays
    mboxcl   Content-Length tells how long the text is. A hint only: it is followed where a message ends there

Reading: MboxReader, fed with octets in any split; its messages have the line ends of the file (`line_ends.py` makes
them CR LF). Writing: `from_line`, then MboxQuoting over the octets of the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import TypeAlias

import msgspec

from postroad.vocabulary.limits import MBOX_FROM_LINE_BYTES, MBOX_HEADER_SEARCHED_BYTES

_MONTHS = {name: n for n, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DAYS = b"Mon Tue Wed Thu Fri Sat Sun".split()
_MONTH_NAMES = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

# asctime, as RFC 4155 has it, and with a zone before or after the year, as many programs write it.
_DATE = re.compile(
    rb"\b(?:mon|tue|wed|thu|fri|sat|sun),?[ ]++([a-z]{3})[ ]++([0-9]{1,2})[ ]++([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?"
    rb"(?:[ ]++([+-][0-9]{4}|[a-z]{1,5}))?[ ]++([0-9]{4})(?:[ ]++([+-][0-9]{4}|[a-z]{1,5}))?\b",
    re.IGNORECASE,
)
_FROM = re.compile(rb"^(>*+)From ", re.MULTILINE)
_ONLY_MARKS = re.compile(rb"(>++)(?:From|Fro|Fr|F)?")
_LINE_KEPT = MBOX_FROM_LINE_BYTES + len(b"\r")
_CONTENT_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,15})[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_EMPTY_LINE = re.compile(rb"(?:\A|\n)\r?\n")


class Quoting(Enum):
    MBOXRD = "mboxrd"
    MBOXO = "mboxo"
    MBOXCL = "mboxcl"


class MessageBegins(msgspec.Struct, frozen=True):
    """`at` is what the line says, in UTC, which it is where it names no zone."""

    at: datetime
    sender: bytes


class MessageEnds(msgspec.Struct, frozen=True):
    """Nothing of the message follows."""


class NoMbox(Exception):
    """The file does not begin as an mbox does."""


MboxEvent: TypeAlias = MessageBegins | bytes | MessageEnds


def parse_from_line(line: bytes) -> MessageBegins | None:
    """The line that begins a message; None for a line that only begins with "From "."""
    if not line.startswith(b"From ") or len(line) > MBOX_FROM_LINE_BYTES:
        return None
    found = _DATE.search(line)
    if found is None:
        return None
    month, day, hour, minute, second, zone, year, zone_after = found.groups()
    try:
        at = datetime(
            int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), min(59, int(second or 0)),
            tzinfo=_zone(zone or zone_after or b""),
        ).astimezone(UTC)  # fmt: skip
    except (ValueError, KeyError, OverflowError):
        return None
    return MessageBegins(at, line[len(b"From ") : found.start()].strip())


def _zone(text: bytes) -> timezone:
    """Letters name zones that nobody agrees on: they count as UTC."""
    if text[:1] not in (b"+", b"-"):
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return timezone(-offset if text[:1] == b"-" else offset)


def from_line(sender: str, at: datetime) -> bytes:
    """The line that begins a message, without its line end (RFC 4155 Appendix A)."""
    at = at.astimezone(UTC)
    who = "".join(sender.split()).encode("utf-8", "replace") or b"MAILER-DAEMON"
    return b"From %b %b %b %2d %02d:%02d:%02d %04d" % (
        who[:MBOX_FROM_LINE_BYTES // 2],
        _DAYS[at.weekday()],
        _MONTH_NAMES[at.month - 1],
        at.day,
        at.hour,
        at.minute,
        at.second,
        at.year,
    )  # fmt: skip


class MboxReader:
    """`feed` gives the events of the octets so far, `end` the last ones.

    `peek`, for mboxcl, gives up to so many octets from an offset of the file: b"" at its end. Memory is bounded
    whatever the octets: a line that does not end is given away in pieces. Raises NoMbox, and nothing else.
    """

    def __init__(self, quoting: Quoting = Quoting.MBOXRD, peek: Callable[[int, int], bytes] | None = None) -> None:
        self._quoting = quoting
        self._peek = peek if quoting is Quoting.MBOXCL else None
        self._pending = b""
        self._offset = 0
        """Of the file, where `_pending` begins."""
        self._in_message = False
        self._within_line = False
        self._after_marks = False
        """Within a line that has only `>` so far: `_pending` begins with the last of them."""
        self._header: bytes | None = None
        """What is known of the header that is being read, for the hint."""
        self._whole_until = 0
        """No message begins before this offset."""
        self._held = b""
        """An empty line: it is no part of the message if the next begins after it."""
        self._events: list[MboxEvent] = []

    def feed(self, octets: bytes) -> list[MboxEvent]:
        block = self._pending + octets
        end = block.rfind(b"\n") + 1
        if not end and len(block) > _LINE_KEPT:
            # Too long for a line that begins a message: away with it.
            end, after_marks = _cut(block, self._after_marks or not self._within_line)
        else:
            after_marks = False
        self._pending = block[end:]
        if end:
            self._take(block[:end])
            self._after_marks = after_marks
        events, self._events = self._events, []
        return events

    def end(self) -> list[MboxEvent]:
        if self._pending:
            self._take(self._pending)
            self._pending = b""
        self._end_message()
        events, self._events = self._events, []
        return events

    def _take(self, block: bytes) -> None:
        """Whole lines, or a piece of a long one."""
        start = 0
        for match in _FROM.finditer(block):
            at = match.start()
            if at < start or (at == 0 and self._within_line and not self._after_marks):
                continue
            if not match[1]:
                line_end = block.find(b"\n", at)
                line_end = len(block) if line_end < 0 else line_end + 1
                begins = parse_from_line(block[at:line_end].rstrip(b"\r\n"))
                # The header of the message before may hold the hint that speaks of this very line.
                self._give(block[start:at], start)
                start = at
                if begins is None or self._offset + at < self._whole_until:
                    continue
                self._end_message()
                self._begin_message(begins)
                start = line_end
            elif self._quoting is not Quoting.MBOXO and self._in_message:
                self._give(block[start:at], start)
                start = at + 1
        self._give(block[start:], start)
        self._within_line = not block.endswith(b"\n")
        self._offset += len(block)

    def _begin_message(self, begins: MessageBegins) -> None:
        self._in_message = True
        self._header = b"" if self._peek is not None else None
        self._events.append(begins)

    def _end_message(self) -> None:
        if self._in_message:
            self._in_message = False
            self._events.append(MessageEnds())
        self._held = b""

    def _give(self, octets: bytes, at: int) -> None:
        """Octets of the message, which begin at this place of the block."""
        if not octets:
            return
        if not self._in_message:
            if octets.strip(b"\r\n"):
                raise NoMbox("it does not begin with a line such as: From ann@example.org Tue Nov 24 12:00:00 2026")
            return
        if self._header is not None:
            self._look_for_hint(octets, at)
        # What follows an empty line that was held begins a line, and so does what stands within the block.
        begins_line = at > 0 or not self._within_line
        octets = self._held + octets
        self._held = b""
        for empty in (b"\r\n", b"\n"):
            if octets.endswith(b"\n" + empty) or (octets == empty and begins_line):
                octets, self._held = octets[: -len(empty)], empty
                break
        if octets:
            self._events.append(octets)

    def _look_for_hint(self, octets: bytes, at: int) -> None:
        assert self._header is not None
        before = len(self._header)
        self._header += octets
        ends = _EMPTY_LINE.search(self._header)
        if ends is None:
            if len(self._header) > MBOX_HEADER_SEARCHED_BYTES:
                self._header = None
            return
        said = _CONTENT_LENGTH.search(self._header[: ends.end()])
        if said is not None:
            text_at = self._offset + at + ends.end() - before
            if self._ends_at(text_at + int(said[1])):
                self._whole_until = text_at + int(said[1])
        self._header = None

    def _ends_at(self, offset: int) -> bool:
        """Whether the file ends there, or a message begins."""
        assert self._peek is not None
        after = self._peek(offset, 2 * MBOX_FROM_LINE_BYTES)
        if not after:
            return bool(self._peek(offset - 1, 1))
        return parse_from_line(after.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")) is not None


class MboxQuoting:
    """The octets of one message, with CR LF, as they stand in an mbox: with LF, and one `>` more before lines that
    look like the one between messages (mboxrd). In any split; `end` gives the rest and the empty line after it."""

    def __init__(self) -> None:
        self._pending = b""
        self._within_line = False
        self._after_marks = False

    def feed(self, octets: bytes) -> bytes:
        block = self._pending + octets
        end = block.rfind(b"\n") + 1
        if not end and len(block) > _LINE_KEPT:
            end, after_marks = _cut(block, self._after_marks or not self._within_line)
        else:
            after_marks = False
        self._pending = block[end:]
        if not end:
            return b""
        quoted = self._quoted(block[:end])
        self._after_marks = after_marks
        return quoted

    def end(self) -> bytes:
        rest = self._quoted(self._pending) if self._pending else b""
        self._pending = b""
        return rest + (b"\n\n" if self._within_line else b"\n")

    def _quoted(self, block: bytes) -> bytes:
        begins_within, self._within_line = self._within_line, not block.endswith(b"\n")
        block = block.replace(b"\r\n", b"\n")
        if b"From " not in block:
            return block
        if not begins_within or self._after_marks:
            return _FROM.sub(rb">\1From ", block)
        head, line_end, rest = block.partition(b"\n")
        return head + line_end + _FROM.sub(rb">\1From ", rest)


def _cut(block: bytes, may_be_quoted: bool) -> tuple[int, bool]:
    """How much of a long line without end may go: all but a CR that may belong to a line end. Where it has only `>` so
    far the last of them stays, for it is as good a place as the first to add one or to take one away as soon as it is
    known whether "From " follows. And whether that is so."""
    marks = _ONLY_MARKS.fullmatch(block) if may_be_quoted else None
    if marks is not None:
        return marks.end(1) - 1, True
    return len(block) - (1 if block.endswith(b"\r") else 0), False
