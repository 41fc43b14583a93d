"""chasquid as it is measured. It takes no mail for others from strangers, so the recipients' domain is its own, and an
alias sends all of it on, to a domain that a name server of ours knows: it finds its next hop by MX alone. Its queue has
room for 200 messages, so it cannot be told to hold any.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from postroad.world.tls import make_self_signed, write_identity
from tests.support.nsd import running_nsd
from tests.support.ports import free_port, wait_for_port

_NAMES = "127.53.0.1"
_HOSTNAME = "bench.example"
_CONFIGURATION = """\
hostname: "{hostname}"
smtp_address: "127.0.0.1:{port}"
submission_address: "127.0.0.1:{submission}"
submission_over_tls_address: "127.0.0.1:{submissions}"
mail_delivery_agent_bin: "/bin/false"
data_dir: "{folder}/data"
mail_log_path: "/dev/null"
"""
_ZONES = {"example": "a.example. MX 10 sink\nonward MX 10 sink\nsink A 127.0.0.1\n"}


class Chasquid:
    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self._queue = folder / "data" / "queue"
        self.port = port
        self.pid = process.pid

    def queued(self) -> int:
        return sum(1 for _ in self._queue.glob("m:*"))


@contextlib.contextmanager
def names() -> Iterator[None]:
    """Who answers its questions: at port 53, as resolv.conf knows no other."""
    with running_nsd(_NAMES, 53, _ZONES):
        yield


@contextlib.contextmanager
def running_chasquid(program: Path, next_hop: int) -> Iterator[Chasquid]:
    """In a mount namespace of its own, in which resolv.conf names our name server."""
    with tempfile.TemporaryDirectory(prefix="chasquid-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        certificates, domain = folder / "certs" / _HOSTNAME, folder / "domains" / "b.example"
        for made in (certificates, domain, folder / "data"):
            made.mkdir(parents=True)
        write_identity(certificates / "fullchain.pem", certificates / "privkey.pem", make_self_signed(_HOSTNAME))
        (domain / "aliases").write_text("*: bob@onward.example\n")
        (folder / "resolv.conf").write_text(f"nameserver {_NAMES}\n")
        ports = {"port": port, "submission": free_port(), "submissions": free_port()}
        (folder / "chasquid.conf").write_text(_CONFIGURATION.format(hostname=_HOSTNAME, folder=folder, **ports))
        command = [str(program), "-config_dir", name, "-testing__outgoing_smtp_port", str(next_hop)]
        mount = f"mount --bind {shlex.quote(f'{name}/resolv.conf')} /etc/resolv.conf"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", f"{mount} && exec {shlex.join(command)}"], stdout=log, stderr=log
            )
        try:
            wait_for_port("127.0.0.1", port)
            yield Chasquid(folder, port, process)
        finally:
            process.terminate()
            process.wait(10)
