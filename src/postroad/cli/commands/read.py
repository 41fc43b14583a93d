"""postroad read: look into a mailbox, as its administrator."""

from __future__ import annotations

import base64
import getpass
import sys

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show, size
from postroad.services.operations.performer import OperationFailed

_COLUMNS = (
    ("N", lambda m: m["number"]),
    ("SIZE", lambda m: size(m["size_bytes"])),
    ("RECEIVED", lambda m: m["received_at"]),
    ("QUEUE ID", lambda m: m["queue_id"]),
)


@click.command()
@click.argument("address")
@click.argument("number", type=int, default=0, metavar="[N]")
@click.option("--list", "listing", is_flag=True, help="List the messages (this is also what happens without N).")
@json_option
@click.pass_obj
def read(house: House, address: str, number: int, listing: bool, as_json: bool) -> None:
    """List a mailbox or print message N of it, octet for octet. What you read is written into its story."""
    if listing or not number:
        show(house.perform("mailbox.list", {"address": address}), as_json, _COLUMNS, "The mailbox is empty.")
        return
    if number < 0:
        raise OperationFailed("messages are numbered from 1", 2)
    pieces = house.perform("mailbox.read", {"address": address, "number": number, "by": getpass.getuser()})
    if as_json:
        for piece in pieces:
            say_json(piece)
        return
    for piece in pieces:
        sys.stdout.buffer.write(base64.b64decode(piece["octets"]))
    sys.stdout.buffer.flush()
