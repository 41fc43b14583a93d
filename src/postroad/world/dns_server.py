"""A small authoritative name server, for the demo and the tests: zones as data, UDP and TCP, on loopback.

It follows aliases within its zones, says NXDOMAIN and "no such record" with the zone's SOA (RFC 2308 section 2),
refuses names that are not its own, and can be told to fail or to say nothing for a name.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import DNS_UDP_BYTES
from postroad.vocabulary.zone import Record, RecordType, ZoneAnswer, Zones, look_up, soa

_PORTS_TRIED = 20
_TYPES = {dns.rdatatype.from_text(kind): kind for kind in RecordType}
_CHARACTER_STRING = 255  # RFC 1035 section 3.3


class DnsServer:
    """`zones` may be changed while it serves. `failing` names get SERVFAIL, `silent` ones no answer at all;
    `asked` counts the questions, so that a test sees what a cache has kept away. It plays a validating resolver
    for the names in `proved`: to who asks, it says that DNSSEC proves the answer (RFC 6840 sections 5.7 and 5.8)."""

    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        self.failing: set[str] = set()
        self.silent: set[str] = set()
        self.proved: set[str] = set()
        self.asked: Counter[tuple[str, str]] = Counter()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.AbstractServer | None = None

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> Endpoint:
        """Serve on UDP and TCP at one port, and say which. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        for attempt in range(_PORTS_TRIED):
            self._tcp = await loop.create_server(lambda: _Stream(self._answer), address, port)
            bound: int = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._answer), local_addr=(address, bound)
                )
            except OSError as error:
                self._tcp.close()
                # A free port of TCP may be taken in UDP: draw another.
                if port or error.errno != errno.EADDRINUSE or attempt == _PORTS_TRIED - 1:
                    raise
                continue
            return Endpoint(address, bound)
        raise AssertionError("unreachable")

    async def stop(self) -> None:
        if self._tcp is not None:
            self._tcp.close()
        if self._udp is not None:
            self._udp.close()
        await asyncio.sleep(0)

    def _answer(self, wire: bytes, most: int | None) -> bytes | None:
        """The reply to one query in wire form, at most `most` octets (None for TCP); None for silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked[name, dns.rdatatype.to_text(question.rdtype)] += 1
        if name in self.silent:
            return None
        reply = dns.message.make_response(query)
        kind = _TYPES.get(question.rdtype)
        if name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            answer = look_up(self.zones, name, kind or RecordType.SOA)
            self._fill(reply, answer, kind)
            along = {name, answer.name, *(record.name for record in answer.records)}
            if query.flags & dns.flags.AD and along <= self.proved:
                reply.flags |= dns.flags.AD
        if most is not None:
            most = min(max(most, query.payload), DNS_UDP_BYTES)
        return _to_wire(reply, most)

    def _fill(self, reply: dns.message.Message, answer: ZoneAnswer, kind: RecordType | None) -> None:
        if answer.zone is None and not answer.records:
            reply.set_rcode(dns.rcode.REFUSED)
            return
        reply.flags |= dns.flags.AA
        records = answer.records if kind is not None else ()
        for record in records:
            reply.answer.append(_rrset(record))
        if answer.zone is not None and (not records or records[-1].type is not kind):
            reply.authority.append(_rrset(soa(self.zones, answer.zone)))
        if not answer.exists:
            reply.set_rcode(dns.rcode.NXDOMAIN)


def _to_wire(reply: dns.message.Message, most: int | None) -> bytes:
    try:
        return reply.to_wire(max_size=65_535 if most is None else most)
    except dns.exception.TooBig:
        for section in (reply.answer, reply.authority, reply.additional):
            section.clear()
        if most is None:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            # RFC 2181 section 9: nothing but the question and TC, and the client comes back over TCP.
            reply.flags |= dns.flags.TC
        return reply.to_wire()


def _rrset(record: Record) -> dns.rrset.RRset:
    name = dns.name.from_text(record.name)
    rdtype = dns.rdatatype.from_text(record.type)
    rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, _rdata_text(record))
    return dns.rrset.from_rdata(name, record.ttl_s, rdata)


def _rdata_text(record: Record) -> str:
    match record.type:
        case RecordType.MX:
            return f"{record.preference} {record.value}."
        case RecordType.CNAME | RecordType.PTR | RecordType.NS:
            return f"{record.value}."
        case RecordType.TXT:
            octets = record.value.encode()
            pieces = [octets[i : i + _CHARACTER_STRING] for i in range(0, len(octets), _CHARACTER_STRING)] or [b""]
            return " ".join('"' + "".join(f"\\{octet:03d}" for octet in piece) + '"' for piece in pieces)
        case _:
            return record.value


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes, int | None], bytes | None]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._answer(data, 512)  # RFC 1035 section 4.2.1, where the client says no more
        if reply is not None:
            self._transport.sendto(reply, addr)


class _Stream(asyncio.Protocol):
    """Messages with their length before them (RFC 1035 section 4.2.2)."""

    def __init__(self, answer: Callable[[bytes, int | None], bytes | None]) -> None:
        self._answer = answer
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2])
            if len(self._buffer) < 2 + length:
                return
            query = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            reply = self._answer(query, None)
            if reply is None:
                self._transport.close()
                return
            self._transport.write(len(reply).to_bytes(2) + reply)
