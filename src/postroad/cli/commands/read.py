"""postroad read: look into a mailbox, as its administrator."""

from __future__ import annotations

import base64
import os
import pwd
import sys

import click

from postroad.cli.house import House
from postroad.cli.output import json_option, say_json, show, size
from postroad.services.operations.performer import OperationFailed, PlainObject

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
@click.option("--reason", default="", metavar="TEXT", help="Why you look; it is written down with your name.")
@json_option
@click.pass_obj
def read(house: House, address: str, number: int, listing: bool, reason: str, as_json: bool) -> None:
    """List a mailbox or print message N of it, octet for octet. That you looked is written into its story, with your
    name and the reason: `postroad trace ADDRESS` shows it."""
    audit: PlainObject = {"by": who(), "reason": reason}
    if listing or not number:
        show(house.perform("mailbox.list", {"address": address, **audit}), as_json, _COLUMNS, "The mailbox is empty.")
        return
    if number < 0:
        raise OperationFailed("messages are numbered from 1", 2)
    pieces = house.perform("mailbox.read", {"address": address, "number": number, **audit})
    if as_json:
        for piece in pieces:
            say_json(piece)
        return
    for piece in pieces:
        sys.stdout.buffer.write(base64.b64decode(piece["octets"]))
    sys.stdout.buffer.flush()


def who() -> str:
    """The Unix user, not what the environment says of it; behind sudo also who that says it was asked by."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    asked_by = os.environ.get("SUDO_USER", "") if uid == 0 else ""
    return f"{name} (sudo: {asked_by})" if asked_by else name
