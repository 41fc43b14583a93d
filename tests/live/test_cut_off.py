"""Clients that stop in the middle, at every stage: nothing of theirs is kept, and nobody waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.conversations import (
    check_unharmed,
    eventually,
    greeted,
    in_content,
    in_transaction,
    left_behind,
    letters_of,
    said_hello,
)
from tests.support.server import Server, running_server
from tests.support.wire import Wire

pytestmark = pytest.mark.xdist_group("bad input")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("cut")) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    """Holds after every test here."""
    yield
    check_unharmed(server)


LARGE_PART = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 6000
STAGES: dict[str, Callable[[Server], Wire]] = {
    "before the greeting": lambda server: Wire(server.address, server.ports["smtp"]),
    "after the greeting": greeted,
    "in a command": lambda server: saying(greeted(server), b"EHLO clie"),
    "after EHLO": said_hello,
    "in MAIL": lambda server: saying(said_hello(server), b"MAIL FROM:<cat@cl"),
    "after RCPT": in_transaction,
    "after DATA": in_content,
    "in the header": lambda server: saying(in_content(server), b"Subject: x\r\nFrom: cat@cli"),
    "in the body": lambda server: saying(in_content(server), b"Subject: x\r\n\r\nHello\r\n"),
    "in a large body": lambda server: saying(in_content(server), LARGE_PART),
    "before the dot's end": lambda server: saying(in_content(server), LARGE_PART + b".\r"),
    "in STARTTLS": lambda server: saying(starting_tls(server), b""),
    "in the handshake": lambda server: saying(starting_tls(server), b"\x16\x03\x01\x02\x00\x01\x00\x01"),
    "in AUTH": lambda server: asking(said_hello(server, "submissions"), b"AUTH PLAIN"),
    "in TLS from the first octet": lambda server: saying(
        Wire(server.address, server.ports["submissions"]), b"\x16\x03\x01\x02"
    ),
    "with commands unread": lambda server: saying(said_hello(server), b"NOOP\r\n" * 1000),
}


def saying(wire: Wire, octets: bytes) -> Wire:
    wire.say(octets)
    return wire


def asking(wire: Wire, command: bytes) -> Wire:
    wire.ask(command)
    return wire


def starting_tls(server: Server) -> Wire:
    return asking(said_hello(server, "submission"), b"STARTTLS")


@pytest.mark.parametrize("how", ["close", "cut"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_stops_in_the_middle_leaves_nothing_behind(server: Server, stage: str, how: str) -> None:
    before = letters_of(server, "bob")
    wire = STAGES[stage](server)
    getattr(wire, how)()
    eventually(lambda: sessions(server) == 0, lambda: f"{sessions(server)} sessions are still open")
    assert server.queued() == 0
    assert left_behind(server) == []
    assert letters_of(server, "bob") == before


def sessions(server: Server) -> int:
    return sum(int(report.get("sessions", 0)) for report in server.reports())


def test_a_client_that_stops_after_the_dot_has_its_message_once_or_not_at_all(server: Server) -> None:
    before = letters_of(server, "bob")
    for large in (b"", LARGE_PART):
        wire = in_content(server)
        wire.say(large + b"Subject: x\r\n\r\nHello\r\n.\r\n")
        wire.cut()
    eventually(lambda: sessions(server) == 0, lambda: "sessions are still open")
    server.wait_until_delivered()
    assert letters_of(server, "bob") - before in (0, 1, 2)
