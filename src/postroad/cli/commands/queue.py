"""postroad queue: what waits to be delivered."""

from __future__ import annotations

import getpass
import re
from datetime import UTC, datetime, timedelta

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json, show, size
from postroad.services.operations.performer import OperationFailed, PlainObject

_COLUMNS = (
    ("QUEUE ID", lambda e: e["queue_id"]),
    ("SIZE", lambda e: size(e["size_bytes"])),
    ("QUEUED", lambda e: e["queued_at"]),
    ("TRIED", lambda e: e["attempts"]),
    ("NEXT TRY", lambda e: e["due_at"]),
    ("SENDER", lambda e: e["sender"]),
    ("RECIPIENTS", lambda e: _recipients(e["recipients"])),
    ("LAST WORD", lambda e: e["last"] or "-"),
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@click.group()
def queue() -> None:
    """What waits to be delivered."""


def _choice(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--domain", default="", help="Only mail to recipients of this domain."),
        click.option("--from", "sender", default="", help="Only mail from this sender, or sender domain."),
        click.option("--older", default="", metavar="TIME", help="Only mail queued longer ago than this: 30m, 4h, 1d."),
    ):
        command = option(command)
    return command


@queue.command("list")
@_choice
@json_option
@click.pass_obj
def list_(house: House, domain: str, sender: str, older: str, as_json: bool) -> None:
    """List what is in the queue, one line for each destination of a message."""
    entries = house.perform("queue.list", _arguments("", domain, sender, older))
    show(entries, as_json, _COLUMNS, "The queue is empty.")


@queue.command("show")
@click.argument("queue_id")
@json_option
@click.pass_obj
def show_(house: House, queue_id: str, as_json: bool) -> None:
    """Show one message in the queue: where each copy stands, and its header."""
    entries = house.perform("queue.show", {"queue_id": queue_id})
    if not entries:
        raise OperationFailed(f"{queue_id} is not in the queue; what became of it: postroad trace {queue_id}")
    if as_json:
        for entry in entries:
            say_json(entry)
        return
    first = entries[0]
    click.echo(f"{first['queue_id']}  from {first['sender']}  {size(first['size_bytes'])}  queued {first['queued_at']}")
    for entry in entries:
        click.echo(f"  to {entry['destination']}: {', '.join(map(safe, entry['recipients']))}")
        click.echo(
            f"     tried {entry['attempts']} times, next try {entry['due_at']}; {safe(entry['last']) or 'no word yet'}"
        )
    click.echo()
    for line in first["header"].splitlines():
        click.echo(safe(line.replace("\t", " ")))


@queue.command()
@click.argument("queue_id", default="")
@_choice
@click.option("--all", "everything", is_flag=True, help="The whole queue.")
@json_option
@click.pass_obj
def flush(house: House, queue_id: str, domain: str, sender: str, older: str, everything: bool, as_json: bool) -> None:
    """Try again now: one message, a selection, or --all."""
    if not (queue_id or domain or sender or older or everything):
        raise OperationFailed("what should be tried again? give a queue id, --domain, --from, --older or --all", 2)
    answers = house.perform("queue.flush", {**_arguments(queue_id, domain, sender, older), "by": getpass.getuser()})
    groups = sum(answer["groups"] for answer in answers)
    if as_json:
        say_json({"groups": groups})
    else:
        click.echo(f"{groups} {'destination is' if groups == 1 else 'destinations are'} due now")
    if queue_id and not groups:
        raise OperationFailed(f"{queue_id} is not in the queue; what became of it: postroad trace {queue_id}")


def _arguments(queue_id: str, domain: str, sender: str, older: str) -> PlainObject:
    arguments: PlainObject = {"queue_id": queue_id, "domain": domain, "sender": sender}
    if older:
        match = re.fullmatch(r"(\d{1,6})([smhd])", older)
        if match is None:
            raise OperationFailed(f"--older {older}: expected a time such as 30m, 4h or 1d", 2)
        before = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        arguments["before"] = before.isoformat()
    return arguments


def _recipients(recipients: list[str]) -> str:
    first = ", ".join(recipients[:2])
    return first if len(recipients) <= 2 else f"{first} and {len(recipients) - 2} more"
