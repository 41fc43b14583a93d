"""Runs of `postroad send --merge` as people have them: with mistakes in the table, cut off, run again, for later."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import pause
from tests.support.server import Server

USERS = ("ann", "bob", "cat")
LETTER = ("--from", "ann@here.example", "--subject", "For {name}", "--body", "Dear {name}")

pytestmark = pytest.mark.xdist_group("merge runs")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, users=USERS)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text("name,email\n" + "".join(f"{user},{user}@here.example\n" for user in USERS))
    return path


def merged(server: Server, table: Path, *more: str) -> dict[str, dict[str, Any]]:
    rows = server.ask("send", "--merge", str(table), *LETTER, *more)
    return {row["address"].partition("@")[0]: row for row in rows}


def fails(server: Server, status: int, table: Path, *more: str) -> str:
    done = server.run("send", "--merge", str(table), *LETTER, *more, check=False)
    said = done.stderr.decode()
    assert done.returncode == status, said
    assert "Traceback" not in said
    return said


def letters(server: Server) -> list[int]:
    server.wait_until_delivered()
    return [len(server.mailbox(user)) for user in USERS]


def test_mistakes_are_told_line_by_line_before_anything_is_sent(server: Server, table: Path) -> None:
    with table.open("ab") as file:
        file.write(b"nobody\n,dan@here.example\nEve,no address\nAnn,ANN@here.example\nJ\xf6rg,j@here.example\n")
    said = fails(server, 65, table)
    for words in ("line 5: has 1 fields", "line 6: name is empty", "line 7: ", "line 8: ", "line 9: is not utf-8"):
        assert f"\n{words}" in f"\n{said}"
    assert "nothing was sent" in said
    assert letters(server) == [0, 0, 0]
    assert {row["state"] for row in merged(server, table, "--skip-bad").values()} == {"delivered"}
    assert letters(server) == [1, 1, 1]


def test_what_cannot_be_used_at_all_is_told(server: Server, table: Path) -> None:
    assert "no column" in fails(server, 2, table, "--to", "{adress}")
    assert "no encoding" in fails(server, 65, table, "--encoding", "klingon")
    assert "cannot be attached" in fails(server, 66, table.with_name("none.csv"))
    table.write_text("name,mailbox\nAnn,ann@here.example\n")
    assert "which column holds the address" in fails(server, 65, table)


def test_a_dry_run_shows_three_letters_and_sends_none(server: Server, table: Path) -> None:
    table.write_text(table.read_text() + "dan,dan@here.example\n")
    said = server.run("send", "--merge", str(table), *LETTER, "--dry-run").stdout.decode()
    assert [f"Subject: For {user}" in said for user in (*USERS, "dan")] == [True, True, True, False]
    assert "4 letters would be sent" in said
    assert letters(server) == [0, 0, 0]
    assert not table.with_name("people.csv.journal").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_cut_off_goes_on_and_nobody_gets_it_twice(
    server: Server, table: Path, how: signal.Signals
) -> None:
    journal = table.with_name("people.csv.journal")
    command = [*server._command(), "send", "--merge", str(table), *LETTER, "--rate", "6"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        end = time.monotonic() + 30
        while not (journal.exists() and b'"taken"' in journal.read_bytes()):
            assert time.monotonic() < end
            pause(0.05)
        assert "another run" in fails(server, 75, table)
        run.send_signal(how)
        run.wait(20)
    assert {user: row["state"] for user, row in merged(server, table).items()} == dict.fromkeys(USERS, "delivered")
    merged(server, table)
    assert letters(server) == [1, 1, 1]


def test_a_letter_that_was_taken_unseen_is_found_in_the_ledger(server: Server, table: Path) -> None:
    merged(server, table)
    journal = table.with_name("people.csv.journal")
    *lines, last = journal.read_bytes().splitlines(keepends=True)
    assert b'"taken"' in last
    journal.write_bytes(b"".join(lines) + last[:9])
    assert {row["state"] for row in merged(server, table).values()} == {"delivered"}
    assert letters(server) == [1, 1, 1]


def test_a_journal_belongs_to_one_letter(server: Server, table: Path) -> None:
    merged(server, table)
    assert "journal of another letter" in fails(server, 1, table, "--unsubscribe", "leave@here.example")
    merged(server, table, "--unsubscribe", "leave@here.example", "--journal", str(table.with_name("second")))
    assert letters(server) == [2, 2, 2]
    assert b"List-Unsubscribe: <mailto:leave@here.example>" in server.mailbox("bob")[1]


def test_a_refusal_and_a_suppressed_address_stand_in_the_table(server: Server, table: Path) -> None:
    table.write_text(table.read_text() + "dan,dan@here.example\n")
    server.run("suppression", "add", "Bob@here.example", "--reason", "asked us", "--days", "0")
    rows = merged(server, table)
    assert {user: row["state"] for user, row in rows.items()} == {
        "ann": "delivered",
        "bob": "suppressed",
        "cat": "delivered",
        "dan": "refused",
    }
    assert rows["dan"]["reason"] == "There is no such mailbox at this domain."
    assert "asked us" in rows["bob"]["reason"]
    assert "for ever" in server.run("suppression", "list").stdout.decode()
    done = server.run("suppression", "remove", "bob@here.example")
    assert done.stdout == b"bob@here.example gets merged letters again\n"
    assert server.run("suppression", "remove", "bob@here.example", check=False).returncode == 1
    assert merged(server, table)["bob"]["state"] == "delivered"
    assert letters(server) == [1, 1, 1]
    told = server.run("send", "--results", str(table), "--csv").stdout.decode()
    assert [row["state"] for row in csv.DictReader(io.StringIO(told))] == ["delivered"] * 3 + ["refused"]


def test_letters_for_later_wait_in_the_queue(server: Server, table: Path) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    rows = merged(server, table, "--at", at.isoformat(), "--rate", "1")
    assert {row["state"] for row in rows.values()} == {"waiting"}
    assert server.queued() == 3
    assert letters_not_there(server)
    server.run("send", "--to", "bob@here.example", "--body", "x", "--at", at.isoformat())
    assert server.queued() == 4
    assert "is no time" in fails(server, 2, table, "--at", "soon")


def letters_not_there(server: Server) -> bool:
    return not any(server.mailbox(user) for user in USERS)


def test_a_server_that_is_down_takes_nothing_and_later_everything(server: Server, table: Path) -> None:
    server.stop()
    assert "3 letters are not handed in" in fails(server, 75, table)
    server.start()
    assert {row["state"] for row in merged(server, table).values()} == {"delivered"}
    assert json.loads(table.with_name("people.csv.journal").read_bytes().splitlines()[0])["subject"] == "For {name}"
    assert letters(server) == [1, 1, 1]
