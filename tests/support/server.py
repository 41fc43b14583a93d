"""A whole Postroad server in processes of its own, as an administrator would run it, for tests from outside."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.ports import free_port, pause, wait_for_port

ROLES = ("smtp", "submission", "submissions", "pop3", "pop3s")
PASSWORD = "correct horse battery"

# Root serves only where it is named; the key means nothing to other users.
_CONFIGURATION = """\
hostname = "{hostname}"
data = "{folder}/data"
[processes]
user = "{user}"
[listen]
smtp = ["{address}:{smtp}"]
submission = ["{address}:{submission}"]
submissions = ["{address}:{submissions}"]
pop3 = ["{address}:{pop3}"]
pop3s = ["{address}:{pop3s}"]
[limits]
exempt = ["127.0.0.0/8"]
[policy]
reverse_dns = "off"
helo = "off"
sender_domain = "off"
own_sender = "off"
"""


class Server:
    """`sections` is TOML put after the common part; a table given there must not be one of those above."""

    def __init__(
        self,
        folder: Path,
        *,
        hostname: str = "mx.here.example",
        domain: str = "here.example",
        users: Sequence[str] = ("ann", "bob"),
        address: str = "127.0.0.1",
        sections: str = "",
        options: Sequence[str] = (),
        port_of: dict[str, int] | None = None,
        serving_user: str = "root",
        python: str = sys.executable,
        environment: dict[str, str] | None = None,
    ) -> None:
        """`python` and `environment` are for servers and commands of users who cannot use ours."""
        self.folder = folder
        self.address = address
        self.hostname = hostname
        self.domain = domain
        self.ports = {role: free_port(address) for role in ROLES} | (port_of or {})
        self.configuration = folder / "postroad.toml"
        self._options = options
        self._environment = {**os.environ, **(environment or {})}
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        common = _CONFIGURATION.format(
            hostname=hostname, folder=folder, user=serving_user, address=address, **self.ports
        )
        self.configuration.write_text(f"{common}{sections}")
        self.run("domain", "add", domain)
        for user in users:
            self.add_account(f"{user}@{domain}")

    def add_account(self, address: str, password: str = PASSWORD) -> None:
        self.run("account", "add", address, "--password-stdin", given=f"{password}\n".encode())

    def run(
        self, *arguments: str, given: bytes = b"", check: bool = True, unix_user: str | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """A command of `postroad` on this server's configuration, by this Unix user or by ourselves."""
        done = subprocess.run(
            [*self._command(), *arguments],
            input=given,
            capture_output=True,
            check=False,
            timeout=60,
            env=self._environment,
            cwd="/" if unix_user else None,
            user=unix_user,
            group=pwd.getpwnam(unix_user).pw_gid if unix_user else None,
            extra_groups=[] if unix_user else None,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()}{self.log()}")
        return done

    def _command(self) -> list[str]:
        return [self._python, "-m", "postroad.cli", "--config", str(self.configuration)]

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that a command prints with --json."""
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    def start(self) -> None:
        command = [*self._command(), "serve", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=self._environment
            )
        try:
            self._wait_until_started()
            for port in self.ports.values():
                wait_for_port(self.address, port)
        except TimeoutError as error:
            self.kill()
            raise AssertionError(f"{error}: {self.log()}") from None

    def _wait_until_started(self, deadline_s: float = 30.0) -> None:
        """Returns when the control socket answers: every worker is ready then. Raises TimeoutError."""
        end = time.monotonic() + deadline_s
        while True:
            with contextlib.suppress(OSError):
                self.reports()
                return
            if time.monotonic() > end or self._process is None or self._process.poll() is not None:
                raise TimeoutError("the server does not start")
            pause()

    def stop(self) -> int:
        """Ask it to end, and wait; the exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(30)
        self._process = None
        return status

    def kill(self) -> None:
        """kill -9 of all its processes at once; the workers first, so that none sees the supervisor go."""
        if self._process is not None:
            for pid in reversed(self.pids()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        """The supervisor first, then its workers."""
        found = [self.pid]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.pid:
                        found.append(int(entry.name))
        return found

    def reports(self) -> list[dict[str, Any]]:
        """What `status` says, asked at the control socket as the command does: no process is started for it."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(20)
            control.connect(str(self.folder / "data" / "run" / "control.sock"))
            control.sendall(b'{"verb":"status","arguments":{}}\n')
            answer = json.loads(control.makefile("rb").readline())
        result: list[dict[str, Any]] = answer["result"]
        return result

    def worker(self, name: str = "t0") -> tuple[int, bool]:
        """A worker's process and whether it is ready, as the supervisor sees it."""
        (slot,) = (slot for slot in self.reports()[0]["workers"] if slot["name"] == name)
        return slot["pid"] or 0, slot["ready"]

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def queued(self) -> int | None:
        """Messages in the queue; None while the process that owns it is being started."""
        reports = self.ask("status") if self._process is None else self.reports()
        counts = [report["queue_messages"] for report in reports if "queue_messages" in report]
        return sum(counts) if counts else None

    def wait_until_delivered(self, deadline_s: float = 30.0, *, left: int = 0) -> None:
        """Returns when so many messages are left in the queue. Raises AssertionError with what is in it."""
        end = time.monotonic() + deadline_s
        while self.queued() != left:
            assert time.monotonic() < end, self.run("queue", "list").stdout.decode() + self.log()
            pause(0.03)

    def mailbox(self, user: str) -> list[bytes]:
        """All messages of a user, looked at as an administrator."""
        address = f"{user}@{self.domain}"
        count = len(self.ask("read", address, "--list"))
        return [self.run("read", address, str(number)).stdout for number in range(1, count + 1)]


@contextlib.contextmanager
def running_server(folder: Path, **how: Any) -> Iterator[Server]:
    """A Server that serves within the block; arguments as for Server."""
    server = Server(folder, **how)
    server.start()
    try:
        yield server
    finally:
        if server._process is not None:
            server.stop()
