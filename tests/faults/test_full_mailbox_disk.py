"""The disk of the mailboxes is full while the queue's is not: mail waits and comes once; QUIT removes all or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_disk import IN_ROW_BYTES, LARGE_BYTES, Customer, SmallDisk, check_promises, disk
from tests.support.conversations import eventually, pop3, say_and_hear
from tests.support.server import Server

__all__ = ["disk"]
pytestmark = [pytest.mark.xdist_group("disk"), pytest.mark.timeout(120)]


@pytest.fixture
def server(disk: SmallDisk, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "here", users=("bob",), sections='[queue]\nretry = ["1s"]\n')
    mail = server.folder / "data" / "mail"
    shutil.move(mail, disk.folder / "mail")
    mail.symlink_to(disk.folder / "mail")
    server.start()
    yield server
    server.stop()


def test_mail_for_a_mailbox_without_room_is_deferred_and_delivered_once(server: Server, disk: SmallDisk) -> None:
    with Customer(server) as customer:
        assert customer.hand_in()[0] == 250
        server.wait_until_delivered()
        disk.leave(0)
        for octets in (IN_ROW_BYTES, LARGE_BYTES, IN_ROW_BYTES):
            assert customer.hand_in(octets)[0] == 250
        eventually(lambda: json.dumps(server.ask("queue", "list")).count("is full") == 3, server.log)
        disk.clear()
        check_promises(server, customer)


def test_a_quit_that_finds_no_room_removes_nothing_and_a_later_one_all(server: Server, disk: SmallDisk) -> None:
    """RFC 1939 section 6: -ERR when messages that were marked could not be removed."""
    with Customer(server) as customer:
        for octets in (1000, IN_ROW_BYTES, LARGE_BYTES):
            assert customer.hand_in(octets)[0] == 250
    server.wait_until_delivered()
    stat = b""
    for full in (True, True, False):
        with pop3(server, "bob") as wire:
            answer = say_and_hear(wire, b"STAT")
            assert answer.startswith(b"+OK 3 ")
            assert answer == stat or not stat
            stat = answer
            for number in (b"1", b"2", b"3"):
                assert say_and_hear(wire, b"DELE " + number).startswith(b"+OK")
            if full:
                disk.leave(0)
            answer = say_and_hear(wire, b"QUIT")
            assert answer.startswith(b"-ERR [SYS/TEMP] " if full else b"+OK"), answer
            assert wire.ended()
        if full:
            disk.clear()
    with pop3(server, "bob") as wire:
        assert say_and_hear(wire, b"STAT").startswith(b"+OK 0 0")
    assert [path for path in (disk.folder / "mail" / "content").rglob("*") if path.is_file()] == []
    assert "unexpected" not in server.log()
