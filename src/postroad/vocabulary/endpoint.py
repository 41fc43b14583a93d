"""The two ends of a connection, as facts for rules, trace fields and the ledger."""

from __future__ import annotations

import msgspec


class Endpoint(msgspec.Struct, frozen=True, array_like=True):
    """An IP address and port. A v4-mapped IPv6 address is written as IPv4. A Unix socket has the
    address "unix" and port 0."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class TlsFacts(msgspec.Struct, frozen=True, array_like=True):
    """What was agreed on. `verified` tells whether the peer's certificate was checked and fits its name."""

    version: str
    cipher: str
    verified: bool = False
    peer_name: str = ""


class PeerFacts(msgspec.Struct, frozen=True):
    """What we know of the client on the other end of a connection we accepted."""

    remote: Endpoint
    local: Endpoint
    helo: str = ""
    esmtp: bool = False
    tls: TlsFacts | None = None
    account: str = ""
    """The authenticated identity, an account's address; empty when there is none."""
    uid: int | None = None
    """The Unix user behind a local socket (SO_PEERCRED)."""
    host: str = ""
    """The client's name by forward-confirmed reverse DNS; empty when not looked up or not confirmed."""
