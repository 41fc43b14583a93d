"""Sets of networks and names, as an administrator writes them in the configuration."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from postroad.vocabulary.limits import CLIENT_FACTS_ENTRIES

_Network = IPv4Network | IPv6Network


class NetworkSet:
    """Networks in CIDR form ("10.1.0.0/16", "::1"). Raises ValueError for what is neither network nor address."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks: tuple[_Network, ...] = tuple(ip_network(each, strict=False) for each in networks)
        self._find = lru_cache(maxsize=CLIENT_FACTS_ENTRIES)(self._search)

    def __contains__(self, address: str) -> bool:
        """Whether an address is in one of them; "unix" and what is no address never is."""
        return bool(self._networks) and self._find(address)

    def _search(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def split_clients(entries: tuple[str, ...]) -> tuple[NetworkSet, NameSet]:
    """The networks and the host names of a list that may hold both."""
    networks, names = [], []
    for entry in entries:
        try:
            ip_network(entry, strict=False)
        except ValueError:
            names.append(entry)
        else:
            networks.append(entry)
    return NetworkSet(tuple(networks)), NameSet(tuple(names))


class NameSet:
    """Host or domain names: "x.example" is that name alone, ".x.example" every name below it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        lowered = [name.lower() for name in names]
        self._exact = frozenset(name for name in lowered if not name.startswith("."))
        self._below = tuple(name for name in lowered if name.startswith("."))

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def __contains__(self, name: str) -> bool:
        name = name.lower()
        return name in self._exact or (bool(self._below) and name.endswith(self._below))


@lru_cache(maxsize=CLIENT_FACTS_ENTRIES)
def client_of(address: str) -> str:
    """Whom a limit per client counts: an IPv4 address, the /64 of an IPv6 address (one customer has all of it)."""
    if ":" not in address:
        return address
    try:
        whole = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(IPv6Network((whole, 64), strict=False))


@lru_cache(maxsize=CLIENT_FACTS_ENTRIES)
def network_of(address: str) -> str:
    """The network around a client, for limits on many clients of one hand: the /24 of an IPv4 address, the /48 of
    an IPv6 address (what one site is given, RFC 6177 section 2). Other addresses are networks of their own."""
    try:
        whole = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip_network((whole, 24 if whole.version == 4 else 48), strict=False))
