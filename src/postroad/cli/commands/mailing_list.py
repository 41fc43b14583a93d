"""postroad list: mailing lists and their members."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json, show
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import LIST_FILE_BYTES, LIST_MEMBERS, LIST_PAGE

_LISTS = (
    ("ADDRESS", lambda one: one["address"]),
    ("MEMBERS", lambda one: f"{one['members']}{_suspended(one)}"),
    ("POSTERS", lambda one: one["posters"]),
    ("OWNERS", lambda one: ", ".join(one["owners"]) or "postmaster"),
    ("", lambda one: ", ".join(_ways(one))),
    ("DESCRIPTION", lambda one: one["description"]),
)
_MEMBERS = (
    ("ADDRESS", lambda member: member["address"]),
    ("SINCE", lambda member: member["joined_at"][:10]),
    ("BOUNCES", lambda member: member["bounces"] or ""),
    ("", lambda member: "suspended" if member["suspended"] else ""),
)
_OPTIONS = (
    click.option("--description", help="What it is about, in a line: it stands in List-Id."),
    click.option(
        "--posters", type=click.Choice(["members", "anyone", "owners"]), help="Who may write to it; members at first."
    ),
    click.option(
        "--owner", "owners", multiple=True, metavar="ADDRESS", help="May be given again; without one, the postmaster."
    ),
    click.option("--verp/--no-verp", default=None, help="A copy for each member (at first), or shared at one place."),
    click.option(
        "--from-rewrite/--no-from-rewrite",
        default=None,
        help="The list in From, where the author's domain lets nobody else send its mail.",
    ),
    click.option("--closed/--open", "closed", default=None, help="Whether only an administrator lets people in."),
)


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group("list")
def list_() -> None:
    """Mailing lists: addresses whose mail goes to members, who join and leave by mail or are put there."""


@list_.command()
@click.argument("address")
@_settings
@json_option
@click.pass_obj
def create(house: House, /, address: str, as_json: bool, **settings: Any) -> None:
    """Make the mailing list ADDRESS, in a domain that is here.

    Its other addresses are ADDRESS with -request, -subscribe, -unsubscribe, -owner, -bounces and -confirm behind the
    name."""
    (made,) = house.perform("list.create", {"address": address, **_given(settings)})
    if as_json:
        say_json(made)
    else:
        click.echo(f"{made['address']} is a mailing list; let people in with: postroad list join {made['address']} ...")


@list_.command()
@click.argument("address")
@_settings
@json_option
@click.pass_obj
def change(house: House, /, address: str, as_json: bool, **settings: Any) -> None:
    """Change the mailing list ADDRESS; what is not said stays as it is. Owners that are given replace the others."""
    given = _given(settings)
    if not given:
        raise OperationFailed("say what to change: postroad list change --help", 2)
    show(house.perform("list.change", {"address": address, **given}), as_json, _LISTS)


@list_.command()
@click.argument("address")
@json_option
@click.pass_obj
def delete(house: House, address: str, as_json: bool) -> None:
    """Delete the mailing list ADDRESS, with the names of its members. Mail on its way to them still arrives."""
    (deleted,) = house.perform("list.delete", {"address": address})
    if as_json:
        say_json(deleted)
    else:
        click.echo(f"{deleted['address']} is deleted; it had {_people(deleted['members'])}")


@list_.command("show")
@click.argument("address", default="", metavar="[ADDRESS|DOMAIN]")
@json_option
@click.pass_obj
def show_(house: House, address: str, as_json: bool) -> None:
    """Show the mailing lists: one, those of a domain, or all."""
    show(house.perform("list.show", {"address": address}), as_json, _LISTS, "no lists yet: postroad list create")


@list_.command()
@click.argument("address")
@json_option
@click.pass_obj
def members(house: House, address: str, as_json: bool) -> None:
    """List the members of ADDRESS. A suspended one, whose mail came back too often, gets nothing until it joins."""
    everybody: list[PlainObject] = []
    page = house.perform("list.members", {"address": address})
    while page:
        everybody += page
        if len(page) < LIST_PAGE:
            break
        page = house.perform("list.members", {"address": address, "after": page[-1]["address"]})
    show(everybody, as_json, _MEMBERS, f"{address} has no members yet: postroad list join")


_from = click.option("--from", "file", metavar="FILE|-", help="Take them from a file too, one in a line.")


@list_.command()
@click.argument("address")
@click.argument("members", metavar="[MEMBER...]", nargs=-1)
@_from
@json_option
@click.pass_obj
def join(house: House, address: str, members: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Make each MEMBER a member of the list ADDRESS. Nobody is asked back, and a suspended one gets mail again."""
    _perform(house, "list.join", address, members, file, as_json, ("joined", "is a member already"))


@list_.command()
@click.argument("address")
@click.argument("members", metavar="[MEMBER...]", nargs=-1)
@_from
@json_option
@click.pass_obj
def leave(house: House, address: str, members: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Let each MEMBER be a member of the list ADDRESS no more."""
    _perform(house, "list.leave", address, members, file, as_json, ("left", "was no member"))


def _perform(
    house: House,
    verb: str,
    address: str,
    members: tuple[str, ...],
    file: str | None,
    as_json: bool,
    words: tuple[str, str],
) -> None:
    done, otherwise = words
    everybody = [*members, *(_lines(file) if file else ())]
    if not everybody:
        raise OperationFailed("say whom: addresses, or --from FILE with one in a line", 2)
    for start in range(0, len(everybody), LIST_PAGE):
        for each in house.perform(verb, {"address": address, "members": everybody[start : start + LIST_PAGE]}):
            if as_json:
                say_json(each)
            else:
                click.echo(f"{safe(each['address'])} {done if each[done] else otherwise}")


def _lines(file: str) -> Iterator[str]:
    """The addresses in a file; empty lines and those that begin with # count for nothing."""
    try:
        if file == "-":
            octets = sys.stdin.buffer.read(LIST_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                octets = opened.read(LIST_FILE_BYTES + 1)
        lines = octets.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise OperationFailed(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OperationFailed(f"{file}: not text in UTF-8") from None
    if len(octets) > LIST_FILE_BYTES or len(lines) > LIST_MEMBERS:
        raise OperationFailed(f"{file}: too long; a list has at most {LIST_MEMBERS} members")
    return (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _given(settings: PlainObject) -> PlainObject:
    given = {name: value for name, value in settings.items() if value is not None and value != ()}
    if "owners" in given:
        given["owners"] = list(given["owners"])
    return given


def _suspended(one: PlainObject) -> str:
    return f" ({one['suspended']} suspended)" if one["suspended"] else ""


def _people(number: int) -> str:
    return "1 member" if number == 1 else f"{number} members"


def _ways(one: PlainObject) -> Iterator[str]:
    if one["closed"]:
        yield "closed"
    if not one["verp"]:
        yield "no VERP"
    if one["from_rewrite"]:
        yield "rewrites From"
