"""Content that lives in its row, as the contracts' `StoredContent`: read with it, and whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from postroad.vocabulary.limits import READ_BYTES


class ContentInRow:
    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size_bytes(self) -> int:
        return len(self._octets)

    def in_memory(self) -> bytes | None:
        """Always, even where it is a little more than CONTENT_IN_ROW_BYTES, as a notification may be."""
        return self._octets

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in pieces(self._octets):
            yield piece

    def file_path(self) -> str | None:
        return None


def pieces(octets: bytes) -> Iterator[bytes]:
    """The octets in pieces of at most READ_BYTES."""
    for start in range(0, len(octets), READ_BYTES):
        yield octets[start : start + READ_BYTES]
