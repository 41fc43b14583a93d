"""Our own server as it is measured, the sink that takes what is relayed, and the name server that is asked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bench.processes import wait_until
from tests.support.ports import free_port, wait_for_port


class Contestant(Protocol):
    pid: int
    """Of the process that all others of it descend from."""

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
    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._process = process
        self.port = port
        self.pid = process.pid

    def answers(self) -> bool:
        """Whether all its workers are ready. Raises RuntimeError when it has ended instead."""
        if self._process.poll() is not None:
            raise RuntimeError((self._folder / "log").read_text())
        try:
            return self.queued() == 0
        except OSError:
            return False

    def queued(self) -> int:
        """What `status` counts in the stores, asked at the control socket: no process is started for it."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(30)
            control.connect(str(self._folder / "data" / "run" / "control.sock"))
            control.sendall(b'{"verb":"status","arguments":{}}\n')
            answer = json.loads(control.makefile("rb").readline())
        return sum(report.get("queue_messages", 0) for report in answer["result"])


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
            server = _Postroad(folder, port, process)
            wait_until(server.answers, "an answer of the server", 30)
            yield server
        finally:
            process.terminate()
            process.wait(20)
