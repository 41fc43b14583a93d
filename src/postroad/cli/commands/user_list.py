"""`postroad account import` and `export`: a whole list of users as CSV."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json
from postroad.services.operations import user_list
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.user_list import Line
from postroad.vocabulary.limits import USER_LIST_BYTES, USER_LIST_PAGE


@click.command("import")
@click.argument("file", metavar="FILE|-")
@click.option("--encoding", default="utf-8", show_default=True, help="Such as latin-1, for lists of older programs.")
@click.option("--set-passwords", is_flag=True, help="Also of accounts that are here already.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@json_option
@click.pass_obj
def import_(house: House, file: str, encoding: str, set_passwords: bool, dry_run: bool, as_json: bool) -> None:
    """Make accounts of a CSV file, and bring those that are here to what it says. It can be given again.

    The first line names the columns: address, and any of name, password, disabled, quota, forward, keep_copy, aliases.
    Several addresses in a cell are separated by spaces; an empty cell leaves things as they are, "-" ends forwarding.
    Each line is reported; the exit status is 1 if one was refused."""
    lines = user_list.read(_octets(file), encoding)
    step = "check" if dry_run else "accounts"
    results: Counter[str] = Counter()
    for line, answer in _performed(house, lines, step, set_passwords):
        results[answer["result"]] += 1
        if as_json:
            say_json({"line": line.number, **answer})
        else:
            reason = f": {safe(answer['reason'])}" if answer["reason"] else ""
            click.echo(f"line {line.number}: {safe(answer['address']) or '-'} {answer['result']}{reason}")
    if not as_json:
        told = ", ".join(f"{results[word]} {word}" for word in ("created", "changed", "unchanged", "refused"))
        click.echo(f"{len(lines)} lines: {told}{' (nothing was done: --dry-run)' if dry_run else ''}", err=True)
    if results["refused"]:
        raise SystemExit(1)


@click.command()
@click.argument("domain", default="")
@json_option
@click.pass_obj
def export(house: House, domain: str, as_json: bool) -> None:
    """Write the accounts, of one DOMAIN or of all, as a CSV that `import` takes. Passwords are not in it."""
    accounts = house.perform("account.list", {"domain": domain})
    if as_json:
        for account in accounts:
            say_json(account)
        return
    click.echo(user_list.written(accounts, house.perform("alias.list", {})), nl=False)


def _octets(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(USER_LIST_BYTES + 1)
        with Path(file).open("rb") as octets:
            return octets.read(USER_LIST_BYTES + 1)
    except OSError as error:
        raise OperationFailed(f"{file}: {error.strerror}", 2) from None


def _performed(house: House, lines: list[Line], step: str, set_passwords: bool) -> Iterator[tuple[Line, PlainObject]]:
    """Every line with its answer, in order; all accounts are there before the first one leads anywhere."""
    sound = [line for line in lines if not line.wrong]
    answers = _asked(house, sound, step, set_passwords)
    if step == "accounts":
        leading = [
            line
            for line in sound
            if {"forward_to", "keeps_copy", "aliases"} & line.row.keys() and answers[line.number]["result"] != "refused"
        ]
        for number, answer in _asked(house, leading, "leads", False).items():
            before = answers[number]["result"]
            if answer["result"] == "refused":
                answers[number] = {**answer, "reason": f"the account is {before}, but {answer['reason']}"}
            elif answer["result"] == "changed" and before == "unchanged":
                answers[number] = answer
    for line in lines:
        wrong = {"address": line.address, "result": "refused", "reason": line.wrong}
        yield line, answers.get(line.number, wrong)


def _asked(house: House, lines: list[Line], step: str, set_passwords: bool) -> dict[int, PlainObject]:
    answers: dict[int, PlainObject] = {}
    for start in range(0, len(lines), USER_LIST_PAGE):
        page = lines[start : start + USER_LIST_PAGE]
        rows = [{"address": line.address, **line.row} for line in page]
        given = house.perform("account.import", {"rows": rows, "step": step, "set_passwords": set_passwords})
        answers.update(zip((line.number for line in page), given, strict=True))
    return answers
