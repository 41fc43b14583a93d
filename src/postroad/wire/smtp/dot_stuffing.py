"""Content on its way out through DATA (RFC 5321 section 4.5.2): dots doubled, no lone CR or LF, the end its own.

What leaves here can be ended by nobody but us: RFC 5321 section 2.3.8 forbids a lone CR or LF, and a server
that takes one for a line end would find another message behind it. Both are made CR LF.
"""

from __future__ import annotations


class LineMender:
    """Lone CR and LF made CR LF, in content fed in any split; `rest` is what is held at its end."""

    __slots__ = ("_held_cr",)

    def __init__(self) -> None:
        self._held_cr = False

    def feed(self, chunk: bytes) -> bytes:
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk[-1:] == b"\r"
        if self._held_cr:
            chunk = chunk[:-1]
        return with_whole_line_ends(chunk) if chunk else b""

    def rest(self) -> bytes:
        return b"\r\n" if self._held_cr else b""


class DotStuffer(LineMender):
    """Feed content in any split; `end` gives the rest and the dot."""

    __slots__ = ("_at_line_start",)

    def __init__(self) -> None:
        super().__init__()
        self._at_line_start = True

    def feed(self, chunk: bytes) -> bytes:
        mended = super().feed(chunk)
        if not mended:
            return b""
        octets = mended.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and octets[:1] == b".":
            octets = b"." + octets
        self._at_line_start = octets[-2:] == b"\r\n"
        return octets

    def end(self) -> bytes:
        """The line end that is missing, if it is, and the end of data."""
        return b".\r\n" if self._at_line_start and not self._held_cr else b"\r\n.\r\n"


def stuffed(content: bytes) -> bytes:
    """The whole content, stuffed, with the end of data."""
    stuffer = DotStuffer()
    return stuffer.feed(content) + stuffer.end()


def with_whole_line_ends(octets: bytes) -> bytes:
    """Every lone CR and lone LF made CR LF; the same object when there is none."""
    lines = octets.count(b"\r\n")
    if octets.count(b"\n") == lines and octets.count(b"\r") == lines:
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
