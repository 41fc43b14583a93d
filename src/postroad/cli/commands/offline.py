"""postroad offline: send nothing out for a while."""

from __future__ import annotations

import getpass

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]), required=False)
@json_option
@click.pass_obj
def offline(house: House, state: str | None, as_json: bool) -> None:
    """Keep everything for other servers queued and spend no attempt (on), or send again at once (off).

    Mail is accepted, and delivered into mailboxes here, as before. It lasts over restarts. Without a word it tells
    how things stand."""
    answers = house.perform("queue.offline", {"state": state or "", "by": getpass.getuser()})
    is_offline = any(answer["offline"] for answer in answers)
    if as_json:
        say_json(next((answer for answer in answers if answer["offline"]), {"offline": False}))
        return
    since = next((f" since {answer['since']} by {answer['by']}" for answer in answers if answer.get("since")), "")
    click.echo(f"offline{since}" if is_offline else "online")
