"""What sendmail(8) reads from standard input, made into a message for submission.

Unix programs end lines with LF alone; mail wants CR LF (RFC 5322 section 2.3). With `-t` the recipients
stand in the header, and Bcc is taken out of it (RFC 5322 section 3.6.3).
"""

from __future__ import annotations

import re
from email.utils import getaddresses
from typing import BinaryIO

import msgspec

from postroad.message import header as headers
from postroad.services.operations.performer import OperationFailed
from postroad.vocabulary.limits import SENDMAIL_INPUT_BYTES

_RECIPIENT_FIELDS = headers.finder(b"to", b"cc", b"bcc")
_BCC = headers.finder(b"bcc")
_FROM = headers.finder(b"from")
_LONE_LINE_END = re.compile(rb"\r\n|\r|\n")


class Letter(msgspec.Struct, frozen=True):
    """A message ready to be submitted, and the recipients found in its header (empty without -t)."""

    content: bytes
    recipients: tuple[str, ...]


def read_letter(
    source: BinaryIO,
    *,
    dot_ends: bool,
    recipients_from_header: bool,
    default_from: str,
    most: int = SENDMAIL_INPUT_BYTES,
) -> Letter:
    """Read a whole message.

    With `dot_ends` a line that is a single dot ends it. `default_from` becomes the From field where there is
    none (sendmail has always done so). Raises OperationFailed 65 when it is longer than `most` octets.
    """
    octets = source.read(most + 1)
    if len(octets) > most:
        raise OperationFailed(f"the message is longer than {most} octets", 65)
    content = _LONE_LINE_END.sub(b"\r\n", octets)
    # Old mailbox programs put their "From " line first; it is no header field.
    if content.startswith(b"From "):
        content = content.partition(b"\r\n")[2]
    if dot_ends:
        content = _until_dot(content)
    header, rest = headers.split_header(content)
    recipients: tuple[str, ...] = ()
    if recipients_from_header:
        recipients = _recipients(header)
        header = _without(header, _BCC)
    if not headers.find_fields(header, _FROM):
        header = f"From: {default_from}\r\n".encode() + header
    if not rest.startswith(b"\r\n"):
        rest = b"\r\n" + rest
    return Letter(header + rest, recipients)


def _until_dot(content: bytes) -> bytes:
    if content.startswith(b".\r\n"):
        return b""
    end = content.find(b"\r\n.\r\n")
    return content if end < 0 else content[: end + 2]


def _recipients(header: bytes) -> tuple[str, ...]:
    values = [
        headers.unfold(header, field).decode("utf-8", "replace")
        for field in headers.find_fields(header, _RECIPIENT_FIELDS)
    ]
    addresses = [address for _, address in getaddresses(values) if address]
    if any(value.strip() for value in values) and not addresses:
        raise OperationFailed("the addresses in To, Cc and Bcc cannot be read", 65)
    return tuple(dict.fromkeys(addresses))


def _without(header: bytes, names: re.Pattern[bytes]) -> bytes:
    kept, position = [], 0
    for field in headers.find_fields(header, names):
        kept.append(header[position : field.start])
        position = field.end
    return b"".join((*kept, header[position:]))
