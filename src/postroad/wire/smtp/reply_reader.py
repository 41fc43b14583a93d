"""Replies of a peer from octets to values (RFC 5321 section 4.2). Lenient, bounded, and never raising.

Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
"""

from __future__ import annotations

from functools import lru_cache

from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import REPLY_CACHE_ENTRIES, REPLY_LINE_BYTES, REPLY_LINES
from postroad.vocabulary.reply import Reply, printable


class BadReply(Exception):
    """What came is no reply, or has no end; the reason in words for people."""


class ReplyReader:
    """`append` what comes, then `take` replies until there is none."""

    __slots__ = ("_at", "_lines", "_octets")

    def __init__(self) -> None:
        self._octets = b""
        self._at = 0
        self._lines: list[str] = []

    def __len__(self) -> int:
        """Octets that no reply was made of yet."""
        return len(self._octets) - self._at

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._octets) and not self._lines

    def clear(self) -> None:
        self._octets = b""
        self._at = 0
        self._lines = []

    def append(self, data: bytes) -> None:
        self._octets = data if self._at == len(self._octets) else self._octets[self._at :] + data
        self._at = 0

    def take(self) -> Reply | BadReply | None:
        """The next whole reply; None when it is not here yet; BadReply (given, not raised) when it can never be
        one. A lone LF ends a line as well: nothing follows from a reply but what we do ourselves."""
        octets = self._octets
        while self._at < len(octets):
            at = self._at
            end = octets.find(b"\n", at, at + REPLY_LINE_BYTES)
            if end < 0:
                return BadReply("a line of the reply is too long") if len(octets) - at >= REPLY_LINE_BYTES else None
            line = octets[at : end - 1] if octets[end - 1 : end] == b"\r" and end > at else octets[at:end]
            self._at = end + 1
            if line[3:4] != b"-" and not self._lines:
                return _one_line_reply(line) or BadReply(f"not an SMTP reply: {_shown(line)}")
            if _code_of(line) is None:
                return BadReply(f"not an SMTP reply: {_shown(line)}")
            self._lines.append(_text_of(line))
            if line[3:4] != b"-":
                code = _code_of(line)
                assert code is not None
                lines, self._lines = self._lines, []
                return _reply(code, lines)
            if len(self._lines) >= REPLY_LINES:
                return BadReply("the reply has no end")
        return None


@lru_cache(maxsize=REPLY_CACHE_ENTRIES)
def _one_line_reply(line: bytes) -> Reply | None:
    code = _code_of(line)
    return None if code is None else _reply(code, [_text_of(line)])


def _code_of(line: bytes) -> int | None:
    """Three digits, then SP, "-" or nothing; the first is 2 to 5. A second digit beyond 5 is of no meaning to
    us, so the code becomes x50 (RFC 5321 section 4.3.2: go by the first digit)."""
    digits = line[:3]
    if len(digits) != 3 or not digits.isdigit() or line[3:4] not in (b" ", b"-", b"", b"\t"):
        return None
    code = int(digits)
    if not 200 <= code <= 599:
        return None
    return code if code // 10 % 10 <= 5 else code // 100 * 100 + 50


def _text_of(line: bytes) -> str:
    text = printable(line[4:].decode("utf-8", "replace"), REPLY_LINE_BYTES)
    code = _code_of(line)
    if code is not None and int(line[:3]) != code:
        text = f"({line[:3].decode('ascii')}) {text}"
    return text


def _reply(code: int, lines: list[str]) -> Reply:
    """With its enhanced status taken out of the text, where it agrees with the code (RFC 2034 section 4)."""
    said = next((line for line in (lines[-1], lines[0]) if EnhancedStatus.parse(line) is not None), "")
    status = EnhancedStatus.parse(said)
    if status is None or status.class_ != code // 100:
        return Reply(code, tuple(lines))
    prefix = said.split(None, 1)[0]
    texts = (line[len(prefix) :].lstrip(" ") if line.startswith(prefix) else line for line in lines)
    return Reply(code, tuple(texts), status)


def _shown(line: bytes) -> str:
    return printable(line.decode("utf-8", "replace"), 80)
