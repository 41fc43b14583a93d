"""The walk through the hosts of a destination (rules/attempt)."""

from typing import Any

from postroad.rules.attempt import Connect, Lookup, Step, Walk
from postroad.rules.mx_order import Hosts, NoWay, Ourselves
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import ADDRESSES_PER_ATTEMPT
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.reply import reply

US = Ourselves("mx.a.example", frozenset({Endpoint("192.0.2.1", 25)}))
TWO: Hosts = (("mx1.b.example",), ("mx2.b.example",))
DNS: dict[str, tuple[str, ...] | None] = {
    "mx1.b.example": ("2001:db8::1", "192.0.2.11"),
    "mx2.b.example": ("192.0.2.12",),
    "us.b.example": ("192.0.2.1",),
    "inside.b.example": ("10.0.0.1",),
    "many.b.example": tuple(f"198.51.100.{n}" for n in range(50)),
    "servfail.b.example": None,
}


def walk(hosts: Hosts = TWO, **settings: Any) -> Walk:
    return Walk(hosts, 25, US, **settings)


def step(it: Walk) -> Step:
    """The next step that is not a lookup."""
    while isinstance(found := it.next_step(), Lookup):
        it.looked_up({host: DNS.get(host, ()) for host in found.hosts})
    return found


def tried_until_the_end(it: Walk, text: str = "refused") -> tuple[list[str], NoWay]:
    addresses = []
    while isinstance(found := step(it), Connect):
        addresses.append(found.remote.address)
        it.failed(text)
    assert isinstance(found, NoWay)
    return addresses, found


def test_every_address_of_every_host_has_its_turn_in_order() -> None:
    addresses, end = tried_until_the_end(walk())
    assert addresses == ["2001:db8::1", "192.0.2.11", "192.0.2.12"]
    assert (end.fate, str(end.status), end.text, end.remote_mta) == (
        Fate.DEFERRED,
        "4.4.1",
        "refused",
        "mx2.b.example",
    )


def test_a_worse_host_is_not_even_looked_up_before_its_turn() -> None:
    it = walk()
    assert it.next_step() == Lookup(("mx1.b.example",))


def test_the_number_of_addresses_is_bounded() -> None:
    addresses, _ = tried_until_the_end(walk((("many.b.example",), ("mx2.b.example",))))
    assert len(addresses) == ADDRESSES_PER_ATTEMPT


def test_a_broken_handshake_is_tried_once_more_in_clear() -> None:
    it = walk((("mx2.b.example",),))
    first = step(it)
    assert isinstance(first, Connect)
    assert first.tls
    it.failed("the handshake broke", tls=True)
    assert step(it) == Connect("mx2.b.example", Endpoint("192.0.2.12", 25), tls=False)
    it.failed("cut", tls=True)
    assert isinstance(step(it), NoWay)


def test_where_tls_is_demanded_there_is_no_second_try_in_clear() -> None:
    it = walk((("mx2.b.example",),), clear_allowed=False)
    step(it)
    it.failed("the certificate is for another name", tls=True)
    end = step(it)
    assert isinstance(end, NoWay)
    assert (end.fate, str(end.status)) == (Fate.DEFERRED, "4.7.5")


def test_a_host_that_says_no_is_remembered_but_the_next_is_tried() -> None:
    it = walk()
    for _ in range(3):
        assert isinstance(step(it), Connect)
        it.failed("greeted with 554", reply=reply(554, "Go away", status="5.7.1"))
    end = step(it)
    assert isinstance(end, NoWay)
    assert (end.fate, str(end.status), end.reply) == (Fate.DEFERRED, "4.7.1", "554 5.7.1 Go away")


def test_what_a_host_said_outlives_the_silence_of_the_next() -> None:
    it = walk((("mx1.b.example",),))
    step(it)
    it.failed("greeted with 421", reply=reply(421, "Busy"))
    step(it)
    it.failed("connection refused")
    end = step(it)
    assert isinstance(end, NoWay)
    assert end.reply == "421 Busy"


def test_only_when_every_host_takes_no_mail_at_all_is_it_final() -> None:
    it = walk((("mx2.b.example",),))
    step(it)
    it.failed("no mail", reply=reply(521, "Host does not accept mail"))
    end = step(it)
    assert isinstance(end, NoWay)
    assert end.fate is Fate.FAILED

    it = walk((("mx1.b.example",),))
    step(it)
    it.failed("no mail", reply=reply(521, "Host does not accept mail"))
    step(it)
    it.failed("timed out")
    end = step(it)
    assert isinstance(end, NoWay)
    assert end.fate is Fate.DEFERRED


def test_dns_that_fails_for_now_is_no_verdict() -> None:
    addresses, end = tried_until_the_end(walk((("servfail.b.example",),)))
    assert (addresses, end.fate, str(end.status)) == ([], Fate.DEFERRED, "4.4.3")


def test_a_domain_without_mx_and_address_does_not_exist_for_mail() -> None:
    _, end = tried_until_the_end(walk((("nowhere.example",),), implicit=True))
    assert (end.fate, str(end.status)) == (Fate.FAILED, "5.1.2")


def test_mx_without_any_address_are_an_error_of_the_domain() -> None:
    _, end = tried_until_the_end(walk((("no1.b.example",), ("no2.b.example",))))
    assert (end.fate, str(end.status)) == (Fate.FAILED, "5.4.4")


def test_a_configured_host_that_is_not_found_is_for_the_administrator_to_correct() -> None:
    _, end = tried_until_the_end(walk((("nowhere.example",),), configured=True))
    assert (end.fate, str(end.status)) == (Fate.DEFERRED, "4.4.3")


def test_an_mx_with_our_own_address_ends_the_walk_before_it() -> None:
    hosts: Hosts = (("mx2.b.example",), ("us.b.example",), ("mx1.b.example",))
    addresses, end = tried_until_the_end(walk(hosts))
    assert addresses == ["192.0.2.12"]
    assert end.fate is Fate.DEFERRED
    addresses, end = tried_until_the_end(walk((("us.b.example", "mx1.b.example"),)))
    assert (addresses, end.fate, str(end.status)) == ([], Fate.FAILED, "5.4.6")


def test_our_own_address_is_never_a_way_however_it_is_written() -> None:
    for hosts, configured in (((("[192.0.2.1]",),), False), ((("192.0.2.1",),), True)):
        _, end = tried_until_the_end(walk(hosts, configured=configured, private_allowed=True))
        assert (end.fate, str(end.status)) == (Fate.FAILED, "5.4.6")


def test_dns_does_not_lead_us_into_a_private_network() -> None:
    _, end = tried_until_the_end(walk((("inside.b.example",),)))
    assert (end.fate, str(end.status)) == (Fate.FAILED, "5.4.4")
    _, end = tried_until_the_end(walk((("[IPv6:::1]",),)))
    assert (end.fate, str(end.status)) == (Fate.FAILED, "5.4.4")
    for settings in ({"private_allowed": True}, {"configured": True}):
        addresses, _ = tried_until_the_end(walk((("inside.b.example",),), **settings))
        assert addresses == ["10.0.0.1"]


def test_a_private_address_beside_a_public_one_is_passed_over() -> None:
    addresses, end = tried_until_the_end(walk((("inside.b.example", "mx2.b.example"),)))
    assert addresses == ["192.0.2.12"]
    assert end.fate is Fate.DEFERRED


def test_an_address_literal_needs_no_lookup() -> None:
    assert walk((("[192.0.2.77]",),)).next_step() == Connect("[192.0.2.77]", Endpoint("192.0.2.77", 25))
