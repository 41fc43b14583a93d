"""postroad account: the users of this server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from postroad.cli.commands.account_mail import change, forward, name, vacation
from postroad.cli.commands.user_list import export, import_
from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show, size
from postroad.services.operations.performer import OperationFailed, PlainObject

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = (
    ("ADDRESS", lambda a: a["address"]),
    ("NAME", lambda a: a["display_name"] or "-"),
    ("STATE", lambda a: "disabled" if a["disabled"] else "away" if a["vacation"] else "active"),
    ("PER HOUR", lambda a: _limit_text(a["messages_per_hour"])),
    ("PER DAY", lambda a: _limit_text(a["recipients_per_day"])),
    ("SESSIONS", lambda a: _limit_text(a["connections"])),
    ("QUOTA", lambda a: size(a["quota_bytes"]) if a["quota_bytes"] else _limit_text(a["quota_bytes"])),
    (
        "FORWARDS TO",
        lambda a: ", ".join(a["forward_to"]) + (" (and keeps)" if a["keeps_copy"] else "") if a["forward_to"] else "-",
    ),
    ("MAY ALSO SEND AS", lambda a: ", ".join(a["grants"]) or "-"),
)

_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)
_scram_option = click.option(
    "--scram/--no-scram",
    default=True,
    help="Whether to keep the keys of SCRAM-SHA-256, from which the password cannot be read. [default: keep them]",
)
_cram_option = click.option(
    "--cram-md5",
    is_flag=True,
    help="Also keep the password itself, readable for whoever can read the server's data, so that old clients can "
    "log in with CRAM-MD5 (fetchmail needs it for ODMR). Without this option nothing readable is kept.",
)


def _number_or_default(context: click.Context, option: click.Parameter, text: str | None) -> int | str | None:
    if text is None or text == "default":
        return text
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f'{text!r} is neither a number nor "default"') from None


def _octets_or_default(context: click.Context, option: click.Parameter, text: str | None) -> int | str | None:
    """ "2G", "500M", "10K", or a number of octets."""
    if text is None or text == "default":
        return text
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not number.isascii() or not number.isdigit():
        raise click.BadParameter(f'{text!r} is neither a size, such as 2G, nor "default"')
    return int(number) * _UNITS.get(unit, 1)


_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def _limit_option(name: str, text: str) -> Callable[[F], F]:
    return click.option(name, metavar="N|default", callback=_number_or_default, help=text)


def _limit_text(number: int | None) -> str:
    """0 is no limit; None is the configuration's."""
    return "default" if number is None else "none" if number == 0 else str(number)


@click.group()
def account() -> None:
    """The users of this server."""


@account.command()
@click.argument("address")
@click.option("--name", default="", help="The user's full name.")
@click.option("--unix-user", default="", help="This Unix user may send as this account with `send` and `sendmail`.")
@_password_option
@_scram_option
@_cram_option
@json_option
@click.pass_obj
def add(
    house: House,
    address: str,
    name: str,
    unix_user: str,
    password_stdin: bool,
    scram: bool,
    cram_md5: bool,
    as_json: bool,
) -> None:
    """Create an account; its domain must be a local one. Asks for the password."""
    arguments: PlainObject = {"address": address, "display_name": name, "unix_user": unix_user}
    arguments |= {"scram": scram, "cram_md5": cram_md5}
    change(house, "account.add", {**arguments, "password": _password(password_stdin)}, as_json, "is created")


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
        for other in removed["still_leading_there"]:
            click.echo(f"note: {other} still leads there, and mail that goes there is returned")


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
@_scram_option
@_cram_option
@json_option
@click.pass_obj
def passwd(house: House, address: str, password_stdin: bool, scram: bool, cram_md5: bool, as_json: bool) -> None:
    """Set a new password. What was kept of the one before is gone, and what is kept of this one say the options."""
    arguments: PlainObject = {"address": address, "scram": scram, "cram_md5": cram_md5}
    arguments["password"] = _password(password_stdin)
    change(house, "account.passwd", arguments, as_json, "has a new password")


@account.command()
@click.argument("address")
@_limit_option("--messages-per-hour", "Messages accepted from it within an hour.")
@_limit_option("--recipients-per-day", "Recipients of all of them within a day.")
@_limit_option("--connections", "Sessions at once that have logged in as it.")
@click.option(
    "--quota", metavar="SIZE|default", callback=_octets_or_default, help="What its mailbox holds, such as 2G or 500M."
)
@json_option
@click.pass_obj
def limit(
    house: House,
    address: str,
    messages_per_hour: int | str | None,
    recipients_per_day: int | str | None,
    connections: int | str | None,
    quota: int | str | None,
    as_json: bool,
) -> None:
    """Show what ADDRESS may send and keep, or change it: 0 is no limit, "default" what [limits.account] says.

    Over a limit its mail is answered 450 4.7.1, with the time when the next is taken."""
    given = {
        "messages_per_hour": messages_per_hour,
        "recipients_per_day": recipients_per_day,
        "connections": connections,
        "quota_bytes": quota,
    }
    asked: PlainObject = {name: value for name, value in given.items() if value is not None}
    show(house.perform("account.limit", {"address": address, **asked}), as_json, _COLUMNS)


@account.command()
@click.argument("address")
@click.option("--undo", is_flag=True, help="Enable it again.")
@json_option
@click.pass_obj
def disable(house: House, address: str, undo: bool, as_json: bool) -> None:
    """Close an account: no login, no mail in or out; what is in the mailbox stays."""
    arguments: PlainObject = {"address": address, "disabled": not undo}
    change(house, "account.disable", arguments, as_json, "is enabled" if undo else "is disabled")


@account.command()
@click.argument("address")
@click.argument("other")
@click.option("--revoke", is_flag=True, help="Take the permission back.")
@json_option
@click.pass_obj
def grant(house: House, address: str, other: str, revoke: bool, as_json: bool) -> None:
    """Let ADDRESS also send mail as OTHER."""
    arguments: PlainObject = {"address": address, "granted": other, "revoke": revoke}
    change(house, "account.grant", arguments, as_json, f"may {'no longer' if revoke else 'now'} send as {other}")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise OperationFailed("no terminal to ask for the password; use --password-stdin", 2)
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


for _command in (name, forward, vacation, import_, export):
    account.add_command(_command)
