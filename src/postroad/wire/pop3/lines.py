"""Command lines of a POP3 client, bounded (RFC 2449 section 4), and their arguments (RFC 1939 section 3)."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from postroad.vocabulary.limits import DISCARD_BYTES, POP3_COMMAND_LINE_BYTES


class Fault(Enum):
    TOO_LONG = "The line is too long"
    NO_CR = "Lines end with CR LF"
    ENDLESS = "The line does not end"
    """More than DISCARD_BYTES of one line: the session ends."""


Line: TypeAlias = bytes | Fault


class CommandLines:
    """Cuts octets into command lines.

    Only CR LF ends a command; what a bare LF ends is a fault and is never executed. Of a line longer than
    POP3_COMMAND_LINE_BYTES the rest is dropped as it comes, at most DISCARD_BYTES of it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._dropped = 0
        """Octets of the present line that are gone already; 0 while it fits."""

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def clear(self) -> None:
        self._buffer.clear()
        self._dropped = 0

    def next(self, longest: int = POP3_COMMAND_LINE_BYTES) -> Line | None:
        """The next line without its CR LF, a Fault in its place, or None until more octets come.

        A line has at most `longest` octets. TOO_LONG comes once it has ended, ENDLESS as soon as it is known.
        """
        buffer = self._buffer
        end = buffer.find(b"\n")
        if end == -1:
            if len(buffer) > longest or self._dropped:
                self._dropped += len(buffer)
                buffer.clear()
            return Fault.ENDLESS if self._dropped > DISCARD_BYTES else None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        length = self._dropped + end + 1
        self._dropped = 0
        if length > DISCARD_BYTES:
            return Fault.ENDLESS
        if length > longest:
            return Fault.TOO_LONG
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            return Fault.NO_CR
        return line[:-1]


_DIGITS_MAX = 10
"""Digits of a number that anybody can mean: no maildrop has 10^10 messages, no message as many lines."""


def number(argument: bytes) -> int | None:
    """A message-number or count of lines, or None for what is not a plain row of digits. A number longer than
    anybody can mean is returned as 10^10: it exceeds everything, and costs nothing to read."""
    if not argument.isdigit():
        return None
    digits = argument.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX
