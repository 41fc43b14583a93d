"""DNS zones as data, for the demo's name server, the simulation and the tests (RFC 1035 section 3.6).

    zones = {"b.example": [mx("b.example", 10, "mx1.b.example"), a("mx1.b.example", "192.0.2.25")]}

`look_up` answers a question from them as an authoritative server would. Names are in lower case without a
final dot; a zone needs no SOA record, it is made up where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeAlias

import msgspec

from postroad.vocabulary.limits import DNS_CNAMES


class RecordType(StrEnum):
    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    TXT = "TXT"
    PTR = "PTR"
    CNAME = "CNAME"
    NS = "NS"
    SOA = "SOA"


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One record. `value` is an address, a host, the text (TXT), or the seven fields of an SOA; `preference`
    is the MX's. The host of a null MX is "" (RFC 7505)."""

    name: str
    type: RecordType
    value: str
    preference: int = 0
    ttl_s: int = 300


Zones: TypeAlias = Mapping[str, Sequence[Record]]
"""The records of each zone by the name of its apex. "" is the root: with it every other name certainly is not
there, and without it nobody knows."""


def a(name: str, address: str, *, ttl_s: int = 300) -> Record:
    """An address record: A or AAAA, as the address is."""
    kind = RecordType.AAAA if ip_address(address).version == 6 else RecordType.A
    return Record(name, kind, address, ttl_s=ttl_s)


def mx(name: str, preference: int, host: str, *, ttl_s: int = 300) -> Record:
    return Record(name, RecordType.MX, host, preference, ttl_s)


def txt(name: str, text: str, *, ttl_s: int = 300) -> Record:
    return Record(name, RecordType.TXT, text, ttl_s=ttl_s)


def cname(name: str, target: str, *, ttl_s: int = 300) -> Record:
    return Record(name, RecordType.CNAME, target, ttl_s=ttl_s)


def ptr(address: str, host: str, *, ttl_s: int = 300) -> Record:
    """The name of an address; its zone is below in-addr.arpa or ip6.arpa."""
    return Record(ip_address(address).reverse_pointer, RecordType.PTR, host, ttl_s=ttl_s)


class ZoneAnswer(msgspec.Struct, frozen=True):
    """`zone` is the apex that the name at the end belongs to, None where no zone is ours; `exists` is False for
    NXDOMAIN; `records` begin with the aliases that were followed; `name` is the name at their end."""

    zone: str | None
    exists: bool
    name: str
    records: tuple[Record, ...] = ()

    def of_type(self, kind: RecordType) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.type == kind and record.name == self.name)


def look_up(zones: Zones, name: str, kind: RecordType) -> ZoneAnswer:
    """The answer to one question (RFC 1034 section 4.3.2, without wildcards and delegations). Pure."""
    name = name.lower().removesuffix(".")
    records: list[Record] = []
    zone = zone_of(zones, name)
    exists = False
    for _ in range(DNS_CNAMES + 1):
        if zone is None:
            exists = bool(records)
            break
        # A name exists also when only names below it have records (RFC 8020).
        exists = name == zone or any(record.name == name or record.name.endswith(f".{name}") for record in zones[zone])
        here = [record for record in zones[zone] if record.name == name]
        if kind is RecordType.SOA and name == zone and not any(record.type is kind for record in here):
            here.append(soa(zones, zone))
        alias = next((record for record in here if record.type is RecordType.CNAME), None)
        if alias is None or kind is RecordType.CNAME:
            records += (record for record in here if record.type is kind)
            break
        records.append(alias)
        name = alias.value
        zone = zone_of(zones, name)
    return ZoneAnswer(zone, exists, name, tuple(records))


def zone_of(zones: Zones, name: str) -> str | None:
    """The nearest apex at or above a name."""
    return next((apex for apex in _upwards(name) if apex in zones), None)


def soa(zones: Zones, zone: str) -> Record:
    """The SOA record of a zone; the last field is how long "no" may be remembered (RFC 2308 section 4)."""
    end = f"{zone}." if zone else ""
    made_up = Record(zone, RecordType.SOA, f"ns.{end} hostmaster.{end} 1 3600 600 604800 60", ttl_s=60)
    return next((record for record in zones[zone] if record.type is RecordType.SOA), made_up)


def _upwards(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.partition(".")[2]
    yield ""
