"""postroad import and export: mail of a mailbox from and into mbox files, Maildirs and .eml files."""

from __future__ import annotations

from pathlib import Path

import click

from postroad.cli.commands.read import who
from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json, size
from postroad.cli.progress import Bar
from postroad.services.operations.performer import OperationFailed

_PATH = click.Path(path_type=Path)


@click.command("import")
@click.argument("address")
@click.argument("path", type=_PATH)
@click.option(
    "--format",
    "form",
    type=click.Choice(("mbox", "mboxo", "mboxcl", "maildir", "eml")),
    help="[default: what it looks like; of files mbox]",
)
@click.option("--folder", default="", metavar="F", help="Where the mail goes. [default: INBOX, and those of a Maildir]")
@click.option("--over-quota", is_flag=True, help="Take all of it, also where the mailbox has no room.")
@click.option("--again", is_flag=True, help="Also what was imported before.")
@json_option
@click.pass_obj
def import_(
    house: House, address: str, path: Path, form: str | None, folder: str, over_quota: bool, again: bool, as_json: bool
) -> None:
    """Bring the mail in PATH into the mailbox of ADDRESS, with its dates, flags and folders.

    PATH is an mbox, a Maildir (with its folders), an .eml file or a folder of them; nothing in it is changed. The
    server may run. An import that ended half-way is given again and goes on: no message comes in twice. Of an mbox
    quoted lines (>From) lose one mark; with the format mboxo they stay as they are, and mboxcl believes Content-Length
    where a message ends there. POP3 shows what is in INBOX. Exit status 1 if a message could not be taken, or the
    mailbox is full."""
    given = {
        "address": address,
        "path": str(path),
        "format": form or "",
        "folder": folder,
        "over_quota": over_quota,
        "again": again,
    }
    with Bar(quiet=as_json) as bar:
        done = house.import_mail(
            given, lambda octets, total, messages: bar.show(octets, total, f"{messages} messages, {size(octets)}")
        )
    if as_json:
        say_json(done)
    else:
        were_there = f", {done['present']} had been imported before" if done["present"] else ""
        click.echo(f"{done['address']}: {done['imported']} imported ({size(done['size_bytes'])}){were_there}")
        for problem in done["problems"]:
            click.echo(f"postroad: not imported: {safe(problem['where'])}: {safe(problem['reason'])}", err=True)
        more = done["unreadable"] - len(done["problems"])
        if more:
            click.echo(f"postroad: and {more} more", err=True)
    if done["over_quota"]:
        raise OperationFailed(
            f"{done['address']} has no room for the next message: raise its quota (postroad account limit), or give "
            "the same command with --over-quota; it goes on from there"
        )
    if done["too_many"]:
        raise OperationFailed("there are more messages than one import takes; import it in parts")
    if done["unreadable"]:
        raise SystemExit(1)


@click.command()
@click.argument("address")
@click.argument("path", type=_PATH)
@click.option("--format", "form", type=click.Choice(("mbox", "maildir", "eml")), default="mbox", show_default=True)
@click.option("--folder", default="", metavar="F", help="Only this folder of the mailbox.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is written down with your name.")
@json_option
@click.pass_obj
def export(house: House, address: str, path: Path, form: str, folder: str, reason: str, as_json: bool) -> None:
    """Write the mail of ADDRESS into PATH, which is not there yet: a file for mbox, a folder for maildir and eml.

    Dates, flags and (in a Maildir) folders are kept: `postroad import` brings back exactly what was there; in .eml
    files the flags are lost. The mailbox stays as it is, and the server may run. That you did it is written into the
    story of the mailbox, as for `postroad read`."""
    given = {
        "address": address,
        "path": str(path),
        "format": form,
        "folder": folder,
        "by": who(),
        "reason": reason,
    }
    with Bar(quiet=as_json) as bar:
        done = house.export_mail(given, lambda messages, total: bar.show(messages, total, f"{messages} messages"))
    if as_json:
        say_json(done)
    else:
        click.echo(f"{done['path']}: {done['messages']} messages of {done['address']}, {size(done['size_bytes'])}")
