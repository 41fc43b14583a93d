"""A hold that is emptied over real sockets by a customer that we play: its form, its crashes, its vanishing."""

from __future__ import annotations

import base64
import os
import signal
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from tests.live.test_waiting_mail import held, wait_until_fetched
from tests.message.mime import decoded, head, multipart
from tests.support.ports import free_port, pause
from tests.support.server import PASSWORD, Server

MIME = (b"From: ann@a.example", b"Subject: caf", b"MIME-Version: 1.0")
TEXT = head(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit")
LARGE = multipart(b"b", TEXT + b"na\xc3\xafve caf\xc3\xa9\r\n.\r\n" * CONTENT_IN_ROW_BYTES, first=MIME)
LOOKS = 100


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Server]:
    odmr = free_port("127.0.0.1")
    server = Server(
        tmp_path / "provider",
        hostname="mx.p.example",
        domain="p.example",
        users=("dave",),
        sections='[[hold]]\ndomain = "d.example"\nowner = "dave@p.example"\n',
    )
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace("[listen]\n", f'[listen]\nodmr = ["127.0.0.1:{odmr}"]\n'))
    server.ports["odmr"] = odmr
    server.start()
    yield server
    server.kill()


class Customer:
    """Dave's machine, which has logged in on the port for ATRN."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection((server.address, server.ports["odmr"]), 30)
        self._file: IO[bytes] = self._socket.makefile("rb")
        self.expect(b"220 ")
        self.say("EHLO home.d.example", b"250 ")
        self.say("STARTTLS", b"220 ")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._file.close()
        self._socket = context.wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")
        self.say("EHLO home.d.example", b"250 ")
        response = base64.b64encode(f"\0dave@p.example\0{PASSWORD}".encode()).decode()
        self.say(f"AUTH PLAIN {response}", b"235 ")

    def say(self, command: str, expected: bytes) -> None:
        self._socket.sendall(command.encode() + b"\r\n")
        self.expect(expected)

    def expect(self, start: bytes) -> None:
        while (line := self.line())[3:4] == b"-":
            pass
        assert line.startswith(start), line

    def line(self) -> bytes:
        return self._file.readline()

    def turn(self) -> None:
        """The roles change: now we are the server. What vanished just now may be noticed a moment later."""
        answer = b"451 "
        looks = 0
        while answer.startswith(b"451 ") and looks < LOOKS:
            pause(0.1)
            looks += 1
            self._socket.sendall(b"ATRN\r\n")
            answer = self.line()
        assert answer.startswith(b"250 "), answer
        self._socket.sendall(b"220 home.d.example\r\n")
        assert self.line().startswith(b"EHLO ")
        self._socket.sendall(b"250 home.d.example\r\n")

    def content(self) -> bytes:
        """One letter up to its dot, which is not answered yet."""
        assert self.line().startswith(b"MAIL FROM:")
        self._socket.sendall(b"250 ok\r\n")
        assert self.line().startswith(b"RCPT TO:<bob@d.example>")
        self._socket.sendall(b"250 ok\r\n")
        assert self.line() == b"DATA\r\n"
        self._socket.sendall(b"354 go on\r\n")
        lines = []
        while (line := self.line()) != b".\r\n":
            assert line, "the letter ends with its dot"
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def take(self) -> None:
        self._socket.sendall(b"250 taken\r\n")

    def leave(self) -> None:
        assert self.line() == b"QUIT\r\n"
        self._socket.sendall(b"221 bye\r\n")
        self.vanish()

    def vanish(self) -> None:
        self._file.close()
        self._socket.close()


def send(server: Server, content: bytes) -> None:
    with smtplib.SMTP(server.address, server.ports["smtp"]) as client:
        client.sendmail("ann@a.example", ["bob@d.example"], content, mail_options=["BODY=8BITMIME"])
    server.wait_until_delivered()


def test_large_8_bit_mail_is_made_7_bit_for_a_customer_that_takes_no_other(provider: Server) -> None:
    send(provider, LARGE)
    customer = Customer(provider)
    customer.turn()
    content = customer.content()
    customer.take()
    customer.leave()
    assert content.isascii()
    assert decoded(content) == decoded(LARGE)
    wait_until_fetched(provider)
    left = [path for path in provider.folder.rglob("*") if path.is_file() and path.stat().st_size > len(LARGE) // 2]
    assert [path for path in left if path.suffix not in (".db", ".db-wal")] == []


def test_a_customer_that_vanishes_at_the_dot_frees_the_hold_and_gets_the_mail_next_time(provider: Server) -> None:
    send(provider, LARGE)
    for _ in range(2):
        customer = Customer(provider)
        customer.turn()
        customer.content()
        customer.vanish()
        assert held(provider) == 1
    customer = Customer(provider)
    customer.turn()
    assert decoded(customer.content()) == decoded(LARGE)
    customer.take()
    customer.leave()
    wait_until_fetched(provider)


def test_a_provider_that_is_killed_while_its_mail_is_fetched_has_it_still_and_locks_nobody_out(
    provider: Server,
) -> None:
    send(provider, LARGE)
    customer = Customer(provider)
    customer.turn()
    customer.content()
    worker, _ = provider.worker()
    os.kill(worker, signal.SIGKILL)
    assert customer.line() == b""
    customer.vanish()
    provider.kill()
    provider.start()
    assert held(provider) == 1
    customer = Customer(provider)
    customer.turn()
    assert decoded(customer.content()) == decoded(LARGE)
    customer.take()
    customer.leave()
    wait_until_fetched(provider)
