"""What stretches of octets ask of a transport: 7bit, 8bit or binary (RFC 2045 sections 2.7 to 2.9)."""

from __future__ import annotations

from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import CONTENT_LINE_BYTES


class OctetFacts:
    """Give it the octets in any split with `look`, then `finish`; the facts are true of all that was seen so far.

    eight_bit   an octet over 127
    is_broken   NUL, or a CR or LF that is no line end: only BINARYMIME carries it (RFC 3030 section 3)
    has_long    a line of more than 998 octets and its CR LF: likewise
    """

    __slots__ = ("_held_cr", "_line_bytes", "eight_bit", "has_long", "is_broken")

    def __init__(self) -> None:
        self.eight_bit = False
        self.is_broken = False
        self.has_long = False
        self._held_cr = False
        self._line_bytes = 0

    @property
    def is_binary(self) -> bool:
        return self.is_broken or self.has_long

    @property
    def needs(self) -> BodyType:
        """The least that a transport must be able to do."""
        if self.is_broken or self.has_long:
            return BodyType.BINARY_MIME
        return BodyType.EIGHT_BIT_MIME if self.eight_bit else BodyType.SEVEN_BIT

    def look(self, octets: bytes) -> None:
        if self._held_cr:
            octets = b"\r" + octets
        if not octets:
            return
        self._held_cr = octets.endswith(b"\r")
        if self._held_cr:
            octets = octets[:-1]
        self.eight_bit = self.eight_bit or not octets.isascii()
        if not self.is_broken:
            lines = octets.count(b"\r\n")
            self.is_broken = octets.count(b"\n") != lines or octets.count(b"\r") != lines or b"\0" in octets
        if not self.has_long:
            self._measure(octets)

    def finish(self) -> None:
        """The stretch ends here: a CR at its very end is a lone one."""
        self.is_broken = self.is_broken or self._held_cr

    def _measure(self, octets: bytes) -> None:
        """From line end to line end in the longest steps allowed: most lines are never looked at."""
        total = len(octets)
        start = -self._line_bytes
        while total - start >= CONTENT_LINE_BYTES - 1:
            end = octets.rfind(b"\n", max(start, 0), start + CONTENT_LINE_BYTES)
            if end == -1:
                self.has_long = True
                return
            start = end + 1
        last = octets.rfind(b"\n", max(start, 0))
        self._line_bytes = total - (start if last == -1 else last + 1)


def needs(content: bytes) -> BodyType:
    """The least BODY that content needs, whatever its transaction declared."""
    facts = OctetFacts()
    facts.look(content)
    facts.finish()
    return facts.needs
