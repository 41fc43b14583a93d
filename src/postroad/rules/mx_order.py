"""Which hosts take a domain's mail, in which order, and which addresses we do not go to.

Pure. RFC 5321 section 5.1 (locating the target host), RFC 7505 (null MX), and two protections that no RFC
needs to ask for: never back to ourselves, never into a private network because somebody's DNS says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import groupby
from typing import Protocol

import msgspec

from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import MX_HOSTS
from postroad.vocabulary.outcome import Fate

NULL_MX = EnhancedStatus(5, 1, 10)
"""The domain takes no mail (RFC 7505 section 4.2)."""
LOOP = EnhancedStatus(5, 4, 6)
"""Routing loop detected (RFC 3463 section 3.5)."""
UNROUTABLE = EnhancedStatus(5, 4, 4)
"""Unable to route (RFC 3463 section 3.5)."""


class Mx(Protocol):
    """One MX record; `contracts.resolver.MxRecord` has this form."""

    @property
    def preference(self) -> int: ...

    @property
    def host(self) -> str: ...


class NoWay(msgspec.Struct, frozen=True):
    """There is nowhere to connect to, and why: the same for every recipient of the destination."""

    fate: Fate
    status: EnhancedStatus
    text: str
    remote_mta: str = ""
    remote_address: str = ""
    reply: str = ""
    """What the host said, if that was the reason."""


class Ourselves(msgspec.Struct, frozen=True):
    """How we recognise ourselves: by the name we greet with, and by where we listen."""

    hostname: str
    endpoints: frozenset[Endpoint] = frozenset()
    """A listener on all addresses ("0.0.0.0", "::") counts for loopback; the machine's other addresses
    have to be listed by whoever knows them."""

    def is_name(self, host: str) -> bool:
        return host.rstrip(".").lower() == self.hostname.lower()

    def is_here(self, remote: Endpoint) -> bool:
        """Whether a connection to `remote` would reach a listener of ours."""
        if remote in self.endpoints:
            return True
        if not (Endpoint("0.0.0.0", remote.port) in self.endpoints or Endpoint("::", remote.port) in self.endpoints):
            return False
        address = _parsed(remote.address)
        return address is not None and (address.is_loopback or address.is_unspecified)


Hosts = tuple[tuple[str, ...], ...]
"""Host names by rising preference; those in one inner tuple are equals, already in the order to try."""


def hosts_of_domain(
    domain: str, records: Sequence[Mx], ourselves: Ourselves, shuffled: Callable[[list[str]], list[str]]
) -> Hosts | NoWay:
    """The hosts that take mail for `domain`, best first, at most MX_HOSTS.

    `records` is the answer to the MX question, empty if the name has none: then the domain itself is
    the host ("implicit MX", RFC 5321 section 5.1). Equals are spread by chance. Where we are among them,
    we and everybody who is not better than we are left out (same section).
    """
    if not records:
        return ((domain,),)
    if any(record.host in ("", ".") for record in records):
        # RFC 7505 section 3: a null MX stands alone; beside others it is a mistake that counts as absent.
        records = [record for record in records if record.host not in ("", ".")]
        if not records:
            return NoWay(Fate.FAILED, NULL_MX, f"The domain {domain} takes no mail: it publishes a null MX (RFC 7505).")
    ordered = sorted(records, key=lambda record: record.preference)
    ours = min((record.preference for record in ordered if ourselves.is_name(record.host)), default=None)
    if ours is not None:
        ordered = [record for record in ordered if record.preference < ours]
        if not ordered:
            return loop_to_ourselves(domain)
    levels: list[tuple[str, ...]] = []
    room = MX_HOSTS
    for _, equals in groupby(ordered, key=lambda record: record.preference):
        # An answer may name a host twice; the first, better place counts.
        names = dict.fromkeys(record.host for record in equals if not any(record.host in level for level in levels))
        level = tuple(shuffled(list(names))[:room])
        room -= len(level)
        if level:
            levels.append(level)
        if room == 0:
            break
    return tuple(levels)


def loop_to_ourselves(domain: str) -> NoWay:
    """The best host for the domain is this one, yet the domain is not local here."""
    return NoWay(
        Fate.FAILED,
        LOOP,
        f"Mail for {domain} would come back to this server: DNS names it as the best host, but {domain} is not "
        "one of its domains.",
    )


def literal_address(domain: str) -> str | None:
    """The IP address of an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3);
    None for what is not one that can be understood."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    text = domain[1:-1]
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    address = _parsed(text)
    return None if address is None else str(address)


# Documentation networks are not among them: nobody answers there, and examples use them.
_NOT_OUT_THERE = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
        "::/96",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = ip_network("64:ff9b::/96")
_ADDRESSES_REMEMBERED = 4096


@lru_cache(maxsize=_ADDRESSES_REMEMBERED)
def is_private(address: str) -> bool:
    """Whether an address is no place on the internet: loopback, private, shared, link-local, unspecified,
    multicast or reserved, also when it is wrapped in an IPv6 form that a gateway or the kernel unwraps.
    What is no address at all counts as private."""
    parsed = _parsed(address)
    if parsed is None:
        return True
    if isinstance(parsed, IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = IPv4Address(int(parsed) & 0xFFFF_FFFF)
        if inner is not None:
            parsed = inner
    return any(parsed in network for network in _NOT_OUT_THERE)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address.partition("%")[0])
    except ValueError:
        return None
