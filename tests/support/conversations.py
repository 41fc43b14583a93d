"""Conversations with a running server up to some stage, and what must hold after each of them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.ports import pause
from tests.support.server import PASSWORD, Server
from tests.support.wire import Wire


def left_behind(server: Server) -> list[Path]:
    """Content that the queue still keeps in files."""
    return [path for path in (server.folder / "data" / "queue").glob("*/*") if path.is_file()]


def eventually(holds: Callable[[], bool], otherwise: Callable[[], str], deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, otherwise()
        pause()


def check_unharmed(server: Server) -> None:
    """Others are served, nothing is left in the queue, and nothing was unexpected."""
    with said_hello(server) as other:
        assert other.ask(b"MAIL FROM:<cat@client.example>").startswith(b"250 ")
        assert other.ask(b"RCPT TO:<bob@here.example>").startswith(b"250 ")
        assert other.ask(b"DATA").startswith(b"354 ")
        assert other.ask(b"Subject: still there\r\n\r\nHello\r\n.").startswith(b"250 ")
    server.wait_until_delivered()
    eventually(lambda: left_behind(server) == [], lambda: f"files are left: {left_behind(server)}")
    assert "unexpected" not in server.log()
    assert "Traceback" not in server.log()
    assert not (server.folder / "data" / "run" / "errors.log").exists()


def greeted(server: Server, role: str = "smtp") -> Wire:
    wire = Wire(server.address, server.ports[role], tls=role == "submissions")
    assert wire.reply().startswith(b"220 mx.here.example ")
    return wire


def said_hello(server: Server, role: str = "smtp") -> Wire:
    wire = greeted(server, role)
    assert wire.ask(b"EHLO client.example").startswith(b"250-mx.here.example")
    return wire


def in_transaction(server: Server) -> Wire:
    """One recipient is accepted."""
    wire = said_hello(server)
    assert wire.ask(b"MAIL FROM:<cat@client.example>").startswith(b"250 ")
    assert wire.ask(b"RCPT TO:<bob@here.example>").startswith(b"250 ")
    return wire


def in_content(server: Server) -> Wire:
    wire = in_transaction(server)
    assert wire.ask(b"DATA").startswith(b"354 ")
    return wire


def pop3(server: Server, user: str = "") -> Wire:
    """Logged in where a user is named."""
    wire = Wire(server.address, server.ports["pop3"])
    assert wire.line().startswith(b"+OK ")
    if user:
        assert say_and_hear(wire, f"USER {user}@here.example".encode()).startswith(b"+OK")
        assert say_and_hear(wire, b"PASS " + PASSWORD.encode()).startswith(b"+OK")
    return wire


def say_and_hear(wire: Wire, command: bytes) -> bytes:
    """One line, and one line of POP3 in answer."""
    wire.say(command + b"\r\n")
    return wire.line()


def letters_of(server: Server, user: str) -> int:
    with pop3(server, user) as wire:
        answer = say_and_hear(wire, b"STAT")
        assert say_and_hear(wire, b"QUIT").startswith(b"+OK")
        return int(answer.split()[1])


def user_words(name: str, password: str) -> bytes:
    """The response of AUTH PLAIN."""
    return base64.b64encode(f"\0{name}\0{password}".encode())
