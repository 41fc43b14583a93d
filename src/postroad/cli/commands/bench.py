"""postroad bench: what this machine does with mail, measured."""

from __future__ import annotations

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, show


@click.command()
@click.argument("what", type=click.Choice(["accept", "relay", "mailbox"]))
@click.option("--against", type=click.Choice(["postfix"]), default=None, help="Measure this server, too.")
@click.option(
    "--messages", type=click.IntRange(8, 1_000_000), default=2000, show_default=True, help="Messages a round, of 4 KiB."
)
@click.option(
    "--sessions", type=click.IntRange(1, 1000), default=20, show_default=True, help="Clients that come at once."
)
@json_option
@click.pass_obj
def bench(house: House, what: str, against: str | None, messages: int, sessions: int, as_json: bool) -> None:
    """Measure how fast this machine takes mail in, hands it on, or delivers it and lets it be fetched.

    A server of its own is started for it, on 127.0.0.1 and in a temporary folder, with the durability of a real one,
    without TLS and without rules about clients; a running server and its mail are not touched. The disk's own rate and
    that of the clients alone are shown beside it: no server can be faster. At the end every message is counted; exit
    status 1 if one is missing.
    """
    columns = (
        ("WHAT", lambda v: v["what"]),
        ("BY", lambda v: v["server"]),
        ("A SECOND", lambda v: _number(v["per_second"], ",.0f")),
        ("CPU MS EACH", lambda v: _number(v["cpu_ms"], ".2f")),
        ("COUNTED", lambda v: _number(v["counted"], ",")),
        ("", lambda v: v["note"]),
    )
    show(house.bench(what, against or "", messages, sessions), as_json, columns)


def _number(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else ""
