"""Which way a recipient's copy goes (RFC 5321 sections 2.1 and 5.1): the first question after acceptance.

Asked twice: when a message is accepted, to group its recipients, and again when a group's time has come,
because the configuration may have changed meanwhile. Who is local is the directory's to say, which other
roads there are the settings'; the answer is a `Destination`, not an address: MX are looked up when it is
attempted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import MAILBOX, SMARTHOST, Destination, DestinationKind
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.settings import DeliverySettings, Route

_LOCAL = "local"


class KnownDomain(Protocol):
    """What the directory knows of a domain of ours; `contracts.directory.Domain` has this form."""

    @property
    def kind(self) -> str:
        """ "local", or "relay" for what is accepted here and delivered onward."""
        ...

    @property
    def relay_to(self) -> str:
        """ "host:port", or empty for by MX."""
        ...


DomainLookup = Callable[[str], KnownDomain | None]
ListOf = Callable[[Mailbox], Mailbox | None]
"""The address of a mailing list, without a tag, that mail for an address of a local domain goes to; else None."""


def destination_of(domain: str, lookup: DomainLookup, settings: DeliverySettings) -> Destination:
    """Where mail for `domain` goes next.

    In this order: a mailbox here for a local domain, and for `<postmaster>` without a domain
    (RFC 5321 section 4.5.1); a hold, where there is one for the domain; the host that a relay domain
    names; the first matching route; by MX for a relay domain that names no host, since a backup MX is
    there to hand on to the better ones and not to a smart host that may know nothing of it; the smart
    host; the domain's own MX.
    """
    known = lookup(domain) if domain else None
    if not domain or (known is not None and known.kind == _LOCAL):
        return MAILBOX
    if domain in settings.hold_domains:
        return Destination(DestinationKind.HOLD, domain)
    return _onward(domain, known, settings)


def onward_destination(domain: str, lookup: DomainLookup, settings: DeliverySettings) -> Destination:
    """Where what waits in the hold of `domain` is sent: as `destination_of`, but for the hold."""
    return _onward(domain, lookup(domain), settings)


def _onward(domain: str, known: KnownDomain | None, settings: DeliverySettings) -> Destination:
    if known is not None and known.relay_to:
        return Destination(DestinationKind.ROUTE, known.relay_to)
    for route in settings.routes:
        if _matches(route.pattern, domain):
            return Destination(DestinationKind.ROUTE, host_port_text(route.host, route.port))
    if known is None and settings.smarthost is not None and domain not in settings.hold_domains:
        return SMARTHOST
    return Destination(DestinationKind.DOMAIN, domain)


def group_recipients(
    recipients: Iterable[Recipient], lookup: DomainLookup, list_of: ListOf, settings: DeliverySettings
) -> tuple[Group, ...]:
    """The recipients by destination: those with the same are tried and settled together.

    Order is kept: of groups by their first recipient, and of recipients within a group. Each domain is
    looked up once, so that a list of a thousand recipients costs as many questions as it has domains. Each address of
    a mailing list is a destination of its own: what becomes of it is settled apart from the mailboxes.
    """
    of_domain: dict[str, Destination] = {}
    members: dict[Destination, list[Recipient]] = {}
    for recipient in recipients:
        domain = recipient.forward_path.domain
        destination = of_domain.get(domain)
        if destination is None:
            destination = of_domain[domain] = destination_of(domain, lookup, settings)
        if destination is MAILBOX:
            list_address = list_of(recipient.forward_path)
            if list_address is not None:
                destination = Destination(DestinationKind.LIST, list_address.key())
        members.setdefault(destination, []).append(recipient)
    return tuple(Group(destination, tuple(those)) for destination, those in members.items())


def split_moved(
    destination: Destination,
    recipients: tuple[Recipient, ...],
    lookup: DomainLookup,
    list_of: ListOf,
    settings: DeliverySettings,
) -> tuple[tuple[Recipient, ...], tuple[Group, ...]]:
    """Those of a group who still go to its destination, and the groups of those who go another way now."""
    staying: tuple[Recipient, ...] = ()
    moved: list[Group] = []
    for group in group_recipients(recipients, lookup, list_of, settings):
        if group.destination == destination:
            staying = group.recipients
        else:
            moved.append(group)
    return staying, tuple(moved)


def route_to(host_and_port: str, settings: DeliverySettings) -> Route | None:
    """The first route that leads to "host:port", as it is written in a `Destination`."""
    return next((each for each in settings.routes if host_port_text(each.host, each.port) == host_and_port), None)


def rate_to(destination: Destination, settings: DeliverySettings) -> int:
    """Messages a minute that may go there; 0 is no limit."""
    route = route_to(destination.name, settings) if destination.kind is DestinationKind.ROUTE else None
    return settings.destination_rate if route is None or route.rate is None else route.rate


def host_port_text(host: str, port: int) -> str:
    """ "host:port", with brackets round an IPv6 address; the inverse of `host_port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_port(text: str, default_port: int) -> Endpoint:
    """The host (a name or an address, without brackets) and port of "host:port", "[::1]:port" or "host".

    The Endpoint's address may be a name here. A port that is no number is part of no form we write;
    it reads as the default, and the host as it stands.
    """
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.startswith("[")):
        return Endpoint(host.strip("[]"), int(port))
    return Endpoint(text.strip("[]"), default_port)


def _matches(pattern: str, domain: str) -> bool:
    """ "*.corp" means every domain below corp, not corp itself; "*" means every domain."""
    pattern = pattern.lower()
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return domain.endswith(pattern[1:]) and len(domain) > len(pattern) - 1
    return domain == pattern
