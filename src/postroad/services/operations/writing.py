"""`postroad send`: a letter from its plain parts."""

from __future__ import annotations

from collections.abc import Sequence

from postroad.message.compose import Attachment, Composed, Draft, compose
from postroad.services.operations.performer import OperationFailed


def write_letter(
    *,
    sender: str,
    recipients: tuple[str, ...],
    subject: str,
    text: str,
    attachments: Sequence[tuple[str, bytes]] = (),
) -> Composed:
    """The message and its bare addresses; Date and Message-ID are left to the server. `attachments` are file
    names with their octets. Raises OperationFailed 2 with a sentence for what cannot be written."""
    draft = Draft(
        from_=sender,
        to=recipients,
        subject=subject,
        text=text,
        attachments=tuple(Attachment(name, octets) for name, octets in attachments),
    )
    try:
        return compose(draft)
    except ValueError as error:
        raise OperationFailed(str(error), 2) from None
