"""postroad send, postroad sendmail: hand mail in from this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.sendmail_input import read_letter
from postroad.services.operations.writing import write_letter


@click.command()
@click.option("--from", "sender", default="", help="The sender; without it, you at this host.")
@click.option("--to", "recipients", multiple=True, required=True, help="A recipient; may be given many times.")
@click.option("--subject", default="", help="The subject.")
@click.option(
    "--attach", multiple=True, type=click.Path(path_type=Path), help="A file to attach; may be given many times."
)
@click.option("--body", default="-", help="The text; `-` reads it from standard input.")
@click.option("--follow", is_flag=True, help="Tell what becomes of it, until Ctrl-C.")
@json_option
@click.pass_context
def send(
    context: click.Context,
    sender: str,
    recipients: tuple[str, ...],
    subject: str,
    attach: tuple[Path, ...],
    body: str,
    follow: bool,
    as_json: bool,
) -> None:
    """Write and submit a mail."""
    house: House = context.obj
    text = sys.stdin.read() if body == "-" else body
    letter = write_letter(
        sender=sender or house.local_address(),
        recipients=recipients,
        subject=subject,
        text=text,
        attachments=[(path.name, _octets(path)) for path in attach],
    )
    result = house.submit(letter.sender if sender else "", letter.recipients, letter.content)
    _report(result, as_json)
    if follow and result["queue_id"]:
        from postroad.cli.commands.trace import trace

        context.invoke(trace, what=result["queue_id"], follow=True, as_json=as_json)


@click.command()
@click.option("-t", "from_header", is_flag=True, help="Take the recipients from To, Cc and Bcc; Bcc is removed.")
@click.option("-i", "ignore_dots", is_flag=True, help="A line with a single dot does not end the message.")
@click.option("-f", "sender", default="", help="The envelope sender.")
@click.option("-F", "full_name", default="", help="The sender's full name, for a From field that is missing.")
@click.option("-o", "options", multiple=True, help="-oi is -i; other values are accepted and mean nothing here.")
@click.option("-b", "mode", default="m", help="-bm is what it always does; other modes are refused.")
@click.argument("recipients", nargs=-1)
@click.pass_obj
def sendmail(
    house: House,
    from_header: bool,
    ignore_dots: bool,
    sender: str,
    full_name: str,
    options: tuple[str, ...],
    mode: str,
    recipients: tuple[str, ...],
) -> None:
    """Take a message from standard input, as sendmail(8) does. Exit status 0 accepted, 64 wrong usage, 67 no such
    recipient, 69 refused, 75 try again (the server is down or cannot take it now)."""
    if mode != "m":
        raise OperationFailed(f"-b{mode}: only -bm, handing in a message, is what this program does", 64)
    letter = read_letter(
        sys.stdin.buffer,
        dot_ends=not (ignore_dots or "i" in options),
        recipients_from_header=from_header,
        default_from=_from(full_name, sender or house.local_address()),
    )
    everyone = tuple(dict.fromkeys((*recipients, *letter.recipients)))
    if not everyone:
        raise OperationFailed("no recipients: give them as arguments, or use -t", 64)
    result = house.submit(sender, everyone, letter.content)
    for refused in result["refused"]:
        click.echo(f"{safe(refused['recipient'])}: {safe(refused['reply'])}", err=True)
    if result["refused"]:
        sys.exit(_status_of(refused["reply"] for refused in result["refused"]))


def _status_of(replies: Iterable[str]) -> int:
    """sysexits.h: 67 an address is unknown (5.1.z, RFC 3463 section 3.2), 69 it is refused, 75 try that one again."""
    codes = [reply.split()[:2] for reply in replies]
    if all(code.startswith("4") for code, *_ in codes):
        return 75
    return 67 if any(status.startswith("5.1.") for _, *more in codes for status in more) else 69


def _from(full_name: str, address: str) -> str:
    return f'"{full_name}" <{address}>' if full_name else address


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperationFailed(f"{path} cannot be attached: {error.strerror}", 66) from None


def _report(result: PlainObject, as_json: bool) -> None:
    if as_json:
        say_json(result)
    elif result["queue_id"]:
        click.echo(f"queued as {result['queue_id']}; follow it with: postroad trace {result['queue_id']}")
    for refused in result["refused"]:
        click.echo(f"refused: {safe(refused['recipient'])}: {safe(refused['reply'])}", err=True)
    if result["refused"]:
        sys.exit(1)
