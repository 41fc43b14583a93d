"""postroad queue: what waits to be delivered, and what is to become of it."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json, show, size
from postroad.cli.selection import Selection, choose
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.summary_lines import TOTALS, merged
from postroad.vocabulary.limits import SUMMARY_DESTINATIONS, SUMMARY_SHOWN

_COLUMNS = (
    ("QUEUE ID", lambda e: e["queue_id"]),
    ("SIZE", lambda e: size(e["size_bytes"])),
    ("QUEUED", lambda e: e["queued_at"]),
    ("TRIED", lambda e: e["attempts"]),
    ("NEXT TRY", lambda e: "held" if e["held"] else e["due_at"]),
    ("SENDER", lambda e: e["sender"]),
    ("RECIPIENTS", lambda e: _recipients(e["recipients"])),
    ("LAST WORD", lambda e: e["last"] or "-"),
)
_SUMMARY_COLUMNS: tuple[tuple[str, Callable[[PlainObject], object]], ...] = (
    ("DESTINATION", lambda e: e["destination"]),
    ("WAITING", lambda e: max(e["groups"] - e["in_flight"], 0)),
    ("IN FLIGHT", lambda e: e["in_flight"]),
    ("HELD", lambda e: e["held"]),
    ("OLDEST", lambda e: e["oldest"] or "-"),
    ("NEXT TRY", lambda e: e["next_attempt"] or "-"),
    ("HELD BACK BY", lambda e: e["held_back_by"] or "-"),
    ("LAST WORD", lambda e: e["last"] or "-"),
)


@click.group()
def queue() -> None:
    """What waits to be delivered, and what is to become of it."""


# ---- looking -----------------------------------------------------------------------------------------


@queue.command("list")
@choose(everything=False)
@click.option("--held", is_flag=True, help="Only what is held.")
@json_option
@click.pass_obj
def list_(house: House, selection: Selection, held: bool, as_json: bool) -> None:
    """List what is in the queue, one line for each destination of a message."""
    entries = house.perform("queue.list", {**selection.arguments(), "held": held})
    show(entries, as_json, _COLUMNS, "The queue is empty.")


@queue.command("show")
@click.argument("queue_id")
@json_option
@click.pass_obj
def show_(house: House, queue_id: str, as_json: bool) -> None:
    """Show one message in the queue: where each copy stands, and its header."""
    entries = house.perform("queue.show", {"queue_id": queue_id})
    if not entries:
        raise _not_there(queue_id)
    if as_json:
        for entry in entries:
            say_json(entry)
        return
    first = entries[0]
    click.echo(f"{first['queue_id']}  from {first['sender']}  {size(first['size_bytes'])}  queued {first['queued_at']}")
    for entry in entries:
        next_try = "held until it is released" if entry["held"] else f"next try {entry['due_at']}"
        click.echo(f"  to {entry['destination']}: {', '.join(map(safe, entry['recipients']))}")
        click.echo(f"     tried {entry['attempts']} times, {next_try}; {safe(entry['last']) or 'no word yet'}")
    click.echo()
    for line in first["header"].splitlines():
        click.echo(safe(line.replace("\t", " ")))


@queue.command()
@click.argument("destination", default="")
@click.option("--limit", type=click.IntRange(1, SUMMARY_DESTINATIONS), default=SUMMARY_SHOWN, show_default=True)
@click.option("--all", "everything", is_flag=True, help=f"All destinations, up to {SUMMARY_DESTINATIONS:,}.")
@json_option
@click.pass_obj
def summary(house: House, destination: str, limit: int, everything: bool, as_json: bool) -> None:
    """What waits for each destination, those with most mail first, and why it waits.

    DESTINATION is a domain, or a destination as it is shown here."""
    limit = SUMMARY_DESTINATIONS if everything else limit
    answers = house.perform("queue.summary", {"destination": destination, "limit": limit})
    *lines, totals = merged([answers], limit)
    if as_json:
        for line in (*lines, totals):
            say_json(line)
        return
    show(lines, False, _SUMMARY_COLUMNS, "Nothing waits." if not destination else f"Nothing waits for {destination}.")
    if lines:
        assert TOTALS in totals
        shown = f", {len(lines)} of them shown" if totals["destinations"] > len(lines) else ""
        click.echo(
            f"{totals['groups']} in all for {totals['destinations']} destinations{shown}; "
            f"{totals['due']} due, {totals['held']} held"
        )


# ---- sooner, later, not at all -----------------------------------------------------------------------


@queue.command()
@choose()
@json_option
@click.pass_obj
def flush(house: House, selection: Selection, as_json: bool) -> None:
    """Try again now, also hosts that were found dead: one message, a selection, or --all."""
    _order(house, "flush", "due now", selection, as_json)


@queue.command()
@choose()
@json_option
@click.pass_obj
def retry(house: House, selection: Selection, as_json: bool) -> None:
    """Try again now, but leave hosts alone that were found dead a while ago."""
    _order(house, "retry", "due now", selection, as_json)


@queue.command()
@choose()
@json_option
@click.pass_obj
def hold(house: House, selection: Selection, as_json: bool) -> None:
    """Do not try the chosen mail until it is released. Nothing is returned meanwhile."""
    _order(house, "hold", "held", selection, as_json)


@queue.command()
@choose()
@json_option
@click.pass_obj
def release(house: House, selection: Selection, as_json: bool) -> None:
    """Let go of mail that was held: it is due as it was before."""
    _order(house, "release", "released", selection, as_json)


@queue.command()
@choose()
@click.option("--reason", default="", help="Why, in a line for the sender.")
@json_option
@click.pass_obj
def bounce(house: House, selection: Selection, reason: str, as_json: bool) -> None:
    """Return the chosen mail to its senders now, with a notification."""
    _order(house, "bounce", "returned", selection, as_json, reason=reason)


@queue.command()
@choose()
@json_option
@click.pass_obj
def delete(house: House, selection: Selection, as_json: bool) -> None:
    """Remove the chosen mail; nobody is told. Its story says who did it."""
    _order(house, "delete", "deleted", selection, as_json)


def _order(house: House, verb: str, done: str, selection: Selection, as_json: bool, **more: str) -> None:
    """Give the order until it is carried out on all of the selection; a large one takes several times."""
    selection.must_choose()
    arguments = {**selection.arguments(), **more, "by": getpass.getuser()}
    groups = 0
    while True:
        answers = house.perform(f"queue.{verb}", arguments)
        now = sum(answer["groups"] for answer in answers)
        in_hand = sum(answer.get("in_hand", 0) for answer in answers)
        groups += now
        if not now or all(answer.get("is_complete", True) for answer in answers):
            break
    if as_json:
        say_json({"groups": groups} if verb in ("flush", "retry") else {"groups": groups, "in_hand": in_hand})
    else:
        click.echo(f"{groups} {'destination is' if groups == 1 else 'destinations are'} {done}")
        if in_hand:
            click.echo(_being_tried(verb, in_hand))
    if selection.queue_id and not groups and not in_hand and verb not in ("hold", "release"):
        raise _not_there(selection.queue_id)


def _being_tried(verb: str, in_hand: int) -> str:
    those = "1 is being tried just now" if in_hand == 1 else f"{in_hand} are being tried just now"
    if verb == "hold":
        return f"{those}; what remains after this attempt is held"
    return f"{those} and left alone; give the order again in a moment for what remains"


# ---- destinations ------------------------------------------------------------------------------------


@queue.command()
@click.argument("destination", default="")
@json_option
@click.pass_obj
def pause(house: House, destination: str, as_json: bool) -> None:
    """Attempt nothing for a destination until it is resumed, over restarts too; without one, list those.

    DESTINATION is a domain, or a destination as `queue summary` shows it."""
    arguments = {"destination": destination, "by": getpass.getuser()}
    paused = {each["destination"]: each for each in house.perform("queue.pause", arguments)}
    columns = (
        ("DESTINATION", lambda e: e["destination"]),
        ("SINCE", lambda e: e["since"]),
        ("BY", lambda e: e["by"] or "-"),
    )
    show(list(paused.values()), as_json, columns, "Nothing is paused.")


@queue.command()
@click.argument("destination", default="")
@click.option("--all", "everything", is_flag=True, help="All that are paused.")
@json_option
@click.pass_obj
def resume(house: House, destination: str, everything: bool, as_json: bool) -> None:
    """Attempt mail for a destination again."""
    if not destination and not everything:
        raise OperationFailed("which destination? give one, or --all; postroad queue pause lists them", 2)
    arguments = {"destination": destination, "all": everything}
    resumed = {each["destination"]: each for each in house.perform("queue.resume", arguments)}
    if as_json:
        for each in resumed.values():
            say_json(each)
    for name in () if as_json else resumed:
        click.echo(f"{name} is attempted again")
    if destination and not resumed:
        raise OperationFailed(f"{destination} was not paused; postroad queue pause lists what is")


def _not_there(queue_id: str) -> OperationFailed:
    return OperationFailed(f"{queue_id} is not in the queue; what became of it: postroad trace {queue_id}")


def _recipients(recipients: list[str]) -> str:
    first = ", ".join(recipients[:2])
    return first if len(recipients) <= 2 else f"{first} and {len(recipients) - 2} more"
