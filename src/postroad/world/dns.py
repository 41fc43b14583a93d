"""Name resolution with a cache of our own. Implements contracts/resolver.py.

Answers are kept as long as they say (at most DNS_TTL_MAX_S), "there is none" as long as the zone's SOA says
(RFC 2308), a failure for a moment only. Identical questions at the same time share one query.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from msgspec import structs

from postroad.contracts.errors import DnsTemporary
from postroad.contracts.resolver import MxAnswer, MxRecord
from postroad.vocabulary.limits import (
    DNS_CACHE_ENTRIES,
    DNS_CNAMES,
    DNS_FAILURE_TTL_S,
    DNS_QUERY_S,
    DNS_SERVERS,
    DNS_TOTAL_S,
)
from postroad.vocabulary.zone import RecordType
from postroad.world.dns_exchange import DnsExchange, parse_server, system_servers
from postroad.world.dns_wire import Found

_Question = tuple[str, RecordType]


class DnsResolver:
    """`servers` are like "127.0.0.1:5353"; none means those of /etc/resolv.conf. Raises ValueError for what is
    no address. `monotonic` defaults to the loop's time; `query_s` is how long one query may take."""

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        monotonic: Callable[[], float] | None = None,
        query_s: float = DNS_QUERY_S,
        cache_entries: int = DNS_CACHE_ENTRIES,
    ) -> None:
        endpoints = tuple(parse_server(server) for server in servers[:DNS_SERVERS]) or system_servers()
        self._exchange = DnsExchange(endpoints, query_s)
        self._monotonic = monotonic
        self._entries = cache_entries
        self._known: OrderedDict[_Question, tuple[float, Found | str]] = OrderedDict()
        self._asking: dict[_Question, asyncio.Future[Found | str | None]] = {}

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        return (await self._find(domain, RecordType.MX)).records

    async def mx_answer(self, domain: str) -> MxAnswer:
        found = await self._find(domain, RecordType.MX)
        return MxAnswer(found.records, found.proved)

    async def addresses(self, host: str) -> tuple[str, ...]:
        known = [self._recall((host.lower(), kind)) for kind in (RecordType.AAAA, RecordType.A)]
        if all(isinstance(found, Found) and not found.alias for found in known):
            return tuple(address for found in known if isinstance(found, Found) for address in found.records)
        async with asyncio.TaskGroup() as group:
            sixes = group.create_task(self._find_or_trouble(host, RecordType.AAAA))
            fours = group.create_task(self._find_or_trouble(host, RecordType.A))
        both = (sixes.result(), fours.result())
        addresses = tuple(address for found in both if isinstance(found, Found) for address in found.records)
        # One family that cannot be looked up now is no reason not to use the other; but it is not "none" either.
        trouble = next((found for found in both if isinstance(found, DnsTemporary)), None)
        if not addresses and trouble is not None:
            raise trouble
        return addresses

    async def names(self, address: str) -> tuple[str, ...]:
        return (await self._find(ip_address(address).reverse_pointer, RecordType.PTR)).records

    async def text(self, name: str) -> tuple[bytes, ...]:
        return (await self._find(name, RecordType.TXT)).records

    async def exists(self, name: str) -> bool:
        return (await self._find(name, RecordType.MX)).exists

    async def _find_or_trouble(self, name: str, kind: RecordType) -> Found | DnsTemporary:
        try:
            return await self._find(name, kind)
        except DnsTemporary as trouble:
            return trouble

    async def _find(self, name: str, kind: RecordType) -> Found:
        """With aliases followed that a reply left open. Raises DnsTemporary."""
        try:
            async with asyncio.timeout(DNS_TOTAL_S):
                asked = name.lower().removesuffix(".")
                proved = True
                for _ in range(DNS_CNAMES + 1):
                    found = await self._find_one((asked, kind))
                    proved = proved and found.proved
                    if not found.alias:
                        # Each step of the chain has to be proved: whoever forges an alias chooses the answer.
                        return found if found.proved is proved else structs.replace(found, proved=False)
                    asked = found.alias
        except TimeoutError:
            raise DnsTemporary(f"{name}: no answer within {DNS_TOTAL_S:g} s")
        raise DnsTemporary(f"{name}: more than {DNS_CNAMES} aliases")

    async def _find_one(self, question: _Question) -> Found:
        known = self._recall(question)
        # While somebody asks already, wait for his answer; if he is cancelled, one of those who wait asks.
        while known is None and (asking := self._asking.get(question)) is not None:
            known = await asyncio.shield(asking)
        if known is None:
            known = await self._ask(question)
        if isinstance(known, str):
            raise DnsTemporary(known)
        return known

    async def _ask(self, question: _Question) -> Found | str:
        """Ask the servers, for everybody who wants to know; a failure is its text."""
        done = self._asking[question] = asyncio.get_running_loop().create_future()
        answer: Found | str | None = None
        try:
            found = await self._exchange.ask(*question)
            self._keep(question, found, found.ttl_s)
            answer = found
        except DnsTemporary as trouble:
            answer = str(trouble)
            self._keep(question, answer, DNS_FAILURE_TTL_S)
        except ValueError:
            answer = Found((), False, 0)  # what cannot be a name is not there
        finally:
            del self._asking[question]
            done.set_result(answer)
        return answer

    def _recall(self, question: _Question) -> Found | str | None:
        """What is known now: an answer, the text of a failure, or None."""
        entry = self._known.get(question)
        if entry is None:
            return None
        if entry[0] <= self._now():
            del self._known[question]
            return None
        self._known.move_to_end(question)
        return entry[1]

    def _keep(self, question: _Question, what: Found | str, ttl_s: float) -> None:
        if ttl_s <= 0:
            return
        self._known[question] = (self._now() + ttl_s, what)
        self._known.move_to_end(question)
        while len(self._known) > self._entries:
            self._known.popitem(last=False)

    def _now(self) -> float:
        return (self._monotonic or asyncio.get_running_loop().time)()
