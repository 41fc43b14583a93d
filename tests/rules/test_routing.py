"""Where a recipient's copy goes next (rules/routing)."""

import pytest

from postroad.contracts.directory import Domain, DomainKind
from postroad.rules.routing import destination_of, group_recipients, host_port, host_port_text, split_moved
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import MAILBOX, SMARTHOST, Destination, DestinationKind
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.settings import DeliverySettings, Route, Smarthost

DOMAINS = {
    "a.example": Domain(name="a.example"),
    "backup.example": Domain(name="backup.example", kind=DomainKind.RELAY),
    "inside.example": Domain(name="inside.example", kind=DomainKind.RELAY, relay_to="10.0.0.9:2525"),
}
PLAIN = DeliverySettings(hostname="mx.a.example")
HOSTED = DeliverySettings(hostname="mx.a.example", smarthost=Smarthost("out.example", 587))


def by_domain(name: str) -> Destination:
    return Destination(DestinationKind.DOMAIN, name)


def no_list(address: Mailbox) -> None:
    """There are no mailing lists."""


def to(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(Mailbox(*address.split("@"))) for address in addresses)


@pytest.mark.parametrize("settings", [PLAIN, HOSTED])
def test_a_local_domain_is_a_mailbox_whatever_the_smart_host(settings: DeliverySettings) -> None:
    assert destination_of("a.example", DOMAINS.get, settings) == MAILBOX


def test_postmaster_without_a_domain_is_ours() -> None:
    assert destination_of("", DOMAINS.get, HOSTED) == MAILBOX


def test_a_stranger_goes_by_mx_or_by_the_smart_host() -> None:
    assert destination_of("b.example", DOMAINS.get, PLAIN) == by_domain("b.example")
    assert destination_of("b.example", DOMAINS.get, HOSTED) == SMARTHOST


def test_a_relay_domain_goes_to_its_host_or_to_its_better_mx() -> None:
    assert destination_of("inside.example", DOMAINS.get, HOSTED) == Destination(DestinationKind.ROUTE, "10.0.0.9:2525")
    assert destination_of("backup.example", DOMAINS.get, HOSTED) == by_domain("backup.example")


def test_the_first_matching_route_wins_over_the_smart_host() -> None:
    routes = (Route("x.corp", "::1", 26), Route("*.corp", "gate.example", 25), Route("x.corp", "late.example", 25))
    settings = DeliverySettings(hostname="mx.a.example", smarthost=Smarthost("out.example", 587), routes=routes)
    found = {name: destination_of(name, DOMAINS.get, settings).name for name in ("x.corp", "y.corp", "a.b.corp")}
    assert found == {"x.corp": "[::1]:26", "y.corp": "gate.example:25", "a.b.corp": "gate.example:25"}
    assert destination_of("corp", DOMAINS.get, settings) == SMARTHOST
    assert destination_of("a.example", DOMAINS.get, settings) == MAILBOX


def test_a_star_routes_everything_that_is_not_ours() -> None:
    settings = DeliverySettings(hostname="mx.a.example", routes=(Route("*", "gate.example", 25),))
    assert destination_of("b.example", DOMAINS.get, settings).name == "gate.example:25"
    assert destination_of("a.example", DOMAINS.get, settings) == MAILBOX


def test_recipients_of_one_destination_form_one_group_in_order() -> None:
    asked: list[str] = []

    def lookup(name: str) -> Domain | None:
        asked.append(name)
        return DOMAINS.get(name)

    bob, ann, cat, dan, eve = to("bob@b.example", "ann@a.example", "cat@c.example", "dan@b.example", "eve@a.example")
    assert group_recipients((bob, ann, cat, dan, eve), lookup, no_list, PLAIN) == (
        Group(by_domain("b.example"), (bob, dan)),
        Group(MAILBOX, (ann, eve)),
        Group(by_domain("c.example"), (cat,)),
    )
    assert asked == ["b.example", "a.example", "c.example"]


def test_a_changed_configuration_moves_those_it_concerns_and_no_others() -> None:
    bob, xan = to("bob@b.example", "xan@x.corp")
    settings = DeliverySettings(hostname="m", smarthost=HOSTED.smarthost, routes=(Route("*.corp", "gate.example", 25),))
    staying, moved = split_moved(SMARTHOST, (bob, xan), DOMAINS.get, no_list, settings)
    assert staying == (bob,)
    assert moved == (Group(Destination(DestinationKind.ROUTE, "gate.example:25"), (xan,)),)
    assert split_moved(SMARTHOST, (bob,), DOMAINS.get, no_list, HOSTED) == ((bob,), ())


def test_each_address_of_a_list_is_a_destination_of_its_own_whatever_its_tag_and_case() -> None:
    def list_of(address: Mailbox) -> Mailbox | None:
        bare = address.without_tag()
        return bare if bare.key() in ("friends@a.example", "friends-bounces@a.example") else None

    ann, one, other, bounce, bob = to(
        "ann@a.example", "Friends@a.example", "friends+x@a.example", "friends-bounces+bob=b@a.example", "bob@b.example"
    )
    groups = group_recipients((ann, one, other, bounce, bob), DOMAINS.get, list_of, PLAIN)
    assert groups == (
        Group(MAILBOX, (ann,)),
        Group(Destination(DestinationKind.LIST, "friends@a.example"), (one, other)),
        Group(Destination(DestinationKind.LIST, "friends-bounces@a.example"), (bounce,)),
        Group(by_domain("b.example"), (bob,)),
    )
    assert Destination.parse("list:friends@a.example") == groups[1].destination


def test_nobody_asks_whether_an_address_elsewhere_is_a_list() -> None:
    asked: list[Mailbox] = []
    group_recipients(to("bob@b.example", "ann@a.example"), DOMAINS.get, asked.append, PLAIN)
    assert asked == [Mailbox("ann", "a.example")]


def test_mail_for_a_list_that_was_removed_moves_to_the_mailboxes() -> None:
    (friends,) = to("friends@a.example")
    destination = Destination(DestinationKind.LIST, "friends@a.example")
    moved = split_moved(destination, (friends,), DOMAINS.get, no_list, PLAIN)
    assert moved == ((), (Group(MAILBOX, (friends,)),))


@pytest.mark.parametrize("host", ["gate.example", "192.0.2.1", "2001:db8::1", "::1"])
def test_host_and_port_are_read_as_they_were_written(host: str) -> None:
    assert host_port(host_port_text(host, 2525), 25) == Endpoint(host, 2525)


@pytest.mark.parametrize(("text", "host"), [("gate.example", "gate.example"), ("[::1]", "::1"), ("::1", "::1")])
def test_a_host_without_a_port_has_the_usual_one(text: str, host: str) -> None:
    assert host_port(text, 25) == Endpoint(host, 25)
