"""python -m bench [WAY ...]: rates, ratios and costs, interleaved, medians of rounds; and what hostile loads do.

accept, accept-reused, relay, relay-reused: mail that is held, or handed on, beside a peer.
accept-policy, accept-tls: what the rules about clients, and TLS, cost. idle, loris, garbage: see bench/hostile.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import hostile, policy
from bench.contestants import CONTESTANTS, sink
from bench.processes import cpu_s, memory_mib, wait_until

_MESSAGE_BYTES = 4096
_WAYS = ("accept", "accept-reused", "relay", "relay-reused")
_OTHERS: dict[str, Callable[[], None]] = {
    "accept-policy": policy.accept_policy,
    "accept-tls": policy.accept_tls,
    "idle": hostile.idle,
    "loris": hostile.loris,
    "garbage": hostile.garbage,
}


@dataclass(frozen=True)
class Measurement:
    per_second: float
    cpu_ms: float
    """Processor time of the server's processes for one message."""
    memory_mib: float
    counted: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("ways", nargs="*", default=[], help=f"of {', '.join((*_WAYS, *_OTHERS))}; all without")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--only", choices=sorted(CONTESTANTS), help="measure this one alone")
    options = parser.parse_args()
    ways = options.ways or [*_WAYS, *_OTHERS]
    unknown = set(ways) - {*_WAYS, *_OTHERS}
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join((*_WAYS, *_OTHERS))}")
    names = [options.only] if options.only else list(CONTESTANTS)
    print(
        f"{options.messages} messages of {_MESSAGE_BYTES} octets, {options.sessions} sessions, {options.rounds} rounds"
    )
    print("ledger on, full sync, client look-ups off, no TLS; every accepted message is counted at the end")
    print(f"this machine: {os.cpu_count()} cores, {fdatasyncs_per_second():,.0f} fdatasync/s of 4 KiB\n")
    for way in ways:
        if way in _OTHERS:
            _OTHERS[way]()
            continue
        here = [name for name in names if not (way.startswith("relay") and name == "postfix-held")]
        results: dict[str, list[Measurement]] = {name: [] for name in here}
        for _ in range(options.rounds):
            for name in here:
                results[name].append(measure(name, way, options.messages, options.sessions))
        report(way, results)
    return 0


def measure(name: str, way: str, messages: int, sessions: int) -> Measurement:
    """One round: start the server, drive it with smtp-source, count. Raises AssertionError if mail is missing."""
    with sink() as next_hop, CONTESTANTS[name](next_hop.port if way.startswith("relay") else None) as server:
        drive(server.port, 50, 5, reuse=False)  # let it start its processes and open its files
        if way.startswith("relay"):
            wait_until(lambda: next_hop.count() >= 50, "the first messages at the sink")
            already = next_hop.count()
        else:
            already = server.queued()
        cpu, begin = cpu_s(server.pid), time.monotonic()
        drive(server.port, messages, sessions, reuse=way.endswith("reused"))
        if way.startswith("relay"):
            wait_until(lambda: next_hop.count() >= already + messages, "all messages at the sink")
        took = time.monotonic() - begin
        if way.startswith("relay"):
            wait_until(lambda: server.queued() == 0, "an empty queue")
        else:  # Postfix moves files from queue to queue; counted on the way they may be two, or none
            wait_until(lambda: server.queued() == already + messages, f"{messages} messages in the queue of {name}")
        counted = (next_hop.count() if way.startswith("relay") else server.queued()) - already
        spent = cpu_s(server.pid) - cpu
        assert counted == messages, f"{name} {way}: {messages} sent, {counted} counted"
        return Measurement(messages / took, spent / messages * 1000, memory_mib(server.pid), counted)


def drive(port: int, messages: int, sessions: int, *, reuse: bool) -> None:
    """Debian's smtp-source; `reuse` keeps each connection for its share of the messages."""
    keep = ["-d"] if reuse else []
    addresses = ["-f", "ann@a.example", "-t", "bob@b.example"]
    size = ["-s", str(sessions), "-m", str(messages), "-l", str(_MESSAGE_BYTES)]
    subprocess.run(["smtp-source", *keep, *size, *addresses, f"127.0.0.1:{port}"], check=True)


def report(way: str, results: dict[str, list[Measurement]]) -> None:
    print(f"{way:14} {'per second':>10} {'range':>17} {'CPU ms':>7} {'MiB':>6}")
    for name, rounds in results.items():
        rates = [one.per_second for one in rounds]
        low, middle, high = min(rates), statistics.median(rates), max(rates)
        cpu = statistics.median(one.cpu_ms for one in rounds)
        memory = statistics.median(one.memory_mib for one in rounds)
        print(f"  {name:12} {middle:10,.0f} {f'{low:,.0f}-{high:,.0f}':>17} {cpu:7.2f} {memory:6.0f}")
    if len(results) > 1:
        first, *others = results
        for other in others:
            ratios = [a.per_second / b.per_second for a, b in zip(results[first], results[other], strict=True)]
            overlap = min(ratios) <= 1 <= max(ratios)
            verdict = "undecided" if overlap else f"{statistics.median(ratios):.1f}x"
            print(f"  {first} / {other}: {verdict} (rounds {', '.join(f'{ratio:.1f}' for ratio in ratios)})")
    print()
    sys.stdout.flush()


def fdatasyncs_per_second(seconds: float = 1.0) -> float:
    """How often this disk makes 4 KiB durable: the limit for one message a sync."""
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        block, count, begin = b"x" * 4096, 0, time.monotonic()
        while time.monotonic() - begin < seconds:
            os.write(file.fileno(), block)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
