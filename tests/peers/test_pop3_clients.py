"""The mail programs of other people fetch by POP3: in clear, by STLS and in TLS, leaving the mail there or not."""

from __future__ import annotations

import poplib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.doors import Door
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import unverified

pytestmark = [pytest.mark.peer("fetchmail", "mpop", "curl", "nmap"), pytest.mark.xdist_group("pop3-clients")]
BOB = "bob@here.example"
LETTER = b"From: cat@a.example\r\nSubject: hello\r\n\r\nHello,\r\n.\r\nCat\r\n"
WAYS = ("plain", "stls", "tls")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("pop3-clients")) as running:
        yield running


def run(*command: str, folder: Path) -> str:
    """What it printed. Raises AssertionError with all it said when it failed."""
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment, cwd=folder)
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{command[0]}: exit {done.returncode}: {said}"
    return said


def by_curl(server: Server, folder: Path, way: str, *, keep: bool) -> bytes:
    scheme = "pop3s" if way == "tls" else "pop3"
    more = ["--ssl-reqd"] if way == "stls" else []
    url = f"{scheme}://127.0.0.1:{server.ports[scheme]}/1"
    path = folder / "letter"
    run("curl", "-sS", "-k", *more, "-u", f"{BOB}:{PASSWORD}", url, "-o", str(path), folder=folder)
    if not keep:
        run("curl", "-sS", "-k", *more, "-u", f"{BOB}:{PASSWORD}", url, "-X", "DELE", "-l", folder=folder)
    return path.read_bytes()


def by_poplib(server: Server, folder: Path, way: str, *, keep: bool) -> bytes:
    client: poplib.POP3
    if way == "tls":
        client = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], context=unverified())
    else:
        client = poplib.POP3("127.0.0.1", server.ports["pop3"])
    if way == "stls":
        client.stls(context=unverified())
    client.user(BOB)
    client.pass_(PASSWORD)
    lines = client.retr(1)[1]
    if not keep:
        client.dele(1)
    client.quit()
    return b"".join(line + b"\r\n" for line in lines)


def by_fetchmail(server: Server, folder: Path, way: str, *, keep: bool) -> bytes:
    rc, path = folder / "rc", folder / "letter"
    tls = {"plain": "sslproto ''", "stls": "sslproto TLS1.2+ no sslcertck", "tls": "ssl no sslcertck"}[way]
    rc.write_text(
        f"poll 127.0.0.1 protocol POP3 port {server.ports['pop3s' if way == 'tls' else 'pop3']} timeout 20\n"
        f'  user "{BOB}" password "{PASSWORD}" {"keep" if keep else "nokeep"} {tls}\n'
        f'  mda "cat >> {path}"\n'
    )
    rc.chmod(0o600)
    run("fetchmail", "--nodetach", "--nosyslog", "--pidfile", str(folder / "pid"), "-f", str(rc), folder=folder)
    return path.read_bytes()


def by_mpop(server: Server, folder: Path, way: str, *, keep: bool) -> bytes:
    path = folder / "mbox"
    tls = {"plain": ["--tls=off"], "stls": ["--tls=on", "--tls-starttls=on"], "tls": ["--tls=on", "--tls-starttls=off"]}
    port = server.ports["pop3s" if way == "tls" else "pop3"]
    options = ["--host=127.0.0.1", f"--port={port}", *tls[way], "--tls-certcheck=off", f"--user={BOB}"]
    options += [f"--passwordeval=echo {PASSWORD}", f"--delivery=mbox,{path}", f"--keep={'on' if keep else 'off'}"]
    auth = [] if way != "plain" else ["--auth=user"]
    run("mpop", "--file=/dev/null", f"--uidls-file={folder / 'uidls'}", *auth, *options, folder=folder)
    return path.read_bytes()


Fetch = Callable[..., bytes]
CLIENTS: dict[str, Fetch] = {"curl": by_curl, "poplib": by_poplib, "fetchmail": by_fetchmail, "mpop": by_mpop}


@pytest.mark.parametrize("keep", [True, False], ids=["leaving", "deleting"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_fetches_a_letter(server: Server, tmp_path: Path, name: str, way: str, keep: bool) -> None:
    if not server.ask("read", BOB, "--list"):
        with Door("smtp", b"cat@a.example").in_content(server) as wire:
            wire.say(LETTER.replace(b"\r\n.\r\n", b"\r\n..\r\n") + b".\r\n")
            assert wire.reply().startswith(b"250 ")
        server.wait_until_delivered()
    letter = CLIENTS[name](server, tmp_path, way, keep=keep)
    assert b"Subject: hello\n\nHello,\n.\nCat\n" in letter.replace(b"\r\n", b"\n")
    assert len(server.ask("read", BOB, "--list")) == keep


def test_nmap_finds_what_capa_says(server: Server, tmp_path: Path) -> None:
    port = server.ports["pop3"]
    said = run("nmap", "-Pn", f"-p{port}", "-sV", "--script=pop3-capabilities", "127.0.0.1", folder=tmp_path)
    found = re.findall(r"pop3-capabilities: (.*)", said)
    client = poplib.POP3("127.0.0.1", port)
    told = set(client.capa())
    client.quit()
    assert found, said
    assert all(tag in found[0] for tag in told), (found, told)
