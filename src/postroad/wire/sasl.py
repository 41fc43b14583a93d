"""SASL exchanges of PLAIN and LOGIN, both roles, base64 as it stands on the line (RFC 4422, RFC 4616).

SMTP AUTH (RFC 4954) and POP3 AUTH (RFC 5034) put the same lines into their own frames. LOGIN was never
standardised; it is spoken by mail clients that know nothing newer.
"""

from __future__ import annotations

import binascii
from typing import TypeAlias

import msgspec

from postroad.vocabulary.limits import PASSWORD_BYTES, SASL_NAME_BYTES

MECHANISMS = ("PLAIN", "LOGIN")
SECRET_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5")
"""Those that ask the outside for a stored secret and never see a password. The strongest is first."""


class SaslFault(Exception):
    """The exchange is over without credentials."""


class Cancelled(SaslFault):
    """The client sent `*` (RFC 4954 section 4)."""


class BadBase64(SaslFault):
    """A line that is no base64."""


class BadCredentials(SaslFault):
    """It was base64, and what it holds cannot be anybody's name and password: the answer is that of a wrong
    password, so that nothing is learned from it."""


class ServerBegins(SaslFault):
    """An initial response came with a mechanism that begins with a challenge of the server's."""


class Credentials(msgspec.Struct, frozen=True):
    """`authorization_id` is whom the client wants to act as, "" for the same as `name`."""

    authorization_id: str
    name: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, ...)"


class Challenge(msgspec.Struct, frozen=True):
    """The server waits for a line. `text` is what to send after `334 ` or `+ `, already in base64."""

    mechanism: str
    text: bytes = b""
    name: str | None = None


Step: TypeAlias = Challenge | Credentials


def start(mechanism: str, initial: bytes | None) -> Step:
    """Begin an exchange of one of MECHANISMS. `initial` is the initial response as it stood in the command,
    None when there was none (`=` is an empty one). Raises SaslFault."""
    assert mechanism in MECHANISMS, mechanism
    challenge = Challenge("PLAIN") if mechanism == "PLAIN" else Challenge("LOGIN", b"VXNlcm5hbWU6")
    if initial is None:
        return challenge
    return respond(challenge, b"" if initial == b"=" else initial)


def respond(challenge: Challenge, line: bytes) -> Step:
    """Take the client's answer to `challenge`, without its CR LF. Raises SaslFault."""
    if line == b"*":
        raise Cancelled
    octets = from_base64(line)
    if challenge.mechanism == "PLAIN":
        # RFC 4616 section 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
        parts = octets.split(b"\0")
        if len(parts) != 3:
            raise BadCredentials
        return _credentials(*parts)
    if challenge.name is None:
        return Challenge("LOGIN", b"UGFzc3dvcmQ6", _text(octets, SASL_NAME_BYTES))
    return _credentials(b"", challenge.name.encode(), octets)


def plain_response(name: str, password: str) -> bytes:
    """(client) The initial response of PLAIN."""
    return to_base64(b"\0".join((b"", name.encode(), password.encode())))


def to_base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def from_base64(line: bytes) -> bytes:
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise BadBase64 from None


def _credentials(authorization_id: bytes, name: bytes, password: bytes) -> Credentials:
    if not name or not password:
        raise BadCredentials
    return Credentials(
        _text(authorization_id, SASL_NAME_BYTES), _text(name, SASL_NAME_BYTES), _text(password, PASSWORD_BYTES)
    )


def _text(octets: bytes, bytes_max: int) -> str:
    """UTF-8 without control characters."""
    if len(octets) > bytes_max:
        raise BadCredentials
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCredentials from None
    if any(c < " " or c == "\x7f" for c in text):
        raise BadCredentials
    return text
