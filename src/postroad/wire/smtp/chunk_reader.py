"""The content that comes by BDAT, checked as it passes (RFC 3030).

A chunk is so many octets, whatever they are: CR LF . CR LF is content here. Without BODY=BINARYMIME the content is
lines all the same (section 2), so a lone CR or LF, a NUL and a line that is too long are found, also where a
chunk ends between a CR and its LF. What is found does not depend on how the stream or the content was cut.
"""

from __future__ import annotations

from postroad.vocabulary.reply import Reply
from postroad.wire.smtp import replies
from postroad.wire.smtp.content_reader import ContentMeasure
from postroad.wire.smtp.server_profile import ServerProfile


class ChunkReader(ContentMeasure):
    """`feed` the octets of all chunks, `end` after the last. `chunks` counts the BDATs, `announced_bytes` is what
    they have announced."""

    __slots__ = ("_held", "_is_binary", "announced_bytes", "chunks")

    def __init__(self, profile: ServerProfile, *, is_binary: bool) -> None:
        self._line_bytes_max = profile.content_line_bytes
        self._line_bytes = 0
        self._bare_newline = self._nul = self._long_line = False
        self.size_bytes = 0
        self._is_binary = is_binary
        self._held = b""
        self.chunks = self.announced_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Take octets; give those of the content that are certain. Nothing more is given after a fault."""
        if self._is_binary:
            self.size_bytes += len(data)
            return data
        block = self._held + data if self._held else data
        self._held = block[-1:] if block[-1:] == b"\r" else b""
        return self._checked(block[:-1] if self._held else block)

    def end(self) -> bytes:
        """The octets that are still held: none, in whole lines."""
        held, self._held = self._held, b""
        return self._checked(held)

    @property
    def fault(self) -> Reply | None:
        """What is wrong with the content so far; a lone newline that one block showed outranks what others may show."""
        if self._bare_newline:
            return replies.BARE_NEWLINE_IN_CONTENT
        if self._nul:
            return replies.NUL_IN_CONTENT
        return replies.CONTENT_LINE_TOO_LONG if self._long_line else None

    def _checked(self, block: bytes) -> bytes:
        if not block:
            return b""
        lines = block.count(b"\r\n")
        if block.count(b"\n") != lines or block.count(b"\r") != lines:
            self._bare_newline = True
        if b"\0" in block:
            self._nul = True
        self._measure_lines(block)
        self.size_bytes += len(block)
        return b"" if self.fault is not None else block
