"""Hostile and careless POP3 clients at real sockets, in clear and inside TLS: exact octets, and the exact answer."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.doors import Door
from tests.support.scram import ScramClient
from tests.support.server import PASSWORD, Server
from tests.support.wire import Wire

pytestmark = pytest.mark.xdist_group("pop3")
LETTERS = (
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n",
    b"Subject: two\r\n\r\nshort\r\n",
    b"Subject: three\r\n\r\n" + b"x" * 100 + b"\r\n",
)
SYNTAX, NONE = b"-ERR Syntax: ", b"-ERR No such message\r\n"
WRONG = b"-ERR [AUTH] Wrong name or password\r\n"
both = pytest.mark.parametrize("role", ["pop3", "pop3s"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("pop3"), users=("ann", "bob"), sections="[pop3]\napop = true\nscram_plus = true\n"
    )
    given = f"{PASSWORD}\n".encode()
    server.run("account", "add", "amy@here.example", "--cram-md5", "--password-stdin", given=given)
    server.start()
    try:
        for letter in LETTERS:
            with Door("smtp", b"cat@a.example").in_content(server) as wire:
                dotted = b"".join(b"." + line if line[:1] == b"." else line for line in letter.splitlines(True))
                wire.say(dotted + b".\r\n")
                assert wire.reply().startswith(b"250 ")
        server.wait_until_delivered()
        yield server
        assert "unexpected" not in server.log()
    finally:
        server.stop()


def connected(server: Server, role: str = "pop3") -> Wire:
    wire = Wire(server.address, server.ports[role], tls=role == "pop3s")
    assert wire.line().startswith(b"+OK mx.here.example POP3 server ready <")
    return wire


def ask(wire: Wire, line: bytes) -> bytes:
    wire.say(line + b"\r\n")
    return wire.line()


def logged_in(server: Server, role: str = "pop3", user: bytes = b"bob") -> Wire:
    wire = connected(server, role)
    assert ask(wire, b"USER " + user + b"@here.example").startswith(b"+OK")
    assert ask(wire, b"PASS " + PASSWORD.encode()).startswith(b"+OK")
    return wire


def listed(wire: Wire, command: bytes) -> list[bytes]:
    assert ask(wire, command).startswith(b"+OK")
    lines = []
    while (line := wire.line()) != b".\r\n":
        assert line, "the connection ended in the list"
        lines.append(line)
    return lines


# ---- login and TLS --------------------------------------------------------------------------------


@both
def test_before_the_name_no_password_is_taken_and_a_long_name_is_no_name(server: Server, role: str) -> None:
    with connected(server, role) as wire:
        assert ask(wire, b"PASS " + PASSWORD.encode()) == b"-ERR USER comes first\r\n"
        assert ask(wire, b"USER " + b"a" * 64_000) == b"-ERR The line is too long\r\n"
        assert ask(wire, b"USER bob@here.example").startswith(b"+OK")
        assert ask(wire, b"PASS wrong") == WRONG


def test_what_came_behind_stls_in_one_packet_is_never_obeyed(server: Server) -> None:
    with connected(server) as wire:
        wire.say(b"STLS\r\nUSER bob@here.example\r\nPASS " + PASSWORD.encode() + b"\r\n")
        assert wire.line() == b"+OK Begin TLS\r\n"
        wire.start_tls()
        assert ask(wire, b"STAT") == b"-ERR Log in first: USER, then PASS\r\n"


def test_a_digest_of_another_session_opens_nothing(server: Server) -> None:
    def greeting() -> tuple[Wire, bytes]:
        wire = Wire(server.address, server.ports["pop3"])
        return wire, re.findall(rb"<[^>]+>", wire.line())[0]

    wire, stamp = greeting()
    said = b"APOP amy@here.example " + hashlib.md5(stamp + PASSWORD.encode()).hexdigest().encode()
    with wire:
        assert ask(wire, said).startswith(b"+OK 0 messages")
        assert ask(wire, b"QUIT").startswith(b"+OK")
    thief, _ = greeting()
    with thief:
        assert ask(thief, said) == WRONG
    other, stamp = greeting()
    with other:  # bob keeps no such secret
        digest = hashlib.md5(stamp + PASSWORD.encode()).hexdigest().encode()
        assert ask(other, b"APOP bob@here.example " + digest) == WRONG


def test_scram_plus_where_it_is_offered_binds_to_the_certificate(server: Server) -> None:
    bob = "bob@here.example"
    with connected(server, "pop3s") as wire:
        assert b"SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n" in listed(wire, b"CAPA")
        certificate = ssl.PEM_cert_to_DER_cert((server.folder / "data/keys/certificate.pem").read_text())
        scram = ScramClient(bob, PASSWORD, binding=hashlib.sha256(certificate).digest())
        first = ask(wire, b"AUTH SCRAM-SHA-256-PLUS " + base64.b64encode(scram.first()))
        last = ask(wire, base64.b64encode(scram.final(base64.b64decode(first[2:]))))
        assert scram.believes(base64.b64decode(last[2:]))
        assert ask(wire, b"").startswith(b"+OK 3 messages")
        assert ask(wire, b"QUIT").startswith(b"+OK")


@both
def test_an_exchange_is_cancelled_by_an_asterisk(server: Server, role: str) -> None:
    with connected(server, role) as wire:
        assert ask(wire, b"AUTH PLAIN") == b"+ \r\n"
        assert ask(wire, b"*") == b"-ERR The login was cancelled\r\n"
        response = base64.b64encode(b"\0bob@here.example\0" + PASSWORD.encode())
        assert ask(wire, b"AUTH PLAIN " + response).startswith(b"+OK 3 messages")


def test_of_many_logins_at_once_one_has_the_maildrop_and_the_others_are_told_why(server: Server) -> None:
    def log_in(wire: Wire) -> bytes:
        assert ask(wire, b"USER bob@here.example").startswith(b"+OK")
        return ask(wire, b"PASS " + PASSWORD.encode())

    wires = [connected(server) for _ in range(100)]
    try:
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(log_in, wires))
    finally:
        for wire in wires:
            wire.close()
    assert sum(answer.startswith(b"+OK") for answer in answers) == 1
    assert all(answer.startswith((b"+OK", b"-ERR [IN-USE]", b"-ERR [SYS/TEMP]")) for answer in answers)


# ---- numbers --------------------------------------------------------------------------------------

NUMBERS = {
    b"RETR 0": NONE,
    b"RETR -1": SYNTAX,
    b"RETR 2147483648": NONE,
    b"RETR 99999999999999999999": NONE,
    b"RETR 1 1": SYNTAX,
    b"RETR": SYNTAX,
    b"DELE 0": NONE,
    b"LIST 4": NONE,
    b"UIDL 1 1": SYNTAX,
    b"TOP 1 -1": SYNTAX,
    b"TOP 1": SYNTAX,
    b"TOP 4 1": NONE,
}


@both
def test_numbers_that_are_none_are_refused_and_the_session_goes_on(server: Server, role: str) -> None:
    with logged_in(server, role) as wire:
        for command, answer in NUMBERS.items():
            assert ask(wire, command).startswith(answer), command
        assert ask(wire, b"DELE 2").startswith(b"+OK")
        for command in (b"RETR 2", b"DELE 2", b"LIST 2", b"TOP 2 0"):
            assert ask(wire, command) == NONE
        assert b"".join(listed(wire, b"TOP 1 99999999999")).endswith(b"\r\nend\r\n")
        assert ask(wire, b"RSET").startswith(b"+OK 3 messages")


# ---- update ---------------------------------------------------------------------------------------


@both
def test_a_cut_removes_nothing_and_numbers_sizes_and_names_stay(server: Server, role: str) -> None:
    with logged_in(server, role) as wire:
        uidls, sizes = listed(wire, b"UIDL"), listed(wire, b"LIST")
        for number, letter in enumerate(LETTERS, 1):
            lines = listed(wire, b"RETR %d" % number)
            octets = b"".join(line.removeprefix(b".") for line in lines)
            assert octets.endswith(letter)
            assert sizes[number - 1] == b"%d %d\r\n" % (number, len(octets))
            assert ask(wire, b"DELE %d" % number).startswith(b"+OK")
        wire.cut()
    again = Wire(server.address, server.ports["pop3"])
    with again:
        again.line()
        answer = b""
        for _ in range(50):  # the server hears of the cut a moment later
            assert ask(again, b"USER bob@here.example").startswith(b"+OK")
            answer = ask(again, b"PASS " + PASSWORD.encode())
            if not answer.startswith(b"-ERR [IN-USE]"):
                break
            again.close()
            again = connected(server)
        assert answer.startswith(b"+OK 3 messages")
        assert listed(again, b"UIDL") == uidls
        assert listed(again, b"LIST") == sizes
        again.close()


def test_a_second_session_is_told_that_the_maildrop_is_in_use(server: Server) -> None:
    with logged_in(server) as first, connected(server, "pop3s") as second:
        assert ask(second, b"USER bob@here.example").startswith(b"+OK")
        assert ask(second, b"PASS " + PASSWORD.encode()).startswith(b"-ERR [IN-USE] ")
        assert ask(first, b"QUIT") == b"+OK Goodbye\r\n"
        assert ask(second, b"USER bob@here.example").startswith(b"+OK")
        assert ask(second, b"PASS " + PASSWORD.encode()).startswith(b"+OK 3 messages")
