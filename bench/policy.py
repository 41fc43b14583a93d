"""What the rules about clients, and TLS, cost: rates of accepting mail with them and without, in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.contestants import LOOK_UPS_OFF, name_server, postroad
from bench.processes import cpu_s

_ROUNDS, _MESSAGES, _SESSIONS = 3, 4000, 20
_RELAY_DOMAIN = "b.example"
_STRANGERS = LOOK_UPS_OFF.replace('trusted_networks = ["127.0.0.0/8"]\n', "")


def accept_policy() -> None:
    """A stranger's mail for a domain that we relay, one connection each: all rules off, and as they are by default."""
    rates: dict[str, list[float]] = {"policy off": [], "default policy": []}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    with name_server() as dns:
        for _ in range(_ROUNDS):
            for name, policy in (("policy off", _STRANGERS), ("default policy", "")):
                with postroad(None, dns, policy=policy, relay_domain=_RELAY_DOMAIN) as server:
                    _drive(server.port, 50)
                    already, cpu, begin = server.queued(), cpu_s(server.pid), time.monotonic()
                    _drive(server.port, _MESSAGES)
                    rates[name].append(_MESSAGES / (time.monotonic() - begin))
                    costs[name].append((cpu_s(server.pid) - cpu) / _MESSAGES * 1000)
                    assert server.queued() == already + _MESSAGES, "mail is missing"
    for name, found in rates.items():
        _report("accept-policy", name, found, costs[name])


def _drive(port: int, messages: int) -> None:
    who = ["-M", "client.a.example", "-f", "ann@a.example", "-t", f"bob@{_RELAY_DOMAIN}"]
    size = ["-s", str(_SESSIONS), "-m", str(messages), "-l", "4096"]
    subprocess.run(["smtp-source", *who, *size, f"127.0.0.1:{port}"], check=True)


def accept_tls() -> None:
    """Our own client in clear, with a handshake for each message, and with one for each session."""
    ways = ("clear", "tls", "tls-reused")
    rates: dict[str, list[float]] = {way: [] for way in ways}
    costs: dict[str, list[float]] = {way: [] for way in ways}
    with postroad(None, policy=_STRANGERS, relay_domain=_RELAY_DOMAIN) as server:
        for _ in range(_ROUNDS):
            for way in ways:
                messages = _MESSAGES // 2
                cpu = cpu_s(server.pid)
                command = [sys.executable, "-m", "bench.sender", str(server.port), str(messages), str(_SESSIONS), way]
                took = float(subprocess.run(command, check=True, capture_output=True).stdout)
                rates[way].append(messages / took)
                costs[way].append((cpu_s(server.pid) - cpu) / messages * 1000)
        assert server.queued() == _ROUNDS * len(ways) * (_MESSAGES // 2), "mail is missing"
    for way in ways:
        _report("accept-tls", way, rates[way], costs[way])


def _report(what: str, name: str, rates: list[float], costs: list[float]) -> None:
    print(
        f"{what:14} {name:15} {statistics.median(rates):8,.0f} per second ({min(rates):,.0f}-{max(rates):,.0f}), "
        f"{statistics.median(costs):.2f} ms of CPU each",
        flush=True,
    )
