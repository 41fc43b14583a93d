"""Chance from the operating system, which nobody can guess."""

from __future__ import annotations

import random
import secrets
from typing import TypeVar

T = TypeVar("T")


class SystemEntropy:
    """Implements contracts/entropy.py."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def fraction(self) -> float:
        return self._random.random()

    def shuffled(self, items: list[T]) -> list[T]:
        return self._random.sample(items, len(items))

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)
