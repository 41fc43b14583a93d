"""postroad status: what the server is and does."""

from __future__ import annotations

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json


@click.command()
@json_option
@click.pass_obj
def status(house: House, as_json: bool) -> None:
    """Processes, listeners, sessions, the queue and the disk. Works when the server is stopped, too."""
    for report in house.perform("status", {}):
        if as_json:
            say_json(report)
            continue
        click.secho(str(report.get("process", "?")), bold=True)
        for name, value in report.items():
            if name != "process":
                click.echo(f"  {name.replace('_', ' '):<28} {safe(_text(value))}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return str(value)
