"""A damaged mailbox file under a running server: its accounts wait, others are served, nothing is lost or doubled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.storage.test_mailbox_damage import Damage, empty, flip_pages, garble_the_header, remove
from tests.support.conversations import eventually, pop3, said_hello, say_and_hear
from tests.support.server import PASSWORD, Server, running_server

pytestmark = pytest.mark.xdist_group("damaged mailboxes")
QUICK = '[queue]\nretry = ["1s"]\n'


def hand_in(server: Server, *users: str, subject: str) -> None:
    with said_hello(server) as wire:
        assert wire.ask(b"MAIL FROM:<cat@client.example>").startswith(b"250 ")
        for user in users:
            assert wire.ask(f"RCPT TO:<{user}@here.example>".encode()).startswith(b"250 ")
        assert wire.ask(b"DATA").startswith(b"354 ")
        text = f"Subject: {subject}\r\n\r\n".encode() + b"many words\r\n" * 1000 + b"."
        assert wire.ask(text).startswith(b"250 ")


def log_in(server: Server, user: str) -> bytes:
    """The answer to PASS."""
    with pop3(server) as wire:
        assert say_and_hear(wire, f"USER {user}@here.example".encode()).startswith(b"+OK")
        return say_and_hear(wire, b"PASS " + PASSWORD.encode())


def uidls(server: Server, user: str) -> list[bytes]:
    with pop3(server, user) as wire:
        assert say_and_hear(wire, b"UIDL").startswith(b"+OK")
        lines = []
        while (line := wire.line()) != b".\r\n":
            lines.append(line)
        return lines


def database_of_ann(server: Server) -> Path:
    return server.folder / "data" / "mail" / "01.db"


def put_back(good: Path, server: Server) -> None:
    """As the operator's page says."""
    path = database_of_ann(server)
    for side in ("", "-wal", "-shm"):
        Path(f"{path}{side}").unlink(missing_ok=True)
    shutil.copy(good, path)


@pytest.mark.parametrize("damage", [flip_pages, garble_the_header, empty, remove])
def test_the_accounts_of_a_damaged_file_wait_and_get_their_mail_after_the_restore(
    tmp_path: Path, damage: Damage
) -> None:
    with running_server(tmp_path / "here", sections=QUICK) as server:
        for number in range(5):
            hand_in(server, "ann", "bob", subject=f"before {number}")
        server.wait_until_delivered()
        before = uidls(server, "ann")
        server.stop()
        good = tmp_path / "good.db"
        shutil.copy(database_of_ann(server), good)
        damage(database_of_ann(server))
        server.start()

        for number in range(3):
            hand_in(server, "ann", "bob", subject=f"after {number}")
        eventually(lambda: len(uidls(server, "bob")) == 8, server.log)
        answer = log_in(server, "ann")
        assert answer.startswith(b"-ERR [SYS/PERM] The mailbox is damaged"), answer
        assert len(server.ask("queue", "list")) == 3
        (entry, *_) = server.ask("queue", "list")
        assert "The mailbox is damaged, and mail waits until it is restored" in json.dumps(entry), entry
        assert any("01.db" in str(report.get("mailbox_files_set_aside")) for report in server.reports())
        done = server.run("check", "--json", check=False)
        (found,) = [line for line in done.stdout.decode().splitlines() if '"mailboxes"' in line]
        assert "01.db" in found
        assert "ann@here.example" in found
        assert "bob@here.example" not in found
        assert "restore" in json.loads(found)["cure"]

        for process in ("t0", "a0"):
            said = [line for line in server.log().splitlines() if f" {process}: " in line and "set aside" in line]
            assert len(said) == 1, server.log()
        assert "unexpected" not in server.log()

        server.stop()
        put_back(good, server)
        server.start()
        server.wait_until_delivered()
        after = uidls(server, "ann")
        assert after[:5] == before
        assert len(after) == 8
        assert not any("mailbox_files_set_aside" in report for report in server.reports())


def test_damage_met_while_serving_stops_the_writing_of_that_file_alone(tmp_path: Path) -> None:
    with running_server(tmp_path / "here", sections=QUICK) as server:
        for number in range(5):
            hand_in(server, "ann", "bob", subject=f"before {number}")
        server.wait_until_delivered()
        server.stop()  # so that all is in the file, and nothing in its log
        server.start()
        good = tmp_path / "good.db"
        shutil.copy(database_of_ann(server), good)
        flip_pages(database_of_ann(server))
        hand_in(server, "ann", "bob", subject="after")
        eventually(lambda: len(uidls(server, "bob")) == 6, server.log)
        assert log_in(server, "ann").startswith(b"-ERR [SYS/PERM] ")
        damaged = database_of_ann(server).read_bytes()
        hand_in(server, "ann", "bob", subject="after")
        eventually(lambda: len(uidls(server, "bob")) == 7, server.log)
        assert database_of_ann(server).read_bytes() == damaged
        assert len(server.ask("queue", "list")) == 2
        # Where nobody has the file open any more it may be put back without a restart.
        put_back(good, server)
        server.wait_until_delivered()
        assert len(uidls(server, "ann")) == 7
