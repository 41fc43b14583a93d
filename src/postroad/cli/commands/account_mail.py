"""The commands of `postroad account` about what becomes of a user's mail: name, forward, vacation."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json
from postroad.services.operations.performer import OperationFailed, PlainObject


@click.command()
@click.argument("address")
@click.argument("full_name", metavar="NAME")
@json_option
@click.pass_obj
def name(house: House, address: str, full_name: str, as_json: bool) -> None:
    """Set the user's full name, as VRFY and notices of absence show it; "" for none."""
    arguments: PlainObject = {"address": address, "display_name": full_name}
    change(house, "account.name", arguments, as_json, f"is called {full_name}" if full_name else "has no name")


@click.command()
@click.argument("address")
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@click.option(
    "--keep-copy/--no-copy", default=True, help="Whether the mailbox gets each message too. [default: it does]"
)
@click.option("--off", is_flag=True, help="Forward no more.")
@json_option
@click.pass_obj
def forward(house: House, address: str, targets: tuple[str, ...], keep_copy: bool, off: bool, as_json: bool) -> None:
    """Hand on all mail for ADDRESS to each TARGET. The envelope sender stays who it is: bounces go to the writer."""
    if bool(targets) == off:
        raise OperationFailed("say where mail is to go, or --off", 2)
    arguments: PlainObject = {"address": address, "targets": list(targets), "keep_copy": keep_copy or off}
    copy = "and keeps a copy" if keep_copy else "and keeps no copy"
    said = "forwards no more" if off else f"forwards to {', '.join(targets)} {copy}"
    change(house, "account.forward", arguments, as_json, said)


@click.command()
@click.argument("address")
@click.option("--text", default=None, help='What senders are told; "-" reads it from standard input.')
@click.option("--subject", default="", help="The notice's subject. [default: that of the message, after Auto:]")
@click.option("--days", default=7, show_default=True, help="Nobody is told again before so many days are over.")
@click.option("--until", default="", metavar="DATE", help="The last day, such as 2026-08-31. [default: until --off]")
@click.option("--off", is_flag=True, help="The user is back.")
@json_option
@click.pass_obj
def vacation(
    house: House,
    address: str,
    text: str | None,
    subject: str,
    days: int,
    until: str,
    off: bool,
    as_json: bool,
) -> None:
    """Answer for a user who is away: each sender once, and no lists, bounces or other machines (RFC 3834)."""
    if (text is None) != off:
        raise OperationFailed("say what senders are told with --text, or --off", 2)
    if text == "-":
        text = sys.stdin.read()
    if text is not None and not text.strip():
        raise OperationFailed("the text of the notice is empty", 2)
    arguments: PlainObject = {"address": address, "text": text or "", "subject": subject, "days": days}
    if until:
        arguments["until"] = _end_of(until)
    change(house, "account.vacation", arguments, as_json, "answers no more" if off else "answers for the absent")


def _end_of(day: str) -> str:
    """The moment at which the day is over, by this machine's time zone."""
    try:
        return (datetime.strptime(day, "%Y-%m-%d").astimezone() + timedelta(days=1)).isoformat()
    except ValueError:
        raise OperationFailed(f"--until: {day!r} is no date; expected one such as 2026-08-31", 2) from None


def change(house: House, verb: str, arguments: PlainObject, as_json: bool, said: str) -> None:
    """Have it done and say so."""
    (changed,) = house.perform(verb, arguments)
    if as_json:
        say_json(changed)
    else:
        click.echo(f"{changed['address']} {said}")
