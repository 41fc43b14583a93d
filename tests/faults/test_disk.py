"""A disk that is full, and a disk that fails, under a running server: nobody is promised what is not kept.

452 4.3.1 while there is no room, 451 4.3.0 while a sync fails, never a 250 for what is not on the disk; and the
server goes on by itself as soon as the disk does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import smtplib
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from postroad.vocabulary.limits import DISK_RESERVE_BYTES
from tests.conftest import PeerProgram
from tests.support.ports import pause
from tests.support.server import Server
from tests.support.submitters import as_a_server, fetched_ids

ROOM_BYTES = DISK_RESERVE_BYTES + 40 * 1_048_576
LARGE_BYTES = 2 * 1_048_576
IN_ROW_BYTES = 50_000
BACK_S = 15.0

pytestmark = [pytest.mark.xdist_group("disk"), pytest.mark.timeout(120)]


class Customer:
    """Somebody who hands in letters with numbers, over one connection, and knows which were taken."""

    def __init__(self, server: Server, name: str = "a") -> None:
        self._name = name
        self._door = as_a_server(server.address, server.ports["smtp"])
        self._client: smtplib.SMTP | None = None
        self.tried = 0
        self.taken: list[str] = []

    def __enter__(self) -> Customer:
        return self

    def __exit__(self, *error: object) -> None:
        if self._client is not None:
            self._client.close()

    def begin(self) -> tuple[int, bytes]:
        """MAIL and RCPT; the reply that refused, or the last."""
        if self._client is None:
            self._client = self._door()
        answer = self._client.mail("cat@client.example")
        return self._client.rcpt("bob@here.example") if answer[0] == 250 else answer

    def finish(self, octets: int) -> tuple[int, bytes]:
        """DATA and a letter of that size; the reply to its end."""
        assert self._client is not None
        self.tried += 1
        name = f"{self._name}-{self.tried}"
        header = f"From: cat@client.example\r\nX-Attempt: {name}\r\n\r\n".encode()
        try:
            answer = self._client.data(header + b"The disk, the disk.\r\n" * (octets // 21))
        except smtplib.SMTPServerDisconnected:
            self._client = None
            raise
        if answer[0] == 250:
            self.taken.append(name)
        return answer

    def hand_in(self, octets: int = 1000) -> tuple[int, bytes]:
        answer = self.begin()
        return self.finish(octets) if answer[0] == 250 else answer

    def is_served_again(self) -> None:
        """Returns when a letter is taken. Raises AssertionError when that takes too long."""
        end = time.monotonic() + BACK_S
        while (answer := self.hand_in())[0] != 250:
            assert answer[0] in (451, 452), answer
            assert time.monotonic() < end, answer
            pause(0.1)


def check_promises(server: Server, *customers: Customer) -> None:
    """Every letter with a 250 is there once, no other is there, and no file is left."""
    server.wait_until_delivered(60)
    found = fetched_ids(server, "bob")
    assert sorted(found) == sorted(name for customer in customers for name in customer.taken)
    assert set(found.values()) == {1}
    assert [path for path in (server.folder / "data" / "queue").glob("*/*") if path.is_file()] == []
    assert "unexpected" not in server.log()
    assert "Traceback" not in server.log()


# ---- a full disk -----------------------------------------------------------------------------------


class SmallDisk:
    """A file system of its own, which can be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, free_bytes: int) -> None:
        """Fill it until no more is free than this; 0 is to the last block."""
        with self._ballast.open("ab") as ballast:
            while (more := self._free() - free_bytes) > 0:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.tell(), more)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return
                ballast.seek(0, os.SEEK_END)

    def clear(self) -> None:
        self._ballast.unlink()

    def _free(self) -> int:
        facts = os.statvfs(self.folder)
        return facts.f_bavail * facts.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def server(disk: SmallDisk) -> Iterator[Server]:
    """Its log and its data are on the small disk, too."""
    server = Server(disk.folder, users=("bob",), sections='[queue]\nretry = ["1s"]\n')
    server.start()
    yield server
    server.stop()


def test_mail_is_refused_while_the_reserve_is_touched_and_taken_again_after_it(server: Server, disk: SmallDisk) -> None:
    with Customer(server) as customer:
        assert customer.hand_in()[0] == 250
        disk.leave(DISK_RESERVE_BYTES // 2)
        end = time.monotonic() + BACK_S
        while (answer := customer.begin())[0] == 250:  # how much is free is looked up once in a while
            assert time.monotonic() < end
            assert customer.finish(1000)[0] == 250
            pause(0.1)
        assert answer[0] == 452
        assert answer[1].startswith(b"4.3.1 ")
        disk.clear()
        customer.is_served_again()
        check_promises(server, customer)


@pytest.mark.parametrize("left_bytes", [0, 1_500_000], ids=["at once", "bit by bit"])
def test_a_disk_that_fills_up_in_the_middle_loses_nothing_that_was_acknowledged(
    server: Server, disk: SmallDisk, left_bytes: int
) -> None:
    """Letters that go into the database, and such as go into files. Where there is room for a few of them in the
    queue, there may be none for them in the mailbox: they wait."""
    with contextlib.ExitStack() as leaving:
        first, *customers = (leaving.enter_context(Customer(server, f"c{number}")) for number in range(41))
        assert first.hand_in()[0] == 250
        server.wait_until_delivered()
        for customer in customers:
            assert customer.begin()[0] == 250
        disk.leave(left_bytes)
        sizes = [IN_ROW_BYTES if number % 2 else LARGE_BYTES for number in range(len(customers))]
        answers = [customer.finish(size) for customer, size in zip(customers, sizes, strict=True)]
        print(f"\non a full disk: {Counter(answer[0] for answer in answers)}")
        assert {answer[0] for answer in answers} <= {250, 452}
        assert {answer[1][:6] for answer in answers if answer[0] == 452} == {b"4.3.1 "}
        assert all(answer[0] == 452 for answer in answers[::2]), "there is no room for a large one"
        assert any(answer[0] == 452 for answer in answers[1::2]), "the database never filled up"
        assert any(answer[0] == 250 for answer in answers) == bool(left_bytes)
        disk.clear()
        first.is_served_again()
        check_promises(server, first, *customers)


# ---- a disk that fails -----------------------------------------------------------------------------


@contextlib.contextmanager
def failing_syncs(strace: Path, pid: int, files: Iterable[Path] = ()) -> Iterator[None]:
    """Every fsync and fdatasync of the process, or every one of these files, fails with EIO while the block runs."""
    inject = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    for path in files:
        inject += ["-P", str(path)]
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    tracer = subprocess.Popen(
        [str(strace), "-f", "-qq", *inject, "-o", "/dev/null", "-p", str(pid)], stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 10
        while traced_threads(pid) < threads:
            if tracer.poll() is not None:
                assert tracer.stderr is not None
                pytest.skip(f"processes cannot be traced here: {tracer.stderr.read().decode()}")
            assert time.monotonic() < end, "strace does not attach"
            pause()
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        assert tracer.stderr is not None
        tracer.stderr.close()


def traced_threads(pid: int) -> int:
    """How many of the process's threads somebody traces."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            match = re.search(r"(?m)^TracerPid:\s+(\d+)$", (task / "status").read_text())
            found += match is not None and match[1] != "0"
    return found


@pytest.fixture
def sound_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "here", users=("bob",), sections='[queue]\nretry = ["1s"]\n')
    server.start()
    yield server
    server.stop()


@pytest.mark.peer("strace")
def test_a_sync_that_fails_is_never_a_250_and_the_server_comes_back_by_itself(
    sound_server: Server, peer_program: PeerProgram
) -> None:
    server = sound_server
    with Customer(server) as customer:
        for octets in (1000, LARGE_BYTES):
            assert customer.hand_in(octets)[0] == 250
        server.wait_until_delivered()
        worker, _ = server.worker()
        with failing_syncs(peer_program("strace"), worker):
            answers = [customer.hand_in(octets) for octets in (1000, LARGE_BYTES, 1000, IN_ROW_BYTES, LARGE_BYTES)]
        print(f"\nwhile every sync failed: {answers}")
        assert {answer[0] for answer in answers} == {451}
        assert {answer[1][:6] for answer in answers} == {b"4.3.0 "}
        customer.is_served_again()
        assert customer.hand_in(LARGE_BYTES)[0] == 250
        assert server.worker() == (worker, True), "nobody was restarted"
        check_promises(server, customer)


@pytest.mark.peer("strace")
def test_a_worker_killed_after_a_failed_sync_keeps_to_its_word(sound_server: Server, peer_program: PeerProgram) -> None:
    """What was answered 451 may stand in the log of the database; the next owner of the file must not find it."""
    server = sound_server
    with Customer(server) as customer:
        assert customer.hand_in()[0] == 250
        server.wait_until_delivered()
        worker, _ = server.worker()
        with failing_syncs(peer_program("strace"), worker):
            assert customer.hand_in()[0] == 451
        customer.is_served_again()
        os.kill(worker, signal.SIGKILL)
        end = time.monotonic() + BACK_S
        while server.worker()[0] == worker or not server.worker()[1]:
            assert time.monotonic() < end
            pause()
        check_promises(server, customer)


@pytest.mark.peer("strace")
def test_a_mailbox_whose_disk_fails_gets_its_mail_later_and_once(
    sound_server: Server, peer_program: PeerProgram
) -> None:
    server = sound_server
    with Customer(server) as customer:
        assert customer.hand_in()[0] == 250
        server.wait_until_delivered()
        worker, _ = server.worker()
        with failing_syncs(peer_program("strace"), worker, (server.folder / "data" / "mail").rglob("*.db*")):
            for octets in (1000, LARGE_BYTES, 1000):
                assert customer.hand_in(octets)[0] == 250
            entries = server.ask("queue", "list")
            assert len(entries) == 3
        check_promises(server, customer)
