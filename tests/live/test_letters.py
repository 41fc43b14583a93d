"""Real letters, by the programs that people use: handed in by four, fetched by four, and not an octet changed."""

from __future__ import annotations

import hashlib
import os
import poplib
import re
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PeerProgram
from tests.support.letters import letters
from tests.support.recording_proxy import RecordingProxy, local_proxy, tls_proxy
from tests.support.server import PASSWORD, Server, running_server

ANN, BOB = "ann@here.example", "bob@here.example"
ADDED = re.compile(
    rb"Return-Path: <ann@here\.example>\r\n"
    rb"Received: (?:[^\r\n]|\r\n[ \t])+\r\n"
    rb"(?:Message-ID: <[^\r\n]+>\r\n)?(?:Date: [^\r\n]+\r\n)?"
)

pytestmark = [pytest.mark.peer("curl", "swaks", "fetchmail", "mpop"), pytest.mark.xdist_group("letters")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("letters")) as running:
        running.run("account", "grant", ANN, ANN)
        yield running


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# ---- handing in ------------------------------------------------------------------------------------


def by_smtplib(port: int, letter: Path) -> None:
    with smtplib.SMTP_SSL("127.0.0.1", port, context=unverified(), local_hostname="client.here.example") as client:
        client.login(ANN, PASSWORD)
        content = letter.read_bytes()
        options = [] if content.isascii() else ["BODY=8BITMIME"]
        client.sendmail(ANN, [BOB], content, mail_options=options)


def by_curl(port: int, letter: Path) -> None:
    who = ["--user", f"{ANN}:{PASSWORD}", "--mail-from", ANN, "--mail-rcpt", BOB]
    run(["curl", "-sS", "-k", f"smtps://127.0.0.1:{port}", *who, "--upload-file", str(letter)])


def by_swaks(port: int, letter: Path) -> None:
    where = ["--server", "127.0.0.1", "--port", str(port), "--tls-on-connect", "--helo", "client.here.example"]
    who = ["--auth", "PLAIN", "--auth-user", ANN, "--auth-password", PASSWORD, "--from", ANN, "--to", BOB]
    run(["swaks", "--silent", "2", *where, *who, "--data", f"@{letter}"])


CLIENTS: dict[str, Callable[[int, Path], None]] = {"smtplib": by_smtplib, "curl": by_curl, "swaks": by_swaks}


def run(command: list[str], **how: object) -> None:
    done = subprocess.run(command, capture_output=True, timeout=100, check=False, **how)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command[0]}: exit {done.returncode}: {done.stdout!r} {done.stderr!r}"


# ---- fetching --------------------------------------------------------------------------------------


def fetched_by_poplib(server: Server, folder: Path) -> list[bytes]:
    poplib._MAXLINE = 10_000  # type: ignore[attr-defined]
    client = poplib.POP3("127.0.0.1", server.ports["pop3"])
    client.stls(unverified())
    client.user(BOB)
    client.pass_(PASSWORD)
    count, _ = client.stat()
    found = [b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    client.quit()
    return found


def fetched_by_curl(server: Server, folder: Path) -> list[bytes]:
    found = []
    for number in range(1, len(server.ask("read", BOB, "--list")) + 1):
        path = folder / f"curl-{number}"
        url = f"pop3s://127.0.0.1:{server.ports['pop3s']}/{number}"
        run(["curl", "-sS", "-k", url, "--user", f"{BOB}:{PASSWORD}", "--output", str(path)])
        found.append(path.read_bytes())
    return found


def fetched_by_fetchmail(server: Server, folder: Path) -> list[bytes]:
    """With `invisible` it adds no Received; it hands lines on with LF alone."""
    box = folder / "fetchmail"
    box.mkdir()
    mda = folder / "mda"
    mda.write_text(f'#!/bin/sh\nexec cat > "$(mktemp {box}/XXXXXX)"\n')
    mda.chmod(0o755)
    rc = folder / "fetchmailrc"
    rc.write_text(
        f"set invisible\npoll 127.0.0.1 protocol POP3 port {server.ports['pop3']}\n"
        f'user "{BOB}" password "{PASSWORD}" is root here keep no rewrite fetchall sslproto "" mda "{mda}"\n'
    )
    rc.chmod(0o600)
    run(
        ["fetchmail", "--nodetach", "--nosyslog", "--pidfile", str(folder / "pid"), "-f", str(rc)],
        env={**os.environ, "HOME": str(folder)},
    )
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in box.iterdir()]


def fetched_by_mpop(server: Server, folder: Path) -> list[bytes]:
    box = folder / "mpop"
    for part in ("cur", "new", "tmp"):
        (box / part).mkdir(parents=True)
    rc = folder / "mpoprc"
    rc.write_text(
        f"account default\nhost 127.0.0.1\nport {server.ports['pop3s']}\ntls on\ntls_starttls off\ntls_certcheck off\n"
        f"user {BOB}\npassword {PASSWORD}\nkeep on\ndelivery maildir {box}\nreceived_header off\n"
        f"uidls_file {folder}/uidls\n"
    )
    rc.chmod(0o600)
    run(["mpop", f"--file={rc}"])
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in (box / "new").iterdir()]


FETCHERS = {
    "poplib": fetched_by_poplib,
    "curl": fetched_by_curl,
    "fetchmail": fetched_by_fetchmail,
    "mpop": fetched_by_mpop,
}


# ---- what must hold --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_the_wire(server: Server, tmp_path_factory: pytest.TempPathFactory, peers: None) -> list[bytes]:
    """Every letter, handed in by every client; what each said on the wire."""
    folder = tmp_path_factory.mktemp("written")
    keys = server.folder / "data" / "keys"
    certificate, key = sorted(keys.glob("*cert*"))[0], sorted(keys.glob("*key*"))[0]
    recorded: list[bytes] = []
    for name, octets in letters().items():
        path = folder / name
        path.write_bytes(octets)
        with tls_proxy(("127.0.0.1", server.ports["submissions"]), certificate, key) as proxy:
            for send in CLIENTS.values():
                send(proxy.port, path)
        recorded += seen(proxy, len(CLIENTS))
    with local_proxy(server.folder / "data" / "run" / "submit.sock") as proxy:
        for name, octets in letters().items():
            attached = folder / f"{name}.bin"
            attached.write_bytes(octets)
            arguments = ["--from", ANN, "--to", BOB, "--subject", f"by send: {name}", "--body", f"Grüße\n.\n{name}"]
            server.run("send", *arguments, "--attach", str(attached))
    recorded += seen(proxy, len(letters()))
    server.wait_until_delivered()
    return recorded


@pytest.fixture(scope="module")
def peers() -> None:
    """Nothing of its own: the module's marker names the programs."""


def seen(proxy: RecordingProxy, count: int) -> list[bytes]:
    contents = proxy.contents()
    assert len(contents) == count
    return contents


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fetcher", FETCHERS)
def test_what_is_fetched_is_what_was_handed_in(
    fetcher: str, server: Server, on_the_wire: list[bytes], tmp_path: Path, peer_program: PeerProgram
) -> None:
    fetched = FETCHERS[fetcher](server, tmp_path)
    assert sorted(map(digest_below_our_fields, fetched)) == sorted(map(digest, on_the_wire))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_below_our_fields(fetched: bytes) -> str:
    """Of what stands below the fields that the server may add."""
    added = ADDED.match(fetched)
    assert added is not None, fetched[:400]
    return digest(fetched[added.end() :])
