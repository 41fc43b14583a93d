"""`postroad send --merge`: hand the letters in one by one, and tell in the end what became of each."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import click

from postroad.cli.house import House
from postroad.cli.merge_journal import Journal
from postroad.cli.output import safe, say_json, show
from postroad.services.operations.merge_results import refused_at_once
from postroad.services.operations.merging import Plan, Planned
from postroad.services.operations.performer import NotTaken, OperationFailed, PlainObject
from postroad.vocabulary.limits import MERGE_FAILURES_IN_A_ROW, MERGE_LETTERS_ASKED, MERGE_PROBLEMS_TOLD

_T = TypeVar("_T")

_LOOK_AGAIN_S = 1.0
_EXAMPLES = 3
_COLUMNS = (
    ("LINE", lambda r: r["line"]),
    ("ADDRESS", lambda r: r["address"]),
    ("STATE", lambda r: r["state"]),
    ("QUEUE ID", lambda r: r["queue_id"]),
    ("WHY", lambda r: r["reason"]),
    ("IT SAID", lambda r: r["reply"]),
)
_FIELDS = ("line", "address", "state", "reason", "status", "reply", "queue_id", "attempts", "at", "next_attempt_at")


class Pace(NamedTuple):
    """`per_minute` 0 is as fast as it goes. With `release_at` all are handed in now and go then, at that pace."""

    per_minute: float = 0
    release_at: datetime | None = None


def tell_problems(problems: Sequence[tuple[int, str]], *, skip: bool) -> None:
    """Line by line. Raises OperationFailed 65, unless those lines are to be left out."""
    for line, text in problems[:MERGE_PROBLEMS_TOLD]:
        click.echo(f"line {line}: {safe(text)}", err=True)
    if len(problems) > MERGE_PROBLEMS_TOLD:
        click.echo(f"and {len(problems) - MERGE_PROBLEMS_TOLD} more", err=True)
    if problems and not skip:
        raise OperationFailed(
            f"{len(problems)} lines cannot be sent; nothing was sent. Mend them, or leave them out with --skip-bad", 65
        )


def suppressed(house: House, plan: Plan) -> dict[str, PlainObject]:
    """By address, as it is in the table; told line by line."""
    found: dict[str, PlainObject] = {}
    for some in _pages([letter.address for letter in plan.letters]):
        for one in house.perform("suppression.among", {"addresses": some}):
            found[one["address"].lower()] = one
    keys = {letter.address: letter.address.lower() for letter in plan.letters}
    named = {name: found[key] for name, key in keys.items() if key in found}
    for letter in plan.letters:
        if letter.address in named:
            why = named[letter.address]
            until = f" until {why['expires_at'][:10]}" if why["expires_at"] else ""
            click.echo(f"line {letter.line}: {letter.address} is suppressed{until}: {safe(why['reason'])}", err=True)
    return named


def show_examples(plan: Plan, leave_out: dict[str, PlainObject]) -> None:
    """The first three letters as they would go out."""
    letters = [letter for letter in plan.letters if letter.address not in leave_out]
    for letter in letters[:_EXAMPLES]:
        click.secho(f"--- line {letter.line}, to {letter.address}", bold=True)
        for line in plan.write(letter, "example").content.decode("utf-8", "replace").splitlines():
            click.echo(safe(line))
    click.echo(f"{len(letters)} letters would be sent; none was")


def hand_in(
    house: House, sender: str, plan: Plan, journal: Journal, leave_out: dict[str, PlainObject], pace: Pace
) -> None:
    """All that are not handed in yet. Raises OperationFailed when the server takes no more; the same again goes on."""
    settle_begun(house, journal)
    left = [one for one in plan.letters if one.key not in journal.letters and one.address not in leave_out]
    began = time.monotonic()
    failures, last = 0, ""
    told = 0
    with click.progressbar(left, label="handing in", file=sys.stderr, show_pos=True) as letters:
        for number, letter in enumerate(letters):
            offset_s = number * 60 / pace.per_minute if pace.per_minute else 0.0
            if pace.release_at is None:
                time.sleep(max(0.0, began + offset_s - time.monotonic()))
            release_at = None if pace.release_at is None else pace.release_at + timedelta(seconds=offset_s)
            try:
                _hand_in_one(house, sender, plan, journal, letter, release_at)
                failures = 0
                if len(journal.letters) - told >= MERGE_LETTERS_ASKED:
                    told = expect(house, journal, told)
            except NotTaken as failed:
                failures, last = failures + 1, f"line {letter.line}, {letter.address}: {failed}"
                if failures >= MERGE_FAILURES_IN_A_ROW:
                    break
    expect(house, journal, told)
    missing = sum(one.key not in journal.letters for one in plan.letters if one.address not in leave_out)
    if missing:
        raise OperationFailed(f"{missing} letters are not handed in ({last}); run the same command again later", 75)


def expect(house: House, journal: Journal, told: int) -> int:
    """Have the server remember the letters of the journal after the first `told`: those that fail for good are
    suppressed even if nobody looks. How many it has been told of then."""
    taken = [one for one in [*journal.letters.values()][told:] if one["state"] == "taken"]
    for some in _pages([{"address": one["address"], "queue_id": one["queue_id"]} for one in taken]):
        house.perform("merge.expect", {"letters": some, "since": journal.head["began_at"]})
    return len(journal.letters)


def _hand_in_one(
    house: House, sender: str, plan: Plan, journal: Journal, letter: Planned, release_at: datetime | None
) -> None:
    composed = plan.write(letter, journal.head["job"])
    journal.begin(letter.key, letter.line, letter.address, plan.message_id(letter, journal.head["job"]))
    try:
        result = house.submit(sender and composed.sender, (letter.address,), composed.content, release_at)
    except NotTaken:
        journal.not_taken(letter.key)
        raise
    if result["queue_id"]:
        journal.taken(letter.key, result["queue_id"])
    else:
        journal.refused(letter.key, result["refused"][0]["reply"])


def settle_begun(house: House, journal: Journal) -> None:
    """Find out about letters whose handing-in was cut off. Raises OperationFailed where the ledger cannot be asked."""
    begun = {one["message_id"]: key for key, one in journal.letters.items() if one["state"] == "begun"}
    if not begun:
        return
    house.perform("ledger.flush", {})
    for some in _pages(list(begun)):
        arguments = {"message_ids": some, "since": journal.head["began_at"]}
        for one in house.perform("merge.taken", arguments):
            journal.taken(begun.pop(one["message_id"]), one["queue_id"])
    for key in begun.values():
        journal.not_taken(key)


def results(house: House, journal: Journal, wait_s: float = 0) -> list[PlainObject]:
    """What became of each address of the journal, by line. It is looked at until every letter was tried, but at most
    for so long; then once more."""
    until = time.monotonic() + wait_s
    settled: dict[str, PlainObject] = {}
    open_ = {key: one for key, one in journal.letters.items() if one["state"] == "taken"}
    while open_:
        house.perform("ledger.flush", {})
        for some in _pages(list(open_)):
            letters = [{"address": open_[key]["address"], "queue_id": open_[key]["queue_id"]} for key in some]
            arguments = {"letters": letters, "since": journal.head["began_at"]}
            settled.update(zip(some, house.perform("merge.results", arguments), strict=True))
        open_ = {key: one for key, one in open_.items() if settled[key]["state"] == "waiting"}
        if time.monotonic() >= until:
            break
        time.sleep(_LOOK_AGAIN_S if open_ else 0)
    rows = []
    for key, one in journal.letters.items():
        if one["state"] == "refused":
            result = {"queue_id": "", **refused_at_once(one["reply"])}
        elif one["state"] == "begun":
            result = {"queue_id": "", **refused_at_once(""), "state": "not known", "reason": "the run was cut off here"}
        else:
            result = settled[key]
        rows.append({**result, "line": one["line"], "address": one["address"]})
    return sorted(rows, key=lambda row: row["line"])


def left_out(plan: Plan, leave_out: dict[str, PlainObject], journal: Journal) -> Iterator[PlainObject]:
    """Rows for addresses that are suppressed, and have not had the letter in an earlier run."""
    for letter in plan.letters:
        if letter.address in leave_out and letter.key not in journal.letters:
            why = f"is suppressed: {leave_out[letter.address]['reason']}"
            nothing = refused_at_once("")
            yield {**nothing, "line": letter.line, "address": letter.address, "queue_id": "", "state": "suppressed",
                   "reason": why}  # fmt: skip


def tell_results(rows: Sequence[PlainObject], as_json: bool, as_csv: bool) -> None:
    if as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, _FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(text.getvalue(), nl=False)
        return
    if as_json:
        for row in rows:
            say_json({name: row[name] for name in _FIELDS})
        return
    show(rows, False, _COLUMNS, "no letter has been handed in yet")
    counts = Counter(row["state"] for row in rows)
    click.echo(", ".join(f"{count} {state}" for state, count in counts.most_common()))


def _pages(keys: list[_T]) -> Iterator[list[_T]]:
    for at in range(0, len(keys), MERGE_LETTERS_ASKED):
        yield keys[at : at + MERGE_LETTERS_ASKED]
