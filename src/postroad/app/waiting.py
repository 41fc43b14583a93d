"""Mail that waits: `[[hold]]`, what we keep for others until they fetch it; `[[pickup]]`, what others keep for us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from postroad.app import values
from postroad.app.sections import Days, DomainName, Duration, OptionalPath, Section
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.settings import HoldDomain, Pickup, PickupMethod, SmarthostTls

_PORTS = {PickupMethod.ETRN: 25, PickupMethod.TURN: 25, PickupMethod.ATRN: 366, PickupMethod.POP3: 110}
_NAME_CHARACTERS = 64


def _parse_host(text: object) -> Endpoint:
    """A host, with a port where it is not the usual one; port 0 stands for that."""
    if isinstance(text, str) and ":" in text.rpartition("]")[2]:
        return values.parse_host_port(text)
    if isinstance(text, str):
        try:
            return Endpoint(values.parse_address(text.strip("[]")), 0)
        except ValueError:
            pass
    return Endpoint(values.parse_domain(text), 0)


def _parse_mailbox(text: object) -> str:
    expected = f'{values.shown(text)} is no address; expected such as "ann@example.net"'
    try:
        address = values.parse_sender(text)
    except ValueError:
        raise ValueError(expected) from None
    if "@" not in address:
        raise ValueError(expected)
    return address


Host = Annotated[Endpoint, BeforeValidator(_parse_host)]
MailboxText = Annotated[str, BeforeValidator(_parse_mailbox)]


class HoldSection(Section):
    """Mail for this domain waits here until its owner fetches it by ETRN, ATRN or TURN."""

    domain: DomainName = Field(description="the domain; mail for it is taken from everybody")
    owner: MailboxText = Field(description="the account, one of ours, that may fetch it")
    keep: Days = Field(timedelta(days=30), description="what nobody has fetched then goes back to its sender")


class PickupSection(Section):
    """Our own mail that waits elsewhere, to be fetched by `postroad pickup`, or by itself `every` so often."""

    name: str = Field("", max_length=_NAME_CHARACTERS, description="for `postroad pickup NAME`; empty: the host")
    host: Host = Field(description='who has it, "host" or "host:port"')
    method: PickupMethod = Field(strict=False, description='"etrn", "atrn", "turn" or "pop3"')
    user: str = Field("", max_length=255, description="the name to log in with")
    password_file: OptionalPath = Field(None, description="its password, in a file that others cannot read")
    tls: SmarthostTls = Field(
        SmarthostTls.VERIFIED,
        strict=False,
        description='"verified", "opportunistic" or "none"; a password is never said in clear, but by pop3 with "none"',
    )
    every: Duration | None = Field(None, description="how often; left out: only when it is asked for")
    domains: tuple[DomainName, ...] = Field(
        (), strict=False, max_length=100, description="etrn: for each of these; atrn: for these alone, empty for all"
    )
    deliver_to: MailboxText | None = Field(None, description="pop3: the address here that it is for")

    @property
    def called(self) -> str:
        return self.name or self.host.address


def check_holds(holds: Sequence[HoldSection]) -> None:
    """Raises ValueError, with the key in front."""
    seen: set[str] = set()
    for number, hold in enumerate(holds):
        if hold.domain in seen:
            raise ValueError(f'hold.{number}.domain: "{hold.domain}" has a hold already; expected each domain once')
        seen.add(hold.domain)


def check_pickups(pickups: Sequence[PickupSection]) -> None:
    """Raises ValueError, with the key in front."""
    seen: set[str] = set()
    for number, pickup in enumerate(pickups):
        where, method = f"pickup.{number}", pickup.method
        if pickup.called in seen:
            raise ValueError(f'{where}.name: "{pickup.called}" is another one\'s name; expected one of its own')
        seen.add(pickup.called)
        if bool(pickup.user) != (pickup.password_file is not None):
            raise ValueError(f"{where}.user: expected a user and a password_file, or neither")
        if method is not PickupMethod.ETRN and not pickup.user:
            raise ValueError(f'{where}.user: is missing; expected the name to log in with for "{method.value}"')
        if method is PickupMethod.ETRN and not pickup.domains:
            raise ValueError(f'{where}.domains: is missing; expected the domains to ask for by "etrn"')
        if method in (PickupMethod.TURN, PickupMethod.POP3) and pickup.domains:
            raise ValueError(f'{where}.domains: "{method.value}" names no domains; expected none')
        if (method is PickupMethod.POP3) != (pickup.deliver_to is not None):
            raise ValueError(f'{where}.deliver_to: expected an address here for "pop3", and none for the others')


def hold_domains(holds: Sequence[HoldSection]) -> tuple[HoldDomain, ...]:
    return tuple(HoldDomain(hold.domain, hold.owner, hold.keep) for hold in holds)


def pickups_of(pickups: Sequence[PickupSection], password: Callable[[Path], str]) -> tuple[Pickup, ...]:
    """`password` reads a password from its file."""
    return tuple(
        Pickup(
            name=pickup.called,
            host=pickup.host.address,
            port=pickup.host.port or _PORTS[pickup.method],
            method=pickup.method,
            user=pickup.user,
            password="" if pickup.password_file is None else password(pickup.password_file),
            tls=pickup.tls,
            every=pickup.every,
            domains=pickup.domains,
            deliver_to=_mailbox(pickup.deliver_to),
        )
        for pickup in pickups
    )


def _mailbox(text: str | None) -> Mailbox | None:
    if text is None:
        return None
    local_part, _, domain = text.rpartition("@")
    return Mailbox(local_part, domain)
