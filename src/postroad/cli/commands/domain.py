"""postroad domain: the domains this server accepts mail for."""

from __future__ import annotations

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show

_COLUMNS = (
    ("DOMAIN", lambda d: d["domain"]),
    ("KIND", lambda d: d["kind"]),
    ("ONWARD TO", lambda d: d["relay_to"] or ("by MX" if d["kind"] == "relay" else "-")),
)


@click.group()
def domain() -> None:
    """The domains this server accepts mail for."""


@domain.command()
@click.argument("name", metavar="DOMAIN")
@click.option(
    "--relay",
    is_flag=False,
    flag_value="mx",
    default=None,
    metavar="[HOST:PORT]",
    help="Accept its mail and deliver it onward, to HOST:PORT or else by its other MX (backup MX).",
)
@json_option
@click.pass_obj
def add(house: House, name: str, relay: str | None, as_json: bool) -> None:
    """Accept mail for a domain: into mailboxes here, or onward with --relay."""
    relay_to = "" if relay in (None, "mx") else relay
    (added,) = house.perform("domain.add", {"domain": name, "relay": relay is not None, "relay_to": relay_to})
    if as_json:
        say_json(added)
    else:
        click.echo(f"{added['domain']} is now a {added['kind']} domain of this server")


@domain.command()
@click.argument("name", metavar="DOMAIN")
@json_option
@click.pass_obj
def remove(house: House, name: str, as_json: bool) -> None:
    """Accept no more mail for a domain. Its accounts must be removed first."""
    (removed,) = house.perform("domain.remove", {"domain": name})
    if as_json:
        say_json(removed)
    else:
        click.echo(f"{removed['domain']} is no longer a domain of this server")


@domain.command("list")
@json_option
@click.pass_obj
def list_(house: House, as_json: bool) -> None:
    """List the domains."""
    show(house.perform("domain.list", {}), as_json, _COLUMNS, "no domains yet: postroad domain add example.org")
