"""Chance by seed: the same seed gives the same choices, so that a failure can be seen again."""

from __future__ import annotations

import random
from typing import TypeVar

T = TypeVar("T")


class VirtualEntropy:
    """Implements contracts/entropy.py; its tokens can be guessed by whoever knows the seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def fraction(self) -> float:
        return self._random.random()

    def shuffled(self, items: list[T]) -> list[T]:
        return self._random.sample(items, len(items))

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)
