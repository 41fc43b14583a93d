"""Clients that cost without bringing mail: what a herd of them takes, and what the others notice of it."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from bench.contestants import LOOK_UPS_OFF, Contestant, name_server, postroad
from bench.processes import Watch, pss_kib, raise_descriptors, wait_until

IDLE_SESSIONS, LORIS_CLIENTS = 10_000, 5_000
GARBAGE_BYTES, BDATS = 2_000_000, 1_000_000
_GREETINGS, _LETTERS = 50, 60
_PATIENCE_S = 60.0
_EHLO = b"EHLO client.example\r\n"
_MAIL = b"MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nDATA\r\n"
_CONTENT = (
    b"From: ann@a.example\r\nSubject: measured\r\n\r\n" + b"It rains, and the post is on the road.\r\n" * 100 + b".\r\n"
)
_TALK: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (
    (_EHLO, (b"250",)),
    (_MAIL, (b"250", b"250", b"354")),
    (_CONTENT, (b"250",)),
    (b"QUIT\r\n", (b"221",)),
)


@contextlib.contextmanager
def herd(kind: str, port: int, count: int) -> Iterator[dict[str, int]]:
    """The clients, in their process. When the block ends they tell how they fared, in the dictionary."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.herd", kind, str(port), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    fared: dict[str, int] = {}
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the {kind} clients did not get where they should be")
        yield fared
        told, _ = process.communicate(b"", timeout=_PATIENCE_S)
        fared.update(json.loads(told))
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def server(extra: str = "", policy: str = LOOK_UPS_OFF) -> Iterator[Contestant]:
    with postroad(None, extra, policy=policy, relay_domain="b.example") as running:
        _letter(running.port)  # so that its files are open and its caches warm
        yield running


# ---- idle ------------------------------------------------------------------------------------------


def idle(count: int = IDLE_SESSIONS) -> None:
    """Open sessions that say nothing after EHLO, in clear and then inside TLS, under the default rules."""
    raise_descriptors()
    for kind, goal in (("idle", 12), ("idle-tls", 32)):
        with name_server() as dns, server(dns, "") as running:
            before, begin = pss_kib(running.pid), time.monotonic()
            with herd(kind, running.port, count) as fared:
                took = time.monotonic() - begin
                greetings = [_greeting_s(running.port) for _ in range(_GREETINGS)]
                each = (pss_kib(running.pid) - before) / count
            print(
                f"{kind:10} {count} sessions in {took:.1f} s: {each:.1f} KiB each (goal {goal}); a new client's "
                f"greeting after {_ms(statistics.median(greetings))}, at most {_ms(max(greetings))} (goal 50 ms); "
                f"{fared['sent away']} were sent away",
                flush=True,
            )


def _greeting_s(port: int) -> float:
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as client:
        assert client.recv(4096).startswith(b"220 ")
        return time.monotonic() - begin


# ---- loris -----------------------------------------------------------------------------------------


def loris(count: int = LORIS_CLIENTS) -> None:
    """Letters one after the other, without the herd and with it."""
    raise_descriptors()
    with server() as running:
        alone = [_letter(running.port) for _ in range(_LETTERS)]
        with herd("loris", running.port, count) as fared:
            beside = [_letter(running.port) for _ in range(_LETTERS)]
            time.sleep(30)  # the first of them are sent away for their slowness by now, and come again
            later = [_letter(running.port) for _ in range(_LETTERS)]
        change = max(statistics.median(beside), statistics.median(later)) - statistics.median(alone)
        print(
            f"loris      {count} clients: a letter takes {_ms(statistics.median(alone))} without them, "
            f"{_ms(statistics.median(beside))} and {_ms(statistics.median(later))} (at most "
            f"{_ms(max(beside + later))}) beside them, {_ms(change)} more (goal 100 ms); {fared}",
            flush=True,
        )


def _letter(port: int) -> float:
    """From connecting to the answer to QUIT."""
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as client, client.makefile("rb") as answers:
        _expect(answers.readline, b"220")
        for words, codes in _TALK:
            client.sendall(words)
            for code in codes:
                _expect(answers.readline, code)
    return time.monotonic() - begin


def _expect(readline: Callable[[], bytes], code: bytes) -> bytes:
    """The last line of a reply."""
    while (line := readline())[3:4] == b"-":
        pass
    assert line.startswith(code), line
    assert line, "the server closed the connection"
    return line


# ---- garbage ---------------------------------------------------------------------------------------


def garbage() -> None:
    """What nobody should send, and the memory of the server before, meanwhile and after."""
    noise = random.Random(2822).randbytes(GARBAGE_BYTES)
    lines = noise.replace(b"\n", b"\r\n")
    scenes: tuple[tuple[str, bytes, bytes], ...] = (
        ("random octets as commands", b"", noise),
        ("random lines as commands", b"", lines),
        ("random octets as content", _EHLO + _MAIL, noise),
        ("a line without an end", b"", b"x" * 64_000_000),
        ("a header field without an end", _EHLO + _MAIL + b"Subject: ", b"x" * 64_000_000),
        ("content of one octet lines", _EHLO + _MAIL, b"x\r\n" * (GARBAGE_BYTES // 3)),
        ("a million NOOPs in one go", _EHLO, b"NOOP\r\n" * 1_000_000),
    )
    with server() as running:
        for name, opening, octets in scenes:
            _report_scene(name, running, opening, octets)
        if _offers(running.port, b"CHUNKING"):
            mail = _EHLO + _MAIL.removesuffix(b"DATA\r\n")
            _report_scene("a million BDATs of one octet", running, mail, b"BDAT 1\r\n\rBDAT 1\r\n\n" * (BDATS // 2))
            _report_scene("a million BDATs of none", running, mail, b"BDAT 0\r\n" * BDATS)
        else:
            print("garbage    BDAT is not offered: not measured")
        wait_until(lambda: running.queued() is not None, "an answer to status")


def _report_scene(name: str, running: Contestant, opening: bytes, octets: bytes) -> None:
    begin = time.monotonic()
    with Watch(running.pid, 0.05) as watch:
        sent, connections, heard = _pour(running.port, opening, octets)
    after = _letter(running.port)
    print(
        f"garbage    {name}: {sent:,} octets over {connections} connections in {time.monotonic() - begin:.1f} s, "
        f"{heard:,} octets of answers; server {watch.first / 1024:.1f} MiB before, {watch.most / 1024:.1f} at most, "
        f"{watch.last / 1024:.1f} after; the next letter took {_ms(after)}",
        flush=True,
    )


def _pour(port: int, opening: bytes, octets: bytes, *, connections_max: int = 200) -> tuple[int, int, int]:
    """All of the octets, over a new connection whenever the server closes one; how much of it was sent, over how many,
    and how many octets were answered. The answers are read, as a client does that wants the server to go on."""
    at = heard = connections = 0
    while at < len(octets) and connections < connections_max:
        connections += 1
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as client:
            client.sendall(opening)
            client.setblocking(False)
            sent, received = _exchange(client, memoryview(octets)[at:])
            at += sent
            heard += received + _rest(client)
    return at, connections, heard


def _exchange(client: socket.socket, octets: memoryview) -> tuple[int, int]:
    """Until all is sent, or the server closes."""
    sent = received = 0
    quiet_since = time.monotonic()
    while sent < len(octets) and time.monotonic() - quiet_since < _PATIENCE_S:
        moved, answer = 0, None
        try:
            with contextlib.suppress(BlockingIOError):
                moved = client.send(octets[sent : sent + 65_536])
            with contextlib.suppress(BlockingIOError):
                answer = client.recv(65_536)
        except ConnectionError:
            break
        if answer == b"":
            break
        if moved or answer:
            quiet_since = time.monotonic()
        else:
            time.sleep(0.001)
        sent += moved
        received += len(answer or b"")
    return sent, received


def _rest(client: socket.socket) -> int:
    """Send no more, and read what is still answered."""
    client.settimeout(_PATIENCE_S)
    received = 0
    with contextlib.suppress(ConnectionError, OSError):
        client.shutdown(socket.SHUT_WR)
        while answer := client.recv(65_536):
            received += len(answer)
    return received


def _offers(port: int, keyword: bytes) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as client, client.makefile("rb") as answers:
        answers.readline()
        client.sendall(_EHLO)
        offered = False
        while True:
            line = answers.readline()
            offered |= line[4:].split() == [keyword]
            if line[3:4] != b"-":
                return offered


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
