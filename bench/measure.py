"""One round: a server started afresh, warmed up, driven by Debian's smtp-source, and every accepted message counted."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench.contestants import Contestant, Sink, sink
from bench.group import group
from bench.peers import ENTRIES, Duty
from bench.processes import wait_until
from postroad.app.bench_machine import cpu_s

_WARM_UP, _WARM_UP_SESSIONS = 50, 5


@dataclass(frozen=True)
class Way:
    name: str
    relay: bool = False
    reuse: bool = False
    message_bytes: int = 4096
    share: int = 1
    """A round has so many times fewer messages than one of small ones."""

    @property
    def unit(self) -> str:
        return "MB/s" if self.message_bytes >= 1_000_000 else "/s"


WAYS = {
    way.name: way
    for way in (
        Way("accept"),
        Way("accept-reused", reuse=True),
        Way("relay", relay=True),
        Way("relay-reused", relay=True, reuse=True),
        Way("accept-1mib", message_bytes=1_048_576, share=20),
    )
}


@dataclass(frozen=True)
class Measurement:
    rate: float
    """Messages a second, or MB/s of large ones."""

    cpu_ms: float
    """Processor time of the server's processes for one message."""

    tool_ms: float
    """Processor time of smtp-source for one message, and of smtp-sink where mail is relayed to it."""

    memory_mib: float
    counted: int


def measure(name: str, way: Way, messages: int, sessions: int) -> Measurement:
    """Raises AssertionError if mail is missing or double, TimeoutError if it does not get where it should."""
    entry = ENTRIES[name]
    with ExitStack() as stack:
        costs = stack.enter_context(group())
        next_hop = stack.enter_context(sink()) if way.relay or not entry.holds else None
        stack.enter_context(entry.beside())
        with costs.joined():
            server = stack.enter_context(entry.start(Duty(next_hop.port if next_hop else None, sessions)))
        costs.watch(server.pid)
        # It starts its processes and opens its files; and counting is shown to be exact before it is relied upon.
        drive(server.port, _WARM_UP, _WARM_UP_SESSIONS, way)
        await_all(server, next_hop, _WARM_UP, name)
        cpu, tool, begin = costs.cpu_s(), _tool_s(next_hop), time.monotonic()
        drive(server.port, messages, sessions, way)
        took = time.monotonic() - begin
        if way.relay and next_hop is not None:
            wait_until(lambda: next_hop.count() >= _WARM_UP + messages, f"all messages of {name} at the sink")
            took = time.monotonic() - begin
        await_all(server, next_hop, _WARM_UP + messages, name)
        spent, tool_spent = costs.cpu_s() - cpu, _tool_s(next_hop) - tool
        size = way.message_bytes / 1e6 if way.unit == "MB/s" else 1
        return Measurement(
            messages / took * size,
            spent / messages * 1000,
            tool_spent / messages * 1000,
            costs.memory_mib(),
            messages,
        )


def await_all(server: Contestant, next_hop: Sink | None, messages: int, name: str) -> None:
    """Returns when so many messages are where they belong, twice in a row: in the queue, or at the sink and none in the
    queue any more."""

    def there() -> tuple[int, int]:
        return server.queued(), next_hop.count() if next_hop else 0

    wanted = (0, messages) if next_hop else (messages, 0)
    try:
        wait_until(lambda: there() == wanted == there(), "all messages")
    except TimeoutError:
        queued, arrived = there()
        raise AssertionError(f"{name}: {messages} accepted, but {queued} in the queue, {arrived} at the sink") from None


def drive(port: int, messages: int, sessions: int, way: Way) -> None:
    """Debian's smtp-source; with `reuse` it keeps each connection for its share of the messages. It ends in failure,
    CalledProcessError here, at the first reply that is no success."""
    keep = ["-d"] if way.reuse else []
    addresses = ["-f", "ann@a.example", "-t", "bob@b.example"]
    size = ["-s", str(sessions), "-m", str(messages), "-l", str(way.message_bytes)]
    subprocess.run(["smtp-source", *keep, *size, *addresses, f"127.0.0.1:{port}"], check=True)


def _tool_s(next_hop: Sink | None) -> float:
    """Processor time of what drives: of our children that have ended, of which a round has no others, and the sink."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = children.ru_utime + children.ru_stime
    return own + (cpu_s(next_hop.process.pid) if next_hop else 0.0)


def interleaved(
    way: Way, names: list[str], rounds: int, messages: int, sessions: int, failed: Callable[[str], None]
) -> dict[str, list[Measurement]]:
    """In turns, so that what else the machine does meets all of them. Who cannot do it is told of and left out."""
    here = {name: list[Measurement]() for name in names if ENTRIES[name].relays or not way.relay}
    for _ in range(rounds):
        for name in list(here):
            try:
                here[name].append(measure(name, way, messages, sessions))
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                if name == "postroad":
                    raise
                failed(f"{way.name}: {name} is left out: {error}")
                del here[name]
    return here
