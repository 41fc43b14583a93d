"""Passwords for accounts that we make: easy to read aloud, hard to guess."""

from __future__ import annotations

import secrets

_CHARACTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0 and 1
_GROUPS = 4
_GROUP = 4


def readable_password() -> str:
    """Four groups of four, 80 bits."""
    return "-".join("".join(secrets.choice(_CHARACTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
