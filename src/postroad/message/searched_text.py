"""The words of a message by which it is found again: subject, names and addresses of its header, and its text."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

from postroad.message.encoded_words import decoded
from postroad.message.header import first_value, split_header

_NAMED = (b"from", b"to", b"cc", b"reply-to")


def searched_text(content: bytes) -> tuple[str, str]:
    """The subject, and everything else; `content` may be the beginning of a message. Never raises: what cannot be
    decoded is searched as it stands."""
    header, body = split_header(content)
    subject = " ".join(decoded(first_value(header, b"subject") or b"").split())
    names = [decoded(first_value(header, name) or b"") for name in _NAMED]
    try:
        texts = _texts(content)
    except Exception:
        # The library's parser has ways of its own to fail on what strangers write.
        texts = [body.decode("utf-8", "replace")]
    return subject, "\n".join((*names, *texts))


def _texts(content: bytes) -> list[str]:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    texts = []
    for part in message.walk():
        if part.get_content_maintype() == "text":
            texts.append(str(part.get_content()))
        elif name := part.get_filename():
            texts.append(name)
    return texts
