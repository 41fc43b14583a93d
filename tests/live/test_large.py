"""A letter of 25 MB: it never sits in memory, and nobody waits for it.

Memory is the sum over a server's processes of what each has resident, looked at every few milliseconds while the
letter is received, delivered, relayed and fetched; latency is what a second client sees meanwhile.
"""

from __future__ import annotations

import contextlib
import poplib
import random
import re
import smtplib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.ports import pause
from tests.support.server import PASSWORD, Server, running_server

LARGE_BYTES = 25 * 1_048_576
GROWTH_BYTES = 16 * 1_048_576
NOOPS = 200
ANSWERED_S = 0.1
_RESIDENT = re.compile(r"(?m)^Rss: +(\d+) kB$")

pytestmark = [pytest.mark.xdist_group("large"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(
        tmp_path_factory.mktemp("there"),
        hostname="mx.there.example",
        domain="there.example",
        users=("bob", "cat"),
        address="127.0.0.2",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, there: Server) -> Iterator[Server]:
    sections = (
        'trusted_networks = ["127.0.0.0/8"]\n'
        f'[[route]]\ndomain = "there.example"\nto = "{there.address}:{there.ports["smtp"]}"\n'
    )
    with running_server(tmp_path_factory.mktemp("here"), users=("bob", "cat"), sections=sections) as running:
        yield running


# ---- looking ---------------------------------------------------------------------------------------


def resident_bytes(pids: list[int]) -> int:
    """Of all processes together. Not the proportional share: that one changes when strangers come and go."""
    total = 0
    for pid in pids:
        found = _RESIDENT.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        assert found is not None
        total += int(found[1]) * 1024
    return total


class Memory:
    """By how much the processes of some servers have grown at most since the block began."""

    def __init__(self, *servers: Server) -> None:
        self._pids = {server.hostname: server.pids() for server in servers}
        self._base = {name: resident_bytes(pids) for name, pids in self._pids.items()}
        self.growth = dict.fromkeys(self._pids, 0)
        self._enough = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Memory:
        self._looking.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._enough.wait(0.01):
            for name, pids in self._pids.items():
                self.growth[name] = max(self.growth[name], resident_bytes(pids) - self._base[name])

    def check(self, what: str) -> None:
        grown = {name: f"{growth / 1_048_576:.1f} MiB" for name, growth in self.growth.items()}
        print(f"\n{what}: {LARGE_BYTES / 1_048_576:.0f} MiB made the processes grow by {grown}")
        assert max(self.growth.values()) <= GROWTH_BYTES, grown


def check_waits(what: str, waits: list[float], share: float = 0.95) -> None:
    """Print what a client has waited; so great a share of the answers must have come in time."""
    ranked = sorted(waits)
    high = ranked[int(len(ranked) * share)]
    print(
        f"\n{what}: {len(waits)} answers, median {statistics.median(waits) * 1000:.1f} ms, "
        f"{share:.0%} within {high * 1000:.1f} ms, at most {ranked[-1] * 1000:.1f} ms"
    )
    assert high < ANSWERED_S


LETTERS_IN_TIME = 0.75
"""A letter waits for a disk that is busy with 25 MB; the answers that need no disk are held to 95 %."""


def took(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


# ---- handing in and fetching -----------------------------------------------------------------------


def connected(server: Server) -> smtplib.SMTP:
    client = smtplib.SMTP(server.address, server.ports["smtp"], local_hostname="client.example", timeout=60)
    client.ehlo()
    return client


def hand_in_large(server: Server, recipient: str, octets: int = LARGE_BYTES) -> None:
    """As fast as it is taken, and without holding it in memory here."""
    block = random.Random(1).randbytes(3000).hex().encode()
    block = b"\r\n".join(block[at : at + 72] for at in range(0, len(block), 72)) + b"\r\n"
    block *= 10
    with connected(server) as client:
        assert client.mail("ann@client.example")[0] == 250
        assert client.rcpt(recipient)[0] == 250
        assert client.docmd("DATA")[0] == 354
        assert client.sock is not None
        client.sock.sendall(b"From: ann@client.example\r\nSubject: large\r\n\r\n")
        for _ in range(octets // len(block) + 1):
            client.sock.sendall(block)
        client.sock.sendall(b".\r\n")
        assert client.getreply()[0] == 250


def hand_in_small(client: smtplib.SMTP, recipient: str) -> None:
    assert client.mail("cat@client.example")[0] == 250
    assert client.rcpt(recipient)[0] == 250
    assert client.data(b"From: cat@client.example\r\nSubject: small\r\n\r\nHello\r\n")[0] == 250


@contextlib.contextmanager
def again_and_again(act: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Do it without end in a thread while the block runs; gives how often it was done."""
    enough, done, failures = threading.Event(), [0], list[BaseException]()

    def work() -> None:
        try:
            while not enough.is_set():
                act()
                done[0] += 1
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        enough.set()
        thread.join(60)
    assert not thread.is_alive()
    assert not failures, failures


def logged_in(server: Server, user: str, *, window_bytes: int = 0) -> poplib.POP3:
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=60)
    if window_bytes:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    client.user(f"{user}@{server.domain}")
    client.pass_(PASSWORD)
    return client


def fetch_slowly(server: Server, user: str) -> int:
    """RETR of the last letter with a small window and long looks at what came; how many octets it had."""
    client = logged_in(server, user, window_bytes=65_536)
    count, _ = client.stat()
    client.sock.sendall(f"RETR {count}\r\n".encode())
    octets, end = 0, b""
    pause(1.0)  # it does not read at all: what the server has read ahead is bounded
    while not end.endswith(b"\r\n.\r\n"):
        data = client.sock.recv(65_536)
        assert data, "the server hung up"
        octets += len(data)
        end = (end + data)[-5:]
        if octets % 1_048_576 < len(data):
            pause(0.02)
    client.quit()
    return octets


def warm_up(*servers: Server) -> None:
    """Once through all of the code, with a letter that goes by file, too."""
    for server in servers:
        for user in ("bob", "cat"):
            hand_in_large(server, f"{user}@{server.domain}", 200_000)
        server.wait_until_delivered()
        for user in ("bob", "cat"):
            fetch_slowly(server, user)


# ---- what must hold --------------------------------------------------------------------------------


def test_a_large_letter_is_never_in_memory(here: Server) -> None:
    warm_up(here)
    with Memory(here) as memory:
        hand_in_large(here, "bob@here.example")
        here.wait_until_delivered()
    memory.check("received and delivered")
    with Memory(here) as memory:
        assert fetch_slowly(here, "bob") > LARGE_BYTES
    memory.check("fetched by a slow reader")


def test_a_large_letter_is_never_in_memory_on_its_way_to_another_server(here: Server, there: Server) -> None:
    warm_up(here, there)
    hand_in_large(here, "bob@there.example", 200_000)
    here.wait_until_delivered()
    with Memory(here, there) as memory:
        hand_in_large(here, "bob@there.example")
        here.wait_until_delivered(60)
        there.wait_until_delivered(60)
    memory.check("relayed")
    assert fetch_slowly(there, "bob") > LARGE_BYTES


def test_others_are_answered_while_large_letters_come_in(here: Server) -> None:
    with connected(here) as other, again_and_again(lambda: hand_in_large(here, "bob@here.example")) as done:
        noops: list[float] = []
        letters: list[float] = []
        while len(noops) < NOOPS or not done():
            noops.append(took(other.noop))
            if len(noops) % 10 == 0:
                letters.append(took(lambda: hand_in_small(other, "cat@here.example")))
            pause(0.005)
    check_waits("NOOP while large letters come in", noops)
    check_waits("a whole small letter meanwhile", letters, LETTERS_IN_TIME)
    here.wait_until_delivered()


def test_others_are_answered_while_large_letters_are_relayed(here: Server, there: Server) -> None:
    """Both servers are asked: the one that sends and the one that takes."""
    with (
        connected(here) as near,
        connected(there) as far,
        again_and_again(lambda: hand_in_large(here, "bob@there.example")) as done,
    ):
        noops: dict[str, list[float]] = {"sends": [], "takes": []}
        letters = []
        while len(noops["sends"]) < NOOPS or not done():
            noops["sends"].append(took(near.noop))
            noops["takes"].append(took(far.noop))
            if len(noops["sends"]) % 10 == 0:
                letters.append(took(lambda: hand_in_small(near, "cat@there.example")))
            pause(0.005)
    for which, waits in noops.items():
        check_waits(f"NOOP to the server that {which} large letters", waits)
    check_waits("a whole small letter meanwhile", letters, LETTERS_IN_TIME)
    here.wait_until_delivered(60)
    there.wait_until_delivered(60)


def test_others_are_answered_while_a_large_letter_is_fetched(here: Server) -> None:
    hand_in_large(here, "bob@here.example")
    here.wait_until_delivered()

    def fetch() -> None:
        assert fetch_slowly(here, "bob") > LARGE_BYTES

    other = logged_in(here, "cat")
    with again_and_again(fetch) as done:
        noops: list[float] = []
        while len(noops) < NOOPS or not done():
            noops.append(took(other.noop))
            pause(0.005)
    other.quit()
    check_waits("POP3 NOOP while a large letter is fetched", noops)
