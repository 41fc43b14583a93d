"""What an input decides besides the octets that are sent: taken from its front, octet by octet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

LONG, LONG_BYTES, LONGS = b"{LONG}", 70_000, 3
"""A token in an input for so many octets in its place, a few times: no fuzzer finds a line of 64 KiB by itself."""

_GOLDEN = 0x9E3779B1


class Choices:
    """Reads an input from its front; what is not there is 0 or empty."""

    def __init__(self, given: bytes) -> None:
        self._given = given
        self._at = 0

    def octet(self) -> int:
        at = self._at
        self._at += 1
        return self._given[at] if at < len(self._given) else 0

    def one_of(self, things: Sequence[T]) -> T:
        return things[self.octet() % len(things)]

    def octets(self, most: int) -> bytes:
        """Up to `most` octets; their number is the input's own choice."""
        count = min(self.octet() * 256 + self.octet(), most)
        taken = self._given[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        taken, self._at = self._given[self._at :], len(self._given)
        return taken


def expanded(octets: bytes) -> bytes:
    return octets.replace(LONG, b"x" * LONG_BYTES, LONGS)


def pieces(octets: bytes, seed: int) -> Iterator[bytes]:
    """The octets in chunks of lengths that `seed` decides, the same each time."""
    at, state = 0, seed + 1
    while at < len(octets):
        state = (state * _GOLDEN + 0x7F4A) & 0xFFFFFFFF
        # Mostly short ones: it is at their edges that something may go wrong.
        length = 1 + (state >> 16) % (4 if state & 0x300 else 3000)
        yield octets[at : at + length]
        at += length


def three_cuts(octets: bytes, seed: int, *, single_most: int = 1500) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Whole, in pieces, and, unless that takes too long, an octet each. No chunk is empty."""
    cut = list(pieces(octets, seed))
    single = [octets[n : n + 1] for n in range(len(octets))] if len(octets) <= single_most else cut
    return [octets] if octets else [], cut, single
