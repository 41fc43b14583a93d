"""The DNS as data, and passwords as they are: the two seams of the world that services' tests write down themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set

from postroad.contracts.errors import Busy, DnsTemporary
from postroad.contracts.resolver import MxAnswer, MxRecord
from postroad.vocabulary.credentials import ScramKeys, scram_keys
from postroad.vocabulary.limits import DNS_TOTAL_S


class Zone:
    """A resolver. A name in `silent` is never answered now, the MX of one in `hanging` neither, after a long time; the
    MX of those in `proved` are proved. `asked` counts the questions."""

    def __init__(
        self,
        *,
        mx: dict[str, tuple[MxRecord, ...]] | None = None,
        addresses: dict[str, tuple[str, ...]] | None = None,
        names: dict[str, tuple[str, ...]] | None = None,
        silent: frozenset[str] = frozenset(),
        proved: Set[str] = frozenset(),
        hanging: Set[str] = frozenset(),
        texts: Mapping[str, tuple[bytes, ...]] | None = None,
    ) -> None:
        self._mx = mx or {}
        self._addresses = addresses or {}
        self._names = names or {}
        self._silent = silent
        self._proved = proved
        self._hanging = hanging
        self._texts = {} if texts is None else texts
        self.asked: list[str] = []

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self._silent:
            raise DnsTemporary(name)

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        self._ask(domain)
        if domain in self._hanging:
            loop = asyncio.get_running_loop()
            too_late = loop.create_future()
            loop.call_later(DNS_TOTAL_S, too_late.set_result, None)
            await too_late
            raise DnsTemporary(domain)
        return self._mx.get(domain, ())

    async def mx_answer(self, domain: str) -> MxAnswer:
        return MxAnswer(await self.mx(domain), domain in self._proved)

    async def addresses(self, host: str) -> tuple[str, ...]:
        self._ask(host)
        return self._addresses.get(host, ())

    async def names(self, address: str) -> tuple[str, ...]:
        self._ask(address)
        return self._names.get(address, ())

    async def exists(self, name: str) -> bool:
        self._ask(name)
        return name in self._mx or name in self._addresses

    async def text(self, name: str) -> tuple[bytes, ...]:
        self._ask(name)
        return self._texts.get(name, ())


class PlainPasswords:
    """The stored form is the password itself. With `busy` every question is turned away."""

    def __init__(self) -> None:
        self.busy = False
        self.checks = 0

    async def hash(self, password: str) -> str:
        return password

    async def scram_keys(self, password: str) -> ScramKeys:
        return scram_keys(password, b"salt of everybody")

    async def verify(self, name: str, stored: str, password: str) -> bool:
        self.checks += 1
        if self.busy:
            raise Busy("too many checks wait")
        return bool(stored) and stored == password
