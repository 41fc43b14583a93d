"""Chance, for jitter and for shuffling equals, and unguessable octets."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Entropy(Protocol):
    def fraction(self) -> float:
        """0.0 <= x < 1.0."""
        ...

    def shuffled(self, items: list[T]) -> list[T]:
        """A new list in another order."""
        ...

    def token(self, size: int) -> bytes:
        """`size` octets that nobody can guess."""
        ...
