"""Sets of networks and names, and who counts as one client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.networks import NameSet, NetworkSet, client_of, network_of, split_clients


def test_an_address_is_found_in_its_network() -> None:
    networks = NetworkSet(("10.1.0.0/16", "192.0.2.1", "2001:db8::/32"))
    inside = ("10.1.2.3", "192.0.2.1", "2001:db8:1::1", "2001:DB8:0:0::1")
    outside = ("10.2.0.1", "192.0.2.2", "2001:db9::1", "unix", "", "nonsense")
    assert [each in networks for each in inside] == [True] * len(inside)
    assert [each in networks for each in outside] == [False] * len(outside)
    assert "10.1.2.3" not in NetworkSet(())


def test_what_is_no_network_is_refused_at_once() -> None:
    with pytest.raises(ValueError):
        NetworkSet(("10.1.0.0/33",))


def test_a_list_of_clients_may_mix_networks_and_names() -> None:
    networks, names = split_clients(("203.0.113.0/24", "bad.example", ".worse.example"))
    assert "203.0.113.9" in networks
    assert ["Bad.example" in names, "a.bad.example" in names] == [True, False]
    assert ["worse.example" in names, "a.worse.example" in names] == [False, True]
    assert not NameSet(())


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_64_bit_prefix_is_one_client(address: object, host: int) -> None:
    from ipaddress import IPv6Address

    prefix = int(IPv6Address(str(address))) >> 64 << 64
    assert client_of(str(IPv6Address(prefix | host))) == client_of(str(address))


@given(st.text(max_size=50))
def test_any_text_is_some_client(text: str) -> None:
    assert isinstance(client_of(text), str)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "198.51.100.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_the_network_around_a_client(address: str, network: str) -> None:
    assert network_of(address) == network
