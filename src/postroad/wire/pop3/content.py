"""A message on its way to a POP3 client: transparency and TOP, chunk by chunk (RFC 1939 sections 3 and 7)."""

from __future__ import annotations


class MessageOutput:
    """Turns the octets of one message into those of a multi-line reply, whatever the chunks.

    lines   None sends all; otherwise the header, the empty line and so many lines of the body (TOP)

    A dot is doubled after every LF, not only after CR LF: clients that end lines at a bare LF would else
    take a stored LF "." LF for the end of the message and the rest of it for our replies.
    """

    def __init__(self, lines: int | None = None) -> None:
        self._lines = lines
        self._in_header = lines is not None
        # The reply's first line has just ended: the content begins at the start of a line.
        self._tail = b"\r\n"
        self.wants_more = True

    def chunk(self, octets: bytes) -> bytes:
        """What goes out for the next octets of the message."""
        if not self.wants_more or not octets:
            return b""
        if self._lines is not None:
            octets = self._cut(octets)
            if not octets:
                return b""
        stuffed = octets.replace(b"\n.", b"\n..")
        if octets.startswith(b".") and self._tail.endswith(b"\n"):
            stuffed = b"." + stuffed
        self._tail = octets[-2:] if len(octets) > 1 else self._tail[-1:] + octets
        return stuffed

    def end(self) -> bytes:
        """The end of the reply; a last line without CR LF gets it."""
        self.wants_more = False
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"

    def _cut(self, octets: bytes) -> bytes:
        """What of these octets TOP still shows."""
        assert self._lines is not None
        start = 0
        if self._in_header:
            start = self._header_end(octets)
            if start == -1:
                return octets
            self._in_header = False
        if not self._lines:
            self.wants_more = False
            return octets[:start]
        ends = octets.count(b"\n", start)
        if ends < self._lines:
            self._lines -= ends
            return octets
        at = start
        for _ in range(self._lines):
            at = octets.index(b"\n", at) + 1
        self._lines = 0
        self.wants_more = False
        return octets[:at]

    def _header_end(self, octets: bytes) -> int:
        """The offset after the empty line, or -1. What came before matters by its last two octets only."""
        joined = self._tail + octets
        at = joined.find(b"\n\r\n")
        bare = joined.find(b"\n\n", 0, at + 2 if at != -1 else len(joined))
        end = bare + 2 if bare != -1 else at + 3
        return end - len(self._tail) if at != -1 or bare != -1 else -1
