"""postroad alias: addresses that lead to others."""

from __future__ import annotations

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show

_COLUMNS = (
    ("ADDRESS", lambda a: a["address"]),
    ("NAMES", lambda a: ", ".join(a["targets"])),
    ("LEADS TO", lambda a: "the same" if a["leads_to"] == a["targets"] else ", ".join(a["leads_to"]) or "NOBODY"),
)


@click.group()
def alias() -> None:
    """Addresses that lead to others, here or elsewhere; "@example.org" is the catch-all of example.org."""


@alias.command()
@click.argument("address")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@json_option
@click.pass_obj
def add(house: House, address: str, targets: tuple[str, ...], as_json: bool) -> None:
    """Let mail for ADDRESS go to each TARGET, besides those it goes to already.

    A target may be elsewhere, or an alias itself; a circle is refused. For many people, or where they are to come and
    go by themselves, there are mailing lists."""
    (changed,) = house.perform("alias.add", {"address": address, "targets": list(targets)})
    if as_json:
        say_json(changed)
    else:
        click.echo(f"{changed['address']} leads to {', '.join(changed['leads_to'])}")


@alias.command()
@click.argument("address")
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@json_option
@click.pass_obj
def remove(house: House, address: str, targets: tuple[str, ...], as_json: bool) -> None:
    """Let ADDRESS lead to TARGET no more; without a target, and with its last one, the alias goes."""
    (left,) = house.perform("alias.remove", {"address": address, "targets": list(targets)})
    if as_json:
        say_json(left)
    elif left["targets"]:
        click.echo(f"{left['address']} leads to {', '.join(left['leads_to'])}")
    else:
        click.echo(f"{left['address']} is removed")


@alias.command("list")
@click.argument("address", default="", metavar="[ADDRESS|DOMAIN]")
@json_option
@click.pass_obj
def list_(house: House, address: str, as_json: bool) -> None:
    """List the aliases: one, those of a domain, or all; what each names, and where that leads at last."""
    show(house.perform("alias.list", {"address": address}), as_json, _COLUMNS, "no aliases yet: postroad alias add")
