"""Multi-line responses from octets to content: transparency dots removed, the end seen (RFC 1939 section 3)."""

from __future__ import annotations

_END = b"\r\n.\r\n"


class DotReader:
    """Feed octets; what is behind the end is `rest`. Chunking-invariant: only CR LF . CR LF ends it."""

    __slots__ = ("_kept", "_skip", "ended", "rest")

    def __init__(self) -> None:
        # As if a line had just ended: a response of no lines is a single dot.
        self._kept = b"\r\n"
        self._skip = 2
        self.ended = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The content in these octets, as far as it is certain."""
        octets = self._kept + data
        out: list[bytes] = []
        start = 0
        # The last two octets may be the beginning of what ends it.
        cut = len(octets) - _beginning(octets)
        while (dot := octets.find(b"\r\n.", start)) >= 0:
            if octets.startswith(_END, dot):
                self.ended, self.rest = True, octets[dot + 5 :]
                octets, cut = octets[: dot + 2], dot + 2
                break
            if _END.startswith(octets[dot : dot + 5]):
                cut = dot
                break
            out.append(octets[start : dot + 2])
            start = dot + 3  # without the dot
        out.append(octets[start:cut])
        self._kept = octets[max(start, cut) :]
        return self._without_beginning(b"".join(out))

    def _without_beginning(self, out: bytes) -> bytes:
        if self._skip and out:
            # CR and LF of the line that never was come together, for they are kept until more is known.
            assert out.startswith(b"\r\n"), "nothing comes before the beginning"
            self._skip, out = 0, out[2:]
        return out


def _beginning(octets: bytes) -> int:
    """How many of the last octets may be the beginning of CR LF dot."""
    if octets.endswith(b"\r\n"):
        return 2
    return 1 if octets.endswith(b"\r") else 0
