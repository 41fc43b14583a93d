"""Messages made of parts, for the tests of what reads them."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message


def head(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def multipart(boundary: bytes, *parts: bytes, subtype: bytes = b"mixed", first: tuple[bytes, ...] = ()) -> bytes:
    """A whole entity: header and body. `first` are header lines before its Content-Type."""
    content_type = b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"'
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return head(*first, content_type) + body + b"--" + boundary + b"--\r\n"


def decoded(content: bytes) -> list[tuple[int, str, bytes | None]]:
    """Depth, type and decoded octets of every part, as the standard library reads them."""
    found: list[tuple[int, str, bytes | None]] = []

    def walk(part: Message, depth: int) -> None:
        if part.is_multipart():
            found.append((depth, part.get_content_type(), None))
            for one in part.get_payload():
                assert isinstance(one, Message)
                walk(one, depth + 1)
        else:
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            found.append((depth, part.get_content_type(), payload))

    walk(message_from_bytes(content), 0)
    return found
