"""What other programs note of a message, and where: flags in the name of a Maildir's file or in fields of an mbox, and
the folders of Maildir++. Here they are IMAP's flags, separated by spaces (RFC 9051 section 2.3.2), and names with `/`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from postroad.message.header import find_fields, finder, split_header, unfold
from postroad.vocabulary.limits import FOLDER_NAME_CHARACTERS

_BY_LETTER = {
    "D": "\\Draft", "F": "\\Flagged", "P": "$Forwarded", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted",
}  # fmt: skip
_LETTERS = {flag: letter for letter, flag in _BY_LETTER.items()}
_INFO = ":2,"

# Of an mbox: `Status: RO`, where R is read and O old, and `X-Status: AFDT`.
_BY_STATUS = {b"R": "\\Seen"}
_BY_X_STATUS = {b"A": "\\Answered", b"F": "\\Flagged", b"T": "\\Draft", b"D": "\\Deleted"}
_STATUS = finder(b"status", b"x-status")

_ENCODED = re.compile(r"&([A-Za-z0-9+,]*)-")


def from_maildir_name(name: str) -> str:
    """The flags that the name of a file in `cur` says."""
    info = name.rpartition(_INFO)[2] if _INFO in name else ""
    return _joined(_BY_LETTER[letter] for letter in info if letter in _BY_LETTER)


def to_maildir_info(flags: str) -> str:
    """ ":2," and letters in order, as Maildir wants them."""
    return _INFO + "".join(sorted(_LETTERS[flag] for flag in flags.split() if flag in _LETTERS))


def take_status(beginning: bytes) -> tuple[bytes, str]:
    """Of the beginning of a message that has its whole header: the same without what the mbox's owner noted in it, and
    the flags. One field of each kind goes, the last: what the message had itself stays."""
    header, rest = split_header(beginning)
    last = {field.name: field for field in find_fields(header, _STATUS)} if header else {}
    if not last:
        return beginning, ""
    flags = []
    for name, meanings in ((b"status", _BY_STATUS), (b"x-status", _BY_X_STATUS)):
        if name in last:
            value = unfold(header, last[name]).upper()
            flags += [flag for letter, flag in meanings.items() if letter in value]
    for field in sorted(last.values(), key=lambda field: field.start, reverse=True):
        header = header[: field.start] + header[field.end :]
    return header + rest, _joined(flags)


def put_status(beginning: bytes, flags: str) -> bytes:
    """The inverse, for the beginning of a message with CR LF: both fields are added, also where they are empty, so
    that what the message had itself is not taken for them. Where there is no header the flags are lost."""
    header, rest = split_header(beginning)
    if not header:
        return beginning
    set_flags = set(flags.split())
    status = b"".join(letter for letter, flag in _BY_STATUS.items() if flag in set_flags) + b"O"
    x_status = b"".join(letter for letter, flag in _BY_X_STATUS.items() if flag in set_flags)
    end = b"" if header.endswith(b"\n") else b"\r\n"
    return b"%b%bStatus: %b\r\nX-Status: %b\r\n%b" % (header, end, status, x_status, rest)


def from_maildir_folder(name: str) -> str:
    """ ".Work.2001" -> "Work/2001", from modified UTF-7 (RFC 3501 section 5.1.3). Raises ValueError."""
    parts = [_decoded(part) for part in name.removeprefix(".").split(".")]
    return checked_folder("/".join(parts))


def to_maildir_folder(folder: str) -> str:
    return "." + ".".join(_encoded(part) for part in folder.split("/"))


def checked_folder(folder: str) -> str:
    """A name that a folder may have. Raises ValueError with the reason; "inbox" is spelled INBOX."""
    if not folder or len(folder) > FOLDER_NAME_CHARACTERS:
        raise ValueError(f"a folder's name has 1 to {FOLDER_NAME_CHARACTERS} characters")
    if not folder.isprintable() or not all(folder.split("/")):
        raise ValueError(f"{folder!r} cannot be the name of a folder")
    return "INBOX" if folder.upper() == "INBOX" else folder


def _joined(flags: Iterable[str]) -> str:
    return " ".join(sorted(set(flags)))


def _decoded(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if not match[1]:
            return "&"
        octets = match[1].replace(",", "/")
        return base64.b64decode(octets + "=" * (-len(octets) % 4)).decode("utf-16-be")

    return _ENCODED.sub(one, text)


def _encoded(text: str) -> str:
    """Dots too, which stand between folders."""
    made = ""
    shifted = ""
    for character in [*text, ""]:
        if character and (not " " <= character <= "~" or character == "."):
            shifted += character
            continue
        if shifted:
            octets = base64.b64encode(shifted.encode("utf-16-be")).decode("ascii").rstrip("=").replace("/", ",")
            made += f"&{octets}-"
            shifted = ""
        made += "&-" if character == "&" else character
    return made
