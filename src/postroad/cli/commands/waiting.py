"""postroad pickup, watch: mail that waits elsewhere, and a live terminal."""

from __future__ import annotations

import secrets

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, safe, say_json
from postroad.services.operations.performer import OperationFailed, PlainObject

_FAILED = "something was not fetched as it should be"


@click.command()
@click.argument("name", default="")
@json_option
@click.pass_obj
def pickup(house: House, name: str, as_json: bool) -> None:
    """Fetch now what waits for us elsewhere: the [[pickup]] of this NAME, or all of them."""
    results = house.perform("transport.pickup", {"name": name, "start": True})
    while any(result["under_way"] for result in results):
        results = house.perform("transport.pickup", {"name": name, "start": False})
    for result in results:
        if as_json:
            say_json({key: value for key, value in result.items() if key != "under_way"})
            continue
        click.secho("ok   " if result["ok"] else "FAIL ", fg="green" if result["ok"] else "red", nl=False)
        click.echo(
            f"{safe(result['name'])} ({result['method']}): {_messages(result['messages'])}{safe(result['said'])}"
        )
    if not all(result["ok"] for result in results):
        raise OperationFailed(_FAILED)


def _messages(count: int) -> str:
    return "" if not count else f"{count} {'message' if count == 1 else 'messages'}; "


@click.command()
@click.argument("address")
@json_option
@click.pass_obj
def watch(house: House, address: str, as_json: bool) -> None:
    """A live terminal: show messages that are sent to ADDRESS by SEND, SOML or SAML, until Ctrl-C."""
    question: PlainObject = {"watcher": secrets.token_hex(16), "address": address, "shown": 0, "wait_s": 0}
    house.perform("watch.poll", question)
    if not as_json:
        click.echo(f"watching for {address}; Ctrl-C ends it", err=True)
    del question["wait_s"]
    try:
        while True:
            for message in house.perform("watch.poll", question):
                _show(message, as_json)
                question["shown"] = message["number"]
    finally:
        _close(house, question)


def _show(message: PlainObject, as_json: bool) -> None:
    if as_json:
        say_json({key: value for key, value in message.items() if key != "number"})
        return
    sender = message["from"] or message["envelope_from"]
    click.secho(f"{safe(message['at'])}  {safe(message['way'])} from {safe(sender)}", bold=True)
    if message["subject"]:
        click.echo(f"  {safe(message['subject'])}")
    for line in message["lines"]:
        click.echo(f"  {safe(line)}")


def _close(house: House, question: PlainObject) -> None:
    """Say what was shown; a server that has gone needs no goodbye."""
    try:
        house.perform("watch.close", {"watcher": question["watcher"], "shown": question["shown"]})
    except OperationFailed:
        return
