"""`fetchmail -p ODMR` collects a hold by ATRN (RFC 2645) and hands it to a mail server: another Postroad.

fetchmail logs in by CRAM-MD5, which only an account that chose it can do; when the roles have changed it passes the
octets on between the two servers.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.test_waiting_mail import LARGE, LETTER, held, running, send
from tests.support.ports import free_port
from tests.support.server import PASSWORD, Server

pytestmark = pytest.mark.peer("fetchmail")


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Server]:
    odmr = free_port("127.0.0.1")
    server = Server(
        tmp_path / "provider",
        hostname="mx.p.example",
        domain="p.example",
        users=("eve",),
        sections='[[hold]]\ndomain = "d.example"\nowner = "dave@p.example"\n',
    )
    text = server.configuration.read_text()
    server.configuration.write_text(text.replace("[listen]\n", f'[listen]\nodmr = ["127.0.0.1:{odmr}"]\n'))
    server.ports["odmr"] = odmr
    given = f"{PASSWORD}\n".encode()
    server.run("account", "add", "dave@p.example", "--cram-md5", "--password-stdin", given=given)
    with running(server):
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home", hostname="mx.d.example", domain="d.example", users=("bob", "bea"))
    with running(server):
        yield server


def fetchmail(folder: Path, provider: Server, home: Server, user: str = "dave@p.example") -> tuple[int, str]:
    """Run it once; its exit status, and all that it says."""
    rc = folder / "fetchmailrc"
    rc.write_text(
        f"poll 127.0.0.1 protocol ODMR port {provider.ports['odmr']} timeout 20\n"
        f'  user "{user}" password "{PASSWORD}"\n'
        f"  fetchdomains d.example smtphost 127.0.0.1/{home.ports['smtp']}\n"
        "  sslproto ''\n"
    )
    rc.chmod(0o600)
    done = subprocess.run(
        ["fetchmail", "-v", "--nodetach", "--nosyslog", "--pidfile", str(folder / "pid"), "-f", str(rc)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def test_fetchmail_collects_a_hold_and_hands_it_on_octet_for_octet(
    provider: Server, home: Server, tmp_path: Path
) -> None:
    for content in (LETTER, LARGE):
        send(provider, "bob@d.example", content)
    send(provider, "bea@d.example")
    assert held(provider) == 3
    status, said = fetchmail(tmp_path, provider, home)
    assert "CRAM-MD5" in said
    assert held(provider) == 0, said
    assert status == 0, said
    home.wait_until_delivered()
    letters = [home.run("read", "bob@d.example", str(number)).stdout for number in (1, 2)]
    assert [letter.endswith(content) for letter, content in zip(letters, (LETTER, LARGE), strict=True)] == [True, True]
    assert len(home.ask("read", "bea@d.example", "--list")) == 1


def test_fetchmail_is_told_that_there_is_no_mail(provider: Server, home: Server, tmp_path: Path) -> None:
    status, said = fetchmail(tmp_path, provider, home)
    assert "453 4.2.0" in said
    assert status == 0, said


def test_fetchmail_cannot_collect_for_an_account_that_keeps_no_such_secret(
    provider: Server, home: Server, tmp_path: Path
) -> None:
    send(provider, "bob@d.example")
    status, said = fetchmail(tmp_path, provider, home, "eve@p.example")
    assert "535 5.7.8" in said
    assert status != 0
    assert held(provider) == 1
