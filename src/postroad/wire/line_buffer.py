"""Octets of a line protocol that wait to be read, and the bound on how long a line may become.

Only CR LF ends a line (RFC 5321 section 2.3.8). What is too long is reported once, at the same octet however
the stream was cut, and then thrown away up to its CR LF or up to a second bound. SMTP and POP3 share this.
"""

from __future__ import annotations

from enum import Enum

from postroad.vocabulary.limits import DISCARD_BYTES


class LineFault(Enum):
    TOO_LONG = "too long"
    """Said once; the rest of that line will be thrown away."""
    ENDLESS = "endless"
    """DISCARD_BYTES more came without CR LF: there is no use in reading on."""


class LineBuffer:
    """A queue of octets: `append` at the end, `take_line`, `take` or `take_all` from the front."""

    __slots__ = ("_at", "_discard_bytes", "_octets", "_searched")

    def __init__(self) -> None:
        self._octets = b""
        self._at = 0
        self._searched = 0
        self._discard_bytes = 0

    def __len__(self) -> int:
        return len(self._octets) - self._at

    def append(self, data: bytes) -> None:
        if self._at == len(self._octets):
            self._octets = data
            self._searched = 0
        else:
            self._octets = self._octets[self._at :] + data
            self._searched -= self._at
        self._at = 0

    def first(self) -> int | None:
        """The next octet, left where it is; None when there is none."""
        return self._octets[self._at] if self._at < len(self._octets) else None

    def take_all(self) -> bytes:
        """Everything, whatever it holds. Not while a long line is being thrown away."""
        octets = self._octets[self._at :] if self._at else self._octets
        self.clear()
        return octets

    def take(self, bytes_max: int) -> bytes:
        """What is here of the next `bytes_max` octets. Not while a long line is being thrown away."""
        octets = self._octets[self._at : self._at + bytes_max]
        self._at += len(octets)
        self._searched = self._at
        return octets

    def clear(self) -> None:
        self._octets = b""
        self._at = self._searched = self._discard_bytes = 0

    def take_line(self, bytes_max: int) -> bytes | LineFault | None:
        """The next line without its CR LF; None when it is not here yet.

        A line whose CR LF does not end within `bytes_max` octets is LineFault.TOO_LONG; the next call goes on
        after its end, or says LineFault.ENDLESS when that does not come.
        """
        if self._discard_bytes and not self._discarded():
            return LineFault.ENDLESS if len(self) >= self._discard_bytes else None
        octets, at = self._octets, self._at
        end = octets.find(b"\r\n", self._searched, at + bytes_max)
        if end >= 0:
            self._at = self._searched = end + 2
            return octets[at:end]
        here = len(octets) - at
        if here >= bytes_max:
            # The last octet stays: it may be the CR of the CR LF.
            self._at = self._searched = at + bytes_max - 1
            self._discard_bytes = DISCARD_BYTES
            return LineFault.TOO_LONG
        if here:
            self._searched = len(octets) - 1
        return None

    def _discarded(self) -> bool:
        """Throw away up to the CR LF; whether it was found. The last octet stays, as above."""
        end = self._octets.find(b"\r\n", self._at, self._at + self._discard_bytes)
        if end >= 0:
            self._at = self._searched = end + 2
            self._discard_bytes = 0
            return True
        if 1 < len(self) < self._discard_bytes:
            self._discard_bytes -= len(self) - 1
            self._at = self._searched = len(self._octets) - 1
        return False
