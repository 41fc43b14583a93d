"""The addresses of this machine, so that mail is never relayed to ourselves under another name (RFC 5321 section 5.1).

Linux lists them in /proc; elsewhere those that the machine's own name leads to must do.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path

from postroad.vocabulary.endpoint import Endpoint

_IPV6 = Path("/proc/net/if_inet6")
_IPV4 = Path("/proc/net/fib_trie")
_EVERYWHERE = frozenset({"::", "0.0.0.0"})
ADDRESSES = 4096
"""Addresses of one machine that are looked at."""


def own_endpoints(sockets: Iterable[socket.socket]) -> frozenset[Endpoint]:
    """Where these listening TCP sockets can be reached: a wildcard stands for every address of the machine."""
    found: set[Endpoint] = set()
    for one in sockets:
        if one.family not in (socket.AF_INET, socket.AF_INET6):
            continue
        address, port = one.getsockname()[:2]
        found.add(Endpoint(address, port))
        if address in _EVERYWHERE:
            found.update(Endpoint(own, port) for own in machine_addresses())
    return frozenset(found)


def machine_addresses() -> tuple[str, ...]:
    """IPv6 and IPv4, at most ADDRESSES."""
    found = [*_ipv6(), *_ipv4()] or _by_name()
    return tuple(dict.fromkeys(found))[:ADDRESSES]


def _ipv6() -> list[str]:
    """Each line begins with an address as 32 hexadecimal digits."""
    words = (line.split(None, 1)[0] for line in _lines(_IPV6))
    return [str(IPv6Address(int(word, 16))) for word in words if len(word) == 32]


def _ipv4() -> list[str]:
    """A tree of routes: an address of ours is the leaf above a line "/32 host LOCAL"."""
    found, leaf = [], ""
    for line in _lines(_IPV4):
        text = line.strip()
        if text.startswith("|-- "):
            leaf = text[4:]
        elif text == "/32 host LOCAL" and leaf:
            found.append(leaf)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", "replace").splitlines()
    except OSError:
        return []


def _by_name() -> list[str]:
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)]
    except OSError:
        return []
