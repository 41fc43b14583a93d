"""postroad account: the users of this server."""

from __future__ import annotations

import sys

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show
from postroad.services.operations.performer import OperationFailed, PlainObject

_COLUMNS = (
    ("ADDRESS", lambda a: a["address"]),
    ("NAME", lambda a: a["display_name"] or "-"),
    ("STATE", lambda a: "disabled" if a["disabled"] else "active"),
    ("MAY ALSO SEND AS", lambda a: ", ".join(a["grants"]) or "-"),
)

_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)


@click.group()
def account() -> None:
    """The users of this server."""


@account.command()
@click.argument("address")
@click.option("--name", default="", help="The user's full name.")
@click.option("--unix-user", default="", help="This Unix user may send as this account with `send` and `sendmail`.")
@_password_option
@json_option
@click.pass_obj
def add(house: House, address: str, name: str, unix_user: str, password_stdin: bool, as_json: bool) -> None:
    """Create an account; its domain must be a local one. Asks for the password."""
    arguments: PlainObject = {"address": address, "display_name": name, "unix_user": unix_user}
    _change(house, "account.add", {**arguments, "password": _password(password_stdin)}, as_json, "is created")


@account.command()
@click.argument("address")
@json_option
@click.pass_obj
def remove(house: House, address: str, as_json: bool) -> None:
    """Remove an account with everything in its mailbox."""
    (removed,) = house.perform("account.remove", {"address": address})
    if as_json:
        say_json(removed)
    else:
        click.echo(f"{removed['address']} is removed, with {removed['messages_removed']} messages")


@account.command("list")
@click.argument("domain", default="")
@json_option
@click.pass_obj
def list_(house: House, domain: str, as_json: bool) -> None:
    """List the accounts, of one DOMAIN or of all."""
    show(house.perform("account.list", {"domain": domain}), as_json, _COLUMNS, "no accounts yet: postroad account add")


@account.command()
@click.argument("address")
@_password_option
@json_option
@click.pass_obj
def passwd(house: House, address: str, password_stdin: bool, as_json: bool) -> None:
    """Set a new password."""
    arguments: PlainObject = {"address": address, "password": _password(password_stdin)}
    _change(house, "account.passwd", arguments, as_json, "has a new password")


@account.command()
@click.argument("address")
@click.option("--undo", is_flag=True, help="Enable it again.")
@json_option
@click.pass_obj
def disable(house: House, address: str, undo: bool, as_json: bool) -> None:
    """Close an account: no login, no mail in or out; what is in the mailbox stays."""
    arguments: PlainObject = {"address": address, "disabled": not undo}
    _change(house, "account.disable", arguments, as_json, "is enabled" if undo else "is disabled")


@account.command()
@click.argument("address")
@click.argument("other")
@click.option("--revoke", is_flag=True, help="Take the permission back.")
@json_option
@click.pass_obj
def grant(house: House, address: str, other: str, revoke: bool, as_json: bool) -> None:
    """Let ADDRESS also send mail as OTHER."""
    arguments: PlainObject = {"address": address, "granted": other, "revoke": revoke}
    _change(house, "account.grant", arguments, as_json, f"may {'no longer' if revoke else 'now'} send as {other}")


def _change(house: House, verb: str, arguments: PlainObject, as_json: bool, said: str) -> None:
    (changed,) = house.perform(verb, arguments)
    if as_json:
        say_json(changed)
    else:
        click.echo(f"{changed['address']} {said}")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise OperationFailed("no terminal to ask for the password; use --password-stdin", 2)
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
