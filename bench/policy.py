"""What the rules about clients, and TLS, cost: rates of accepting mail with them and without, in turns."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage

from bench.contestants import LOOK_UPS_OFF, Contestant, name_server, postroad
from bench.measure import Measurement
from bench.processes import pss_kib
from bench.tables import Row
from postroad.app.bench_machine import cpu_s

_SESSIONS = 20
_RELAY_DOMAIN = "b.example"
_STRANGERS = LOOK_UPS_OFF.replace('trusted_networks = ["127.0.0.0/8"]\n', "")


def accept_policy(rounds: int, messages: int) -> Row:
    """A stranger's mail for a domain that we relay, one connection each: all rules off, and as they are by default."""
    found: dict[str, list[Measurement]] = {"policy off": [], "default policy": []}
    with name_server() as dns:
        for _ in range(rounds):
            for name, policy in (("policy off", _STRANGERS), ("default policy", "")):
                with postroad(None, dns, policy=policy, relay_domain=_RELAY_DOMAIN) as server:
                    _drive(server.port, 50)
                    found[name].append(_measured(server, messages, lambda count: _timed(server.port, count)))
                    assert server.queued() == 50 + messages, "mail is missing"
    return Row(f"accept-policy, {_SESSIONS} sessions", "/s", found)


def _timed(port: int, messages: int) -> float:
    begin = time.monotonic()
    _drive(port, messages)
    return time.monotonic() - begin


def _drive(port: int, messages: int) -> None:
    who = ["-M", "client.a.example", "-f", "ann@a.example", "-t", f"bob@{_RELAY_DOMAIN}"]
    size = ["-s", str(_SESSIONS), "-m", str(messages), "-l", "4096"]
    subprocess.run(["smtp-source", *who, *size, f"127.0.0.1:{port}"], check=True)


def accept_tls(rounds: int, messages: int) -> Row:
    """Our own client in clear, with a handshake for each message, and with one for each session."""
    ways = ("clear", "tls", "tls-reused")
    found: dict[str, list[Measurement]] = {way: [] for way in ways}
    some = max(1, messages // 2 // _SESSIONS) * _SESSIONS

    with postroad(None, policy=_STRANGERS, relay_domain=_RELAY_DOMAIN) as server:

        def drive(way: str, count: int) -> float:
            command = [sys.executable, "-m", "bench.sender", str(server.port), str(count), str(_SESSIONS), way]
            return float(subprocess.run(command, check=True, capture_output=True).stdout)

        drive("clear", _SESSIONS)
        for _ in range(rounds):
            for way in ways:
                found[way].append(_measured(server, some, partial(drive, way)))
        assert server.queued() == _SESSIONS + rounds * len(ways) * some, "mail is missing"
    return Row(f"accept-tls, {_SESSIONS} sessions", "/s", found)


def _measured(server: Contestant, messages: int, drive: Callable[[int], float]) -> Measurement:
    """`drive` gives the seconds that so many messages took."""
    cpu, tool = cpu_s(server.pid), _tool_s()
    took = drive(messages)
    spent, tool_spent = cpu_s(server.pid) - cpu, _tool_s() - tool
    memory = pss_kib(server.pid) / 1024
    return Measurement(messages / took, spent / messages * 1000, tool_spent / messages * 1000, memory, messages)


def _tool_s() -> float:
    ended = getrusage(RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime
