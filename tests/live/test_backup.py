"""Backup and restore beside the running server, while mail arrives."""

from __future__ import annotations

import hashlib
import json
import poplib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.test_waiting_mail import held
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import as_a_server

USERS = tuple(f"user{number:02d}" for number in range(100))
LARGE = 200_000


def letter(name: str, size: int = 100) -> bytes:
    line = b"x" * 70 + b"\r\n"
    return f"From: <cat@client.example>\r\nSubject: {name}\r\n\r\n{name}\r\n".encode() + line * (size // len(line) + 1)


def send(server: Server, name: str, *users: str, size: int = 100) -> None:
    with as_a_server(server.address, server.ports["smtp"])() as client:
        client.sendmail("cat@client.example", [f"{user}@{server.domain}" for user in users], letter(name, size))


def hashes(server: Server, user: str) -> Counter[str]:
    """Of the messages that the user's client would fetch."""
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
    client.user(f"{user}@{server.domain}")
    client.pass_(PASSWORD)
    count = client.stat()[0]
    found = Counter(hashlib.sha256(b"\r\n".join(client.retr(n)[1])).hexdigest() for n in range(1, count + 1))
    client.quit()
    return found


def empty(server: Server, user: str) -> None:
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
    client.user(f"{user}@{server.domain}")
    client.pass_(PASSWORD)
    for number in range(1, client.stat()[0] + 1):
        client.dele(number)
    client.quit()


@contextmanager
def mail_arriving(server: Server, *users: str) -> Iterator[list[str]]:
    """A stranger writes to the users, one letter after another; the subjects of those that were accepted."""
    accepted: list[str] = []
    ending = threading.Event()

    def write() -> None:
        number = 0
        while not ending.is_set():
            send(server, f"arriving {number}", *users, size=LARGE if number % 5 == 0 else 100)
            accepted.append(f"arriving {number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not accepted:
            assert writer.is_alive()
            ending.wait(0.01)
        yield accepted
    finally:
        ending.set()
        writer.join(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("house"), users=USERS[:1]) as server:
        table = [f"{user}@{server.domain},{PASSWORD}" for user in USERS[1:]]
        server.run("account", "import", "-", given="\n".join(["address,password", *table, ""]).encode())
        for number, user in enumerate(USERS):
            for one in range(3):
                send(server, f"letter {one} for {user}", user, size=LARGE if (number + one) % 3 == 0 else 100)
        server.wait_until_delivered()
        yield server


pytestmark = pytest.mark.xdist_group("backup")


def test_one_account_comes_back_whole_while_mail_arrives_and_nothing_else_changes(
    server: Server, tmp_path: Path
) -> None:
    lost, busy, quiet = USERS[0], USERS[1], USERS[2:]
    with mail_arriving(server, busy):
        (made,) = server.ask("backup", str(tmp_path / "b"))
    assert made["missing"] == []
    had = hashes(server, lost)
    assert had.total() == 3
    empty(server, lost)
    others = {user: hashes(server, user) for user in quiet}
    with mail_arriving(server, busy) as arrived:
        address = f"{lost}@{server.domain}"
        (restored,) = server.ask("restore", str(tmp_path / "b"), "--account", address)
        assert (restored["restored"], restored["present"]) == (3, 0)
        (again,) = server.ask("restore", str(tmp_path / "b"), "--account", address)
        assert (again["restored"], again["present"]) == (0, 3)
    server.wait_until_delivered()
    assert hashes(server, lost) == had
    assert {user: hashes(server, user) for user in quiet} == others
    assert hashes(server, busy).total() >= 3 + len(arrived)


def test_an_account_that_is_gone_comes_back_with_its_password(server: Server, tmp_path: Path) -> None:
    user = USERS[3]
    address = f"{user}@{server.domain}"
    had = hashes(server, user)
    server.run("backup", str(tmp_path / "b"))
    server.run("account", "remove", address)
    said = server.run("restore", str(tmp_path / "b"), "--account", address).stdout.decode()
    assert said == f"{address}: 3 restored, 0 were there; the account was made again\n"
    assert hashes(server, user) == had


def test_one_message_comes_back_into_every_mailbox_that_had_it(server: Server, tmp_path: Path) -> None:
    one, other, third = USERS[4:7]
    send(server, "for two", one, other)
    server.wait_until_delivered()
    before = hashes(server, third)
    queue_id = server.ask("read", f"{one}@{server.domain}")[-1]["queue_id"]
    server.run("backup", str(tmp_path / "b"))
    had = {user: hashes(server, user) for user in (one, other)}
    for user in (one, other):
        empty(server, user)
    results = server.ask("restore", str(tmp_path / "b"), "--message", queue_id.lower())
    assert sorted(result["address"] for result in results) == [f"{user}@{server.domain}" for user in (one, other)]
    for user in (one, other):
        assert hashes(server, user).total() == 1
        assert hashes(server, user) <= had[user]
    assert hashes(server, third) == before
    done = server.run("restore", str(tmp_path / "b"), "--message", "000000000000", check=False)
    assert done.returncode == 1
    assert b"is not in any mailbox of the backup" in done.stderr


def test_a_second_backup_takes_only_what_is_new_and_is_whole_by_itself(server: Server, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    server.run("backup", str(first))
    send(server, "one more", USERS[8], size=LARGE)
    server.wait_until_delivered()
    (made,) = server.ask("backup", str(second), "--since", str(first))
    assert made["new_bytes"] < made["size_bytes"]
    same = [path for path in second.rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert any(path.suffix == ".db" for path in same), "a mailbox that did not change is stored twice"
    server.run("restore", str(second), "--to", str(tmp_path / "out"))


def test_every_accepted_letter_is_in_a_backup_that_was_made_while_it_arrived(server: Server, tmp_path: Path) -> None:
    """The backup is restored into a server of its own, which then has each letter once."""
    user = USERS[9]
    before = hashes(server, user).total()
    with mail_arriving(server, user) as arrived:
        sure = len(arrived)
        (made,) = server.ask("backup", str(tmp_path / "b"), "--with-keys")
    assert made["missing"] == []
    again = Server(tmp_path / "again", users=())
    data = tmp_path / "again" / "data"
    data.rename(tmp_path / "again" / "unused")
    again.run("restore", str(tmp_path / "b"), "--to", str(data))
    again.start()
    try:
        again.wait_until_delivered()
        found = hashes(again, user)
        assert found.total() >= before + sure
        assert set(found.values()) == {1}, "a letter is there twice"
        assert found <= hashes(server, user)
    finally:
        again.stop()


def test_the_archive_and_what_is_held_for_customers_come_back_whole(tmp_path: Path) -> None:
    sections = (
        '[archive]\ndomains = ["here.example"]\n[[hold]]\ndomain = "customer.example"\nowner = "bob@here.example"\n'
    )
    why = ("--reason", "to compare")
    with running_server(tmp_path / "house", sections=sections) as first:
        for size in (100, LARGE):
            send(first, f"archived {size}", "ann", size=size)
            with as_a_server(first.address, first.ports["smtp"])() as client:
                client.sendmail("cat@client.example", ["dan@customer.example"], letter(f"held {size}", size))
        first.wait_until_delivered()
        assert held(first) == 2
        with mail_arriving(first, "ann"):
            (full,) = first.ask("backup", str(tmp_path / "full"), "--with-keys")
        send(first, "archived later", "ann")
        first.wait_until_delivered()
        (more,) = first.ask("backup", str(tmp_path / "b"), "--with-keys", "--since", str(tmp_path / "full"))
        assert (full["missing"], more["missing"]) == ([], [])
        archived = first.ask("archive", "search", *why)
        assert len(archived) >= 4
    again = Server(tmp_path / "again", users=(), sections=sections)
    data = tmp_path / "again" / "data"
    data.rename(tmp_path / "again" / "unused")
    again.run("restore", str(tmp_path / "b"), "--to", str(data))
    again.start()
    try:
        (verified,) = again.ask("archive", "verify")
        assert verified["complaints"] == []
        assert again.ask("archive", "search", *why) == archived
        assert held(again) == 2
    finally:
        assert again.stop() == 0


@pytest.mark.parametrize("what", ["a database", "content", "the manifest", "nothing but an interrupted one"])
def test_a_damaged_backup_is_refused_and_nothing_is_written(server: Server, tmp_path: Path, what: str) -> None:
    backup, out = tmp_path / "b", tmp_path / "out"
    server.run("backup", str(backup))
    if what == "nothing but an interrupted one":
        (backup / "MANIFEST").unlink()
    else:
        victim = {
            "a database": backup / "directory.db",
            "content": next(iter((backup / "mail" / "content").rglob("[0-9a-f]*[0-9a-f][0-9a-f][0-9a-f]"))),
            "the manifest": backup / "MANIFEST",
        }[what]
        octets = bytearray(victim.read_bytes())
        octets[len(octets) // 2] ^= 1
        victim.unlink()  # the name alone: the live server has another one for the same file
        victim.write_bytes(octets)
    done = server.run("restore", str(backup), "--to", str(out), check=False)
    assert done.returncode == 1
    assert b"damaged" in done.stderr or b"interrupted" in done.stderr
    assert not out.exists() or not any(out.iterdir())
    if what == "a database":
        done = server.run("restore", str(backup), "--account", f"{USERS[0]}@{server.domain}", check=False)
        assert done.returncode == 1
        assert b"damaged" in done.stderr


def test_nothing_is_written_over(server: Server, tmp_path: Path) -> None:
    backup = tmp_path / "b"
    server.run("backup", str(backup))
    for arguments in (
        ("backup", str(backup)),
        ("restore", str(backup), "--to", str(server.folder / "data")),
        ("backup", str(server.folder / "data" / "inside")),
    ):
        done = server.run(*arguments, check=False)
        assert done.returncode == 2, arguments
        assert b"choose" in done.stderr


def test_files_are_for_us_alone_and_the_keys_stay_where_they_are(server: Server, tmp_path: Path) -> None:
    server.run("backup", str(tmp_path / "b"))
    names = {str(path.relative_to(tmp_path / "b")) for path in (tmp_path / "b").rglob("*")}
    assert {"directory.db", "queue/0.db", "MANIFEST", "configuration/postroad.toml"} <= names
    assert not any(name.startswith(("keys", "run")) or name.endswith(("-wal", "-shm", ".lock")) for name in names)
    for path in (tmp_path / "b", *(tmp_path / "b").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    heading = json.loads((tmp_path / "b" / "MANIFEST").read_text().splitlines()[0])
    assert heading["hostname"] == server.hostname
    assert not (server.folder / "data" / "backup.staging").exists()
