"""Name resolution, as mail needs it (RFC 5321 section 5.1)."""

from __future__ import annotations

from typing import Protocol

import msgspec


class MxRecord(msgspec.Struct, frozen=True, order=True, array_like=True):
    """`host` is in lower case without the final dot; "" is the null MX (RFC 7505)."""

    preference: int
    host: str


class MxAnswer(msgspec.Struct, frozen=True):
    """`records` as `Resolver.mx` gives them. `proved`: DNSSEC shows that they are the domain's own, or that it has
    none; said only by a validating resolver on this machine, for on any longer way somebody could say it for him
    (RFC 4035 section 4.9.3)."""

    records: tuple[MxRecord, ...]
    proved: bool = False


class Resolver(Protocol):
    """Every method raises DnsTemporary when the answer is not to be had now, and returns an empty tuple
    when there is none (no such name, or no such record: `exists` tells them apart where it matters).
    Names are A-labels without a final dot. CNAMEs are followed."""

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        """Unsorted, as the answer gave them."""
        ...

    async def mx_answer(self, domain: str) -> MxAnswer:
        """`mx`, and whether it is proved."""
        ...

    async def addresses(self, host: str) -> tuple[str, ...]:
        """IPv6 and IPv4 addresses (AAAA and A), IPv6 first."""
        ...

    async def names(self, address: str) -> tuple[str, ...]:
        """The PTR records of an address."""
        ...

    async def text(self, name: str) -> tuple[bytes, ...]:
        """TXT records, the strings of each joined."""
        ...

    async def exists(self, name: str) -> bool:
        """False only when there is certainly no such name (NXDOMAIN), nor anything below it (RFC 8020)."""
        ...
