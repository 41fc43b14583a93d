"""A new message from its plain parts, for `postroad send`: the one place that writes mail with the `email` package.

What comes out is US-ASCII whatever goes in (RFC 2045, RFC 2047), unless an address itself is not: then its
header is UTF-8 (RFC 6532) and the message must travel with SMTPUTF8.
"""

from __future__ import annotations

from collections.abc import Sequence
from email import policy
from email.errors import InvalidHeaderDefect, MessageError
from email.headerregistry import Address, AddressHeader, HeaderRegistry
from email.message import EmailMessage
from typing import cast
from urllib.parse import quote

import msgspec

from postroad.message.encoded_words import phrase, unstructured

_REGISTRY = HeaderRegistry()
_POLICY = policy.SMTP.clone(cte_type="7bit")

# Types by the end of the file's name; the machine's own tables are not asked: a message is the same everywhere.
_TYPES = {
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "gif": "image/gif",
    "gz": "application/gzip",
    "html": "text/html",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "odt": "application/vnd.oasis.opendocument.text",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "zip": "application/zip",
}
_ANY = "application/octet-stream"


class Attachment(msgspec.Struct, frozen=True):
    filename: str
    octets: bytes


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to send. `from_` and `to` are addresses, with a display name or without:
    `Ann Lee <ann@a.example>`. `date` and `message_id` are texts of those fields; "" leaves them to submission.
    `html` is the text a second time, for who would rather have that (RFC 2046 section 5.1.4). To the address
    `list_unsubscribe` people write who want no more (RFC 2369 section 3.2)."""

    from_: str
    to: tuple[str, ...]
    subject: str = ""
    text: str = ""
    html: str = ""
    cc: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    date: str = ""
    message_id: str = ""
    list_unsubscribe: str = ""


class Composed(msgspec.Struct, frozen=True):
    """`content` has CR LF line ends; `sender` and `recipients` are the bare addresses of the header."""

    content: bytes
    sender: str
    recipients: tuple[str, ...]
    smtputf8: bool


def compose(draft: Draft) -> Composed:
    """Write the message.

    Raises ValueError, with a sentence for people, for what is not an address, for control characters in a
    header field or a file name, and when there is no recipient.
    """
    sender = _addresses("From", (draft.from_,))
    to = _addresses("To", draft.to)
    cc = _addresses("Cc", draft.cc)
    if len(sender) != 1:
        raise ValueError("From: one address, please")
    if not to and not cc:
        raise ValueError("To: at least one address is needed")
    bare = tuple(dict.fromkeys(address.addr_spec for address in (*to, *cc)))
    international = not all(address.isascii() for address in (sender[0].addr_spec, *bare))
    head = [f"From: {_address_list(sender)}", f"To: {_address_list(to)}", f"Cc: {_address_list(cc)}"]
    _refuse_controls("Subject", draft.subject)
    head.append(f"Subject: {unstructured(draft.subject)}")
    for name, value in (("Date", draft.date), ("Message-ID", draft.message_id)):
        _refuse_controls(name, value)
        head.append(f"{name}: {value}")
    if draft.list_unsubscribe:
        head.append(f"List-Unsubscribe: <mailto:{_mailto(draft.list_unsubscribe)}>")
    # A field without a value is left out; a message without a subject is one all the same.
    fields = "".join(f"{field}\r\n" for field in head if not field.endswith(": ") or field == "Subject: ")
    body = EmailMessage(policy=_POLICY)
    _put_text(body, draft.text)
    if draft.html:
        body.make_alternative()
        body.set_boundary("=_postroad_alternative")
        body.add_alternative(draft.html, subtype="html", charset="utf-8", cte=_encoding(draft.html))
    for attachment in draft.attachments:
        _attach(body, attachment)
    if draft.attachments:
        # "=_" stands in no base64 or quoted-printable part (RFC 2045 section 6.7); a text that has it is made one.
        body.set_boundary("=_postroad_part")
    content = fields.encode("utf-8") + body.as_bytes()
    return Composed(content, sender[0].addr_spec, bare, international)


def _addresses(name: str, texts: Sequence[str]) -> tuple[Address, ...]:
    """The addresses of one field."""
    found: list[Address] = []
    for text in texts:
        _refuse_controls(name, text)
        try:
            header = _REGISTRY("To", text)
            defects = header.defects
            addresses = cast(AddressHeader, header).addresses
        except (MessageError, ValueError, IndexError, AttributeError):
            # The library's parser stumbles over some texts that are no address.
            raise ValueError(f"{name}: {text!r} is not an address")
        invalid = any(isinstance(defect, InvalidHeaderDefect) for defect in defects)
        if not addresses or invalid or not all(address.username and address.domain for address in addresses):
            raise ValueError(f"{name}: {text!r} is not an address")
        found += addresses
    return tuple(found)


def _mailto(text: str) -> str:
    """The address as RFC 6068 section 2 writes it. Raises ValueError."""
    addresses = _addresses("List-Unsubscribe", (text,))
    if len(addresses) != 1:
        raise ValueError("List-Unsubscribe: one address, please")
    return quote(addresses[0].addr_spec, safe="@!$'*+-/?^_`{|}~.=")


def _address_list(addresses: tuple[Address, ...]) -> str:
    """The value of an address field, an address a line (RFC 5322 section 3.4)."""
    texts = (f"{phrase(a.display_name)} <{a.addr_spec}>" if a.display_name else a.addr_spec for a in addresses)
    return ",\r\n ".join(texts)


def _refuse_controls(name: str, text: str) -> None:
    if any((ord(c) < 32 and c != "\t") or c == "\x7f" for c in text):
        raise ValueError(f"{name}: a line end or another control character cannot stand there")


def _put_text(message: EmailMessage, text: str) -> None:
    """The text as the body, in an encoding that keeps every line short (RFC 5322 section 2.1.1)."""
    message.set_content(text, charset="utf-8", cte=_encoding(text))


def _encoding(text: str) -> str:
    lines = text.splitlines()
    plain = text.isascii() and all(len(line) <= 78 for line in lines) and "=_" not in text
    others = sum(not c.isascii() for c in text)
    return "7bit" if plain else "base64" if others > len(text) // 6 else "quoted-printable"


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    _refuse_controls("attachment", attachment.filename)
    filename = attachment.filename.replace("\\", "/").rpartition("/")[2] or "attachment"
    type_ = _TYPES.get(filename.rpartition(".")[2].lower(), _ANY)
    main, _, sub = type_.partition("/")
    message.add_attachment(attachment.octets, maintype=main, subtype=sub, filename=filename)
