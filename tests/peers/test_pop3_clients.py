"""The mail programs of other people fetch by POP3: in clear, by STLS and in TLS, leaving the mail there or not."""

from __future__ import annotations

import os
import poplib
import pty
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.doors import Door
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import unverified

pytestmark = pytest.mark.xdist_group("pop3-clients")
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


def by_getmail(server: Server, folder: Path, way: str, *, keep: bool) -> bytes:
    """It knows no STLS. It delivers nothing as root, but by a program that it is allowed to run."""
    rc, path = folder / "rc", folder / "letter"
    rc.write_text(
        f"[retriever]\ntype = SimplePOP3{'SSL' if way == 'tls' else ''}Retriever\nserver = 127.0.0.1\n"
        f"port = {server.ports['pop3s' if way == 'tls' else 'pop3']}\nusername = {BOB}\npassword = {PASSWORD}\n"
        "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
        f'arguments = ("-c", "cat >> {path}")\n'
        f"[options]\ndelete = {'false' if keep else 'true'}\ndelivered_to = false\nreceived = false\n"
    )
    run("getmail", f"--getmaildir={folder}", f"--rcfile={rc}", folder=folder)
    return path.read_bytes()


def by_mutt(server: Server, folder: Path, way: str, *, keep: bool) -> bytes:
    """At a terminal of its own: it is told to press the keys of <fetch-mail>. With TLS it chooses the mechanism, and
    takes SCRAM."""
    rc, path = folder / "muttrc", folder / "mbox"
    path.touch()
    role = "pop3s" if way == "tls" else "pop3"
    rc.write_text(
        f'set pop_host="{"pops" if way == "tls" else "pop"}://127.0.0.1:{server.ports[role]}/"\n'
        f'set pop_user="{BOB}"\nset pop_pass="{PASSWORD}"\n'
        f"set pop_delete={'no' if keep else 'yes'}\nset pop_last=no\n"
        f"set ssl_starttls={'yes' if way == 'stls' else 'no'}\nset ssl_force_tls={'no' if way == 'plain' else 'yes'}\n"
        f'set certificate_file="{server.folder}/data/keys/certificate.pem"\nset ssl_verify_host=no\n'
        f'set mbox_type=mbox\nset spoolfile="{path}"\nset folder="{folder}"\n'
        'set sleep_time=0\nset quit=yes\npush "<fetch-mail><quit>"\n'
    )
    shown = at_terminal("mutt", "-n", "-F", str(rc), folder=folder)
    assert path.stat().st_size, shown
    return path.read_bytes()


def at_terminal(*command: str, folder: Path, deadline_s: float = 60.0) -> bytes:
    """Run it at a terminal that nobody types at; all that it showed. Raises AssertionError when it does not end."""
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TERM": "vt100"}
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen, selectors.DefaultSelector() as ready:
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder, start_new_session=True
        )
        os.close(theirs)
        ready.register(screen, selectors.EVENT_READ)
        shown, end = b"", time.monotonic() + deadline_s
        try:
            while ready.select(end - time.monotonic()):
                try:
                    shown += screen.read(65_536)
                except OSError:  # how Linux tells that the other end is closed
                    break
            assert time.monotonic() < end, shown
            process.wait(10)
        finally:
            process.kill()
            process.wait()
    return shown


Fetch = Callable[..., bytes]
CLIENTS: dict[str, Fetch] = {
    "curl": by_curl,
    "poplib": by_poplib,
    "fetchmail": by_fetchmail,
    "mpop": by_mpop,
    "getmail": by_getmail,
    "mutt": by_mutt,
}


def fetching(name: str, way: str) -> object:
    needed = [] if name == "poplib" else [pytest.mark.peer(name)]
    return pytest.param(name, way, marks=needed, id=f"{name}-{way}")


def letters_left(server: Server) -> int:
    client = poplib.POP3("127.0.0.1", server.ports["pop3"])
    client.user(BOB)
    client.pass_(PASSWORD)
    count = client.stat()[0]
    client.quit()
    return count


@pytest.mark.parametrize("keep", [True, False], ids=["leaving", "deleting"])
@pytest.mark.parametrize(
    ("name", "way"), [fetching(name, way) for name in CLIENTS for way in WAYS if (name, way) != ("getmail", "stls")]
)
def test_a_client_fetches_a_letter(server: Server, tmp_path: Path, name: str, way: str, keep: bool) -> None:
    if not letters_left(server):
        with Door("smtp", b"cat@a.example").in_content(server) as wire:
            wire.say(LETTER.replace(b"\r\n.\r\n", b"\r\n..\r\n") + b".\r\n")
            assert wire.reply().startswith(b"250 ")
        server.wait_until_delivered()
    letter = CLIENTS[name](server, tmp_path, way, keep=keep).replace(b"\r\n", b"\n")
    assert b"\nSubject: hello\n" in letter
    assert b"\n\nHello,\n.\nCat\n" in letter
    assert letters_left(server) == keep


@pytest.mark.peer("nmap")
def test_nmap_finds_what_capa_says(server: Server, tmp_path: Path) -> None:
    port = server.ports["pop3"]
    said = run("nmap", "-Pn", f"-p{port}", "--script=+pop3-capabilities", "127.0.0.1", folder=tmp_path)
    found = re.findall(r"pop3-capabilities: (.*)", said)
    client = poplib.POP3("127.0.0.1", port)
    told = set(client.capa())
    client.quit()
    assert found, said
    assert all(tag in found[0] for tag in told), (found, told)
