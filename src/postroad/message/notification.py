"""Notifications to the originator: delivery status notifications (RFC 3461, RFC 3464, RFC 6522, RFC 6533).

A multipart/report of three parts: words for people, fields for machines, and the original's header or the
original. Composed as octets; what peers and the original say is made harmless on the way in.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from postroad.message.header import first_value, split_header
from postroad.message.notification_request import Action, NotificationRequest, action_of
from postroad.message.notification_text import status_text, subject, text
from postroad.message.report_fields import clean
from postroad.message.trace import date_text, message_id_text
from postroad.vocabulary.envelope import BodyType, Envelope, Notify, Recipient
from postroad.vocabulary.limits import CONTENT_LINE_BYTES, NOTIFICATION_CONTENT_BYTES, NOTIFICATION_HEADER_BYTES

__all__ = ["Action", "NotificationRequest", "action_of", "compose", "envelope_for"]

_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,700}@[!-;=?-~]{1,255}>")
_LAST_FIELD_END = re.compile(rb"\n(?![ \t])")


class _Part(NamedTuple):
    type_: str
    encoding: str
    octets: bytes


def compose(request: NotificationRequest) -> bytes:
    """The notification as a message with CR LF line ends, for the null reverse-path (`envelope_for`).

    It is US-ASCII unless an address or the returned original is not; nothing in it is longer than a line
    may be. Raises ValueError for a null reverse-path or without outcomes: nobody is told about a
    notification (RFC 3461 section 6.1), and about nothing.
    """
    if request.envelope.reverse_path is None:
        raise ValueError("a message from the null reverse-path is never notified about")
    if not request.outcomes:
        raise ValueError("a notification is about at least one recipient")
    words = text(request).encode("utf-8")
    status = status_text(request).encode("utf-8")
    kind = "message/global-delivery-status" if request.envelope.smtputf8 else "message/delivery-status"
    parts = [
        _words(words, request.envelope.smtputf8),
        _Part(kind, _encoding(status), status),
        _original(request),
    ]
    boundary = _boundary(request.notification_id, parts)
    octets = [_header(request, boundary, parts)]
    for part in parts:
        octets.append(
            f"\r\n--{boundary}\r\nContent-Type: {part.type_}\r\n"
            f"Content-Transfer-Encoding: {part.encoding}\r\n\r\n".encode("ascii")
        )
        octets.append(part.octets)
    octets.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return b"".join(octets)


def envelope_for(request: NotificationRequest, content: bytes) -> Envelope:
    """The envelope of a composed notification: from the null reverse-path, asking for no notification about
    itself, and so without RET as well (RFC 3461 section 6.1, RFC 5321 section 4.5.5). What required TLS requires it for
    the report, too (RFC 8689 section 5)."""
    reverse_path = request.envelope.reverse_path
    assert reverse_path is not None, "compose() has refused it"
    return Envelope(
        reverse_path=None,
        recipients=(Recipient(reverse_path, notify=(Notify.NEVER,)),),
        body=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT_MIME,
        # Only To can hold what is not US-ASCII in the header.
        smtputf8=not reverse_path.is_ascii,
        require_tls=request.envelope.require_tls,
    )


def _header(request: NotificationRequest, boundary: str, parts: list[_Part]) -> bytes:
    fields = [
        f"From: Mail Delivery System <MAILER-DAEMON@{request.hostname}>",
        f"To: <{clean(str(request.envelope.reverse_path), utf8=True)}>",
        f"Subject: {subject(request)}",
        f"Date: {date_text(request.at)}",
        f"Message-ID: {message_id_text(request.notification_id, request.hostname)}",
    ]
    original_id = first_value(split_header(request.content)[0], b"message-id")
    if original_id is not None and _MESSAGE_ID.fullmatch(original_id):
        fields.append(f"In-Reply-To: {original_id.decode('ascii')}")
        fields.append(f"References: {original_id.decode('ascii')}")
    encoding = "8bit" if any(part.encoding == "8bit" for part in parts) else "7bit"
    fields += [
        # RFC 3834 section 5.
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        # RFC 6522 section 3.
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        f"Content-Transfer-Encoding: {encoding}",
        "",
    ]
    return "\r\n".join(fields).encode("utf-8")


def _words(words: bytes, smtputf8: bool) -> _Part:
    """What an author wrote in the Subject shall not make the report need more of the way than the mail did."""
    if words.isascii() or smtputf8:
        return _Part("text/plain; charset=utf-8", _encoding(words), words)
    return _Part("text/plain; charset=utf-8", "quoted-printable", _quoted_printable(words))


def _original(request: NotificationRequest) -> _Part:
    """The third part. The whole original is returned when the sender asked for it and something failed
    (RFC 3461 section 4.3), and when it can stand in a part as it is; otherwise its header, as always where TLS
    was required (RFC 8689 section 5)."""
    envelope = request.envelope
    content = request.content
    header = split_header(content)[0]
    if (
        envelope.ret == "FULL"
        and not envelope.require_tls
        and Action.FAILED in request.actions
        and request.content_is_whole
        and len(content) <= NOTIFICATION_CONTENT_BYTES
        and _has_proper_lines(content)
    ):
        international = envelope.smtputf8 and not header.isascii()
        return _Part("message/global" if international else "message/rfc822", _encoding(content), content)
    if len(header) > NOTIFICATION_HEADER_BYTES:
        header = _whole_fields(header[:NOTIFICATION_HEADER_BYTES])
    proper = _has_proper_lines(header)
    if envelope.smtputf8 and proper and not header.isascii():
        return _Part("message/global-headers", "8bit", header)
    # RFC 6522 section 4: a header that is not legal 7-bit text is quoted-printable.
    if proper and header.isascii():
        return _Part("text/rfc822-headers", "7bit", header)
    kind = "message/global-headers" if envelope.smtputf8 else "text/rfc822-headers"
    return _Part(kind, "quoted-printable", _quoted_printable(header))


def _whole_fields(header: bytes) -> bytes:
    """The fields that a cut header still has whole."""
    end = 0
    for match in _LAST_FIELD_END.finditer(header, 0, len(header)):
        # A LF that is the last octet may be followed by a continuation that was cut off.
        if match.end() < len(header):
            end = match.end()
    return header[:end]


def _has_proper_lines(octets: bytes) -> bool:
    """Whether CR and LF occur only together, lines are no longer than may be, and no NUL is there: what 7bit
    and 8bit mean (RFC 2045 section 2.8)."""
    ends = octets.count(b"\r\n")
    if octets.count(b"\n") != ends or octets.count(b"\r") != ends or b"\0" in octets:
        return False
    return max(map(len, octets.split(b"\r\n"))) <= CONTENT_LINE_BYTES - 2


def _quoted_printable(octets: bytes) -> bytes:
    """RFC 2045 section 6.7; line ends that are not CR LF are encoded as octets."""
    lines = (binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in octets.split(b"\r\n"))
    return b"\r\n".join(lines)


def _encoding(octets: bytes) -> str:
    return "7bit" if octets.isascii() else "8bit"


def _boundary(unique: str, parts: list[_Part]) -> str:
    """A boundary that no part contains (RFC 2046 section 5.1.1)."""
    number = 0
    while True:
        boundary = f"=_{unique}_{number}"
        delimiter = f"--{boundary}".encode("ascii")
        if not any(delimiter in part.octets for part in parts):
            return boundary
        # Each part is bounded, so only so many numbers can be in it.
        number += 1
