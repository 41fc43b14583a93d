"""The maildrop as a session sees it: numbers, sizes, unique-ids, and what is marked as deleted (RFC 1939 section 5)."""

from __future__ import annotations

from collections.abc import Sequence


class Listing:
    """A snapshot taken at login: numbers never shift, whatever is delivered or removed meanwhile.

    `sizes` and `uidls` are by message-number from 1. DELE only marks; the marks are what UPDATE removes.
    """

    def __init__(self, sizes: Sequence[int], uidls: Sequence[str]) -> None:
        assert len(sizes) == len(uidls), "a size and a unique-id for every message"
        self._sizes = sizes
        self._uidls = uidls
        self._deleted: set[int] = set()
        self._octets = sum(sizes)

    @property
    def count(self) -> int:
        """Messages that are not marked as deleted."""
        return len(self._sizes) - len(self._deleted)

    @property
    def octets(self) -> int:
        """The sum of their sizes."""
        return self._octets

    @property
    def deleted(self) -> tuple[int, ...]:
        return tuple(sorted(self._deleted))

    def has(self, number: int) -> bool:
        return 1 <= number <= len(self._sizes) and number not in self._deleted

    def size(self, number: int) -> int:
        return self._sizes[number - 1]

    def uidl(self, number: int) -> str:
        return self._uidls[number - 1]

    def delete(self, number: int) -> None:
        assert self.has(number)
        self._deleted.add(number)
        self._octets -= self.size(number)

    def reset(self) -> None:
        self._octets += sum(map(self.size, self._deleted))
        self._deleted.clear()

    def scan_lines(self) -> bytes:
        """All scan listings of LIST."""
        return self._lines(self._sizes)

    def uidl_lines(self) -> bytes:
        """All unique-id listings of UIDL."""
        return self._lines(self._uidls)

    def _lines(self, values: Sequence[int] | Sequence[str]) -> bytes:
        # One join: a maildrop may hold a hundred thousand messages.
        gone = self._deleted
        if gone:
            return "".join([f"{n} {v}\r\n" for n, v in enumerate(values, 1) if n not in gone]).encode("ascii")
        return "".join([f"{n} {v}\r\n" for n, v in enumerate(values, 1)]).encode("ascii")
