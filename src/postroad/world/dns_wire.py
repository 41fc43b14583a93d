"""One DNS question and what a reply says to it, from and to octets (RFC 1035 section 4).

dnspython reads the reply; everything it yields is made harmless here: names are escaped as in RFC 1035
section 5.1 and in lower case, so that no control character of a stranger gets any further.
"""

from __future__ import annotations

import struct
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import msgspec

from postroad.contracts.resolver import MxRecord
from postroad.vocabulary.limits import DNS_CNAMES, DNS_NEGATIVE_TTL_MAX_S, DNS_RECORDS, DNS_TTL_MAX_S, DNS_UDP_BYTES
from postroad.vocabulary.zone import RecordType

_HEADER = struct.Struct("!6H")
_RECURSION_DESIRED = 0x0100
_AUTHENTIC_DATA = 0x0020
_CLASS_IN = 1
# RFC 6891 section 6.1.2: the root, OPT, the size we take, version 0, no flags, no options.
_OPT = b"\0" + struct.pack("!HHIH", dns.rdatatype.OPT, DNS_UDP_BYTES, 0, 0)
_LOOK_ABOVE = 20


class BadReply(Exception):
    """The server's reply is no answer to our question; another server may have one."""


class NoEdns(BadReply):
    """The server does not know EDNS; asked without, it may answer."""


class Found(msgspec.Struct, frozen=True):
    """The answer to one question: `records` of the type asked (`str`, `bytes` or `MxRecord`), `exists` False for
    NXDOMAIN, `ttl_s` how long it holds; `alias` is not empty where another name has to be asked next. `proved`: a
    resolver whose word counts says that DNSSEC proves all of it."""

    records: tuple[Any, ...]
    exists: bool
    ttl_s: int
    alias: str = ""
    proved: bool = False


class Query:
    """A question for the wire; with `proof` it asks whether DNSSEC proves the answer (the AD bit of RFC 6840 section
    5.7), and believes the reply. Raises ValueError for what cannot be a name."""

    def __init__(self, name: str, kind: RecordType, number: int, *, edns: bool = True, proof: bool = False) -> None:
        try:
            if not name.isascii():
                raise ValueError(f"{name!r} is not a name: labels are A-labels")
            self.name = dns.name.from_text(name.lower())
        except dns.exception.DNSException as error:
            raise ValueError(f"{name!r} is not a name: {error}")
        self.kind = kind
        self._rdtype = dns.rdatatype.from_text(kind)
        self._number = number.to_bytes(2)
        self._question = self.name.to_digestable() + struct.pack("!HH", self._rdtype, _CLASS_IN)
        self._edns = edns
        self._proof = proof
        flags = _RECURSION_DESIRED | (_AUTHENTIC_DATA if proof else 0)
        header = _HEADER.pack(number, flags, 1, 0, 0, 1 if edns else 0)
        self.wire = header + self._question + (_OPT if edns else b"")

    def is_answered_by(self, reply: bytes) -> bool:
        """Whether the id, the direction and the question fit: anything else is somebody guessing
        (RFC 5452 section 9.1)."""
        if len(reply) < _HEADER.size or reply[:2] != self._number or not reply[2] & 0x80:
            return False
        asked = reply[_HEADER.size : _HEADER.size + len(self._question)]
        return reply[4:6] == b"\0\1" and asked.lower() == self._question.lower()

    def is_truncated(self, reply: bytes) -> bool:
        return bool(reply[2] & 0x02)

    def read(self, reply: bytes) -> Found:
        """What a reply that fits says. Raises BadReply."""
        try:
            message = dns.message.from_wire(reply, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError, IndexError, struct.error) as error:
            raise BadReply(f"a reply that cannot be read: {error}")
        code = message.rcode()
        if code in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and self._edns:
            raise NoEdns("a server without EDNS")
        if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise BadReply(f"the server answered {dns.rcode.to_text(code)}")
        return self._follow(message, exists=code == dns.rcode.NOERROR)

    def _follow(self, message: dns.message.Message, *, exists: bool) -> Found:
        """From the name we asked along its aliases to the records."""
        proved = self._proof and bool(message.flags & dns.flags.AD)
        sets = {(rrset.name, rrset.rdtype): rrset for rrset in reversed(message.answer)}
        name, ttl = self.name, DNS_TTL_MAX_S
        for _ in range(DNS_CNAMES + 1):
            if (records := sets.get((name, self._rdtype))) is not None:
                kept = tuple(_plain(rdata, self.kind) for rdata, _ in zip(records, range(DNS_RECORDS), strict=False))
                return Found(kept, True, min(ttl, records.ttl), proved=proved)
            alias = sets.get((name, dns.rdatatype.CNAME))
            if alias is None:
                break
            ttl = min(ttl, alias.ttl)
            name = alias[0].target
        else:
            raise BadReply(f"more than {DNS_CNAMES} aliases")
        negative = _negative_ttl(message)
        if name != self.name and exists and negative is None:
            return Found((), True, ttl, alias=_text(name), proved=proved)
        return Found((), exists, min(ttl, negative or 0), proved=proved)


def _negative_ttl(message: dns.message.Message) -> int | None:
    """RFC 2308 section 5: the lesser of the SOA's own TTL and its last field; without SOA it is not kept."""
    for rrset in message.authority[:_LOOK_ABOVE]:
        if rrset.rdtype == dns.rdatatype.SOA:
            minimum: int = rrset[0].minimum
            return min(rrset.ttl, minimum, DNS_NEGATIVE_TTL_MAX_S)
    return None


def _plain(rdata: Any, kind: RecordType) -> Any:
    match kind:
        case RecordType.MX:
            return MxRecord(rdata.preference, _text(rdata.exchange))
        case RecordType.A | RecordType.AAAA:
            return rdata.address
        case RecordType.TXT:
            return b"".join(rdata.strings)
        case _:
            return _text(rdata.target)


def _text(name: dns.name.Name) -> str:
    """In lower case, escaped, without the final dot; the root is ""."""
    return name.to_text(omit_final_dot=True).lower().removesuffix(".") if len(name) > 1 else ""
