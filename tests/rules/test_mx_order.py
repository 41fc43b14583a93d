"""Which hosts take a domain's mail, and which addresses we do not go to (rules/mx_order)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.contracts.resolver import MxRecord
from postroad.rules.mx_order import Hosts, NoWay, Ourselves, hosts_of_domain, is_private, literal_address
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import MX_HOSTS
from postroad.vocabulary.outcome import Fate

US = Ourselves("mx.a.example", frozenset({Endpoint("192.0.2.1", 25)}))


def backwards(items: list[str]) -> list[str]:
    return items[::-1]


def hosts(*records: tuple[int, str]) -> Hosts | NoWay:
    return hosts_of_domain("b.example", tuple(MxRecord(*each) for each in records), US, backwards)


def test_lower_preference_comes_first_and_equals_are_shuffled() -> None:
    found = hosts((20, "c.example"), (10, "one.example"), (10, "two.example"))
    assert found == (("two.example", "one.example"), ("c.example",))


def test_a_domain_without_mx_is_its_own_host() -> None:
    assert hosts() == (("b.example",),)


def test_a_null_mx_says_that_no_mail_is_taken() -> None:
    found = hosts((0, ""))
    assert isinstance(found, NoWay)
    assert (found.fate, str(found.status)) == (Fate.FAILED, "5.1.10")


def test_a_null_mx_beside_others_is_a_mistake_that_costs_nobody_their_mail() -> None:
    assert hosts((0, ""), (10, "mx.b.example")) == (("mx.b.example",),)


def test_a_backup_hands_on_only_to_better_hosts() -> None:
    found = hosts((10, "best.example"), (20, "mx.a.example"), (20, "peer.example"), (30, "worse.example"))
    assert found == (("best.example",),)


def test_the_best_host_does_not_send_mail_to_itself() -> None:
    found = hosts((10, "MX.A.example"), (20, "worse.example"))
    assert isinstance(found, NoWay)
    assert (found.fate, str(found.status)) == (Fate.FAILED, "5.4.6")


def test_an_answer_of_ten_thousand_hosts_is_bounded() -> None:
    found = hosts(*((n % 7, f"mx{n}.example") for n in range(10_000)))
    assert not isinstance(found, NoWay)
    assert sum(map(len, found)) == MX_HOSTS


def test_a_host_named_twice_is_tried_once_at_its_better_place() -> None:
    assert hosts((10, "x.example"), (20, "x.example"), (20, "y.example")) == (("x.example",), ("y.example",))


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([f"h{n}.example" for n in range(9)]))))
def test_no_host_is_lost_or_invented_below_the_bound(records: list[tuple[int, str]]) -> None:
    found = hosts(*records)
    assert not isinstance(found, NoWay)
    flat = [host for level in found for host in level]
    assert sorted(flat) == sorted({host for _, host in records} or {"b.example"})
    best = {host: min(p for p, name in records if name == host) for _, host in records}
    assert [best.get(host, 0) for host in flat] == sorted(best.get(host, 0) for host in flat)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "no address"),
    ],
)
def test_no_disguise_makes_a_private_address_public(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "192.0.2.25", "2001:db8::25", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_may_be_reached(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:DB8::1]", "2001:db8::1"),
        ("[ipv6:::1]", "::1"),
        ("[smtp:x]", None),
        ("b.example", None),
        ("[192.0.2]", None),
    ],
)
def test_address_literals_are_read(domain: str, address: str | None) -> None:
    assert literal_address(domain) == address


def test_we_are_where_we_listen() -> None:
    assert US.is_here(Endpoint("192.0.2.1", 25))
    assert not US.is_here(Endpoint("192.0.2.1", 2525))
    everywhere = Ourselves("m", frozenset({Endpoint("::", 25)}))
    assert everywhere.is_here(Endpoint("127.0.0.5", 25))
    assert everywhere.is_here(Endpoint("0.0.0.0", 25))
    assert not everywhere.is_here(Endpoint("192.0.2.7", 25))
