"""Lines that end as they may on their way to a mailbox: by CR LF and nothing else (RFC 5321 section 2.3.8)."""

from __future__ import annotations

import re

# Some programs put a CR before each CR LF: a run of CR with its LF is one end of a line.
_LINE_END = re.compile(rb"\r++\n?|\n")


class CrLf:
    """Every LF, CR and CR LF becomes CR LF, in whatever split the octets come."""

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, octets: bytes) -> bytes:
        if self._after_cr:
            octets = b"\r" + octets
        body = octets.rstrip(b"\r")
        self._after_cr = len(body) < len(octets)
        if b"\r" not in body:
            return body.replace(b"\n", b"\r\n")
        return _LINE_END.sub(b"\r\n", body)

    def end(self) -> bytes:
        rest = b"\r\n" if self._after_cr else b""
        self._after_cr = False
        return rest


class Lf:
    """Every CR LF becomes LF, as files of this system have it, in whatever split the octets come."""

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, octets: bytes) -> bytes:
        if self._after_cr:
            octets = b"\r" + octets
        self._after_cr = octets.endswith(b"\r")
        return (octets[:-1] if self._after_cr else octets).replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        rest = b"\r" if self._after_cr else b""
        self._after_cr = False
        return rest
