"""A message as a terminal shows it: who it is from, what about, and its plain text, with nothing in it that a
terminal would obey (RFC 821 section 3.4 sends such messages to the terminals of users).

For showing only: what is delivered is never made from this.
"""

from __future__ import annotations

import unicodedata
from email import message_from_bytes, policy
from email.message import EmailMessage

import msgspec

from postroad.vocabulary.limits import TERMINAL_LINE_CHARACTERS, TERMINAL_LINES

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls (ESC and the octets 128 to 159 among them), marks that turn the direction of text round, and what is no
character."""


class TerminalText(msgspec.Struct, frozen=True):
    """Each text is one line of safe characters."""

    from_: str
    subject: str
    lines: tuple[str, ...]


def terminal_text(content: bytes) -> TerminalText:
    """What to show of a message; `content` is small. Never raises: what cannot be decoded is shown as it is."""
    try:
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        header = safe_line(str(message.get("From", ""))), safe_line(str(message.get("Subject", "")))
        body = message.get_body(preferencelist=("plain",))
        text = str(body.get_content()) if body is not None else "(this message has no plain text)"
    except Exception:
        # The library's parser of addresses, words and charsets has ways of its own to fail on what strangers write.
        header = "", ""
        text = content.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    shown = tuple(safe_line(line) for line in lines[:TERMINAL_LINES])
    if len(lines) > TERMINAL_LINES:
        shown = (*shown, f"({len(lines) - TERMINAL_LINES} more lines)")
    return TerminalText(header[0], header[1], shown)


def safe_line(text: str) -> str:
    """One line without anything that a terminal obeys; at most TERMINAL_LINE_CHARACTERS."""
    text = text[:TERMINAL_LINE_CHARACTERS].replace("\t", "    ")
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(c) in _UNSAFE else c for c in text)
