"""postroad send, postroad sendmail: hand mail in from this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import click

from postroad.cli.house import House
from postroad.cli.merge import Pace, hand_in, left_out, show_examples, suppressed, tell_problems, tell_results
from postroad.cli.merge import results as merged_results
from postroad.cli.merge_journal import Journal
from postroad.cli.output import json_option, safe, say_json
from postroad.services.operations.merging import plan as plan_merge
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.sendmail_input import read_letter
from postroad.services.operations.writing import write_letter

_JOURNAL = ".journal"
_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--from", "sender", default="", help="The sender; without it, you at this host.")
@click.option(
    "--to", "recipients", multiple=True, help='A recipient; may be given many times. With --merge: "{name} <{email}>".'
)
@click.option("--subject", default="", help="The subject.")
@click.option(
    "--attach", multiple=True, type=click.Path(path_type=Path), help="A file to attach; may be given many times."
)
@click.option("--body", default="-", help="The text; `-` reads it from standard input.")
@click.option("--at", default="", help="Let it go then: 2026-12-01T09:00, in the time of this machine, or with a zone.")
@click.option("--follow", is_flag=True, help="Tell what becomes of it, until Ctrl-C.")
@click.option("--merge", type=_FILE, help="A CSV of people: a letter for each, with {column} filled in.")
@click.option("--html", type=_FILE, help="With --merge: the text once more, as HTML with the same fields.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of the CSV.")
@click.option("--rate", default=0.0, help="With --merge: letters a minute at most.")
@click.option("--dry-run", is_flag=True, help="With --merge: check everything, show three letters, send none.")
@click.option("--skip-bad", is_flag=True, help="With --merge: leave out the lines that cannot be sent.")
@click.option("--unsubscribe", default="", help="With --merge: the address to write to for who wants no more.")
@click.option("--journal", type=_FILE, help="With --merge: who has the letter already; else beside the CSV.")
@click.option("--wait", default=60.0, show_default=True, help="With --merge: seconds for the results, at most.")
@click.option("--results", type=_FILE, help="What became of the letters of this CSV, or of this journal, until now.")
@click.option("--csv", "as_csv", is_flag=True, help="The results as CSV.")
@json_option
@click.pass_context
def send(
    context: click.Context,
    sender: str,
    recipients: tuple[str, ...],
    subject: str,
    attach: tuple[Path, ...],
    body: str,
    at: str,
    follow: bool,
    merge: Path | None,
    html: Path | None,
    encoding: str,
    rate: float,
    dry_run: bool,
    skip_bad: bool,
    unsubscribe: str,
    journal: Path | None,
    wait: float,
    results: Path | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Write and submit a mail; or with --merge one for each line of a CSV.

    The first line of the CSV names its columns. {name} in subject, text, HTML and --to is filled from the column name;
    {name|friend} says "friend" where it is empty. All lines are checked before anything is sent. A run that was
    interrupted goes on when it is run again: nobody gets the letter twice. At the end, or later with --results, comes
    a table of what became of each address."""
    house: House = context.obj
    release_at = _moment(at)
    if results is not None:
        file = journal or (results if results.name.endswith(_JOURNAL) else _beside(results))
        if not file.exists():
            raise OperationFailed(f"{file} is not there: no letter was sent to {results}", 66)
        with closing(Journal(file)) as kept:
            tell_results(merged_results(house, kept), as_json, as_csv)
        return
    if merge is None and not recipients:
        raise OperationFailed("to whom? say --to, or --merge with a table of people", 2)
    if merge is not None:
        _send_merged(house, merge, sender, recipients, subject, body, attach, html, encoding, skip_bad, unsubscribe,
                     dry_run, journal or _beside(merge), Pace(rate, release_at), wait, as_json, as_csv)  # fmt: skip
        return
    text = sys.stdin.read() if body == "-" else body
    letter = write_letter(
        sender=sender or house.local_address(),
        recipients=recipients,
        subject=subject,
        text=text,
        attachments=[(path.name, _octets(path)) for path in attach],
    )
    result = house.submit(letter.sender if sender else "", letter.recipients, letter.content, release_at)
    _report(result, as_json)
    if follow and result["queue_id"]:
        from postroad.cli.commands.trace import trace

        context.invoke(trace, what=result["queue_id"], follow=True, as_json=as_json)


def _send_merged(
    house: House, table: Path, sender: str, to: tuple[str, ...], subject: str, body: str, attach: tuple[Path, ...],
    html: Path | None, encoding: str, skip_bad: bool, unsubscribe: str, dry_run: bool, journal: Path, pace: Pace,
    wait_s: float, as_json: bool, as_csv: bool,
) -> None:  # fmt: skip
    if len(to) > 1 or pace.per_minute < 0:
        raise OperationFailed("with --merge: one --to, that says which column it is, and a --rate from 0", 2)
    plan = plan_merge(
        _octets(table),
        encoding=encoding,
        sender=sender or house.local_address(),
        to=to[0] if to else "",
        subject=subject,
        text=sys.stdin.read() if body == "-" else body,
        html=_octets(html).decode("utf-8", "replace") if html else "",
        attachments=[(path.name, _octets(path)) for path in attach],
        list_unsubscribe=unsubscribe,
    )
    tell_problems(plan.problems, skip=skip_bad)
    leave_out = suppressed(house, plan)
    if dry_run:
        show_examples(plan, leave_out)
        return
    with closing(Journal(journal)) as kept:
        kept.begin_job(plan.fingerprint, subject)
        hand_in(house, sender, plan, kept, leave_out, pace)
        rows = merged_results(house, kept, 0 if pace.release_at else wait_s)
        tell_results([*rows, *left_out(plan, leave_out, kept)], as_json, as_csv)


def _beside(table: Path) -> Path:
    return table.with_name(table.name + _JOURNAL)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise OperationFailed(f"--at {text!r} is no time; write it as 2026-12-01T09:00", 2) from None


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
