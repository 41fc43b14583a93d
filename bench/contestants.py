"""The servers that are measured, each started with the same duty: take mail for anybody from loopback,
keep it durably, and either hold it (accept) or hand it to one next hop (relay)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bench.processes import wait_until
from tests.support.ports import free_port, wait_for_port
from tests.support.postfix import running_postfix


class Contestant(Protocol):
    name: str
    pid: int
    port: int

    def queued(self) -> int:
        """Messages accepted and not yet handed on."""
        ...


class Sink:
    """Debian's smtp-sink: the next hop that takes everything, throws it away and counts."""

    def __init__(self, output: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self._output = output
        self.port = port
        self.process = process

    def count(self) -> int:
        with self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - 400))
            numbers = re.findall(rb"mesg=(\d+)", file.read())
        return int(numbers[-1]) if numbers else 0


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "count"
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["smtp-sink", *as_nobody, "-c", f"127.0.0.1:{port}", "1000"], stdout=file, stderr=subprocess.STDOUT
            )
        try:
            wait_for_port("127.0.0.1", port)
            yield Sink(output, port, process)
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """A name server of ours in a process of its own; gives the section that has Postroad ask it."""
    command = [sys.executable, "-m", "bench.names"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield f'[dns]\nservers = ["127.0.0.1:{int(process.stdout.readline())}"]\n'
        finally:
            process.communicate()


class _Postroad:
    name = "postroad"

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self.port = port
        self.pid = process.pid

    def queued(self) -> int:
        answer = subprocess.run(
            [sys.executable, "-m", "postroad.cli", "--config", str(self._folder / "postroad.toml"), "status", "--json"],
            capture_output=True,
            check=True,
        )
        return sum(json.loads(line).get("queue_messages", 0) for line in answer.stdout.splitlines())


LOOK_UPS_OFF = """\
reverse_dns = "off"
helo = "off"
sender_domain = "off"
own_sender = "off"
trusted_networks = ["127.0.0.0/8"]
"""


@contextlib.contextmanager
def postroad(
    next_hop: int | None, extra: str = "", *, policy: str = LOOK_UPS_OFF, relay_domain: str = ""
) -> Iterator[Contestant]:
    """Ledger on, full sync; `next_hop` is a port, None holds everything. `policy` are keys of that section; with
    `relay_domain` mail for it is taken from strangers."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postroad-bench-") as name:
        folder = Path(name)
        delivery = f'smarthost = "127.0.0.1:{next_hop}"\nsmarthost_tls = "none"' if next_hop else "offline = true"
        (folder / "postroad.toml").write_text(f"""\
hostname = "bench.example"
data = "{folder}/data"
[processes]
user = "root"
[listen]
smtp = ["127.0.0.1:{port}"]
submission = []
submissions = []
pop3 = []
pop3s = []
[delivery]
{delivery}
[limits]
exempt = ["127.0.0.0/8"]
[policy]
{policy}
{extra}
""")
        command = [sys.executable, "-m", "postroad.cli", "--config", str(folder / "postroad.toml")]
        subprocess.run([*command, "domain", "add", "bench.example"], check=True, capture_output=True)
        if relay_domain:
            subprocess.run([*command, "domain", "add", relay_domain, "--relay"], check=True, capture_output=True)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, "serve"], stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_port("127.0.0.1", port)
            yield _Postroad(folder, port, process)
        finally:
            process.terminate()
            process.wait(20)


class _Postfix:
    name = "postfix"

    def __init__(self, port: int, pid: int, queued: object) -> None:
        self.port = port
        self.pid = pid
        self._queued = queued

    def queued(self) -> int:
        return int(self._queued())  # type: ignore[operator]


@contextlib.contextmanager
def _postfix(next_hop: int | None, keeping: dict[str, str]) -> Iterator[Contestant]:
    """Debian's Postfix with its own defaults for everything that costs durability; `keeping` is how it keeps
    mail that has no next hop."""
    handing_on = {"relayhost": f"[127.0.0.1]:{next_hop}", "smtp_destination_concurrency_limit": "20"}
    settings = {"smtp_tls_security_level": "none", "smtp_bind_address": "", "default_process_limit": "100"}
    settings |= handing_on if next_hop else keeping
    with running_postfix(
        address="127.0.0.1", port=free_port(), hostname="bench.example", settings=settings, processes=100
    ) as server:
        yield _Postfix(server.port, server.master_pid(), server.queued)


def postfix(next_hop: int | None) -> contextlib.AbstractContextManager[Contestant]:
    """As it runs in life: its queue manager takes what was accepted, and defers it where there is no next hop."""
    return _postfix(next_hop, {"defer_transports": "smtp"})


def postfix_held(next_hop: int | None) -> contextlib.AbstractContextManager[Contestant]:
    """All goes into its hold queue, which spares it the queue manager's work: the least that it can do."""
    restrictions = "check_client_access static:HOLD, permit_mynetworks, reject"
    return _postfix(next_hop, {"smtpd_recipient_restrictions": restrictions})


CONTESTANTS = {"postroad": postroad, "postfix": postfix, "postfix-held": postfix_held}
"""By name; ours first, as the ratios are ours to theirs."""

__all__ = ["CONTESTANTS", "LOOK_UPS_OFF", "Contestant", "Sink", "name_server", "postroad", "sink", "wait_until"]
