"""Text of any script in header fields that are US-ASCII (RFC 2047): written, and read to be shown.

The standard library's own folding loses spaces between encoded words in some versions of Python; a subject
must arrive as it was written.
"""

from __future__ import annotations

import binascii
import codecs
import re
from base64 import b64encode

_WORD_OCTETS = 42
"""Octets of UTF-8 in one encoded word: with its frame it stays under the 75 characters of RFC 2047 section 2."""
_PLAIN_MAX = 60
"""Characters of US-ASCII that fit on the field's first line."""
_ENCODED_WORD = re.compile(rb"=\?([!-)+-<>@-~]{1,40})(?:\*[A-Za-z0-9\-]{1,40})?\?([BbQq])\?([!->@-~]{0,800})\?=")
_BETWEEN = re.compile(rb"(\?=)[ \t]+(?==\?)")
_ATOMS = re.compile(r"[\w!#$%&'*+\-/=?^`{|}~ ]*", re.ASCII)


def unstructured(text: str) -> str:
    """`text` as the value of a field such as Subject: as it is when it fits, else encoded and folded."""
    return text if _is_plain(text) else encoded_words(text)


def phrase(text: str) -> str:
    """`text` as a display name (RFC 5322 section 3.2.5)."""
    if not _is_plain(text):
        return encoded_words(text)
    if _ATOMS.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def encoded_words(text: str) -> str:
    """`text` as encoded words, one a line. No character is cut in two (RFC 2047 section 5), and the line
    ends between them are no part of the text (section 6.2)."""
    pieces: list[str] = []
    piece = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD_OCTETS:
            pieces.append(_word(piece))
            piece = b""
        piece += octets
    pieces.append(_word(piece))
    return "\r\n ".join(pieces)


def decoded(value: bytes) -> str:
    """An unfolded field value as a person would read it. Never raises: an encoded word that cannot be read stays as
    it is, and octets that are no UTF-8 become U+FFFD (RFC 2047 sections 6.2 and 6.3, RFC 6532)."""
    pieces: list[str] = []
    end = 0
    # White space between encoded words is no part of the text.
    value = _BETWEEN.sub(rb"\1", value)
    for match in _ENCODED_WORD.finditer(value):
        pieces.append(value[end : match.start()].decode("utf-8", "replace"))
        pieces.append(_read(match))
        end = match.end()
    pieces.append(value[end:].decode("utf-8", "replace"))
    return "".join(pieces)


def _read(match: re.Match[bytes]) -> str:
    charset, encoding, text = match.groups()
    try:
        if encoding in b"Bb":
            octets = binascii.a2b_base64(text)
        else:
            octets = binascii.a2b_qp(text, header=True)
        # Not bytes.decode: Python also has codecs that are no character sets.
        reader = codecs.lookup(charset.decode("ascii"))
        return octets.decode(reader.name, "replace")
    except (ValueError, LookupError):
        return match[0].decode("ascii")


def _is_plain(text: str) -> bool:
    # White space at the ends would be lost, and what looks like an encoded word would be decoded.
    return (
        text.isascii() and text.isprintable() and len(text) <= _PLAIN_MAX and text == text.strip() and "=?" not in text
    )


def _word(octets: bytes) -> str:
    return f"=?utf-8?b?{b64encode(octets).decode('ascii')}?="
