"""Where a recipient's copy goes next: what groups the recipients of a message."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DestinationKind(StrEnum):
    MAILBOX = "mailbox"
    """A mailbox here."""
    DOMAIN = "domain"
    """Another domain, found by its MX; `name` is the domain."""
    SMARTHOST = "smarthost"
    """The configured smart host, whichever it is when the attempt is made; `name` is empty."""
    HOLD = "hold"
    """A hold here, out of which its owner fetches; `name` is the domain."""
    LIST = "list"
    """An address of a mailing list here; `name` is that address (`Mailbox.key()`), without the tag of a sub-address."""
    ROUTE = "route"
    """A configured exception; `name` is "host:port"."""


class Destination(msgspec.Struct, frozen=True, array_like=True):
    """One destination. Recipients of one message with the same destination form a group:
    they are tried together and settled together."""

    kind: DestinationKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}" if self.name else self.kind.value

    @classmethod
    def parse(cls, text: str) -> Destination:
        """The inverse of str(). Raises ValueError for an unknown kind."""
        kind, _, name = text.partition(":")
        return cls(DestinationKind(kind), name)


MAILBOX = Destination(DestinationKind.MAILBOX)
SMARTHOST = Destination(DestinationKind.SMARTHOST)
HERE = frozenset({DestinationKind.MAILBOX, DestinationKind.HOLD, DestinationKind.LIST})
"""Kinds that need no network."""
