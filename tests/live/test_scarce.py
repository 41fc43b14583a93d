"""Time and descriptors are scarce: clients that drip, handshakes that never end or begin again, no file left to open.

The server is the real one, in its own processes, with two waits made short: a folder on its path has a
`sitecustomize` that sets them before anything is read from `vocabulary/limits.py`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import resource
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scramp import ScramClient  # type: ignore[import-untyped]

from tests.support.doors import DOORS, Door, delivered_unharmed
from tests.support.ports import pause
from tests.support.server import PASSWORD, Server
from tests.support.submitters import unverified
from tests.support.wire import Wire

HANDSHAKE_S, WINDOW_S = 1.5, 1.5
SHORT = (
    "import postroad.vocabulary.limits as limits\n"
    f"limits.TLS_HANDSHAKE_S = {HANDSHAKE_S}\nlimits.CONTENT_RATE_WINDOW_S = {WINDOW_S}\n"
)
TIMED_OUT = b"421 4.4.2 Waited too long for you, closing\r\n"
ANN = "ann@here.example"

pytestmark = pytest.mark.xdist_group("scarce")
both_doors = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.role)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("path")
    (path / "sitecustomize.py").write_text(SHORT)
    known = os.environ.get("PYTHONPATH", "")
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, (str(path), known)))}
    running = Server(tmp_path_factory.mktemp("scarce"), environment=environment)
    running.start()
    yield running
    delivered_unharmed(running)
    assert "unexpected" not in running.log()
    assert running.stop() == 0


# ---- 8. slow clients -------------------------------------------------------------------------------


@both_doors
def test_content_that_drips_more_slowly_than_the_least_speed_is_ended(server: Server, door: Door) -> None:
    with door.in_content(server) as wire:
        wire.say(b"Subject: x\r\n\r\n")
        begin = time.monotonic()
        while wire.hears_nothing_for(0.2):
            wire.say_what_is_taken(b"x")
            assert time.monotonic() - begin < 30, "content that drips is waited for without end"
        assert wire.line().startswith(b"421 4.4.2 ")
        assert wire.ended()


@both_doors
def test_content_at_the_least_speed_is_taken(server: Server, door: Door) -> None:
    with door.in_content(server) as wire:
        begin = time.monotonic()
        while time.monotonic() - begin < 3 * WINDOW_S:
            wire.say(b"x" * 78 + b"\r\n")
            assert wire.hears_nothing_for(0.1)
        assert wire.ask(b".").startswith(b"250 ")


# ---- handshakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [b"", b"\x16", b"\x16\x03\x01\x40\x00\x01\x00"], ids=repr)
@pytest.mark.parametrize("role", ["submissions", "pop3s"])
def test_a_handshake_that_does_not_go_on_is_ended(server: Server, role: str, octets: bytes) -> None:
    with socket.create_connection((server.address, server.ports[role]), timeout=30) as client:
        client.sendall(octets)
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while client.recv(1000):
                pass
        assert time.monotonic() - begin < HANDSHAKE_S + 10


def test_a_handshake_that_drips_is_ended(server: Server) -> None:
    with socket.create_connection((server.address, server.ports["submission"]), timeout=30) as client:
        heard = client.makefile("rb")
        assert heard.readline().startswith(b"220 ")
        client.sendall(b"EHLO c.example\r\n")
        while heard.readline()[3:4] == b"-":
            pass
        client.sendall(b"STARTTLS\r\n")
        assert heard.readline().startswith(b"220 ")
        client.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")
        client.settimeout(0.2)
        begin = time.monotonic()
        is_open = True
        while is_open:
            assert time.monotonic() - begin < 30, "a handshake that drips is waited for without end"
            try:
                client.sendall(b"x")
                is_open = client.recv(1000) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False


def test_a_client_cannot_begin_the_handshake_again_and_again(server: Server) -> None:
    """`R` on a line of its own asks s_client for a renegotiation, which TLS 1.2 still has."""
    worker, _ = server.worker()
    command = ["openssl", "s_client", "-tls1_2", "-crlf", "-connect", f"127.0.0.1:{server.ports['submissions']}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        said = b""
        while b"220 mx.here.example " not in said:
            line = client.stdout.readline()
            assert line, said
            said += line
        for _ in range(20):
            with contextlib.suppress(OSError):
                client.stdin.write(b"R\n")
                client.stdin.flush()
            pause(0.02)
        with contextlib.suppress(OSError):
            client.stdin.close()
        said += client.stdout.read()
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said, said[-600:]
    with DOORS[1].greeted(server) as wire:
        assert wire.ask(b"NOOP").startswith(b"250 ")
    assert server.worker()[0] == worker


# ---- descriptors -----------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_without_descriptors_waits_without_spinning_and_recovers(server: Server) -> None:
    worker, _ = server.worker()
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    few = len(os.listdir(f"/proc/{worker}/fd")) + 8
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        with contextlib.ExitStack() as crowd:
            clients = [
                crowd.enter_context(socket.create_connection((server.address, server.ports["smtp"]), timeout=30))
                for _ in range(60)
            ]
            assert clients[0].recv(1000).startswith((b"220 ", b"421 "))
            pause(0.5)
            begin = cpu_s(worker)
            pause(2.0)
            assert cpu_s(worker) - begin < 1.0, "it spins"
        end = time.monotonic() + 30
        while not is_greeted(server):
            assert time.monotonic() < end, "it does not recover"
            pause(0.2)
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    assert server.worker()[0] == worker
    delivered_unharmed(server)


def is_greeted(server: Server) -> bool:
    with contextlib.suppress(OSError), Wire(server.address, server.ports["smtp"]) as wire:
        return wire.reply().startswith(b"220 ")
    return False


# ---- channel binding, by somebody else's client ------------------------------------------------------


@pytest.mark.parametrize("honest", [True, False])
def test_scramp_logs_in_bound_to_the_certificate_that_it_sees(server: Server, honest: bool) -> None:
    with smtplib.SMTP_SSL("127.0.0.1", server.ports["submissions"], context=unverified()) as client:
        client.ehlo("client.example")
        mechanisms = [name for name in client.esmtp_features["auth"].split() if name.startswith("SCRAM")]
        assert isinstance(client.sock, ssl.SSLSocket)
        certificate = client.sock.getpeercert(binary_form=True)
        assert certificate is not None
        seen = hashlib.sha256(certificate).digest() if honest else b"x" * 32
        scram = ScramClient(mechanisms, ANN, PASSWORD, channel_binding=("tls-server-end-point", seen))
        assert scram.mechanism_name == "SCRAM-SHA-256-PLUS"
        code, challenge = client.docmd("AUTH", f"{scram.mechanism_name} {encoded(scram.get_client_first())}")
        assert code == 334
        scram.set_server_first(base64.b64decode(challenge).decode())
        code, last = client.docmd(encoded(scram.get_client_final()))
        if not honest:
            assert code == 535
            return
        assert code == 334
        scram.set_server_final(base64.b64decode(last).decode())
        assert client.docmd("")[0] == 235
        assert client.mail(ANN)[0] == 250


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
