"""How the commands print: for people as aligned columns, for scripts as one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import click

from postroad.services.operations.performer import PlainObject

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")


def show(
    objects: Sequence[PlainObject],
    as_json: bool,
    columns: Sequence[tuple[str, Callable[[PlainObject], object]]],
    none: str = "",
) -> None:
    """Print the objects as rows under their headings, or as JSON lines; `none` is said to people where there
    are no rows."""
    if as_json:
        for one in objects:
            say_json(one)
        return
    if not objects:
        if none:
            click.echo(none)
        return
    rows = [[heading for heading, _ in columns]]
    rows += [[safe(str(value(one))) for _, value in columns] for one in objects]
    widths = [max(len(row[n]) for row in rows) for n in range(len(columns))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def say_json(one: PlainObject) -> None:
    click.echo(json.dumps(one, ensure_ascii=False, separators=(",", ":")))


def safe(text: str) -> str:
    """Text that came from outside, made harmless for a terminal: control characters become `?`."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def size(octets: int) -> str:
    """1234567 -> "1.2M"."""
    amount = float(octets)
    for unit in ("", "K", "M", "G"):
        if amount < 1000:
            return f"{amount:.0f}{unit}" if not unit or amount >= 10 else f"{amount:.1f}{unit}"
        amount /= 1024
    return f"{amount:.1f}T"
