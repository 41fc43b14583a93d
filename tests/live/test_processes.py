"""The server as a set of processes: started, killed, reloaded, stopped, and refused where it cannot serve."""

from __future__ import annotations

import contextlib
import os
import poplib
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port, pause
from tests.support.server import PASSWORD, Server, running_server

DEADLINE_S = 40.0
LETTER = b"From: ann@here.example\r\nTo: ann@here.example\r\nSubject: hi\r\n\r\nHello\r\n"


def eventually(holds: Callable[[], Any], what: str, server: Server | None = None) -> Any:
    """The first true answer. Fails with what was waited for when there is none in DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while not (answer := holds()):
        assert time.monotonic() < end, f"still not: {what}\n{server.log() if server else ''}"
        pause(0.05)
    return answer


def send(server: Server, recipient: str, octets: bytes = LETTER) -> None:
    """By submission with STARTTLS and AUTH, as a mail client does."""
    context = ssl.create_default_context(cafile=str(server.folder / "data" / "keys" / "certificate.pem"))
    with smtplib.SMTP(
        server.address, server.ports["submission"], local_hostname="client.example", timeout=30
    ) as client:
        client.starttls(context=context)
        client.login(f"ann@{server.domain}", PASSWORD)
        client.sendmail(f"ann@{server.domain}", [recipient], octets)


def fetch(server: Server) -> list[bytes]:
    context = ssl.create_default_context(cafile=str(server.folder / "data" / "keys" / "certificate.pem"))
    client = poplib.POP3_SSL(server.address, server.ports["pop3s"], timeout=30, context=context)
    try:
        client.user(f"ann@{server.domain}")
        client.pass_(PASSWORD)
        return [b"\r\n".join(client.retr(number + 1)[1]) for number in range(client.stat()[0])]
    finally:
        client.quit()


def workers(server: Server) -> dict[str, int]:
    """The processes by name, those alone that are ready."""
    reports = server.ask("status")
    return {worker["name"]: worker["pid"] for worker in reports[0]["workers"] if worker["ready"]}


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def serve_to_the_end(server: Server) -> subprocess.CompletedProcess[bytes]:
    """Start a server that cannot serve; how it ends."""
    command = [sys.executable, "-m", "postroad.cli", "--config", str(server.configuration), "serve"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


@contextlib.contextmanager
def knocking(address: str, port: int) -> Iterator[list[str]]:
    """Somebody who connects again and again; what he was told, or what befell him."""
    told: list[str] = []
    enough = threading.Event()

    def knock() -> None:
        while not enough.is_set():
            try:
                with socket.create_connection((address, port), timeout=30) as one:
                    told.append(one.recv(1000).decode("ascii", "replace")[:3])
                    one.sendall(b"QUIT\r\n")
                    one.recv(1000)
            except OSError as error:
                told.append(repr(error))
            enough.wait(0.02)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield told
    finally:
        enough.set()
        thread.join()


def test_mail_goes_in_by_submission_and_out_by_pop3_and_sigterm_ends_it(tmp_path: Path) -> None:
    with running_server(tmp_path, users=("ann",)) as server:
        send(server, "ann@here.example")
        (letter,) = eventually(lambda: fetch(server), "the letter is in the mailbox", server)
        assert b"Subject: hi\r\n\r\nHello" in letter
        reports = server.ask("status")
        assert [report["process"] for report in reports] == ["supervisor", "t0", "a0"]
        pids = server.pids()
        assert len(pids) == 3
        assert (tmp_path / "data" / "run" / "postroad.pid").read_text().strip() == str(pids[0])
        assert (tmp_path / "data" / "run" / "control.sock").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "data" / "run" / "submit.sock").stat().st_mode & 0o777 == 0o666
        assert server.stop() == 0
        assert not any(map(is_alive, pids))
        left = {path.name for path in (tmp_path / "data" / "run").iterdir()}
        assert not left & {"control.sock", "submit.sock", "postroad.pid", "errors.log"}
        assert server.log().rstrip().endswith("stopped")


def test_a_killed_worker_is_replaced_and_its_queue_goes_on(tmp_path: Path) -> None:
    port = free_port()
    sections = f'[queue]\nretry = ["1s"]\n[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{port}"\n'
    with running_server(tmp_path / "here", users=("ann",), sections=sections) as server:
        before = eventually(lambda: len(now := workers(server)) == 2 and now, "both work", server)
        send(server, "ann@away.example")
        assert server.queued() == 1
        os.kill(before["t0"], signal.SIGKILL)
        now = eventually(lambda: len(now := workers(server)) == 2 and now, "both work again", server)
        assert now["t0"] != before["t0"]
        assert now["a0"] == before["a0"]
        assert "worker t0 died (signal SIGKILL); the next one starts in 0.1 s" in server.log()
        assert server.ask("status")[0]["workers"][0]["restarts"] == 1
        away = {"domain": "away.example", "hostname": "mx.away.example", "users": ("ann",)}
        with running_server(tmp_path / "away", port_of={"smtp": port}, **away) as other:
            eventually(lambda: fetch(other), "the letter has arrived", server)
            server.wait_until_delivered()


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path, users=())
    server.start()
    eventually(lambda: len(workers(server)) == 2, "both work", server)
    pids = server.pids()
    try:
        os.kill(pids[0], signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, pids[1:])), "the workers are gone", server)
    finally:
        server.kill()
    server.start()  # what the killed one has left in run/ is in nobody's way
    assert server.stop() == 0


def test_a_port_in_use_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    server = Server(tmp_path, users=())
    with socket.create_server(("127.0.0.1", server.ports["submissions"])):
        done = serve_to_the_end(server)
    assert done.returncode == 69
    assert b"listen.submissions" in done.stderr
    assert f"127.0.0.1:{server.ports['submissions']}".encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "data" / "run" / "control.sock").exists()


def test_a_mistake_in_the_configuration_is_named_and_nothing_starts(tmp_path: Path) -> None:
    server = Server(tmp_path, users=())
    text = server.configuration.read_text()
    server.configuration.write_text(f"{text}[queue]\nretyr = 5\n")
    done = serve_to_the_end(server)
    line = text.count("\n") + 2
    assert done.returncode == 2
    assert f"{server.configuration}:{line}: queue.retyr: unknown key; did you mean retry?".encode() in done.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running_server(tmp_path, users=()) as server:
        eventually(lambda: len(workers(server)) == 2, "both work", server)
        done = serve_to_the_end(server)
        assert done.returncode == 75
        assert f"another server (process {server.pid}) serves {tmp_path / 'data'}".encode() in done.stderr
        assert len(workers(server)) == 2


def test_a_certificate_that_is_no_certificate_stops_the_start(tmp_path: Path) -> None:
    server = Server(tmp_path, users=(), sections='[tls]\ncertificate = "postroad.toml"\nkey = "postroad.toml"\n')
    done = serve_to_the_end(server)
    assert done.returncode == 69
    assert b"postroad.toml" in done.stderr
    assert b"tls: " in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("options", [(), ("--single-process",)], ids=["workers", "one process"])
def test_a_reload_takes_effect_and_refuses_no_connection(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running_server(tmp_path, users=("ann",), options=options) as server:
        eventually(lambda: "started:" in server.log(), "it has started", server)
        before = server.configuration.read_text()
        with knocking(server.address, server.ports["smtp"]) as told:
            server.configuration.write_text(before.replace("[limits]\n", "[limits]\nmessage_bytes = 77777\n"))
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda: "postroad: reloaded" in server.log(), "it is reloaded", server)
            so_far = len(told)
            eventually(lambda: len(told) > so_far + 5, "they go on knocking", server)
        assert set(told) <= {"220", "421"}
        with smtplib.SMTP(server.address, server.ports["smtp"], local_hostname="client.example", timeout=30) as client:
            client.ehlo()
            assert client.esmtp_features["size"] == "77777"
        send(server, "ann@here.example")
        eventually(lambda: fetch(server), "mail arrives as before", server)


@pytest.mark.parametrize("options", [(), ("--single-process",)], ids=["workers", "one process"])
def test_a_reload_of_a_mistake_changes_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running_server(tmp_path, users=("ann",), options=options) as server:
        eventually(lambda: "started:" in server.log(), "it has started", server)
        text = server.configuration.read_text()
        server.configuration.write_text(text + "[delivery]\nport = 0\n")
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: "not reloaded" in server.log(), "the mistake is told", server)
        assert "delivery.port: 0 is too small; expected at least 1" in server.log()
        server.configuration.write_text(text)  # the commands read it, too
        send(server, "ann@here.example")
        eventually(lambda: fetch(server), "mail arrives as before", server)


def test_a_reload_that_no_worker_can_serve_with_goes_back(tmp_path: Path) -> None:
    with running_server(tmp_path, users=("ann",)) as server:
        eventually(lambda: len(workers(server)) == 2, "both work", server)
        text = server.configuration.read_text()
        server.configuration.write_text(text + '[tls]\ncertificate = "postroad.toml"\nkey = "postroad.toml"\n')
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: "not reloaded" in server.log(), "the trouble is told", server)
        server.configuration.write_text(text)
        eventually(lambda: len(workers(server)) == 2, "both work again", server)
        send(server, "ann@here.example")
        eventually(lambda: fetch(server), "mail arrives as before", server)


def test_one_process_serves_all(tmp_path: Path) -> None:
    with running_server(tmp_path, users=("ann",), options=("--single-process",)) as server:
        send(server, "ann@here.example")
        eventually(lambda: fetch(server), "the letter is in the mailbox", server)
        assert len(server.pids()) == 1
        assert [report["process"] for report in server.ask("status")] == ["supervisor", "t0", "a0"]
        assert server.stop() == 0


def test_the_mail_of_a_worker_that_is_no_more_is_adopted(tmp_path: Path) -> None:
    port = free_port()
    sections = f'[queue]\nretry = ["1s"]\n[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{port}"\n'
    server = Server(tmp_path / "here", users=("ann",), sections=sections)
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace("[processes]\n", "[processes]\nworkers = 2\n"))
    server.start()
    try:
        eventually(lambda: set(workers(server)) == {"t0", "t1", "a0"}, "three work", server)

        def second_has_mail() -> bool:
            send(server, "ann@away.example")
            return any(r["process"] == "t1" and r.get("queue_messages") for r in server.ask("status"))

        eventually(second_has_mail, "the second worker has got a letter", server)
        sent = server.queued()
        assert server.stop() == 0
        server.configuration.write_text(text)
        away = {"domain": "away.example", "hostname": "mx.away.example", "users": ("ann",)}
        with running_server(tmp_path / "away", port_of={"smtp": port}, **away) as other:
            server.start()
            eventually(lambda: set(workers(server)) == {"t0", "a0"}, "two work", server)
            server.wait_until_delivered()
            eventually(lambda: len(fetch(other)) == sent, "all letters have arrived", server)
    finally:
        server.kill()


def test_root_does_not_serve_unless_it_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can try")
    server = Server(tmp_path, users=())
    server.configuration.write_text(server.configuration.read_text().replace('user = "root"\n', ""))
    done = serve_to_the_end(server)
    assert done.returncode == 2
    assert b"processes.user" in done.stderr


def test_commands_work_beside_the_server_and_without_it(tmp_path: Path) -> None:
    with running_server(tmp_path, users=("ann",)) as server:
        eventually(lambda: len(workers(server)) == 2, "both work", server)
        server.run("send", "--from", "ann@here.example", "--to", "ann@here.example", "--subject", "x", given=b"text")
        server.wait_until_delivered()
        assert len(server.mailbox("ann")) == 1
        server.add_account("bob@here.example")
        assert server.run("check", check=False).stdout.count(b"is served") == 5
        assert server.stop() == 0
        assert server.queued() == 0
        assert len(server.mailbox("ann")) == 1
        down = server.run("send", "--to", "ann@here.example", "--subject", "x", given=b"text", check=False)
        assert down.returncode == 75
