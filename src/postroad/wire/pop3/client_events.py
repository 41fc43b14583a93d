"""What a POP3 client session tells (RFC 1939)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from postroad.wire.smtp.client_events import TlsUse


class Pop3ClientProfile(msgspec.Struct, frozen=True, kw_only=True):
    """`tls_active`: the connection began with a handshake. Without TLS the password is sent only when
    `plaintext_login_allowed`."""

    user: str
    password: str
    tls: TlsUse = TlsUse.REQUIRED
    tls_active: bool = False
    plaintext_login_allowed: bool = False

    def __repr__(self) -> str:
        return f"Pop3ClientProfile(user={self.user!r}, ...)"


class Waiting(msgspec.Struct, frozen=True):
    """One message of the maildrop: its number in this session, its unique-id (RFC 1939 section 7), its size."""

    number: int
    uid: str
    size_bytes: int


class MaildropListed(msgspec.Struct, frozen=True):
    """Notice: logged in, and this is what there is. The session is ready."""

    messages: tuple[Waiting, ...]


class MessageOctets(msgspec.Struct, frozen=True):
    """Notice: the next octets of the message asked for, dots of transparency removed. Any split."""

    data: bytes


class MessageEnded(msgspec.Struct, frozen=True):
    """Notice: that was all of it. The session is ready."""

    number: int


class MessageRefused(msgspec.Struct, frozen=True):
    """Notice: the server would not give, or would not delete, this message. The session is ready."""

    number: int
    text: str


class MessageMarked(msgspec.Struct, frozen=True):
    """Notice: DELE was taken. The message goes with the QUIT, not before (RFC 1939 section 5). Ready."""

    number: int


class SessionEnded(msgspec.Struct, frozen=True):
    """Notice: over. `committed`: QUIT was answered +OK, so that what was marked is gone; otherwise nothing is.
    `reason` is for people, empty after a goodbye."""

    reason: str
    committed: bool = False


Pop3ClientEvent: TypeAlias = (
    MaildropListed | MessageOctets | MessageEnded | MessageRefused | MessageMarked | SessionEnded
)
