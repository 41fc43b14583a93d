"""Holds, pick-ups and terminals over real sockets, with the commands as people give them.

Two whole servers on this machine: a provider that holds mail for dave, and dave's own server, which collects it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.ports import free_port, pause
from tests.support.server import PASSWORD, Server

LETTER = b"Subject: held\r\n\r\nHello.\r\n.dot\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n" * 3000
WAIT = 200
"""Looks at something that is to happen."""


BOTH_WAYS = pytest.mark.parametrize("provider", [(), ("--single-process",)], ids=["processes", "single"], indirect=True)


@pytest.fixture
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A parameter is the options of `serve`."""
    odmr = free_port("127.0.0.1")
    server = Server(
        tmp_path / "provider",
        hostname="mx.p.example",
        domain="p.example",
        users=("dave", "eve"),
        options=getattr(request, "param", ()),
        sections='[[hold]]\ndomain = "d.example"\nowner = "dave@p.example"\n',
    )
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace("[listen]\n", f'[listen]\nodmr = ["127.0.0.1:{odmr}"]\n'))
    server.ports["odmr"] = odmr
    server.start()
    yield server
    server.kill()


def customer(folder: Path, pickup: str) -> Server:
    secret = folder / "dave.password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    sections = (
        f'[[pickup]]\nname = "p"\nhost = "127.0.0.1:{pickup}\n'
        f'user = "dave@p.example"\npassword_file = "{secret}"\ntls = "opportunistic"\n'
    )
    return Server(folder / "customer", hostname="mx.d.example", domain="d.example", users=("bob",), sections=sections)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def send(server: Server, to: str, content: bytes = LETTER) -> None:
    with smtplib.SMTP(server.address, server.ports["smtp"]) as client:
        client.sendmail("ann@a.example", [to], content)
    server.wait_until_delivered()


def logged_in(server: Server, name: str = "eve@p.example") -> smtplib.SMTP:
    client = smtplib.SMTP(server.address, server.ports["submission"])
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client.starttls(context=context)
    client.login(name, PASSWORD)
    return client


def held(server: Server) -> int:
    (facts,) = (report for report in server.reports() if "holds" in report)
    return int(facts["holds"][0]["messages"])


def wait_until_fetched(server: Server) -> None:
    for _ in range(WAIT):
        if not held(server):
            return
        pause(0.1)
    raise AssertionError(f"{held(server)} messages are held still")


@BOTH_WAYS
@pytest.mark.parametrize("method", ["atrn", "turn"])
def test_a_postroad_collects_its_mail_from_a_postroad(provider: Server, tmp_path: Path, method: str) -> None:
    for content in (LETTER, LARGE, LETTER):
        send(provider, "bob@d.example", content)
    assert held(provider) == 3
    port = provider.ports["odmr" if method == "atrn" else "smtp"]
    with running(customer(tmp_path, f'{port}"\nmethod = "{method}"')) as home:
        (result,) = home.ask("pickup", "p")
        assert (result["ok"], result["messages"]) == (True, 3)
        home.wait_until_delivered()
        letters = [home.run("read", "bob@d.example", str(number)).stdout for number in (1, 2, 3)]
        assert [letter.endswith(content) for letter, content in zip(letters, (LETTER, LARGE, LETTER), strict=True)]
        assert held(provider) == 0
        again = home.run("pickup")
        assert b"You have no mail" in again.stdout if method == "atrn" else b"ok" in again.stdout
        unknown = home.run("pickup", "nobody", check=False)
        assert unknown.returncode == 1
        trace = home.run("trace", "bob@d.example").stdout
        assert b"fetched from where it waited for us" in trace
    assert b"HELD" in provider.run("trace", "bob@d.example").stdout


def test_a_postroad_fetches_a_maildrop_of_a_postroad(provider: Server, tmp_path: Path) -> None:
    for content in (LETTER, LARGE):
        send(provider, "dave@p.example", content)
    pickup = f'{provider.ports["pop3s"]}"\nmethod = "pop3"\ndeliver_to = "bob@d.example"'
    home = customer(tmp_path, pickup)
    with running(home):
        # TLS from the first octet is for port 995; here it is another, so it begins in clear, with STLS.
        home.configuration.write_text(
            home.configuration.read_text().replace(str(provider.ports["pop3s"]), str(provider.ports["pop3"]), 1)
        )
        home.kill()
        home.start()
        (result,) = home.ask("pickup")
        assert (result["ok"], result["messages"]) == (True, 2)
        home.wait_until_delivered()
        assert home.run("read", "bob@d.example", "2").stdout.endswith(LARGE)
    assert provider.ask("read", "dave@p.example", "--list") == []


@pytest.mark.parametrize("options", [(), ("--single-process",)], ids=["processes", "single"])
def test_a_postroad_has_its_mail_sent_by_a_postroad(tmp_path: Path, options: tuple[str, ...]) -> None:
    port = free_port("127.0.0.1")
    there = Server(
        tmp_path / "provider",
        hostname="mx.p.example",
        domain="p.example",
        users=("dave",),
        options=options,
        sections=(
            '[[hold]]\ndomain = "d.example"\nowner = "dave@p.example"\n'
            f'[[route]]\ndomain = "d.example"\nto = "127.0.0.1:{port}"\n'
        ),
    )
    with running(there):
        for content in (LETTER, LARGE, LETTER):
            send(there, "bob@d.example", content)
        assert held(there) == 3
        home = Server(
            tmp_path / "customer",
            hostname="mx.d.example",
            domain="d.example",
            users=("bob",),
            options=options,
            port_of={"smtp": port},
            sections=(
                f'[[pickup]]\nname = "p"\nhost = "127.0.0.1:{there.ports["smtp"]}"\nmethod = "etrn"\n'
                'domains = ["d.example"]\ntls = "opportunistic"\n'
            ),
        )
        with running(home):
            (result,) = home.ask("pickup", "p")
            assert result["ok"]
            assert "3 pending messages" in result["said"]
            wait_until_fetched(there)
            home.wait_until_delivered()
            letters = [home.run("read", "bob@d.example", str(number)).stdout for number in (1, 2, 3)]
            assert [letter.endswith(content) for letter, content in zip(letters, (LETTER, LARGE, LETTER), strict=True)]
            (again,) = home.ask("pickup", "p")
            assert "no messages waiting" in again["said"]


def test_etrn_is_answered_on_port_25_and_an_unknown_node_is_not_allowed(provider: Server) -> None:
    send(provider, "bob@d.example")
    with smtplib.SMTP(provider.address, provider.ports["smtp"]) as client:
        client.ehlo()
        assert client.has_extn("etrn")
        assert client.docmd("ETRN", "elsewhere.example")[0] == 459
        # Its host has no address in DNS: the mail stays.
        assert client.docmd("ETRN", "d.example")[0] == 253
    assert held(provider) == 1


def test_a_pickup_without_a_server_says_so(tmp_path: Path) -> None:
    home = customer(tmp_path, '1"\nmethod = "atrn"')
    done = home.run("pickup", check=False)
    assert done.returncode == 69
    assert b"not running" in done.stderr


# ---- terminals -----------------------------------------------------------------------------------


class Terminal:
    """`postroad watch` in a process of its own."""

    def __init__(self, server: Server, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "postroad.cli", "--config", str(server.configuration), "watch", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background of a shell has Ctrl-C ignored, and its children too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        self.lines: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str] | None) -> None:
        assert stream is not None
        with stream:
            self.lines.extend(line.rstrip("\n") for line in stream)

    def until(self, words: str) -> str:
        """The line that holds these words."""
        for _ in range(WAIT):
            for line in list(self.lines):
                if words in line:
                    return line
            pause(0.1)
        raise AssertionError(f"no {words!r} in {self.lines}")

    def end(self) -> int:
        """Ctrl-C; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(20)
        for reader in self._readers:
            reader.join(5)
        return status


@contextlib.contextmanager
def watching(server: Server, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal(server, *arguments)
    try:
        yield terminal
    finally:
        terminal.end()


def terminals(server: Server) -> int:
    return sum(int(report.get("watching", 0)) for report in server.reports())


def wait_for_terminals(server: Server, count: int) -> None:
    for _ in range(WAIT):
        if terminals(server) == count:
            return
        pause(0.1)
    raise AssertionError(f"{terminals(server)} terminals instead of {count}")


def say(client: smtplib.SMTP, way: str, to: str, content: bytes = LETTER) -> tuple[int, int]:
    """The replies to RCPT and to the end of the data."""
    assert client.docmd(f"{way} FROM:<eve@p.example>")[0] == 250
    code = client.rcpt(to)[0]
    return (code, client.data(content)[0]) if code == 250 else (code, client.rset()[0])


@BOTH_WAYS
def test_messages_are_shown_at_a_terminal_until_ctrl_c(provider: Server) -> None:
    client = logged_in(provider)
    with client:
        assert say(client, "SEND", "dave@p.example")[0] == 450
        with watching(provider, "dave@p.example") as terminal:
            terminal.until("watching for dave@p.example")
            assert say(client, "SEND", "dave@p.example") == (250, 250)
            assert "SEND from <eve@p.example>" in terminal.until("SEND")
            terminal.until("Hello.")
            assert say(client, "SAML", "dave@p.example") == (250, 250)
            terminal.until("SAML")
            assert terminal.end() == 130
        wait_for_terminals(provider, 0)
        assert say(client, "SEND", "dave@p.example")[0] == 450
        assert say(client, "SOML", "dave@p.example") == (250, 250)
    provider.wait_until_delivered()
    assert len(provider.ask("read", "dave@p.example", "--list")) == 2


def test_json_is_one_object_a_message_and_works_without_a_terminal(provider: Server) -> None:
    with logged_in(provider) as client, watching(provider, "dave@p.example", "--json") as terminal:
        wait_for_terminals(provider, 1)
        assert say(client, "SEND", "dave@p.example", b"Subject: \x1b[31mred\r\n\r\nx\x07y\r\n") == (250, 250)
        message = json.loads(terminal.until("{"))
        assert message["way"] == "SEND"
        assert message["subject"] == "?[31mred"
        assert message["lines"] == ["x?y"]


def test_a_terminal_for_nobody_is_refused(provider: Server) -> None:
    done = provider.run("watch", "nobody@p.example", check=False)
    assert done.returncode == 1
    assert b"there is no account" in done.stderr


@BOTH_WAYS
def test_a_server_that_is_watched_stops_in_time(provider: Server) -> None:
    with watching(provider, "dave@p.example") as terminal:
        terminal.until("watching for")
        assert provider.stop() == 0
        assert terminal.process.wait(30) != 0


def test_with_several_workers_all_know_who_watches_and_run_each_others_queues(tmp_path: Path) -> None:
    server = Server(
        tmp_path / "provider",
        hostname="mx.p.example",
        domain="p.example",
        users=("dave", "eve"),
        sections='[[route]]\ndomain = "r.example"\nto = "127.0.0.1:1"\n',
    )
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace("[processes]\n", "[processes]\nworkers = 2\n"))
    with running(server), watching(server, "dave@p.example", "--json") as terminal:
        wait_for_terminals(server, 1)
        for number in range(8):  # the kernel chooses the worker
            with logged_in(server) as client:
                content = f"Subject: number {number}\r\n\r\n".encode()
                assert say(client, "SEND", "dave@p.example", content) == (250, 250)
                assert client.sendmail("eve@p.example", ["rob@r.example"], LETTER) == {}
            terminal.until(f"number {number}")
        queued = {entry["queue_id"] for entry in server.ask("queue", "list")}
        assert len(queued) == 8
        with smtplib.SMTP(server.address, server.ports["smtp"]) as client:
            client.ehlo()
            code, words = client.docmd("ETRN", "r.example")
            assert (code, b"8 pending" in words) == (253, True)


def test_check_tells_of_a_hold_that_nobody_can_fetch(tmp_path: Path) -> None:
    holds = "".join(
        f'[[hold]]\ndomain = "{domain}"\nowner = "{owner}@p.example"\n'
        for domain, owner in (("d.example", "dave"), ("e.example", "nobody"), ("p.example", "dave"))
    )
    server = Server(tmp_path / "provider", hostname="mx.p.example", domain="p.example", users=("dave",), sections=holds)
    done = server.run("check", "--json", check=False)
    found = {one["what"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert found["hold d.example"]["ok"]
    assert "account add nobody@p.example" in found["hold e.example"]["cure"]
    assert "local domain" in found["hold p.example"]["finding"]
