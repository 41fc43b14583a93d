"""postroad backup and restore: copies of everything, made while the server runs, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, size
from postroad.services.operations.performer import OperationFailed, PlainObject

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("target", type=_FOLDER, metavar="DIR")
@click.option("--since", type=_FOLDER, metavar="BACKUP", help="Let what has not changed be links to it.")
@click.option("--with-keys", is_flag=True, help="Take the private keys of TLS and DKIM too.")
@json_option
@click.pass_obj
def backup(house: House, target: Path, since: Path | None, with_keys: bool, as_json: bool) -> None:
    """Copy the whole server into DIR, a new or empty folder, while mail comes and goes.

    Every database is copied as of one moment, in such an order that no message is missing. Password hashes and the
    configuration are in it: keep it as safe as the server. Exit status 1 if something could not be read; all else is
    in the backup then, and what is missing is named."""
    made = house.backup(target, since, with_keys, _progress_of(as_json))
    _clear_line(as_json)
    if as_json:
        say_json(made)
    else:
        files, octets = made["files"], size(made["size_bytes"])
        click.echo(f"{made['backup']}: {files} files, {octets}, of which {size(made['new_bytes'])} are new")
    if made["missing"]:
        for line in made["missing"]:
            click.echo(f"postroad: not in the backup: {line}", err=True)
        sys.exit(1)


@click.command()
@click.argument("source", type=_FOLDER, metavar="BACKUP")
@click.option("--to", "folder", type=_FOLDER, metavar="DIR", help="Where everything goes. [default: beside the data]")
@click.option("--account", default="", metavar="ADDRESS", help="Only this mailbox: what is missing in it comes back.")
@click.option("--message", "queue_id", default="", metavar="ID", help="Only this message, wherever it was.")
@json_option
@click.pass_obj
def restore(house: House, source: Path, folder: Path | None, account: str, queue_id: str, as_json: bool) -> None:
    """Take a backup out again; a damaged one is refused.

    The whole of it goes into a new or empty folder, never over the data. With --account or --message mail is added to
    mailboxes while the server runs: nothing that is there is changed or doubled, and an account that is gone is made
    again with its password."""
    if not account and not queue_id:
        _whole(house.restore(source, folder), as_json)
        return
    if folder is not None:
        raise OperationFailed("--to is for the whole backup; mail is restored into the mailbox it was in", 2)

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty() and not as_json:
            click.echo(f"\r{done} of {total} messages", nl=False, err=True)

    results = house.restore_mail(source, account, queue_id, progress)
    _clear_line(as_json)
    for result in results:
        if as_json:
            say_json(result)
            continue
        made = "; the account was made again" if result["made_account"] else ""
        click.echo(f"{result['address']}: {result['restored']} restored, {result['present']} were there{made}")


def _whole(done: PlainObject, as_json: bool) -> None:
    if as_json:
        say_json(done)
        return
    click.echo(f"{done['restored_to']}: {done['files']} files, as they were on {done['made_at']} on {done['hostname']}")
    click.echo("To use it: stop the server, move its data folder away, move this one to its place, start the server.")
    for line in done["missing"]:
        click.echo(f"It was missing in the backup already: {line}")


def _progress_of(as_json: bool) -> Callable[[str], None]:
    def progress(name: str) -> None:
        if sys.stderr.isatty() and not as_json:
            click.echo(f"\r\x1b[K{name}", nl=False, err=True)

    return progress


def _clear_line(as_json: bool) -> None:
    if sys.stderr.isatty() and not as_json:
        click.echo("\r\x1b[K", nl=False, err=True)
