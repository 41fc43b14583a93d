"""A running server behind others: mail by LMTP over both kinds of socket, through a balancer, from a front end; and a
greeting that is held."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.server import PASSWORD, Server

GREETING_DELAY_S = 2.0
FRONT = "127.0.0.9"
KNOWN = "127.0.0.2"
STRANGER = "203.0.113.77"
LETTER = b"Subject: hi\r\nMessage-ID: <%s@c.example>\r\n\r\n.dots\r\n..and gr\xc3\xbcsse\r\n"

pytestmark = pytest.mark.xdist_group("front ends")


class Doors:
    """The server, and where its rarer doors are."""

    def __init__(self, server: Server, lmtp_socket: Path, lmtp: int, proxy: int) -> None:
        self.server = server
        self.lmtp_socket = lmtp_socket
        self.lmtp = lmtp
        self.proxy = proxy


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    server = Server(folder)
    lmtp_socket, lmtp, proxy = folder / "lmtp.sock", free_port(), free_port()
    text = server.configuration.read_text()
    for section, keys in (
        ("listen", f'lmtp = ["./lmtp.sock", "127.0.0.1:{lmtp}"]\nsmtp_proxy = ["127.0.0.1:{proxy}"]\n'),
        ("policy", f'xclient = ["{FRONT}"]\ngreeting_delay_s = {GREETING_DELAY_S}\n'),
    ):
        text = text.replace(f"[{section}]\n", f"[{section}]\n{keys}")
    server.configuration.write_text(text.replace('exempt = ["127.0.0.0/8"]', f'exempt = ["{KNOWN}"]'))
    server.start()
    yield Doors(server, lmtp_socket, lmtp, proxy)
    assert server.stop() == 0
    assert "unexpected" not in server.log()
    assert not lmtp_socket.exists()


def letter(name: str) -> bytes:
    return LETTER % name.encode()


def kept(doors: Doors, user: str, name: str) -> bytes:
    """The one message with this id in somebody's mailbox."""
    doors.server.wait_until_delivered()
    (found,) = (each for each in doors.server.mailbox(user) if f"<{name}@c.example>".encode() in each)
    assert found.endswith(letter(name))
    return found


def say(smtp: smtplib.SMTP, command: str, code: int) -> bytes:
    got, words = smtp.docmd(command)
    assert got == code, words
    return words


def hand_in(smtp: smtplib.SMTP, name: str, recipient: str = "ann@here.example") -> None:
    say(smtp, "MAIL FROM:<cat@c.example> BODY=8BITMIME", 250)
    say(smtp, f"RCPT TO:<{recipient}>", 250)
    octets = letter(name)
    smtp.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (5, octets[:5], len(octets) - 5, octets[5:]))
    assert smtp.getreply()[0] == 250
    assert smtp.getreply()[0] == 250


@pytest.mark.parametrize("door", ["a Unix socket", "loopback"])
def test_another_mail_system_hands_mail_in_by_lmtp(doors: Doors, door: str) -> None:
    local = door == "a Unix socket"
    name = f"lmtp-{local}"
    with smtplib.LMTP(str(doors.lmtp_socket) if local else "127.0.0.1", 0 if local else doors.lmtp, timeout=20) as lmtp:
        lmtp.ehlo_or_helo_if_needed()
        assert not lmtp.has_extn("starttls")
        say(lmtp, "MAIL FROM:<cat@c.example> BODY=8BITMIME", 250)
        say(lmtp, "RCPT TO:<ann@here.example>", 250)
        say(lmtp, "RCPT TO:<nobody@here.example>", 550)
        say(lmtp, "RCPT TO:<bob@here.example>", 250)
        say(lmtp, "DATA", 354)
        lmtp.send(smtplib._quote_periods(letter(name)) + b".\r\n")  # type: ignore[attr-defined]
        first, second = lmtp.getreply(), lmtp.getreply()
    assert first == second
    assert first[0] == 250
    for user in ("ann", "bob"):
        found = kept(doors, user, name)
        assert b" with LMTP" in found.split(b"\r\nMessage-ID")[0].split(b"\r\n\tid")[0]


def test_the_client_of_a_balancer_is_who_its_header_names(doors: Doors) -> None:
    name = "proxied"
    with socket.create_connection(("127.0.0.1", doors.proxy), timeout=20) as connection:
        connection.sendall(f"PROXY TCP4 {STRANGER} 127.0.0.1 40000 25\r\n".encode())
        smtp = smtplib.SMTP(timeout=20)
        smtp.sock = connection
        assert smtp.getreply()[0] == 220
        smtp.ehlo("c.example")
        hand_in(smtp, name)
        smtp.quit()
    assert f"from c.example ([{STRANGER}])".encode() in kept(doors, "ann", name)
    story = doors.server.run("trace", f"<{name}@c.example>").stdout.decode()
    assert STRANGER in story


def test_a_connection_without_the_header_gets_no_word(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.proxy), timeout=20) as connection:
        connection.sendall(b"EHLO c.example\r\n")
        assert connection.recv(100) == b""


def test_a_front_end_hands_a_client_on(doors: Doors) -> None:
    name = "xclient"
    with smtplib.SMTP("127.0.0.1", doors.server.ports["smtp"], timeout=20, source_address=(FRONT, 0)) as smtp:
        smtp.ehlo("front.example")
        assert smtp.has_extn("xclient")
        say(smtp, f"XCLIENT NAME=mail.c.example ADDR={STRANGER} HELO=h.c.example", 220)
        smtp.ehlo("h.c.example")
        hand_in(smtp, name)
    assert f"from h.c.example (mail.c.example [{STRANGER}])".encode() in kept(doors, "ann", name)


def test_a_front_end_that_checked_a_password_hands_a_user_on(doors: Doors) -> None:
    with smtplib.SMTP("127.0.0.1", doors.server.ports["submission"], timeout=20, source_address=(FRONT, 0)) as smtp:
        smtp.ehlo("front.example")
        say(smtp, f"XCLIENT ADDR={STRANGER} LOGIN=ann@here.example", 220)
        smtp.ehlo("h.c.example")
        say(smtp, "MAIL FROM:<bob@here.example>", 553)
        say(smtp, "MAIL FROM:<ann@here.example>", 250)


def test_nobody_else_is_believed(doors: Doors) -> None:
    with smtplib.SMTP("127.0.0.1", doors.server.ports["smtp"], timeout=20, source_address=(KNOWN, 0)) as smtp:
        smtp.ehlo("c.example")
        assert not smtp.has_extn("xclient")
        assert smtp.docmd(f"XCLIENT ADDR={STRANGER}")[0] >= 500


def test_a_stranger_waits_for_the_greeting_and_who_does_not_is_refused(doors: Doors) -> None:
    port = doors.server.ports["smtp"]
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
        assert time.monotonic() - began >= GREETING_DELAY_S - 0.1
        assert smtp.ehlo("c.example")[0] == 250
    with socket.create_connection(("127.0.0.1", port), timeout=20) as early:
        early.sendall(b"EHLO c.example\r\n")
        assert early.makefile("rb").read().startswith(b"554 5.5.1 ")
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=(KNOWN, 0)):
        assert time.monotonic() - began < GREETING_DELAY_S
    with smtplib.SMTP("127.0.0.1", doors.server.ports["submission"], timeout=20) as smtp:
        smtp.starttls()
        smtp.login("ann@here.example", PASSWORD)
