"""What a client answers to the challenges of SCRAM-SHA-256 and CRAM-MD5, for tests that speak in lines."""

from __future__ import annotations

import hmac

from postroad.wire.sasl import from_base64, to_base64
from postroad.wire.sasl_client import Exchange, begin


def cram_answer(challenge: str, name: str, secret: str) -> str:
    """The line that answers `334 ...`."""
    digest = hmac.new(secret.encode(), from_base64(challenge[4:].strip().encode()), "md5").hexdigest()
    return to_base64(f"{name} {digest}".encode()).decode()


def scram(name: str, password: str, *, binding: bytes = b"", plus: bool = False, plus_offered: bool = True) -> Exchange:
    return begin(
        "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256",
        name,
        password,
        random_octets=lambda size: b"c" * size,
        channel_binding=binding,
        plus_offered=plus_offered,
    )
