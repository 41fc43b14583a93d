"""The virtual resolver keeps the contract of the real one."""

from collections.abc import Awaitable, Callable

import pytest

from postroad.contracts.resolver import Resolver
from postroad.simulation.virtual_loop import run
from postroad.simulation.virtual_resolver import VirtualResolver
from postroad.vocabulary.zone import RecordType, mx
from tests.contract import resolver_contract as contract


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Callable[[Resolver], Awaitable[None]]) -> None:
    async def play() -> None:
        resolver = VirtualResolver(contract.ZONES)
        resolver.failing.add(contract.FAILING)
        resolver.proved |= contract.PROVED
        await check(resolver)

    run(play())


def test_a_zone_may_change_and_questions_are_counted() -> None:
    async def play() -> None:
        zones = {"c.example": [mx("c.example", 10, "old.c.example")]}
        resolver = VirtualResolver(zones)
        await resolver.mx("c.example")
        zones["c.example"] = [mx("c.example", 10, "new.c.example")]
        assert (await resolver.mx("c.example"))[0].host == "new.c.example"
        assert resolver.asked["c.example", RecordType.MX] == 2

    run(play())
