"""The content after DATA, from the wire to what was meant: end found, transparency dots removed, faults noted.

Only CR LF . CR LF ends it (RFC 5321 section 4.1.1.4): whoever takes anything less for the end can be made to
take somebody else's mail. A fault never ends the reading: what follows must not become commands.

Everything is done on whole chunks. At the end of a chunk the octets that may be the beginning of CR LF . CR LF
are held back, so that each block that is looked at begins and ends between two characters of that pattern;
hence the result does not depend on how the stream was cut.
"""

from __future__ import annotations

from postroad.vocabulary.limits import CONTENT_OVERRUN_BYTES
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.settings import BareNewline
from postroad.wire.smtp import replies
from postroad.wire.smtp.server_profile import ServerProfile

_END = b"\r\n.\r\n"
_NORMALISE = BareNewline.NORMALISE


class ContentMeasure:
    """What is noted of content however it comes: its size, and faults that are told at its end. (A subclass sets the
    fields itself: it is made for each message.)"""

    __slots__ = ("_bare_newline", "_line_bytes", "_line_bytes_max", "_long_line", "_nul", "size_bytes")

    size_bytes: int
    _bare_newline: bool
    _line_bytes: int
    _line_bytes_max: int
    _long_line: bool
    _nul: bool

    def _measure_lines(self, block: bytes) -> None:
        """Note a line that is too long: jump to the last LF within the longest allowed line, again and again.
        Exact, and about one step for each thousand octets."""
        if self._long_line:
            return
        begin, length, most = -self._line_bytes, len(block), self._line_bytes_max
        while begin + most <= length:
            last = block.rfind(b"\n", begin if begin > 0 else 0, begin + most)
            if last < 0:
                self._long_line = True
                break
            begin = last + 1
        last = block.rfind(b"\n", begin if begin > 0 else 0)
        self._line_bytes = length - (last + 1 if last >= 0 else begin)


class ContentReader(ContentMeasure):
    """`feed` what comes; when `ended`, `rest` belongs to the commands that follow.

    `size_bytes` counts what was meant, not the dots. `overrun` means that the end was not seen within twice
    the size limit and a little: there is no use in reading on.
    """

    __slots__ = (
        "_held",
        "_normalise",
        "_raw_bytes",
        "_raw_bytes_max",
        "_size_bytes_max",
        "_skip",
        "ended",
        "overrun",
        "rest",
    )

    def __init__(self, profile: ServerProfile) -> None:
        self._normalise = profile.bare_newline is _NORMALISE
        self._size_bytes_max = profile.message_bytes
        self._raw_bytes_max = 2 * profile.message_bytes + CONTENT_OVERRUN_BYTES
        self._line_bytes_max = profile.content_line_bytes
        self._line_bytes = 0
        self._bare_newline = self._nul = self._long_line = False
        self.size_bytes = 0
        # The 354 stands where a line has just ended: a first line of "." is the end of an empty content.
        self._held = b"\r\n"
        self._skip = 2
        self._raw_bytes = -2
        self.ended = self.overrun = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take octets; give those of the content that are certain. Nothing more is given after a fault."""
        block = self._held + data
        # One search serves both: where no line begins with a dot there is no end, and nothing to remove.
        first_dot = block.find(b"\r\n.")
        end = block.find(_END, first_dot) if first_dot >= 0 else -1
        if end >= 0:
            seen = self._raw_bytes + end + len(_END)
            self.ended = True
            self.rest = block[end + len(_END) :]
            self._held = b""
            block = block[: end + 2]
        else:
            seen = self._raw_bytes + len(block)
            held = _unfinished(block)
            self._held = block[len(block) - held :] if held else b""
            block = block[: len(block) - held] if held else block
            self._raw_bytes += len(block)
        if seen > self._raw_bytes_max or (seen == self._raw_bytes_max and not self.ended):
            self.overrun = True
            return b""
        return self._meant(block, first_dot >= 0 and first_dot != end) if block else b""

    @property
    def fault(self) -> Reply | None:
        """What is wrong with the content so far; always the same one of several."""
        if self._bare_newline:
            return replies.BARE_NEWLINE_IN_CONTENT
        if self._nul:
            return replies.NUL_IN_CONTENT
        if self.size_bytes > self._size_bytes_max:
            return replies.TOO_LARGE
        if self._long_line:
            return replies.CONTENT_LINE_TOO_LONG
        return None

    def _meant(self, block: bytes, stuffed: bool) -> bytes:
        """The block without its transparency dots, checked (RFC 5321 section 4.5.2)."""
        # What is left when the line ends are taken away. Half as dear as to count pairs, CRs and LFs.
        text = b"".join(block.split(b"\r\n"))
        bare = b"\n" in text or b"\r" in text
        # Not the doubled dots alone: the first dot of a line goes in any case when more follows.
        if stuffed:
            block = block.replace(b"\r\n.", b"\r\n")
        if bare:
            if self._normalise:
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            else:
                self._bare_newline = True
        if b"\0" in text:
            self._nul = True
        if self._skip:
            # The CR LF before the first octet is not of the content.
            block = block[2:]
            self._skip = 0
        self._measure_lines(block)
        self.size_bytes += len(block)
        return b"" if self.fault is not None else block


def _unfinished(block: bytes) -> int:
    """How many octets at the end may be the beginning of CR LF . CR LF."""
    if block[-4:] == _END[:4]:
        return 4
    if block[-3:] == _END[:3]:
        return 3
    if block[-2:] == _END[:2]:
        return 2
    return 1 if block[-1:] == b"\r" else 0
