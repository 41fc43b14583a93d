"""What clients should not do, done to a running server: it says why not, goes on, and keeps nothing.

After each of these tests the server still serves others, nothing is left in the queue, and nothing was
unexpected.
"""

from __future__ import annotations

import base64
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conversations import (
    check_unharmed,
    eventually,
    greeted,
    in_content,
    letters_of,
    pop3,
    said_hello,
    say_and_hear,
    user_words,
)
from tests.support.server import PASSWORD, Server
from tests.support.wire import Wire

MESSAGE_BYTES = 1_048_576
RECIPIENTS = 100

pytestmark = pytest.mark.xdist_group("bad input")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With low limits. `exempt` stays: all clients here have one address."""
    server = Server(tmp_path_factory.mktemp("bad"))
    text = server.configuration.read_text()
    limits = f"[limits]\nmessage_bytes = {MESSAGE_BYTES}\nrecipients = {RECIPIENTS}\n"
    server.configuration.write_text(text.replace("[limits]\n", limits))
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    """Holds after every test here."""
    yield
    check_unharmed(server)


# ---- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"FROBNICATE now", b"500 5.5.2 "),
        (b"", b"500 5.5.2 "),
        (b"\xff\xfe\x80", b"500 5.5.2 "),
        (b"NOOP\nNOOP", b"500 5.5.2 "),
        (b"EHLO", b"501 5.5.4 "),
        (b"EHLO two words", b"501 5.5.4 "),
        (b"RSET now", b"501 5.5.4 "),
        (b"RCPT TO:<bob@here.example>", b"503 5.5.1 "),
        (b"DATA", b"503 5.5.1 "),
        (b"AUTH PLAIN", b"502 5.5.1 "),
        (b"VRFY bob", b"252 2.1.5 "),
        (b"MAIL", b"501 5.5.4 "),
        (b"MAIL FROM", b"501 5.5.4 "),
        (b"MAIL TO:<a@b.example>", b"501 5.5.4 "),
        (b"MAIL FROM:a@b.example", b"501 5."),
        (b"MAIL FROM:<a@b@c.example>", b"501 5.1.7 "),
        (b"MAIL FROM:<a b@c.example>", b"501 5.1.7 "),
        (b"MAIL FROM:<" + b"x" * 65 + b"@c.example>", b"501 5.1.7 "),
        (b"MAIL FROM:<a@" + b"x" * 64 + b".example>", b"501 5.1.7 "),
        (b"MAIL FROM:<a@[300.1.1.1]>", b"501 5.1.7 "),
        (b"MAIL FROM:<gr\xc3\xbc\xc3\x9fe@c.example>", b"550 5.6.7 "),
        (b"MAIL FROM:<a@c.example> SIZE=1K", b"501 5.5.4 "),
        (b"MAIL FROM:<a@c.example> SIZE=-1", b"501 5.5.4 "),
        (b"MAIL FROM:<a@c.example> SIZE=99999999999999999999", b"552 5.3.4 "),
        (b"MAIL FROM:<a@c.example> FROBNICATE=1", b"555 5.5.4 "),
    ],
)
def test_a_command_that_cannot_be_is_answered_and_the_session_goes_on(
    server: Server, command: bytes, answer: bytes
) -> None:
    with said_hello(server) as wire:
        said = wire.ask(command)
        assert said.startswith(answer), said
        assert wire.ask(b"NOOP").startswith(b"250 ")
        assert wire.ask(b"QUIT").startswith(b"221 ")
        assert wire.ended()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (b"<nobody@here.example>", b"550 5.1.1 "),
        (b"<bob@elsewhere.example>", b"550 5.7.1 "),
        (b"<bob%elsewhere.example@here.example>", b"550 5.7.1 "),
        (b"<elsewhere.example!bob@here.example>", b"550 5.7.1 "),
        (b"<|/bin/sh@here.example>", b"550 5.1.1 "),
        (b"</etc/passwd@here.example>", b"550 5.1.1 "),
        (b"<../../bob@here.example>", b"501 5.1.3 "),
        (b"<>", b"501 5."),
        (b"<bob@here.example", b"501 5."),
        (b"bob", b"501 5."),
    ],
)
def test_a_recipient_that_cannot_be_is_refused_and_the_others_get_their_mail(
    server: Server, path: bytes, answer: bytes
) -> None:
    before = letters_of(server, "ann")
    with said_hello(server) as wire:
        wire.ask(b"MAIL FROM:<cat@client.example>")
        said = wire.ask(b"RCPT TO:" + path)
        assert said.startswith(answer), said
        assert wire.ask(b"DATA").startswith(b"554 5.5.1 ")
        assert wire.ask(b"RCPT TO:<ann@here.example>").startswith(b"250 ")
        assert wire.ask(b"DATA").startswith(b"354 ")
        assert wire.ask(b"Subject: for ann\r\n\r\nHello\r\n.").startswith(b"250 ")
    server.wait_until_delivered()
    assert letters_of(server, "ann") == before + 1


def test_an_over_long_line_is_refused_and_an_endless_one_ends_the_session(server: Server) -> None:
    with said_hello(server) as wire:
        assert wire.ask(b"NOOP " + b"x" * 4000).startswith(b"500 5.5.2 ")
        assert wire.ask(b"NOOP").startswith(b"250 ")
        wire.say(b"x" * 200_000)
        said = wire.line()
        while said.startswith(b"500 "):
            said = wire.line()
        assert said.startswith(b"421 "), said
        assert wire.ended()


def test_too_many_recipients_are_told_to_come_again(server: Server) -> None:
    """RFC 5321 section 4.5.3.1.10: 452, and those before it get the message."""
    with said_hello(server) as wire:
        wire.ask(b"MAIL FROM:<cat@client.example>")
        for _ in range(RECIPIENTS):
            assert wire.ask(b"RCPT TO:<bob@here.example>").startswith(b"250 ")
        assert wire.ask(b"RCPT TO:<ann@here.example>").startswith(b"452 4.5.3 ")
        assert wire.ask(b"DATA").startswith(b"354 ")
        assert wire.ask(b"Subject: once\r\n\r\nHello\r\n.").startswith(b"250 ")


def test_a_message_that_says_it_is_too_large_is_refused_at_mail(server: Server) -> None:
    with said_hello(server) as wire:
        command = f"MAIL FROM:<cat@client.example> SIZE={MESSAGE_BYTES + 1}"
        assert wire.ask(command.encode()).startswith(b"552 5.3.4 ")
        assert wire.ask(b"MAIL FROM:<cat@client.example> SIZE=1000").startswith(b"250 ")


def test_a_message_that_is_too_large_is_refused_at_its_end_and_the_session_goes_on(server: Server) -> None:
    with said_hello(server) as wire:
        wire.ask(b"MAIL FROM:<cat@client.example> SIZE=1000")
        wire.ask(b"RCPT TO:<bob@here.example>")
        assert wire.ask(b"DATA").startswith(b"354 ")
        wire.say((b"x" * 70 + b"\r\n") * (MESSAGE_BYTES // 72 + 100))
        assert wire.ask(b".").startswith(b"552 5.3.4 ")
        assert wire.ask(b"NOOP").startswith(b"250 ")


def test_a_message_without_end_is_not_read_for_ever(server: Server) -> None:
    with in_content(server) as wire:
        block = (b"x" * 70 + b"\r\n") * 1000
        try:
            for _ in range(100 * MESSAGE_BYTES // len(block)):
                wire.say(block)
        except ConnectionError:
            return
        raise AssertionError("a hundred times the limit was read")


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"Subject: x\r\n\r\none\ntwo\r\n.", b"550 5.6.0 "),
        (b"Subject: x\r\n\r\none\rtwo\r\n.", b"550 5.6.0 "),
        (b"Subject: x\r\n\r\nnul\0\r\n.", b"550 5.6.0 "),
        (b"Subject: x\r\n\r\n" + b"y" * 1100 + b"\r\n.", b"554 5.6.0 "),
        (b"Received: x\r\n" * 101 + b"\r\nround and round\r\n.", b"554 5.4.6 "),
        (b"X-Long: " + b"".join(b" " + b"z" * 900 + b"\r\n" for _ in range(400)) + b"\r\nbody\r\n.", b"552 5.3.4 "),
    ],
    ids=["LF", "CR", "NUL", "line", "loop", "header"],
)
def test_content_that_cannot_be_is_refused_at_its_end(server: Server, content: bytes, answer: bytes) -> None:
    with in_content(server) as wire:
        said = wire.ask(content)
        assert said.startswith(answer), said


def test_octets_of_any_kind_do_no_harm(server: Server) -> None:
    """At every door, for as long as it listens."""
    chance = random.Random(1971)
    for role in ("smtp", "submission", "submissions", "pop3", "pop3s"):
        for _ in range(5):
            with Wire(server.address, server.ports[role]) as wire:
                try:
                    wire.say(chance.randbytes(chance.choice((1, 100, 100_000))))
                    wire.say(b"\r\n" * 100)
                    while wire.line():
                        pass
                except (ConnectionError, TimeoutError):
                    pass


def test_another_protocol_is_told_so_and_ended(server: Server) -> None:
    for foreign in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b.example>\r\n", b"\x16\x03\x01\x02\x00\x01"):
        with greeted(server) as wire:
            wire.say(foreign)
            assert wire.reply().startswith(b"554 5.5.1 ")
            assert wire.ended()


def test_too_many_mistakes_end_the_session(server: Server) -> None:
    with said_hello(server) as wire:
        answers = [wire.ask(b"FROBNICATE") for _ in range(11)]
        assert answers[9].startswith(b"500 ")
        assert answers[10].startswith(b"421 4.7.0 ")
        assert wire.ended()


def test_commands_slipped_in_behind_starttls_are_not_obeyed(server: Server) -> None:
    with said_hello(server, "submission") as wire:
        wire.say(b"STARTTLS\r\nMAIL FROM:<ann@here.example>\r\n")
        assert wire.reply().startswith(b"220 ")
        assert wire.reply().startswith(b"554 5.5.1 ")
        assert wire.ended()


# ---- passwords -------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_and_a_right_one_helps_afterwards(server: Server) -> None:
    with said_hello(server, "submissions") as wire:
        assert wire.ask(b"AUTH PLAIN " + user_words("ann@here.example", "wrong")).startswith(b"535 5.7.8 ")
        assert wire.ask(b"MAIL FROM:<ann@here.example>").startswith(b"530 5.7.0 ")
        assert wire.ask(b"AUTH PLAIN " + user_words("nobody@here.example", PASSWORD)).startswith(b"535 5.7.8 ")
        assert wire.ask(b"AUTH PLAIN " + user_words("ann@here.example", PASSWORD)).startswith(b"235 2.7.0 ")
        assert wire.ask(b"MAIL FROM:<bob@here.example>").startswith(b"553 5.7.1 ")


@pytest.mark.parametrize(
    ("exchange", "answer"),
    [
        ((b"AUTH FROBNICATE",), b"504 5.5.4 "),
        ((b"AUTH PLAIN not*base64",), b"501 5.5.2 "),
        ((b"AUTH PLAIN", b"*"), b"501 5.7.0 "),
        ((b"AUTH PLAIN", b"x" * 13_000), b"500 5.5.6 "),
        ((b"AUTH PLAIN " + base64.b64encode(b"no separators"),), b"5"),
        ((b"AUTH LOGIN", base64.b64encode(b"x" * 5000), base64.b64encode(b"y")), b"5"),
        ((b"AUTH PLAIN " + user_words("' OR 1=1 --", "x"),), b"535 5.7.8 "),
    ],
    ids=["mechanism", "base64", "cancelled", "long", "form", "long name", "quotes"],
)
def test_a_login_that_cannot_be_is_refused(server: Server, exchange: tuple[bytes, ...], answer: bytes) -> None:
    with said_hello(server, "submissions") as wire:
        said = b""
        for words in exchange:
            said = wire.ask(words)
            if not said.startswith(b"334 "):
                break
        assert said.startswith(answer), said
        assert wire.ask(b"NOOP").startswith(b"250 ")


# ---- POP3 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        b"FROBNICATE",
        b"STAT",
        b"RETR 1",
        b"PASS x",
        b"USER",
        b"\xff\xfe",
        b"USER " + b"x" * 600,
        b"APOP x y",
    ],
)
def test_pop3_before_login_answers_every_mistake_with_err(server: Server, command: bytes) -> None:
    with pop3(server) as wire:
        said = say_and_hear(wire, command)
        assert said.startswith(b"-ERR "), said
        assert say_and_hear(wire, b"CAPA").startswith(b"+OK")


@pytest.mark.parametrize(
    "command",
    [
        b"RETR 0",
        b"RETR -1",
        b"RETR 99999999999999999999",
        b"RETR 1 1",
        b"RETR one",
        b"DELE 99999",
        b"TOP 1 -1",
        b"TOP 1",
        b"LIST 99999",
        b"UIDL x",
        b"USER bob",
        b"FROBNICATE",
    ],
)
def test_pop3_after_login_answers_every_mistake_with_err(server: Server, command: bytes) -> None:
    with pop3(server, "bob") as wire:
        said = say_and_hear(wire, command)
        assert said.startswith(b"-ERR "), said
        assert say_and_hear(wire, b"NOOP").startswith(b"+OK")
        assert say_and_hear(wire, b"QUIT").startswith(b"+OK")


def test_pop3_refuses_wrong_passwords_and_a_second_session(server: Server) -> None:
    with pop3(server) as wire:
        assert say_and_hear(wire, b"USER bob@here.example").startswith(b"+OK")
        assert say_and_hear(wire, b"PASS wrong").startswith(b"-ERR [AUTH] ")
    with pop3(server, "bob"), pop3(server) as second:
        say_and_hear(second, b"USER bob@here.example")
        assert say_and_hear(second, b"PASS " + PASSWORD.encode()).startswith(b"-ERR [IN-USE] ")


def test_pop3_removes_nothing_without_quit(server: Server) -> None:
    with pop3(server, "bob") as wire:
        before = say_and_hear(wire, b"STAT")
        assert say_and_hear(wire, b"DELE 1").startswith(b"+OK")
        wire.cut()

    def same() -> bool:
        with pop3(server) as again:
            say_and_hear(again, b"USER bob@here.example")
            if not say_and_hear(again, b"PASS " + PASSWORD.encode()).startswith(b"+OK"):
                return False  # the cut is not noticed yet
            assert say_and_hear(again, b"STAT") == before
            return True

    eventually(same, lambda: "the maildrop stays locked")


# ---- starting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("hostnam = 5", "hostnam: unknown key; did you mean hostname?"),
        ("[listen]\nsmtp = 25", 'listen.smtp: 25 is a whole number; expected a list, such as ["a", "b"]'),
        ('[listen]\nsmtp = ["nowhere"]', "listen.smtp"),
        ("[limits]\nmessage_bytes = 3", "limits.message_bytes: 3 is too small; expected at least 65536"),
        ('[queue]\nretry = ["soon"]', "queue.retry"),
        ("[queue", "]"),
    ],
    ids=["key", "type", "address", "range", "duration", "TOML"],
)
def test_serve_and_check_name_file_line_key_and_what_is_expected(
    server: Server, tmp_path: Path, line: str, complaint: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'hostname = "mx.here.example"\n{line}\n')
    for command in ("serve", "check"):
        done = server.run("--config", str(path), command, check=False)
        said = done.stderr.decode()
        assert done.returncode == 2, said
        assert f"{path}:{line.count(chr(10)) + 2}: " in said
        assert complaint in said
        assert "Traceback" not in said


def test_a_port_in_use_is_named_for_every_worker(tmp_path: Path) -> None:
    """Also where several workers share the port between them: a stranger's is not shared."""
    other = Server(tmp_path, users=())
    text = other.configuration.read_text()
    other.configuration.write_text(text.replace("[processes]\n", "[processes]\nworkers = 2\n"))
    with socket.create_server(("127.0.0.1", other.ports["smtp"]), reuse_port=True):
        done = other.run("serve", check=False)
    assert done.returncode == 69
    assert f"listen.smtp: cannot listen on 127.0.0.1:{other.ports['smtp']}: " in done.stderr.decode()
