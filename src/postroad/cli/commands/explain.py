"""postroad explain: what a reply means and what to do."""

from __future__ import annotations

import click

from postroad.cli.output import json_option, say_json
from postroad.services.operations.explanations import explained


@click.command()
@click.argument("reply", nargs=-1, required=True)
@json_option
def explain(reply: tuple[str, ...], as_json: bool) -> None:
    """Explain a reply code or an enhanced status: 550, 5.7.1, or a whole line as it stands in a log."""
    for one in explained(" ".join(reply)):
        if as_json:
            say_json(one)
            continue
        click.echo(f"{one['code']}  {one['meaning']}")
        if one["advice"]:
            click.echo(f"{'':{len(one['code'])}}  {one['advice']}")
