"""postroad trace: the story of a message."""

from __future__ import annotations

import time

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json
from postroad.cli.story import told
from postroad.services.operations.performer import OperationFailed, PlainObject

_LOOK_AGAIN_S = 0.5


@click.command()
@click.argument("what", metavar="ID|ADDRESS|MESSAGE-ID")
@click.option("--follow", is_flag=True, help="Go on telling as it happens, until Ctrl-C.")
@json_option
@click.pass_obj
def trace(house: House, what: str, follow: bool, as_json: bool) -> None:
    """Tell the story of a message: by the queue id its sender was given, by an address, or by its <Message-ID>.

    An address tells the stories of the latest 50 messages from or to it, and what was refused.
    Exit status 1 when nothing is known."""
    seen = 0
    last_id = ""
    while True:
        house.perform("ledger.flush", {})
        steps = house.perform("story.find", {"key": what})
        if not steps and not follow:
            raise OperationFailed(f"nothing is known of {what}; stories are kept as long as [ledger] keep says")
        for step in steps[seen:]:
            if as_json:
                say_json(step)
            else:
                last_id = _tell(step, last_id)
        seen = len(steps)
        if not follow:
            return
        time.sleep(_LOOK_AGAIN_S)


def _tell(step: PlainObject, last_id: str) -> str:
    if step["queue_id"] != last_id:
        click.secho(step["queue_id"] or "(no message)", bold=True)
    for line in told(step):
        click.echo(f"  {line}")
    return str(step["queue_id"])
