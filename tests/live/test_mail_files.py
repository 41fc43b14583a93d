"""Mail comes from other programs and goes to them, beside the running server and while it is stopped."""

from __future__ import annotations

import hashlib
import mailbox
import os
import poplib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.ports import pause
from tests.support.server import PASSWORD, Server
from tests.support.submitters import as_a_server

pytestmark = pytest.mark.xdist_group("mail files")

ANN, BOB, CAT, DAN = (f"{name}@here.example" for name in ("ann", "bob", "cat", "dan"))
LETTERS = [
    b"Subject: one\nFrom: a@b.example\n\nFrom here on\n>From there\n>>From further on\n.\n..dots\n",
    b"Subject: two\n\n\n\nempty lines\n\n\n",
    b"Subject: =?utf-8?q?=C3=BC?=\nContent-Type: text/plain; charset=utf-8\n\n" + "grüße\n".encode(),
    "Subject: größe\n\nin the header\n".encode(),
    b"Subject: only a header\n",
    b"Subject: large\n\n" + b"0123456789abcdef" * 4 * 1000 + b"\n" + (b"x" * 70 + b"\nFrom x\n") * 9000,
    b"Status: not this one\nX-Status: nor this\nSubject: has fields of its own\n\ntext\n",
]


def crlf(octets: bytes) -> bytes:
    return octets.replace(b"\n", b"\r\n")


@pytest.fixture(params=["running", "stopped"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server", users=("ann", "bob", "cat", "dan"))
    if request.param == "stopped":
        yield server
        return
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server", users=("ann", "bob"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def make_mbox(path: Path, letters: list[bytes]) -> None:
    """By another program: the standard library's."""
    box = mailbox.mbox(path)
    for n, letter in enumerate(letters):
        message = mailbox.mboxMessage(letter)
        message.set_from(f"sender{n}@x.example", time.gmtime(1_000_000_000 + n))
        box.add(message)
    box.close()


def make_maildir(path: Path, letters: list[bytes]) -> None:
    """One letter each in: new; INBOX with every flag; a folder; a folder in the folder."""
    box = mailbox.Maildir(path)
    names = [("", ""), ("", "DFRST"), ("Work", "S"), ("Work.&ZeVnLIqe-", "F")]
    for (name, flags), letter in zip(names, letters, strict=True):
        folder = box if not name else box.add_folder(name)
        message = mailbox.MaildirMessage(letter)
        message.set_date(1_000_000_000 + len(flags))
        message.set_flags(flags)
        message.set_subdir("cur" if flags else "new")
        folder.add(message)


def fetched(server: Server, address: str) -> list[bytes]:
    """By POP3, whose sizes must be true; nothing is removed."""
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
    client.utf8() if "UTF8" in client.capa() else None
    client.user(address)
    client.pass_(PASSWORD)
    letters = []
    for listed in client.list()[1]:
        number, size = listed.split()
        _, lines, _ = client.retr(int(number))
        letters.append(b"\r\n".join(lines) + b"\r\n")
        assert len(letters[-1]) == int(size)
    client.quit()
    return letters


def stored(server: Server, address: str) -> list[bytes]:
    """What is in INBOX, by UID, with one command."""
    with tempfile.TemporaryDirectory() as folder:
        server.run("export", address, folder, "--format", "eml", "--folder", "INBOX")
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


def hashes(folder: Path) -> list[tuple[str, str]]:
    """Of a Maildir: folder and flags, and the hash, without the name, which tells when and where it was written."""
    return sorted(
        (f"{path.parent.parent.relative_to(folder)} {path.name.rpartition(':')[2]} {int(path.stat().st_mtime)}",
         hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("cur/*")
    )  # fmt: skip


def test_an_mbox_comes_in_and_goes_out_octet_for_octet(server: Server, tmp_path: Path) -> None:
    # The library changes the others: it quotes a bare "From " only, and ends a header that has no end.
    letters = [*LETTERS[1:4], LETTERS[5]]
    make_mbox(tmp_path / "box", letters)
    (done,) = server.ask("import", ANN, str(tmp_path / "box"))
    assert (done["imported"], done["present"], done["unreadable"]) == (len(letters), 0, 0)
    assert stored(server, ANN) == [crlf(letter) for letter in letters]
    assert server.run("read", ANN, "1").stdout == crlf(letters[0])
    listed = server.ask("read", ANN, "--list")
    assert listed[0]["received_at"] == datetime.fromtimestamp(1_000_000_000, UTC).isoformat()

    (done,) = server.ask("export", ANN, str(tmp_path / "out"), "--reason", "she moves")
    assert (done["messages"], done["format"]) == (len(letters), "mbox")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    server.run("import", BOB, str(tmp_path / "out"))
    assert stored(server, BOB) == stored(server, ANN)
    assert [m["received_at"] for m in server.ask("read", BOB, "--list")] == [m["received_at"] for m in listed]
    box = mailbox.mbox(tmp_path / "out")
    assert len(box) == len(letters)
    box.close()
    assert "export: she moves" in server.run("trace", ANN).stdout.decode()


def test_a_maildir_comes_in_with_flags_and_folders_and_goes_out_the_same(server: Server, tmp_path: Path) -> None:
    letters = [LETTERS[0], LETTERS[3], LETTERS[5], LETTERS[6]]
    make_maildir(tmp_path / "from", letters)
    (done,) = server.ask("import", ANN, str(tmp_path / "from"))
    assert (done["imported"], done["unreadable"]) == (4, 0)
    assert sorted(stored(server, ANN)) == sorted(map(crlf, letters[:2]))
    server.run("export", ANN, str(tmp_path / "to"), "--format", "maildir")
    server.run("import", BOB, str(tmp_path / "to"))
    server.run("export", BOB, str(tmp_path / "to2"), "--format", "maildir")
    assert hashes(tmp_path / "to") == hashes(tmp_path / "to2")
    told = {what.rpartition(" ")[0]: digest for what, digest in hashes(tmp_path / "to")}
    assert told == {
        ". 2,": hashlib.sha256(letters[0]).hexdigest(),
        ". 2,DFRST": hashlib.sha256(letters[1]).hexdigest(),
        ".Work 2,S": hashlib.sha256(letters[2]).hexdigest(),
        ".Work.&ZeVnLIqe- 2,F": hashlib.sha256(letters[3]).hexdigest(),
    }
    box = mailbox.Maildir(tmp_path / "to", create=False)
    assert sorted(box.list_folders()) == ["Work", "Work.&ZeVnLIqe-"]
    # One file for several folders would lose them.
    refused = server.run("export", ANN, str(tmp_path / "mbox"), check=False)
    assert refused.returncode == 2
    assert b"Work" in refused.stderr
    assert not (tmp_path / "mbox").exists()
    server.run("export", ANN, str(tmp_path / "work"), "--folder", "Work")
    server.run("import", CAT, str(tmp_path / "work"), "--folder", "Old")
    server.run("export", CAT, str(tmp_path / "cat"), "--format", "maildir")
    (seen,) = (tmp_path / "cat" / ".Old" / "cur").iterdir()
    assert seen.name.endswith(":2,S")
    assert seen.read_bytes() == letters[2]


def test_eml_files_come_in_and_go_out(server: Server, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    for n, letter in enumerate(LETTERS):
        (tmp_path / "letters" / f"{n}.eml").write_bytes(letter)
    (tmp_path / "letters" / "notes.txt").write_text("no mail")
    server.run("import", ANN, str(tmp_path / "letters"))
    server.run("import", ANN, str(tmp_path / "letters" / "0.eml"), "--again")
    assert stored(server, ANN) == [crlf(letter) for letter in [*LETTERS, LETTERS[0]]]
    server.run("export", ANN, str(tmp_path / "out"), "--format", "eml")
    assert [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())] == stored(server, ANN)
    # What has From_ lines, odd headers and fields like an mbox's own goes through an mbox, too.
    server.run("export", ANN, str(tmp_path / "box"))
    server.run("import", BOB, str(tmp_path / "box"))
    assert stored(server, BOB) == stored(server, ANN)


def test_what_was_imported_is_fetched_by_pop3_with_true_sizes_and_beside_new_mail(
    serving: Server, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    for n, letter in enumerate(LETTERS[:3]):
        (tmp_path / "letters" / f"{n}.eml").write_bytes(letter)
    serving.run("import", ANN, str(tmp_path / "letters"))
    client = as_a_server(serving.address, serving.ports["smtp"])()
    client.sendmail("x@y.example", [ANN], b"Subject: new\r\n\r\nnew\r\n")
    client.quit()
    serving.wait_until_delivered()
    *old, new = fetched(serving, ANN)
    assert old == [crlf(letter) for letter in LETTERS[:3]]
    assert new.endswith(b"Subject: new\r\n\r\nnew\r\n")


def test_the_same_import_again_doubles_nothing_even_what_was_fetched_away(server: Server, tmp_path: Path) -> None:
    twice = [LETTERS[0], LETTERS[1], LETTERS[0]]
    make_mbox(tmp_path / "box", twice)
    for expected in ((3, 0), (0, 3)):
        (done,) = server.ask("import", ANN, str(tmp_path / "box"))
        assert (done["imported"], done["present"]) == expected
    assert len(stored(server, ANN)) == 3
    # More has come into the source since.
    make_mbox(tmp_path / "more", [*twice, LETTERS[4], LETTERS[0]])
    (done,) = server.ask("import", ANN, str(tmp_path / "more"))
    assert (done["imported"], done["present"]) == (2, 3)
    (done,) = server.ask("import", ANN, str(tmp_path / "box"), "--again")
    assert (done["imported"], done["present"]) == (3, 0)


def test_what_its_owner_fetched_and_removed_does_not_come_back(serving: Server, tmp_path: Path) -> None:
    make_mbox(tmp_path / "box", LETTERS[:2])
    serving.run("import", ANN, str(tmp_path / "box"))
    client = poplib.POP3(serving.address, serving.ports["pop3"], timeout=20)
    client.user(ANN)
    client.pass_(PASSWORD)
    client.dele(1)
    client.quit()
    (done,) = serving.ask("import", ANN, str(tmp_path / "box"))
    assert (done["imported"], done["present"]) == (0, 2)
    assert len(stored(serving, ANN)) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_an_import_that_is_cut_off_goes_on_and_doubles_nothing(serving: Server, tmp_path: Path, how: int) -> None:
    large = b"x" * 70 + b"\n"
    letters = [b"Subject: %d\n\n" % n + (large * 5000 if n % 50 == 7 else b"text\n") for n in range(3000)]
    make_mbox(tmp_path / "box", letters)
    cuts = 0
    for _ in range(3):
        command = [*serving._command(), "import", ANN, str(tmp_path / "box")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as importing:
            before = len(serving.ask("read", ANN, "--list"))
            end = time.monotonic() + 30
            while importing.poll() is None and time.monotonic() < end:
                if len(os.listdir(serving.folder / "data" / "run")) and (serving.folder / "data/run/import").exists():
                    pause(0.15)
                    importing.send_signal(how)
                    break
                pause(0.01)
            status = importing.wait(30)
        cuts += status != 0
        assert len(serving.ask("read", ANN, "--list")) >= before
    assert cuts
    (done,) = serving.ask("import", ANN, str(tmp_path / "box"))
    assert done["imported"] + done["present"] == 3000
    assert stored_digests(serving, tmp_path) == sorted(hashlib.sha256(letter).hexdigest() for letter in letters)
    assert not (serving.folder / "data" / "run" / "import").exists()


def stored_digests(server: Server, tmp_path: Path) -> list[str]:
    server.run("export", ANN, str(tmp_path / "check"), "--format", "maildir")
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "check" / "cur").iterdir())


def test_an_import_over_quota_says_so_and_goes_on_when_there_is_room(server: Server, tmp_path: Path) -> None:
    server.run("account", "limit", ANN, "--quota", "1000")
    make_mbox(tmp_path / "box", [b"Subject: %d\n\n" % n + b"y" * 300 + b"\n" for n in range(5)])
    full = server.run("import", ANN, str(tmp_path / "box"), check=False)
    assert full.returncode == 1
    assert b"3 imported" in full.stdout
    assert b"has no room" in full.stderr
    again = server.run("import", ANN, str(tmp_path / "box"), check=False)
    assert (again.returncode, b"0 imported" in again.stdout) == (1, True)
    (done,) = server.ask("import", ANN, str(tmp_path / "box"), "--over-quota")
    assert (done["imported"], done["present"]) == (2, 3)


def test_what_cannot_be_imported_is_named_and_the_rest_comes_in(server: Server, tmp_path: Path) -> None:
    make_maildir(tmp_path / "from", LETTERS[:4])
    (tmp_path / "from" / "new" / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "from" / "new" / "pipe")
    (tmp_path / "from" / ".&AAA-" / "cur").mkdir(parents=True)
    done = server.run("import", ANN, str(tmp_path / "from"), check=False)
    assert done.returncode == 1
    assert b"4 imported" in done.stdout
    said = done.stderr.decode()
    assert said.count("not imported") == 3
    assert "link" in said
    assert "pipe" in said
    assert "--folder" in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("import", "eve@here.example", "{box}"), 1, "no account"),
        (("import", ANN, "{box}/not-there"), 2, "not there"),
        (("import", ANN, "{folder}"), 2, "neither a Maildir"),
        (("import", ANN, "{letter}"), 2, "no mbox"),
        (("import", ANN, "{box}", "--format", "maildir"), 2, "no Maildir"),
        (("import", ANN, "{folder}", "--format", "mbox"), 2, "it is a folder"),
        (("import", ANN, "{box}", "--folder", "a//b"), 2, "--folder"),
        (("export", ANN, "{box}"), 2, "there already"),
        (("export", ANN, "{folder}", "--format", "eml"), 2, "not empty"),
        (("export", ANN, "{data}/x"), 2, "data folder"),
        (("export", "eve@here.example", "{new}"), 1, "no account"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(tmp_path: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    server = Server(tmp_path / "server", users=("ann",))
    make_mbox(tmp_path / "box", LETTERS[:1])
    (tmp_path / "letter").write_bytes(LETTERS[0])
    places = {name: str(tmp_path / name) for name in ("box", "letter", "new")}
    places |= {"folder": str(tmp_path), "data": str(tmp_path / "server" / "data")}
    done = server.run(*(argument.format(**places) for argument in arguments), check=False)
    assert (done.returncode, done.stdout) == (status, b"")
    said = done.stderr.decode()
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "box").read_bytes().startswith(b"From ")


def test_an_import_keeps_to_little_memory_whatever_the_size(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", users=("ann",))
    with (tmp_path / "box").open("wb") as box:
        for n in range(3):
            box.write(b"From a@b.example Wed Nov  4 09:08:07 2026\nSubject: %d\n\n" % n)
            for _ in range(60):
                box.write(b"0123456789abcdef" * 65_536 + b"\n")
            box.write(b"\n")
    # 180 MiB, under a limit of address space that leaves no room for one of the messages twice.
    command = ["prlimit", "--data=150000000", *server._command(), "import", ANN, str(tmp_path / "box"), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert len(server.ask("read", ANN, "--list")) == 3


def test_other_programs_headers_are_read(tmp_path: Path) -> None:
    """Flags of an mbox, as mutt and dovecot note them."""
    server = Server(tmp_path / "server", users=("ann",))
    letter = EmailMessage()
    letter["Subject"] = "flags"
    letter["Status"] = "RO"
    letter["X-Status"] = "AF"
    letter.set_content("text\n")
    make_mbox(tmp_path / "box", [letter.as_bytes()])
    server.run("import", ANN, str(tmp_path / "box"))
    server.run("export", ANN, str(tmp_path / "out"), "--format", "maildir")
    (path,) = (tmp_path / "out" / "cur").iterdir()
    assert path.name.endswith(":2,FRS")
    assert b"Status" not in path.read_bytes()
