"""Work on octets that would hold up the loop: a thread in the world, the caller itself in a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Aside(Protocol):
    async def __call__(self, function: Callable[[A], R], argument: A) -> R:
        """What the function returns or raises. It must be pure, or be asked for once at a time."""
        ...
