"""A private NSD: an authoritative DNS server that nobody here wrote."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query

from tests.support.ports import pause

_CONFIGURATION = """\
server:
    ip-address: {address}
    port: {port}
    username: ""
    server-count: 1
    zonesdir: "{folder}"
    database: ""
    xfrdir: "{folder}"
    xfrdfile: ""
    zonelistfile: "{folder}/zones.list"
    pidfile: "{folder}/nsd.pid"
    verbosity: 1
    # Else it leaves what is more than 200 a second unanswered.
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""


@contextlib.contextmanager
def running_nsd(address: str, port: int, zones: dict[str, str]) -> Iterator[None]:
    """Serve these zones within the block: name -> records in master file form, the SOA and NS are added."""
    with tempfile.TemporaryDirectory(prefix="nsd-") as name:
        folder = Path(name)
        configuration = _CONFIGURATION.format(address=address, port=port, folder=folder)
        for zone, records in zones.items():
            head = (
                f"$ORIGIN {zone}.\n$TTL 60\n@ SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 60\n@ NS ns.{zone}.\n"
            )
            (folder / f"{zone}.zone").write_text(f"{head}ns A {address}\n{records}\n")
            configuration += f'zone:\n    name: "{zone}"\n    zonefile: "{zone}.zone"\n'
        (folder / "nsd.conf").write_text(configuration)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", str(folder / "nsd.conf")], stdout=log, stderr=log)
            try:
                _wait(address, port, next(iter(zones)), folder / "log", server)
                yield
            finally:
                server.terminate()
                server.wait(10)


def _wait(address: str, port: int, zone: str, log: Path, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    question = dns.message.make_query(zone, "SOA")
    while True:
        with contextlib.suppress(OSError, socket.timeout):
            if dns.query.tcp(question, address, timeout=1, port=port).answer:
                return
        if time.monotonic() > end or server.poll() is not None:
            raise TimeoutError(f"nsd does not answer: {log.read_text()}")
        pause()
