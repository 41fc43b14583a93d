"""A running server under the shim, with a client beside it, and its queue and mailboxes looked into."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import smtplib
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from faults.count import Book, Row
from faults.peer import Peer
from faults.shim import Shim
from postroad.vocabulary.queue_id import from_number
from tests.support.doors import fetched
from tests.support.ports import pause
from tests.support.server import Server
from tests.support.submitters import as_a_server, fetched_ids

SMALL = 2_000
LARGE = 100_000
"""Beyond 64 KiB content goes into a file of its own."""
_TOKEN = re.compile(rb"(?m)^X-Attempt: (\S+)\r?$")
_PATIENCE_S = 40.0


class Stuck(Exception):
    """A server did not come to rest: what was waited for, and its log."""


class House:
    """`sections` are more of the configuration. bob@here.example has a mailbox; ann@here.example writes and gets what
    is returned."""

    def __init__(
        self, folder: Path, library: Path, sections: str = "", peers: Mapping[str, Peer] | None = None
    ) -> None:
        self.peers = peers or {}
        folder.mkdir(parents=True)
        self.shim = Shim(library, folder / "orders", (folder / "here" / "data").resolve())
        self.server = Server(folder / "here", sections=sections, environment=self.shim.environment)
        self.data = self.server.folder / "data"
        self._numbers = itertools.count(1)
        self._all_pids: list[int] = []

    @contextlib.contextmanager
    def serving(self) -> Iterator[House]:
        self.start()
        try:
            yield self
        finally:
            self.shim.disarm()
            self.kill()

    def start(self) -> None:
        self.server.start()
        self._all_pids = self.server.pids()

    @property
    def worker(self) -> int:
        return self.server.worker()[0]

    def is_dead(self) -> bool:
        process = self.server._process
        return process is None or process.poll() is not None

    def bury(self) -> None:
        """Make sure that all processes of the server are gone; the one with the queue may be the first."""
        self.kill()
        end = time.monotonic() + 10
        for pid in self._all_pids:
            while _is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                if time.monotonic() > end:
                    raise Stuck(f"process {pid} does not die")
                pause(0.01)
        self._all_pids = []

    def kill(self) -> None:
        self.server.kill()

    # ---- the client ------------------------------------------------------------------------------

    def letter(self, octets: int) -> tuple[str, bytes]:
        """The token and the content of the next letter."""
        token = f"t{next(self._numbers):05d}"
        head = (
            f"From: ann@here.example\r\nMessage-ID: <{token}@client.example>\r\nX-Attempt: {token}\r\nSubject: {token}"
        )
        line = b"It rains, and the post is on the road all the same.\r\n"
        return token, head.encode() + b"\r\n\r\n" + line * (octets // len(line) + 1)

    def hand_in(self, book: Book, recipient: str, octets: int = SMALL) -> int | None:
        """One attempt over a connection of its own; the code of the last reply, None if none came."""
        token, content = self.letter(octets)
        code = self._attempt(recipient, content)
        book.add(token, code)
        return code

    def wait_until_served(self, book: Book, recipient: str, deadline_s: float = _PATIENCE_S) -> None:
        """Returns when a letter is taken again. Raises Stuck."""
        end = time.monotonic() + deadline_s
        while self.hand_in(book, recipient) != 250:
            if time.monotonic() > end:
                raise Stuck(f"nothing is taken any more: {self.server.log()[-2000:]}")
            pause(0.1)

    def _attempt(self, recipient: str, content: bytes) -> int | None:
        try:
            client = as_a_server(self.server.address, self.server.ports["smtp"])()
        except smtplib.SMTPResponseException as refusal:
            return int(refusal.smtp_code) if refusal.smtp_code > 0 else None
        except (OSError, smtplib.SMTPException):
            return None
        try:
            code = client.mail("ann@here.example")[0]
            if code == 250:
                code = client.rcpt(recipient)[0]
            return client.data(content)[0] if code == 250 else code
        except smtplib.SMTPResponseException as refusal:
            return int(refusal.smtp_code) if refusal.smtp_code > 0 else None
        except (OSError, smtplib.SMTPException):
            return None
        finally:
            client.close()

    # ---- what became of it -----------------------------------------------------------------------

    def queued_tokens(self) -> frozenset[str]:
        """What the files of the queue hold for a relay or a mailbox, read from a copy of them."""
        found = set()
        with tempfile.TemporaryDirectory(prefix="faults-") as name:
            copy = Path(name) / "queue"
            shutil.copytree(self.data / "queue", copy, ignore=shutil.ignore_patterns("*-shm", "*.lock", "*.part"))
            for path in copy.glob("*.db"):
                with contextlib.closing(sqlite3.connect(path)) as database:
                    rows = database.execute(
                        "SELECT DISTINCT message, octets FROM recipient_group LEFT JOIN content ON id = message"
                    ).fetchall()
                for number, octets in rows:
                    content = octets if octets is not None else _file(copy, from_number(number))
                    match = _TOKEN.search(content)
                    if match is not None:
                        found.add(match[1].decode())
        return frozenset(found)

    def wait_until_idle(self, deadline_s: float = _PATIENCE_S) -> None:
        """Returns when the queue is empty. Raises Stuck."""
        end = time.monotonic() + deadline_s
        while self.server.queued() != 0:
            if time.monotonic() > end:
                raise Stuck(f"the queue does not get empty: {self.server.run('queue', 'list').stdout.decode()}")
            pause(0.02)

    def wait_until_hit(self, quiet_s: float) -> None:
        """Returns when the fault has happened, or when the queue was empty for so long."""
        empty_since = None
        while not self.shim.hits and not self.is_dead():
            if self.server.queued() == 0:
                empty_since = empty_since or time.monotonic()
                if time.monotonic() - empty_since > quiet_s:
                    return
            pause(0.02)

    def wait_until_quiet(self, quiet_s: float = 1.3, deadline_s: float = 15.0) -> None:
        """Returns when the process is dead, or has called nothing for a while: stories are written a little later."""
        end = time.monotonic() + deadline_s
        count, since = self.shim.count, time.monotonic()
        while not self.is_dead() and time.monotonic() < end and time.monotonic() - since < quiet_s:
            pause(0.01)
            if self.shim.count != count:
                count, since = self.shim.count, time.monotonic()

    def row(self, fault: str, book: Book) -> Row:
        """Count. The server runs; what peers took and mailboxes hold is compared with what clients were told."""
        found = fetched_ids(self.server, "bob")
        for peer in self.peers.values():
            found.update(peer.taken)
            for token, count in peer.unheard.items():
                book.excused[token] += count
        returned: Counter[str] = Counter()
        for content in fetched(self.server, "ann"):
            returned.update(token.decode() for token in set(_TOKEN.findall(content)))
        return book.row(fault, found, returned, self.queued_tokens())


def _file(folder: Path, queue_id: str) -> bytes:
    for path in folder.glob(f"*/{queue_id}"):
        return path.read_bytes()
    return b""


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
