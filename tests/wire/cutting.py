"""Ways to cut a stream of octets into chunks, for showing that it does not matter."""

from collections.abc import Iterable
from itertools import pairwise


def cut(octets: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The octets cut at these places; a place beyond the end is the end. No chunk is empty."""
    edges = [0, *sorted(min(edge, len(octets)) for edge in cuts), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges) if a < b]


def split(octets: bytes) -> list[bytes]:
    """An octet each."""
    return [octets[n : n + 1] for n in range(len(octets))]
