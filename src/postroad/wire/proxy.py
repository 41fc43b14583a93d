"""The PROXY protocol, versions 1 and 2: who is behind the load balancer that connects to us.

The header comes first on the connection, before TLS and before any greeting, and comes once. HAProxy's "The PROXY
protocol" describes it; sections 2.1 (text) and 2.2 (binary). Anything else in its place ends the connection: where
the header is expected, a connection without it is somebody who must not be there (section 2).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import msgspec

from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import PROXY_TEXT_BYTES, PROXY_TLV_BYTES

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES = 16
_TEXT = b"PROXY "
# Family and transport: TCP over IPv4 and over IPv6, with the octets of their addresses and ports.
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES = {_TCP4: 12, _TCP6: 36}


class ProxyHeader(msgspec.Struct, frozen=True):
    """`source` is the client, `destination` where it connected to. Both are None for a connection of the proxy's own
    (LOCAL: a health check) and where it does not know or cannot say (UNKNOWN): then the connection's own ends count."""

    source: Endpoint | None = None
    destination: Endpoint | None = None
    is_local: bool = False


class ProxyFault(msgspec.Struct, frozen=True):
    """What came is no PROXY header, in words for the log: close without a word."""

    reason: str


_NOT_PROXY = ProxyFault("the connection does not begin with a PROXY header")
_TOO_LONG = ProxyFault("the PROXY header is too long")


class ProxyReader:
    """`feed` what comes until it gives a ProxyHeader or a ProxyFault; `rest` is what followed the header."""

    __slots__ = ("_octets", "rest")

    def __init__(self) -> None:
        self._octets = b""
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | ProxyFault | None:
        """None: there is more to come. Not to be called again after anything else."""
        octets = self._octets = self._octets + data
        if octets[: len(SIGNATURE)] == SIGNATURE[: len(octets)]:
            return self._binary(octets) if len(octets) >= _FIXED_BYTES else None
        if octets[: len(_TEXT)] == _TEXT[: len(octets)]:
            return self._text(octets)
        return _NOT_PROXY

    def _text(self, octets: bytes) -> ProxyHeader | ProxyFault | None:
        end = octets.find(b"\r\n", 0, PROXY_TEXT_BYTES)
        if end < 0:
            return _TOO_LONG if len(octets) >= PROXY_TEXT_BYTES else None
        self.rest, self._octets = octets[end + 2 :], b""
        words = octets[:end].split(b" ")
        if words[1] == b"UNKNOWN":
            return ProxyHeader()  # section 2.1: whatever follows is to be ignored
        if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
            return _NOT_PROXY
        try:
            return ProxyHeader(
                _text_endpoint(words[1], words[2], words[4]), _text_endpoint(words[1], words[3], words[5])
            )
        except ValueError:
            return ProxyFault("an address or port of the PROXY header is malformed")

    def _binary(self, octets: bytes) -> ProxyHeader | ProxyFault | None:
        version, command = octets[12] >> 4, octets[12] & 0x0F
        family = octets[13]
        length = int.from_bytes(octets[14:16], "big")
        if version != 2 or command > 1:
            return ProxyFault("the PROXY header is of a version or command that we do not know")
        if length > PROXY_TLV_BYTES:
            return _TOO_LONG
        if len(octets) < _FIXED_BYTES + length:
            return None
        addresses = octets[_FIXED_BYTES : _FIXED_BYTES + length]
        self.rest, self._octets = octets[_FIXED_BYTES + length :], b""
        if command == 0:
            return ProxyHeader(is_local=True)
        if family not in _ADDRESS_BYTES:
            return ProxyHeader()  # UNSPEC, a Unix socket, UDP: nothing that a client of ours can have
        if length < _ADDRESS_BYTES[family]:
            return ProxyFault("the PROXY header is too short for its addresses")
        # What follows the addresses are TLVs, which tell us nothing that we ask.
        if family == _TCP4:
            return ProxyHeader(_endpoint(addresses[:4], addresses[8:10]), _endpoint(addresses[4:8], addresses[10:12]))
        return ProxyHeader(_endpoint(addresses[:16], addresses[32:34]), _endpoint(addresses[16:32], addresses[34:36]))


def _endpoint(address: bytes, port: bytes) -> Endpoint:
    known: IPv4Address | IPv6Address = IPv4Address(address) if len(address) == 4 else IPv6Address(address)
    return _made(known, int.from_bytes(port, "big"))


def _text_endpoint(family: bytes, address: bytes, port: bytes) -> Endpoint:
    """Raises ValueError."""
    text = address.decode("ascii")
    if not port.isdigit() or len(port) > 5 or (port[:1] == b"0" and port != b"0") or int(port) > 65_535:
        raise ValueError("no port number")
    if "%" in text:
        raise ValueError("a scope")
    return _made(IPv4Address(text) if family == b"TCP4" else IPv6Address(text), int(port))


def _made(address: IPv4Address | IPv6Address, port: int) -> Endpoint:
    """As Endpoint spells it: a v4-mapped address as IPv4."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return Endpoint(str(address.ipv4_mapped), port)
    return Endpoint(str(address), port)
