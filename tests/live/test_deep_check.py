"""`postroad check --deep`: whatever is wrong with a database or with content is named, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from postroad.storage.sqlite.deep_check import Complaint, DeepCheck, Looked
from postroad.vocabulary.limits import CHECK_COMPLAINTS, CHECK_IN_FLIGHT_S
from tests.support.ports import free_port
from tests.support.server import Server
from tests.support.submitters import as_a_server, as_a_user

pytestmark = pytest.mark.xdist_group("deep check")

LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 2000
SMALL = b"Subject: small\r\n\r\nsmall\r\n"
ANN = "ann@here.example"


def much_later() -> float:
    """Nothing is under way any more."""
    return time.time() + CHECK_IN_FLIGHT_S + 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With small and large mail in mailboxes, in the queue, in a hold and in the archive."""
    sections = (
        f'[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{free_port()}"\n'
        f'[[hold]]\ndomain = "held.example"\nowner = "{ANN}"\n'
        '[archive]\ndomains = ["here.example"]\n'
    )
    server = Server(tmp_path_factory.mktemp("deep"), sections=sections)
    server.start()
    client = as_a_user(server.address, server.ports["submissions"], ANN)()
    for content in (SMALL, LARGE):
        for recipient in (ANN, "bob@here.example", "bob@held.example", "bob@away.example"):
            client.sendmail(ANN, [recipient], content)
    client.quit()
    server.wait_until_delivered(left=2)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder as it was while nobody served it."""
    server.stop()
    copy = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(server.folder / "data", copy, ignore=shutil.ignore_patterns("*.sock"))
    server.start()
    return copy


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "data")
    return tmp_path / "data"


def complaints(data: Path, now: float | None = None) -> list[Complaint]:
    clock = time.time if now is None else lambda: now
    return [each for each in DeepCheck(data, clock).run() if isinstance(each, Complaint)]


def only_complaint(data: Path, now: float | None = None) -> Complaint:
    (complaint,) = complaints(data, now)
    assert complaint.cure
    return complaint


def content_of(data: Path, store: str) -> Path:
    """A file of large content, and a path to name it."""
    (folder,) = {"mail": data.glob("mail/content/01"), "hold": data.glob("hold/content/*")}.get(store) or {
        "queue": data.glob("queue/0"),
        "archive": data.glob("archive/*/content/*"),
    }[store]
    return next(iter(sorted(folder.iterdir())))


def test_a_sound_folder_has_nothing_to_fix(data: Path) -> None:
    looked = {each.store: each for each in DeepCheck(data, much_later).run() if isinstance(each, Looked)}
    assert complaints(data, much_later()) == []
    assert {store for store, each in looked.items() if each.files} == {"mail", "hold", "queue", "archive"}
    assert {"directory", "ledger"} <= looked.keys()


@pytest.mark.parametrize("store", ["mail", "hold", "queue", "archive"])
def test_a_removed_content_file_is_named(data: Path, store: str) -> None:
    file = content_of(data, store)
    file.unlink()
    complaint = only_complaint(data)
    assert complaint.what == str(file.relative_to(data))
    assert "is gone" in complaint.finding


@pytest.mark.parametrize("store", ["mail", "hold", "queue", "archive"])
def test_a_content_file_of_another_size_is_named(data: Path, store: str) -> None:
    file = content_of(data, store)
    octets = file.read_bytes()
    file.unlink()  # it has other names
    file.write_bytes(octets[:-1])
    complaint = only_complaint(data)
    assert complaint.what == str(file.relative_to(data))
    assert f"{len(octets) - 1} octets" in complaint.finding


@pytest.mark.parametrize("store", ["mail", "hold", "queue", "archive"])
def test_content_of_nobody_is_named_unless_it_may_be_under_way(data: Path, store: str) -> None:
    orphan = content_of(data, store).with_name("orphan")
    orphan.write_bytes(b"whose is this?")
    # An old file that got a new name just now is under way as well.
    os.utime(orphan, (1, 1))
    assert complaints(data) == []
    assert only_complaint(data, much_later()).what == str(orphan.relative_to(data))


@pytest.mark.parametrize("path", ["mail/01.db", "hold/*.db", "queue/0.db", "archive/*/*.db", "directory.db"])
def test_a_database_that_is_no_database_is_named_and_the_others_are_looked_at(data: Path, path: str) -> None:
    (database,) = [each for each in data.glob(path) if each.name != "register.db"][:1]
    with database.open("r+b") as file:
        file.write(os.urandom(100))
    content_of(data, "mail" if not path.startswith("mail") else "queue").unlink()
    first, second = sorted(complaints(data), key=lambda complaint: "content of a message" in complaint.finding)
    assert first.what == str(database.relative_to(data))
    assert "restore" in first.cure
    assert "content of a message" in second.finding


@pytest.mark.parametrize("how", ["overwritten", "cut", "emptied"])
def test_a_damaged_shard_is_named(data: Path, how: str) -> None:
    shard = data / "mail" / "01.db"
    size = shard.stat().st_size
    with shard.open("r+b") as file:
        if how == "overwritten":
            file.seek(size // 2 // 4096 * 4096)
            file.write(os.urandom(size - file.tell()))
        else:
            file.truncate(size // 2 // 4096 * 4096 if how == "cut" else 0)
    found = complaints(data, much_later())
    assert found
    assert {complaint.what for complaint in found} == {"mail/01.db"}


def test_a_shard_that_is_gone_is_named(data: Path) -> None:
    (data / "mail" / "01.db").unlink()
    assert only_complaint(data).what == "mail/01.db"


@pytest.mark.parametrize(
    ("database", "sql", "words"),
    [
        ("mail/01.db", "DELETE FROM content WHERE file IS NULL", "message 1 of account 1 has no content"),
        ("mail/01.db", "DELETE FROM message WHERE uid = 1", "belongs to no message"),
        ("mail/01.db", "UPDATE mailbox SET uid_next = 2", "message 2 of account 1"),
        ("mail/01.db", "UPDATE content SET body = CAST(body || 'x' AS BLOB) WHERE body IS NOT NULL", "octets"),
        ("mail/01.db", "UPDATE message SET account_id = 65 WHERE uid = 1; INSERT INTO mailbox VALUES (65, 1, 9, 9)",
         "account 65"),
        ("queue/0.db", "DELETE FROM message WHERE id = (SELECT id FROM content)", "which is not there"),
        ("queue/0.db", "DELETE FROM recipient_group WHERE message = (SELECT id FROM content)", "has no recipients"),
        ("hold/*.db", "DELETE FROM content WHERE file IS NULL", "has no content"),
    ],
)  # fmt: skip
def test_rows_that_do_not_agree_are_named(data: Path, database: str, sql: str, words: str) -> None:
    (path,) = data.glob(database)
    connection = apsw.Connection(os.fspath(path))
    connection.execute(sql)
    connection.close()
    found = complaints(data)
    assert {complaint.what for complaint in found} == {str(path.relative_to(data))}
    assert any(words in complaint.finding for complaint in found)


def test_of_very_much_that_is_wrong_the_rest_is_counted(data: Path) -> None:
    folder = content_of(data, "mail").parent
    for n in range(CHECK_COMPLAINTS + 7):
        (folder / f"orphan{n:03d}").touch()
    found = complaints(data, much_later())
    assert len(found) == CHECK_COMPLAINTS + 1
    assert found[-1].finding.startswith("7 more")


def test_the_command_finds_nothing_wrong_while_mail_comes_and_goes(server: Server) -> None:
    ending = threading.Event()

    def write() -> None:
        while not ending.is_set():
            with as_a_server(server.address, server.ports["smtp"])() as client:
                client.sendmail("x@y.example", [ANN], LARGE)
                client.sendmail("x@y.example", ["bob@held.example"], SMALL)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(3):
            done = server.run("check", "--deep", check=False)
            said = done.stdout.decode()
            assert "mailboxes: " in said
            wrong = [line for line in said.splitlines() if line.startswith("FIX") and "/" in line.split(":")[0]]
            assert wrong == []
    finally:
        ending.set()
        writing.join(30)


def test_the_command_names_what_is_wrong_running_and_stopped(tmp_path: Path) -> None:
    server = Server(tmp_path, users=("ann",))
    server.start()
    with as_a_server(server.address, server.ports["smtp"])() as client:
        client.sendmail("x@y.example", [ANN], LARGE)
    server.wait_until_delivered()
    (file,) = (server.folder / "data" / "mail" / "content" / "01").iterdir()
    file.unlink()
    for _ in range(2):
        done = server.run("check", "--deep", check=False)
        assert done.returncode == 1
        assert (
            f"FIX mail/content/01/{file.name}: the content of a message in mail/01.db is gone" in done.stdout.decode()
        )
        objects = server.run("check", "--deep", "--json", check=False).stdout.splitlines()
        told = [each for each in map(json.loads, objects) if each["what"].endswith(file.name)]
        assert [each["ok"] for each in told] == [False]
        if server._process is not None:
            server.stop()
