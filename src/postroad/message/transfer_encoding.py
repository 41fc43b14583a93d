"""Octets as quoted-printable and base64 (RFC 2045 sections 6.7 and 6.8), in any split of the input.

    encoder = QuotedPrintable()
    out = encoder.feed(chunk) + ... + encoder.end()

What comes out is 7bit, its lines are ended by CR LF and at most 76 octets long, and none begins with two hyphens:
an encoded body can hold no boundary, whatever was encoded. Decoded it is the input, octet for octet.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import Protocol

_LINE_OCTETS = 76
_BASE64_IN_LINE = 57
_FOLD_AT = 73
"""Octets of a folded line: room is left for the soft line break and for an escaped hyphen."""
_HELD_BYTES = 4096
"""Of a line without an end, before its beginning is written."""

_ESCAPES = [f"={octet:02X}".encode() for octet in range(256)]
_LITERAL = [bytes([octet]) if 32 <= octet <= 126 or octet == 9 else _ESCAPES[octet] for octet in range(256)]
_ENCODED = [*_LITERAL[:61], b"=3D", *_LITERAL[62:]]
_PLAIN = re.compile(rb"[\t -<>-~]*+")
_LINE_END = re.compile(rb"\r?\n")
_NOT_BASE64 = bytes(
    octet for octet in range(256) if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)


class Encoder(Protocol):
    def feed(self, octets: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Base64Lines:
    """Lines without the CR LF of the last one, for that may be a boundary's."""

    def __init__(self) -> None:
        self._held = b""
        self._has_begun = False

    def _lines(self, text: bytes) -> bytes:
        if not text:
            return b""
        lines = [text[at : at + _LINE_OCTETS] for at in range(0, len(text), _LINE_OCTETS)]
        if self._has_begun:
            lines.insert(0, b"")
        self._has_begun = True
        return b"\r\n".join(lines)


class Base64(_Base64Lines):
    def feed(self, octets: bytes) -> bytes:
        octets = self._held + octets
        whole = len(octets) - len(octets) % _BASE64_IN_LINE
        self._held = octets[whole:]
        return self._lines(b2a_base64(octets[:whole], newline=False))

    def end(self) -> bytes:
        return self._lines(b2a_base64(self._held, newline=False))


class CleanBase64(_Base64Lines):
    """For what is base64 already but not 7bit: without the octets that a decoder ignores, in proper lines."""

    def feed(self, octets: bytes) -> bytes:
        text = self._held + octets.translate(None, _NOT_BASE64)
        whole = len(text) - len(text) % _LINE_OCTETS
        self._held = text[whole:]
        return self._lines(text[:whole])

    def end(self) -> bytes:
        return self._lines(self._held)


class QuotedPrintable:
    """CR LF is a line end, and stays one; a lone CR or LF is an octet like others."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, octets: bytes) -> bytes:
        lines = self._split(self._held + octets)
        self._held = lines.pop()
        out = [self._line(line) for line in lines]
        if len(self._held) > _HELD_BYTES:
            out.append(self._beginning())
            return b"\r\n".join(out)
        out.append(b"")
        return b"\r\n".join(out)

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return self._line(held)

    def _split(self, octets: bytes) -> list[bytes]:
        return octets.split(b"\r\n")

    def _line(self, line: bytes) -> bytes:
        """One whole line, without its end."""
        blank_end = line[-1:] in (b" ", b"\t")
        if len(line) <= _LINE_OCTETS and not blank_end and line[:2] != b"--" and _PLAIN.fullmatch(line):
            return line
        text = b"".join([_ENCODED[octet] for octet in line])
        if blank_end:
            text = text[:-1] + _ESCAPES[text[-1]]  # RFC 2045 section 6.7 (3): white space at the end may be lost
        return b"=\r\n".join(_folded(text))

    def _beginning(self) -> bytes:
        """What is held, without its last octet, which may be a CR; the line goes on."""
        text = b"".join([_ENCODED[octet] for octet in self._held[:-1]])
        self._held = self._held[-1:]
        return b"=\r\n".join([*_folded(text), b""])


class CleanQuotedPrintable(QuotedPrintable):
    """For what is quoted-printable already but not 7bit: the octets that may not stand in it are escaped, lines
    folded, lone LF made line ends. What is escaped stays as it is."""

    def _split(self, octets: bytes) -> list[bytes]:
        return _LINE_END.split(octets)

    def _line(self, line: bytes) -> bytes:
        return b"=\r\n".join(_folded(b"".join([_LITERAL[octet] for octet in line])))

    def _beginning(self) -> bytes:
        cut = len(self._held) - 1
        if (escape := self._held.rfind(b"=", cut - 2, cut)) != -1:
            cut = escape
        text = b"".join([_LITERAL[octet] for octet in self._held[:cut]])
        self._held = self._held[cut:]
        return b"=\r\n".join([*_folded(text), b""])


def _folded(text: bytes) -> list[bytes]:
    """Encoded text cut so that no line is over 76 octets with its soft line break, and no escape is cut through."""
    if len(text) <= _LINE_OCTETS and text[:2] != b"--":
        return [text]
    lines = []
    at, total = 0, len(text)
    while at < total:
        cut = min(at + _FOLD_AT, total)
        if cut < total and (escape := text.rfind(b"=", cut - 2, cut)) > at:
            cut = escape
        line = text[at:cut]
        lines.append(b"=2D" + line[1:] if line[:2] == b"--" else line)
        at = cut
    return lines
