"""What a delivery status notification says of each recipient (RFC 3464 section 2; RFC 6533), read from its octets.

Nothing raises whatever they are: what is no such report names nobody.
"""

from __future__ import annotations

import re

import msgspec

from postroad.message.header import fields, split_header, unfold
from postroad.message.report_fields import from_xtext
from postroad.message.structure import scan
from postroad.vocabulary.limits import LIST_BOUNCE_RECIPIENTS

_STATUS = (b"delivery-status", b"global-delivery-status")
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")
_WORD = re.compile(rb"[a-z]+")
_TOO_LARGE = ("2.3", "3.4")
_CODE = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}")


class RecipientStatus(msgspec.Struct, frozen=True):
    """`addresses` are the original and the final recipient, as far as they are named; `action` and `status` as they
    stand there, empty where they do not."""

    addresses: tuple[str, ...]
    action: str
    status: str

    @property
    def speaks_against_address(self) -> bool:
        """Whether the host has given up (RFC 3464 section 2.3.3; a 4 in front of the status then says that it was
        patient before, section 2.3.4), and not because of what was in the message (RFC 3463 sections 3.3, 3.4, 3.7)."""
        return self.action == "failed" and self.status[2:] not in _TOO_LARGE and self.status[2:4] != "6."


def read_report(content: bytes) -> tuple[RecipientStatus, ...] | None:
    """At most LIST_BOUNCE_RECIPIENTS; None where the message is no report. The end of the content may be missing.
    A report within the message that came back says nothing: only the outermost multipart/report counts (RFC 6522)."""
    parts = scan(content).parts
    if not parts or parts[0].media_type.type != b"multipart" or parts[0].media_type.subtype != b"report":
        return None
    for part in parts:
        if part.parent == 0 and part.media_type.type == b"message" and part.media_type.subtype in _STATUS:
            return _recipients(content[part.body_start : part.end])
    return None


def _recipients(text: bytes) -> tuple[RecipientStatus, ...]:
    found = []
    for block in _EMPTY_LINE.split(text):
        header = split_header(block + b"\r\n")[0]
        addresses: list[str] = []
        action = status = b""
        for field in fields(header):
            value = unfold(header, field)
            if field.name in (b"original-recipient", b"final-recipient"):
                address = value.partition(b";")[2].strip().decode("utf-8", "replace")
                addresses.append(from_xtext(address).removeprefix("<").removesuffix(">"))
            elif field.name == b"action":
                match = _WORD.match(value.lower())
                action = match[0] if match else b""
            elif field.name == b"status":
                match = _CODE.match(value)
                status = match[0] if match else b""
        if addresses:
            found.append(RecipientStatus(tuple(addresses), action.decode("ascii"), status.decode("ascii")))
            if len(found) == LIST_BOUNCE_RECIPIENTS:
                break
    return tuple(found)
