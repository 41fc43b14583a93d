"""DNS in the simulation: answered from zones as data, after a latency. Implements contracts/resolver.py."""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import ip_address

from postroad.contracts.errors import DnsTemporary
from postroad.contracts.resolver import MxAnswer, MxRecord
from postroad.vocabulary.limits import DNS_CNAMES
from postroad.vocabulary.zone import RecordType, ZoneAnswer, Zones, look_up


class VirtualResolver:
    """`zones` may be changed at any time; a name in none of them is not there. `failing` names give SERVFAIL;
    `proved` ones are signed (DNSSEC), as far as the question has to be followed; `asked` counts the questions."""

    def __init__(self, zones: Zones, *, latency_s: float = 0.01) -> None:
        self.zones = zones
        self.failing: set[str] = set()
        self.proved: set[str] = set()
        self.latency_s = latency_s
        self.asked: Counter[tuple[str, RecordType]] = Counter()

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        answer = await self._ask(domain, RecordType.MX)
        return tuple(MxRecord(record.preference, record.value) for record in answer.of_type(RecordType.MX))

    async def mx_answer(self, domain: str) -> MxAnswer:
        answer = await self._ask(domain, RecordType.MX)
        names = {domain.lower().removesuffix("."), answer.name, *(record.name for record in answer.records)}
        records = tuple(MxRecord(record.preference, record.value) for record in answer.of_type(RecordType.MX))
        return MxAnswer(records, names <= self.proved)

    async def addresses(self, host: str) -> tuple[str, ...]:
        answers = [await self._ask(host, kind) for kind in (RecordType.AAAA, RecordType.A)]
        return tuple(
            record.value for answer in answers for record in answer.records if record.type is not RecordType.CNAME
        )

    async def names(self, address: str) -> tuple[str, ...]:
        answer = await self._ask(ip_address(address).reverse_pointer, RecordType.PTR)
        return tuple(record.value for record in answer.of_type(RecordType.PTR))

    async def text(self, name: str) -> tuple[bytes, ...]:
        answer = await self._ask(name, RecordType.TXT)
        return tuple(record.value.encode() for record in answer.of_type(RecordType.TXT))

    async def exists(self, name: str) -> bool:
        return (await self._ask(name, RecordType.MX)).exists

    async def _ask(self, name: str, kind: RecordType) -> ZoneAnswer:
        name = name.lower().removesuffix(".")
        self.asked[name, kind] += 1
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if name in self.failing:
            raise DnsTemporary(f"{name}: the name servers cannot answer now (SERVFAIL)")
        answer = look_up(self.zones, name, kind)
        if answer.records and answer.name in self.failing:
            raise DnsTemporary(f"{answer.name}: the name servers cannot answer now (SERVFAIL)")
        if sum(record.type is RecordType.CNAME for record in answer.records) > DNS_CNAMES:
            raise DnsTemporary(f"{name}: more than {DNS_CNAMES} aliases")
        return answer
