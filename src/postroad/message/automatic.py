"""Messages that this server writes for its users: the notice of absence (RFC 3834), and the warning that a mailbox is
nearly full."""

from __future__ import annotations

from datetime import datetime

import msgspec

from postroad.message.compose import Composed, Draft, compose
from postroad.message.header import find_fields, finder, unfold
from postroad.message.trace import date_text
from postroad.vocabulary.address import Mailbox

_THREAD = finder(b"message-id", b"references")
_REFERENCES_BYTES = 2000
"""RFC 5322 section 3.6.4 sets no bound; longer ones are left out."""


class Writer(msgspec.Struct, frozen=True):
    """Whom the message is from."""

    address: Mailbox
    name: str = ""

    def text(self) -> str:
        """For a From field; a name that cannot stand there is left out."""
        name = "".join(c for c in self.name if c.isprintable()).replace("\\", "").replace('"', "'")
        return f'"{name}" <{self.address}>' if name else str(self.address)


def absence_notice(
    writer: Writer, to: Mailbox, *, subject: str, text: str, about: bytes, at: datetime, message_id: str
) -> Composed:
    """RFC 3834 sections 3 and 5. `about` are the header fields of the message it answers. Raises ValueError for an
    address that no header field can hold."""
    draft = Draft(
        from_=writer.text(),
        to=(str(to),),
        subject=subject,
        text=_lines(text),
        date=date_text(at),
        message_id=message_id,
    )
    return with_fields([b"Auto-Submitted: auto-replied", *thread_fields(about)], compose(draft))


def quota_warning(owner: Mailbox, *, used: int, quota: int, at: datetime, message_id: str) -> Composed:
    """What the owner of a mailbox that is nearly full finds in it. Raises ValueError as above."""
    share = min(100, used * 100 // quota)
    text = (
        f"The mailbox of {owner} is nearly full:\n"
        f"{_megabytes(used)} of {_megabytes(quota)} are used, {share} per cent.\n"
        "\n"
        "When it is full, new mail for you is not taken any more. To make room, remove messages from the\n"
        "server, or ask your administrator for a larger mailbox. This is said once, until there is room again.\n"
    )
    draft = Draft(
        from_=Writer(Mailbox("postmaster", owner.domain), "Postmaster").text(),
        to=(str(owner),),
        subject="Your mailbox is nearly full",
        text=text,
        date=date_text(at),
        message_id=message_id,
    )
    return with_fields([b"Auto-Submitted: auto-generated"], compose(draft))


def thread_fields(about: bytes) -> list[bytes]:
    """In-Reply-To and References of an answer to the message with these fields (RFC 5322 section 3.6.4); none where it
    has no Message-ID that can be named."""
    thread = {field.name: unfold(about, field) for field in find_fields(about, _THREAD)}
    answered = thread.get(b"message-id", b"")
    if not answered.startswith(b"<") or not answered.isascii() or b" " in answered or len(answered) >= 900:
        return []
    named = [b"In-Reply-To: " + answered]
    references = b" ".join([*thread.get(b"references", b"").split(), answered])
    if references.isascii() and len(references) <= _REFERENCES_BYTES:
        named.append(b"References: " + b"\r\n ".join(references.split()))
    return named


def with_fields(fields: list[bytes], composed: Composed) -> Composed:
    """With these before the others."""
    return msgspec.structs.replace(composed, content=b"".join(field + b"\r\n" for field in fields) + composed.content)


def _lines(text: str) -> str:
    return "\n".join(text.splitlines()) + "\n"


def _megabytes(octets: int) -> str:
    return f"{octets / 1_000_000:.1f} MB"
