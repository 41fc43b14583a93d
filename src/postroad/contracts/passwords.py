"""Password hashing, off the loop and bounded."""

from __future__ import annotations

from typing import Protocol

from postroad.vocabulary.credentials import ScramKeys


class Passwords(Protocol):
    async def hash(self, password: str) -> str:
        """An argon2id string. Raises Busy; ValueError over PASSWORD_BYTES or with NUL."""
        ...

    async def verify(self, name: str, stored: str, password: str) -> bool:
        """Whether `password` is the one behind `stored`. `name` keys the success cache.

        An empty `stored` (no such user, or no password) costs the same work and is False.
        Raises Busy when PASSWORD_QUEUE checks wait."""
        ...

    async def scram_keys(self, password: str) -> ScramKeys:
        """What SCRAM-SHA-256 keeps of a password (RFC 5802 section 3), with a salt of its own and
        SCRAM_ITERATIONS rounds. Raises Busy; ValueError as `hash`, and for what SASLprep refuses (RFC 4013)."""
        ...
