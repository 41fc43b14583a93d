"""Hostile clients at real sockets, in clear and inside TLS: the exact octets, and the exact answer.

Here is what they do to the conversation; what they do to mail is in test_hostile_mail.py. Each test goes through both
doors: port 25 in clear, as another server, and the TLS port, as a user who has logged in.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.doors import DOORS, Door, delivered_unharmed, fetched
from tests.support.server import Server, running_server
from tests.support.wire import Wire

EVIL = b"MAIL FROM:<evil@a.example>\r\nRCPT TO:<bob@here.example>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"
BARE = b"550 5.6.0 A bare CR or LF in the content; lines end with CR LF\r\n"
NUL = b"550 5.6.0 A NUL octet in the content\r\n"
NOT_SMTP = b"554 5.5.1 This is a mail server; it speaks SMTP\r\n"

pytestmark = pytest.mark.xdist_group("hostile")
both_doors = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.role)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("hostile")) as running:
        yield running
        delivered_unharmed(running)
        assert not any(b"evil" in message for message in fetched(running, "bob")), "something was smuggled in"
        assert "unexpected" not in running.log()


# ---- 1. a false end of the data --------------------------------------------------------------------

FALSE_ENDS = {
    b"\n.\n": BARE,
    b"\n.\r\n": BARE,
    b"\r.\r": BARE,
    b"\r\n.\r": BARE,
    b"\r.\r\n": BARE,
    b"\r\n.\n": BARE,
    b"\r\n\0.\r\n": NUL,
    b"\r\n.\r\r\n": BARE,
}


@both_doors
@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_what_is_behind_a_false_end_of_the_data_is_content(server: Server, door: Door, end: bytes) -> None:
    with door.in_content(server) as wire:
        wire.say(b"Subject: x\r\n\r\nhello" + end + EVIL + b"NOOP\r\n")
        assert wire.reply() == FALSE_ENDS[end]
        assert wire.ended()


# ---- 3. lines of commands --------------------------------------------------------------------------


@both_doors
@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\n\r", b"\r\r\n"], ids=repr)
def test_a_lone_newline_never_makes_two_commands_of_one(server: Server, door: Door, newline: bytes) -> None:
    with door.greeted(server) as wire:
        said = wire.ask(b"MAIL FROM:<%b>" % door.sender + newline + b"RCPT TO:<bob@here.example>")
        if newline == b"\r\r\n":  # a lone CR, and then a line end: the first line is what is wrong
            assert said == b"500 5.5.2 A lone CR or LF in a command; lines end with CR LF\r\n"
            assert wire.reply() == b"503 5.5.1 Send MAIL first\r\n"
        else:
            assert said == b"500 5.5.2 A lone CR or LF in a command; lines end with CR LF\r\n"
        assert wire.ask(b"DATA") == b"503 5.5.1 Send MAIL first\r\n"


# ---- 4. and 5. STARTTLS ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["smtp", "submission"])
def test_nothing_behind_starttls_is_obeyed(server: Server, role: str) -> None:
    with Wire(server.address, server.ports[role]) as wire:
        wire.reply()
        wire.ask(b"EHLO client.example")
        wire.say(b"STARTTLS\r\nEHLO x\r\n" + EVIL)
        assert wire.reply() == b"220 2.0.0 Ready to start TLS\r\n"
        assert wire.reply() == b"554 5.5.1 Octets came in clear behind STARTTLS\r\n"
        assert wire.ended()


@pytest.mark.parametrize("role", ["smtp", "submission"])
def test_after_the_handshake_all_is_as_after_connecting(server: Server, role: str) -> None:
    with Wire(server.address, server.ports[role]) as wire:
        wire.reply()
        wire.ask(b"EHLO client.example")
        if role == "smtp":
            assert wire.ask(b"MAIL FROM:<cat@a.example>") == b"250 2.1.0 Sender OK\r\n"
        assert wire.ask(b"STARTTLS now") == b"501 5.5.4 This command takes no argument\r\n"
        assert wire.ask(b"STARTTLS") == b"220 2.0.0 Ready to start TLS\r\n"
        wire.start_tls()
        assert wire.ask(b"MAIL FROM:<cat@a.example>") == b"503 5.5.1 Send EHLO first\r\n"
        assert b"STARTTLS" not in wire.ask(b"EHLO client.example")
        assert wire.ask(b"RCPT TO:<bob@here.example>") == b"503 5.5.1 Send MAIL first\r\n"
        assert wire.ask(b"STARTTLS") == b"503 5.5.1 TLS is already in use\r\n"


@pytest.mark.parametrize("words", [b"EHLO in clear\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100])
def test_what_is_no_handshake_ends_the_connection(server: Server, words: bytes) -> None:
    with Wire(server.address, server.ports["smtp"]) as wire:
        wire.reply()
        wire.ask(b"EHLO client.example")
        assert wire.ask(b"STARTTLS").startswith(b"220 ")
        wire.say(words)
        said = wire.line()  # nothing, or an alert of TLS, or our refusal where it came before the handshake
        assert said[:1] not in (b"2", b"3"), said
        assert wire.ended()


@pytest.mark.peer("openssl")
def test_a_server_name_with_line_ends_does_no_harm(server: Server) -> None:
    port = f"{server.address}:{server.ports['submissions']}"
    command = ["openssl", "s_client", "-quiet", "-connect", port, "-servername", "a\r\nMAIL FROM:<evil@x>\r\n.b"]
    done = subprocess.run(command, input=b"NOOP\r\nQUIT\r\n", capture_output=True, check=False, timeout=30)
    assert done.stdout.startswith(b"220 ") or done.returncode
    assert "MAIL FROM:<evil@x>" not in server.log()


def test_a_session_of_tls_is_not_resumed_at_another_port(server: Server) -> None:
    with DOORS[1].connected(server) as wire:
        assert not wire.may_resume, "a ticket was given"


# ---- 6. AUTH ---------------------------------------------------------------------------------------


def test_a_password_is_not_asked_for_in_clear(server: Server) -> None:
    with Wire(server.address, server.ports["submission"]) as wire:
        wire.reply()
        assert b"AUTH" not in wire.ask(b"EHLO client.example")
        said = wire.ask(b"AUTH PLAIN " + base64.b64encode(b"\0ann@here.example\0x"))
        assert said == b"504 5.5.4 Authentication mechanism not available here\r\n"
        assert wire.ask(b"MAIL FROM:<ann@here.example>").startswith(b"530 5.7.0 ")


def test_nobody_logs_in_on_port_25_in_clear(server: Server) -> None:
    with DOORS[0].greeted(server) as wire:
        said = wire.ask(b"AUTH PLAIN " + base64.b64encode(b"\0ann@here.example\0x"))
        assert said[:10] in (b"502 5.5.1 ", b"504 5.5.4 ")


NAMES = [b"*)(uid=*", b"' OR 1=1--", b"../x", b"a\0b", b"a\r\nMAIL FROM:<evil@x>", b"%s%n", b"\xff\xfe"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_strange_name_is_a_wrong_name(server: Server, name: bytes) -> None:
    with DOORS[1].connected(server) as wire:
        wire.ask(b"EHLO client.example")
        wire.ask(b"AUTH LOGIN")
        said = wire.ask(base64.b64encode(name))
        if said.startswith(b"334 "):  # it might be a name
            said = wire.ask(base64.b64encode(b"x"))
        assert said == b"535 5.7.8 Authentication credentials invalid\r\n"


def test_an_exchange_that_cannot_be_is_refused_and_the_session_goes_on(server: Server) -> None:
    with DOORS[1].connected(server) as wire:
        wire.ask(b"EHLO client.example")
        assert wire.ask(b"AUTH PLAIN !!!!") == b"501 5.5.2 Not valid base64\r\n"
        assert wire.ask(b"AUTH LOGIN") == b"334 VXNlcm5hbWU6\r\n"
        assert wire.ask(b"*") == b"501 5.7.0 Authentication cancelled\r\n"
        wire.ask(b"AUTH LOGIN")
        assert wire.ask(b"YQ==" * 5000) == b"500 5.5.6 Authentication line too long\r\n"
        assert wire.ask(b"MAIL FROM:<ann@here.example>").startswith(b"530 5.7.0 ")
        DOORS[1].log_in(wire)
        assert wire.ask(b"AUTH LOGIN") == b"503 5.5.1 Already authenticated\r\n"
        wire.ask(b"MAIL FROM:<ann@here.example>")
        assert wire.ask(b"AUTH LOGIN").startswith(b"503 5.5.1 ")


# ---- 7. lines without an end -----------------------------------------------------------------------


@both_doors
def test_an_over_long_line_is_thrown_away_and_an_endless_one_ends_the_session(server: Server, door: Door) -> None:
    with door.greeted(server) as wire:
        wire.say(b"x" * 60_000 + b"\r\nNOOP\r\n")
        assert wire.reply() == b"500 5.5.2 Command line too long\r\n"
        assert wire.reply() == b"250 2.0.0 OK\r\n"
        wire.say_what_is_taken(b"x" * 10_000_000)
        assert wire.reply() == b"500 5.5.2 Command line too long\r\n"
        assert wire.reply() == b"421 4.7.0 Endless command line, closing\r\n"
        assert wire.ended()


# ---- 8. and 9.: see test_hostile_crowds.py ----------------------------------------------------------
# ---- 10. other protocols ---------------------------------------------------------------------------

OTHERS = {
    "GET": b"GET / HTTP/1.1\r\nHost: mx.here.example\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nContent-Length: 200\r\n\r\nEHLO x\r\n" + EVIL,
    "ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_protocol_in_clear_is_sent_away(server: Server, name: str) -> None:
    with DOORS[0].connected(server) as wire:
        wire.say(OTHERS[name])
        assert wire.reply() == NOT_SMTP
        assert wire.ended()


@pytest.mark.parametrize("name", ["GET", "POST"])
def test_another_protocol_inside_tls_is_sent_away(server: Server, name: str) -> None:
    with DOORS[1].connected(server) as wire:
        wire.say(OTHERS[name])
        assert wire.reply() == NOT_SMTP
        assert wire.ended()


# ---- 11. content that was not asked for ------------------------------------------------------------


@both_doors
def test_content_sent_though_data_was_refused_starts_nothing(server: Server, door: Door) -> None:
    with door.greeted(server) as wire:
        refused = b"MAIL FROM:<%b>\r\nRCPT TO:<nobody@here.example>\r\nDATA\r\n" % door.sender
        wire.say(refused + b"Subject: x\r\n\r\nhello\r\nRSET\r\n" + EVIL.replace(b"evil@a.example", door.sender))
        answers = [wire.reply()[:9] for _ in range(14)]
        assert answers[:3] == [b"250 2.1.0", b"550 5.1.1", b"554 5.5.1"]
        assert answers[3:7] == [b"500 5.5.2", b"500 5.5.2", b"500 5.5.2", b"250 2.0.0"]
        assert answers[7:10] == [b"503 5.5.1"] * 3
        assert all(answer.startswith((b"500 5.5.2", b"421 4.7.0")) for answer in answers[10:]), answers
        assert answers[-1] == b"421 4.7.0" or wire.ask(b"MAIL FROM:<%b>" % door.sender)[:9] in (
            b"503 5.5.1",
            b"421 4.7.0",
        )


# ---- 12. nothing carries over ----------------------------------------------------------------------


@both_doors
@pytest.mark.parametrize("how", ["accepted", "refused for its lines", "refused for its hops", "RSET", "EHLO"])
def test_after_any_end_of_a_transaction_there_is_none(server: Server, door: Door, how: str) -> None:
    ends = {
        "accepted": (b"Subject: x\r\n\r\nhello\r\n.", b"250 2.0.0 Ok: queued as "),
        "refused for its lines": (b"x" * 1000 + b"\r\n.", b"554 5.6.0 A line of the content is longer than 998 octets"),
        "refused for its hops": (b"Received: x\r\n" * 100 + b"\r\n.", b"554 5.4.6 Too many hops"),
    }
    with door.in_transaction(server) as wire:
        if how in ends:
            words, answer = ends[how]
            assert wire.ask(b"DATA").startswith(b"354 ")
            assert wire.ask(words).startswith(answer)
        else:
            assert wire.ask(b"RSET" if how == "RSET" else b"EHLO client.example").startswith(b"250")
        assert wire.ask(b"RCPT TO:<bob@here.example>") == b"503 5.5.1 Send MAIL first\r\n"
        assert wire.ask(b"DATA") == b"503 5.5.1 Send MAIL first\r\n"
