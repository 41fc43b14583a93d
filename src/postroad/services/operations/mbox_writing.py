"""A message as it stands in an mbox (RFC 4155), for whatever writes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from postroad.message.mbox import MboxQuoting, from_line


def in_mbox(sender: str, at: datetime, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The line before it, the message with LF and its quoted lines (mboxrd), and the empty line after it. `pieces` are
    its octets with CR LF, in any split; `sender` is "" for the null reverse-path."""
    yield from_line(sender, at) + b"\n"
    quoting = MboxQuoting()
    for piece in pieces:
        yield quoting.feed(piece)
    yield quoting.end()
