"""Claws Mail, a mail program with windows, fetches by POP3 in clear, by STLS and in TLS, leaving the mail there or not.

It runs once, on a display that nobody looks at, with an account for each way; the tests look at what became of each.
"""

from __future__ import annotations

import os
import poplib
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.doors import Door
from tests.support.ports import pause
from tests.support.server import Server, running_server

pytestmark = [pytest.mark.peer("claws-mail", "Xvfb"), pytest.mark.xdist_group("pop3-clients")]
PASSWORD = "battery-staple"  # its file of passwords knows no spaces
LETTER = b"From: cat@a.example\r\nSubject: hello\r\n\r\nHello,\r\n..\r\nCat\r\n.\r\n"
CASES = [(way, keep) for way in ("plain", "stls", "tls") for keep in (False, True)]
"""They are gone through in this order. The last deletes nothing, and may be told to end once it has its letter."""
FOLDERS = {"inbox": "inbox", "sent": "outbox", "queue": "queue", "draft": "draft", "trash": "trash"}
_PATIENCE_S = 60.0


def user_of(way: str, keep: bool) -> str:
    return f"{way}-{'leaving' if keep else 'deleting'}@here.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("pop3-claws"), users=()) as running:
        users = "".join(f"{user_of(*case)};{PASSWORD}\n" for case in CASES)
        running.run("account", "import", "-", given=f"address;password\n{users}".encode())
        with Door("smtp", b"cat@a.example").greeted(running) as wire:
            wire.say(b"MAIL FROM:<cat@a.example>\r\n")
            assert wire.reply().startswith(b"250 ")
            for case in CASES:
                wire.say(b"RCPT TO:<%b>\r\n" % user_of(*case).encode())
                assert wire.reply().startswith(b"250 ")
            wire.say(b"DATA\r\n")
            assert wire.reply().startswith(b"354 ")
            wire.say(LETTER)
            assert wire.reply().startswith(b"250 ")
        running.wait_until_delivered()
        yield running


@pytest.fixture(scope="module")
def inboxes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each case, in which lies what was fetched."""
    home = tmp_path_factory.mktemp("claws")
    mail = configured(home, server)
    with display() as name:
        fetch(home, name, mail)
    return mail


def configured(home: Path, server: Server) -> Path:
    """Its folder of mail. Its own configuration is in `home`/rc, with the server's certificate among those it knows."""
    rc, mail = home / "rc", home / "Mail"
    known = rc / "certs"
    known.mkdir(parents=True)
    certificate = ssl.PEM_cert_to_DER_cert((server.folder / "data/keys/certificate.pem").read_text())
    for role in ("pop3", "pop3s"):
        (known / f"127.0.0.1.{server.ports[role]}.cert").write_bytes(certificate)
    (rc / "clawsrc").write_text("[Common]\nconfig_version=4\nreceive_dialog_mode=2\nno_receive_error_panel=1\n")
    items = list(FOLDERS.items()) + [(user_of(*case), "normal") for case in CASES]
    for name, _ in items:
        (mail / name).mkdir(parents=True)
    lines = [f'<folderitem type="{kind}" name="{name}" path="{name}" mtime="0"></folderitem>' for name, kind in items]
    (rc / "folderlist.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<folderlist>\n'
        f'<folder type="mh" name="Mail" path="{mail}" sort="0">\n' + "\n".join(lines) + "\n</folder>\n</folderlist>\n"
    )
    (rc / "accountrc").write_text("".join(account(n, case, server) for n, case in enumerate(CASES, 1)))
    (rc / "passwordstorerc").write_text("".join(f"[account:{n}]\nrecv {PASSWORD}\n" for n in range(1, len(CASES) + 1)))
    return mail


def account(number: int, case: tuple[str, bool], server: Server) -> str:
    way, keep = case
    address = user_of(way, keep)
    return (
        f"[Account: {number}]\nconfig_version=4\naccount_name={address}\nis_default={int(number == 1)}\nname=Bob\n"
        f"address={address}\nuser_id={address}\nprotocol=0\nreceive_server=127.0.0.1\nsmtp_server=127.0.0.1\n"
        f"set_popport=1\npop_port={server.ports['pop3s' if way == 'tls' else 'pop3']}\n"
        f"ssl_pop={('plain', 'tls', 'stls').index(way)}\ninbox=#mh/Mail/{address}\n"
        f"remove_mail={int(not keep)}\nmessage_leave_time=0\nreceive_at_get_all=1\n\n"
    )


@contextmanager
def display() -> Iterator[str]:
    """A display of its own, whose number the server chooses."""
    program = shutil.which("Xvfb") or "Xvfb"
    reads, writes = os.pipe()
    with open(reads, "rb") as chosen:
        process = subprocess.Popen(
            [program, "-displayfd", str(writes), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            pass_fds=[writes],
            stderr=subprocess.DEVNULL,
        )
        os.close(writes)
        try:
            number = chosen.readline().strip().decode()
            assert number, "the display did not start"
            yield f":{number}"
        finally:
            process.terminate()
            process.wait(10)


def fetch(home: Path, display_name: str, mail: Path) -> None:
    """Start it, wait until there is a letter in each of the folders, and tell it to end."""
    environment = {
        **{"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        **{"DISPLAY": display_name, "NO_AT_BRIDGE": "1"},
    }
    command = ["claws-mail", "--alternate-config-dir", str(home / "rc")]
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, "--online", "--receive-all"], env=environment, stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + _PATIENCE_S
        while not all(letters(mail, case) for case in CASES):
            assert process.poll() is None, (home / "output").read_text(errors="replace")
            if time.monotonic() > end:  # the tests tell which of them did not come
                return
            pause()
        subprocess.run([*command, "--exit"], env=environment, check=True, timeout=_PATIENCE_S, capture_output=True)
        process.wait(_PATIENCE_S)
    finally:
        process.kill()
        process.wait()


def letters(mail: Path, case: tuple[str, bool]) -> list[Path]:
    return [path for path in (mail / user_of(*case)).iterdir() if path.name.isdigit()]


@pytest.mark.parametrize(("way", "keep"), CASES)
def test_claws_mail_fetches_a_letter(server: Server, inboxes: Path, way: str, keep: bool) -> None:
    [letter] = letters(inboxes, (way, keep))
    assert letter.read_bytes().replace(b"\r\n", b"\n").endswith(b"\nSubject: hello\n\nHello,\n.\nCat\n")
    client = poplib.POP3("127.0.0.1", server.ports["pop3"])
    client.user(user_of(way, keep))
    client.pass_(PASSWORD)
    assert client.stat()[0] == keep
    client.quit()
