"""What every Resolver must do: run on the real one against our own name server, and on the virtual one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from postroad.contracts.errors import DnsTemporary
from postroad.contracts.resolver import MxAnswer, MxRecord, Resolver
from postroad.vocabulary.zone import Record, a, cname, mx, ptr, txt

FAILING = "broken.a.example"
PROVED = frozenset({"a.example", "alias.a.example", "none.a.example", "b.example"})
"""The names whose answers DNSSEC proves; that of an alias only as far as each step of it."""

ZONES: dict[str, list[Record]] = {
    "": [],
    "a.example": [
        mx("a.example", 20, "mx2.a.example"),
        mx("a.example", 10, "mx1.a.example"),
        a("mx1.a.example", "192.0.2.25"),
        a("mx1.a.example", "2001:db8::25"),
        a("mx2.a.example", "192.0.2.26"),
        mx("no-mail.a.example", 0, ""),
        txt("a.example", "v=spf1 mx -all"),
        txt("long.a.example", "é" * 400),
        cname("www.a.example", "mx1.a.example"),
        cname("alias.a.example", "b.example"),
        cname("half-proved.a.example", "many.a.example"),
        cname("dangling.a.example", "nobody.b.example"),
        cname("loop.a.example", "pool.a.example"),
        cname("pool.a.example", "loop.a.example"),
        mx("many.a.example", 10, "mx1.a.example"),
        *(mx("many.a.example", 10, f"mx-with-a-rather-long-name-{n}.a.example") for n in range(100)),
        a("deep.empty.a.example", "192.0.2.30"),
    ],
    "b.example": [mx("b.example", 5, "mx1.a.example")],
    "2.0.192.in-addr.arpa": [ptr("192.0.2.25", "mx1.a.example")],
    "8.b.d.0.1.0.0.2.ip6.arpa": [ptr("2001:db8::25", "mx1.a.example")],
}


async def check_mx_records_are_found(resolver: Resolver) -> None:
    assert set(await resolver.mx("a.example")) == {MxRecord(10, "mx1.a.example"), MxRecord(20, "mx2.a.example")}
    assert await resolver.mx("A.Example") != ()


async def check_the_null_mx_is_told(resolver: Resolver) -> None:
    assert await resolver.mx("no-mail.a.example") == (MxRecord(0, ""),)


async def check_both_families_come_with_ipv6_first(resolver: Resolver) -> None:
    assert await resolver.addresses("mx1.a.example") == ("2001:db8::25", "192.0.2.25")
    assert await resolver.addresses("mx2.a.example") == ("192.0.2.26",)


async def check_aliases_are_followed_also_into_another_zone(resolver: Resolver) -> None:
    assert await resolver.addresses("www.a.example") == ("2001:db8::25", "192.0.2.25")
    assert await resolver.mx("alias.a.example") == (MxRecord(5, "mx1.a.example"),)


async def check_an_alias_to_nobody_leads_to_nothing(resolver: Resolver) -> None:
    assert await resolver.addresses("dangling.a.example") == ()
    assert not await resolver.exists("dangling.a.example")


async def check_an_alias_to_itself_is_no_verdict(resolver: Resolver) -> None:
    with pytest.raises(DnsTemporary, match="aliases"):
        await resolver.mx("loop.a.example")


async def check_no_such_name_and_no_such_record_are_told_apart(resolver: Resolver) -> None:
    assert await resolver.mx("mx1.a.example") == ()
    assert await resolver.exists("mx1.a.example")
    assert await resolver.mx("nobody.a.example") == ()
    assert await resolver.addresses("nobody.a.example") == ()
    assert not await resolver.exists("nobody.a.example")
    assert not await resolver.exists("no-zone.example.com")


async def check_a_name_with_something_below_exists(resolver: Resolver) -> None:
    assert await resolver.exists("empty.a.example")


async def check_a_failing_name_is_no_verdict(resolver: Resolver) -> None:
    for look_up in (resolver.mx, resolver.addresses, resolver.text, resolver.exists):
        with pytest.raises(DnsTemporary):
            await look_up(FAILING)
    assert await resolver.mx("a.example") != ()


async def check_addresses_have_names(resolver: Resolver) -> None:
    assert await resolver.names("192.0.2.25") == ("mx1.a.example",)
    assert await resolver.names("2001:db8::25") == ("mx1.a.example",)
    assert await resolver.names("192.0.2.99") == ()


async def check_the_strings_of_a_text_are_joined(resolver: Resolver) -> None:
    assert await resolver.text("a.example") == (b"v=spf1 mx -all",)
    assert await resolver.text("long.a.example") == ("é".encode() * 400,)


async def check_an_answer_too_long_for_a_datagram_is_whole(resolver: Resolver) -> None:
    assert len(await resolver.mx("many.a.example")) == 101


async def check_an_answer_tells_whether_it_is_proved(resolver: Resolver) -> None:
    assert (await resolver.mx_answer("A.example")).proved
    assert not (await resolver.mx_answer("many.a.example")).proved
    # That there is none has to be proved, too: the domain itself is the host then.
    assert await resolver.mx_answer("none.a.example") == MxAnswer((), proved=True)
    assert await resolver.mx_answer("mx1.a.example") == MxAnswer((), proved=False)


async def check_an_alias_is_proved_when_every_step_of_it_is(resolver: Resolver) -> None:
    assert await resolver.mx_answer("alias.a.example") == MxAnswer((MxRecord(5, "mx1.a.example"),), proved=True)
    assert not (await resolver.mx_answer("half-proved.a.example")).proved


CHECKS: list[Callable[[Resolver], Awaitable[None]]] = [
    check for name, check in sorted(globals().items()) if name.startswith("check_")
]
