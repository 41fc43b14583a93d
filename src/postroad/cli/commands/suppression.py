"""postroad suppression: addresses that merged letters are not sent to."""

from __future__ import annotations

import getpass

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show

_COLUMNS = (
    ("ADDRESS", lambda s: s["address"]),
    ("SINCE", lambda s: s["since"][:10]),
    ("UNTIL", lambda s: s["expires_at"][:10] if s["expires_at"] else "for ever"),
    ("BY", lambda s: s["by"] or s["queue_id"]),
    ("REASON", lambda s: s["reason"]),
)


@click.group()
def suppression() -> None:
    """Addresses that `send --merge` leaves out: those that do not exist, as a letter found out, and your own."""


@suppression.command()
@click.argument("address")
@click.option("--days", default=180, show_default=True, help="For how long; 0 is for ever.")
@click.option("--reason", default="", help="Why, for whoever reads the list.")
@json_option
@click.pass_obj
def add(house: House, address: str, days: int, reason: str, as_json: bool) -> None:
    """Send ADDRESS no merged letters."""
    arguments = {"address": address, "days": days, "reason": reason, "by": getpass.getuser()}
    (added,) = house.perform("suppression.add", arguments)
    if as_json:
        say_json(added)
    else:
        until = f"until {added['expires_at'][:10]}" if added["expires_at"] else "for ever"
        click.echo(f"{added['address']} gets no merged letters {until}")


@suppression.command()
@click.argument("address")
@json_option
@click.pass_obj
def remove(house: House, address: str, as_json: bool) -> None:
    """Send ADDRESS merged letters again; the failure that put it here counts no more."""
    (removed,) = house.perform("suppression.remove", {"address": address})
    if as_json:
        say_json(removed)
    else:
        click.echo(f"{removed['address']} gets merged letters again")


@suppression.command("list")
@json_option
@click.pass_obj
def list_(house: House, as_json: bool) -> None:
    """List them, the newest first."""
    show(house.perform("suppression.list", {}), as_json, _COLUMNS, "no address is suppressed")
