"""postroad archive: the journal of archived domains. Every look into it is written down with who, when and why."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json, show, size
from postroad.services.operations.mbox_writing import in_mbox
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import ARCHIVE_FOUND

_COLUMNS = (
    ("QUEUE ID", lambda m: m["queue_id"]),
    ("ACCEPTED", lambda m: m["accepted_at"][:19]),
    ("SIZE", lambda m: size(m["size_bytes"])),
    ("SENDER", lambda m: m["sender"] or "<>"),
    ("RECIPIENTS", lambda m: ", ".join(m["recipients"])),
    ("SUBJECT", lambda m: m["subject"]),
)
_HOLDS = (
    ("NAME", lambda h: h["name"]),
    ("ADDRESS", lambda h: h["address"] or "(everybody)"),
    ("AFTER", lambda h: h["after"] or "-"),
    ("BEFORE", lambda h: h["before"] or "-"),
)
_LOG = (
    ("AT", lambda e: e["at"]),
    ("BY", lambda e: e["by"]),
    ("ACTION", lambda e: e["action"]),
    ("WHAT", lambda e: e["detail"] or "-"),
    ("REASON", lambda e: e["reason"]),
)
_HEADS = (
    ("CHAIN", lambda h: h["chain"]),
    ("MONTH", lambda h: h["month"] or "-"),
    ("RECORDS", lambda h: h["number"]),
    ("HASH", lambda h: h["hash"]),
)

_reason = click.option("--reason", required=True, metavar="TEXT", help="Why; it is written down with your name.")


def _query(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--before", default="", metavar="TIME", help="Accepted before: 2026-10-31, or with a time."),
        click.option("--after", default="", metavar="TIME", help="Accepted at or after."),
        click.option("--to", "recipient", default="", metavar="ADDRESS", help='A recipient, or "@domain".'),
        click.option("--from", "sender", default="", metavar="ADDRESS", help='The sender, or "@domain".'),
        click.option("--words", default="", metavar="TEXT", help="All of these words, in subject, names or text."),
        click.option("--limit", default=100, show_default=True, type=click.IntRange(1, ARCHIVE_FOUND)),
    ):
        command = option(command)
    return command


@click.group()
def archive() -> None:
    """The journal of archived domains. Who searches, shows, exports or holds is written down, with the reason."""


@archive.command()
@_query
@_reason
@click.option("--rebuild", is_flag=True, help="Make the index anew from the records first.")
@json_option
@click.pass_obj
def search(house: House, /, as_json: bool, **given: Any) -> None:
    """Find messages by words, sender, recipient and time, the latest first."""
    show(house.perform("archive.search", _asked(given)), as_json, _COLUMNS, "Nothing was found.")


@archive.command("show")
@click.argument("queue_id")
@_reason
@click.option("--content", is_flag=True, help="Print the message itself, octet for octet.")
@json_option
@click.pass_obj
def show_(house: House, queue_id: str, reason: str, content: bool, as_json: bool) -> None:
    """Show the envelope of a message, blind recipients included, and its hashes."""
    asked = {"queue_id": queue_id, "by": _who(), "reason": reason}
    if content:
        _write(house, asked, sys.stdout.buffer)
        return
    (found,) = house.perform("archive.show", asked)
    if as_json:
        say_json(found)
        return
    for name, value in found.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        click.echo(f"{name.replace('_', ' '):14} {safe(text)}".rstrip())


@archive.command()
@click.argument("path", type=click.Path(path_type=Path))
@_query
@_reason
@click.option("--format", "form", type=click.Choice(("eml", "mbox")), default="eml", show_default=True)
@json_option
@click.pass_obj
def export(house: House, /, path: Path, form: str, as_json: bool, **given: Any) -> None:
    """Write messages into the new folder PATH, with a manifest of their envelopes and hashes."""
    found = house.perform("archive.search", {**_asked(given), "export": True})
    try:
        path.mkdir(mode=0o700)
        with _new(path / "manifest.jsonl") as manifest:
            for one in found:
                name = "archive.mbox" if form == "mbox" else f"{one['queue_id']}.eml"
                asked = {"queue_id": one["queue_id"], "by": _who(), "reason": given["reason"]}
                if form == "eml":
                    with _new(path / name) as file:
                        _write(house, asked, file)
                else:
                    _append_mbox(house, asked, one, path / name)
                manifest.write(json.dumps({"file": name, **one}, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise OperationFailed(f"{error.filename}: {error.strerror}; what was written so far is incomplete") from None
    if as_json:
        say_json({"messages": len(found), "folder": str(path)})
    else:
        click.echo(f"{len(found)} messages are in {path}; their hashes in manifest.jsonl are those of `b2sum -l 256`.")
    if len(found) == given["limit"]:
        click.echo("There may be more: --limit was reached. Narrow the times, or raise it.", err=True)


@archive.command()
@click.option("--heads", type=click.File("r"), help="Heads that were kept elsewhere: they must still be there.")
@json_option
@click.pass_obj
def verify(house: House, heads: Any, as_json: bool) -> None:
    """Look through every record and all content for anything that was changed, moved or taken away. Exits with 1 where
    something was."""
    try:
        kept = [json.loads(line) for line in heads if line.strip()] if heads is not None else []
    except ValueError:
        raise OperationFailed("--heads: expected what `postroad archive heads --json` has printed", 2) from None
    (verified,) = house.perform("archive.verify", {"heads": kept})
    if as_json:
        say_json(verified)
    else:
        for complaint in verified["complaints"]:
            click.echo(safe(complaint))
        more = verified["complaints_in_all"] - len(verified["complaints"])
        if more:
            click.echo(f"and {more} more")
        click.echo(
            f"{verified['records']} records in {verified['heads']} chains;"
            f" {verified['removed']} have no content any more, for their time was up."
        )
    if verified["complaints_in_all"]:
        raise OperationFailed("the archive is not as it was written")
    if not as_json:
        click.echo("Everything is as it was written.")


@archive.command()
@json_option
@click.pass_obj
def heads(house: House, as_json: bool) -> None:
    """Print the last hash of every chain: kept elsewhere, it proves later what was there now."""
    show(house.perform("archive.heads", {}), as_json, _HEADS, "The archive is empty.")


@archive.command()
@json_option
@click.pass_obj
def log(house: House, as_json: bool) -> None:
    """Print who looked into the archive, the latest first."""
    show(house.perform("archive.log", {}), as_json, _LOG, "Nobody has looked into the archive.")


@archive.group()
def hold() -> None:
    """Legal holds: what fits one is not removed, however old."""


@hold.command("add")
@click.argument("name")
@click.option("--address", default="", help='Mail from or to this address, or "@domain"; without it everything.')
@click.option("--after", default="", metavar="TIME", help="Accepted at or after.")
@click.option("--before", default="", metavar="TIME", help="Accepted before.")
@_reason
@json_option
@click.pass_obj
def hold_add(house: House, /, as_json: bool, **given: Any) -> None:
    """Keep what fits until the hold is released."""
    house.perform("archive.hold", _asked(given))
    if as_json:
        say_json({"held": given["name"]})


@hold.command("release")
@click.argument("name")
@_reason
@json_option
@click.pass_obj
def hold_release(house: House, name: str, reason: str, as_json: bool) -> None:
    """End a hold: what is old enough goes with the next round of retention."""
    house.perform("archive.release", {"name": name, "by": _who(), "reason": reason})
    if as_json:
        say_json({"released": name})


@hold.command("list")
@json_option
@click.pass_obj
def hold_list(house: House, as_json: bool) -> None:
    """List the holds."""
    show(house.perform("archive.holds", {}), as_json, _HOLDS, "Nothing is under hold.")


def _asked(given: PlainObject) -> PlainObject:
    """The options as the verb takes them: a day is its beginning in UTC."""
    times = {name: _time(given[name]) for name in ("after", "before")}
    return {**given, **times, "by": _who()}


def _time(text: str) -> str:
    return f"{text}T00:00:00+00:00" if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else text


def _who() -> str:
    """The Unix user, not what the environment says of it; behind sudo also who that says it was asked by."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    asked_by = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    return f"{name} (sudo: {asked_by})" if asked_by else name


def _new(path: Path) -> BinaryIO:
    """A file that is not there yet, for us alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _pieces(house: House, asked: PlainObject) -> list[bytes]:
    return [base64.b64decode(piece["octets"]) for piece in house.perform("archive.content", asked)]


def _write(house: House, asked: PlainObject, file: BinaryIO) -> None:
    file.writelines(_pieces(house, asked))
    file.flush()


def _append_mbox(house: House, asked: PlainObject, one: PlainObject, path: Path) -> None:
    at = datetime.fromisoformat(one["accepted_at"])
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
        file.writelines(in_mbox(one["sender"], at, _pieces(house, asked)))
