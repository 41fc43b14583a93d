"""The machine's part of a notification: message/delivery-status (RFC 3464 section 2, RFC 6533 section 3).

Everything a peer said is made printable and folded here; no text can end a field and begin another.
"""

from __future__ import annotations

import re

from postroad.vocabulary.address import Mailbox

_TEXT_MAX = 400
"""Characters kept of a peer's text: a reply of several lines, and never a line beyond 998 octets
(RFC 5322 section 2.1.1)."""
_LINE = 76
_TYPE = re.compile(r"[A-Za-z0-9\-]{1,30}")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")


def clean(text: str, *, utf8: bool, most: int = _TEXT_MAX) -> str:
    """`text` made fit for a field or for reading: what is not printable becomes "?"; so does what is not
    US-ASCII unless `utf8`."""
    text = text[:most].replace("\t", " ")
    if text.isprintable() and (utf8 or text.isascii()):
        return text
    return "".join(c if c.isprintable() and (utf8 or c.isascii()) else "?" for c in text)


def field(name: str, value: str) -> str:
    """One field, folded at its spaces (RFC 5322 section 2.2.3), with its CR LF."""
    lines = [f"{name}:"]
    for word in value.split(" "):
        if word and len(lines[-1]) + 1 + len(word) > _LINE and lines[-1].strip():
            lines.append("")
        if word:
            lines[-1] += " " + word
    return "\r\n".join(lines) + "\r\n"


def from_xtext(xtext: str) -> str:
    """What an xtext stands for (RFC 3461 section 4). What is not one stays as it is."""
    octets = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), xtext)
    # Octets of UTF-8 that were encoded one by one belong together.
    try:
        return octets.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return octets


def final_recipient(mailbox: Mailbox, *, utf8: bool) -> str:
    """`rfc822; bob@b.example` (RFC 3464 section 2.3.2), or the types of RFC 6533 section 3 for an address
    that is not US-ASCII: as it is in a message/global-delivery-status, escaped elsewhere."""
    address = str(mailbox)
    if address.isascii():
        return f"rfc822; {clean(address, utf8=False)}"
    return f"utf-8; {clean(address, utf8=True)}" if utf8 else f"utf-8; {to_utf8_xtext(address)}"


def original_recipient(original: str, *, utf8: bool) -> str:
    """The value of Original-Recipient for an ORCPT parameter as given, or "" if there was none
    (RFC 3464 section 2.3.1)."""
    type_, _, xtext = original.partition(";")
    if not xtext or not _TYPE.fullmatch(type_):
        return ""
    address = from_xtext(xtext)
    if type_.lower() == "utf-8" and not utf8 and not address.isascii():
        return f"{type_}; {to_utf8_xtext(address)}"
    return f"{type_}; {clean(address, utf8=utf8)}"


def to_utf8_xtext(address: str) -> str:
    """utf-8-addr-xtext (RFC 6533 section 3): US-ASCII, other characters as \\x{HEX}."""
    escaped = (c if "!" <= c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in address[:_TEXT_MAX])
    return "".join(escaped)
