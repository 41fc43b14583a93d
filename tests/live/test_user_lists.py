"""A whole list of users is imported, told line by line, imported again, and exported."""

from __future__ import annotations

import json
import poplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server

DOMAIN = "here.example"
LIST = f"""\
address;name;password;forward;keep_copy;aliases;quota
cat@{DOMAIN};Cat C.;first word;dan@{DOMAIN};yes;;
dan@{DOMAIN};Zoë D.;second word;;;sales@{DOMAIN} info@{DOMAIN};2G
not an address;;;;;;
eve@{DOMAIN};;short;;;;
fay@elsewhere.example;;third word;;;;
gus@{DOMAIN};Gus;fourth word;nobody@{DOMAIN};;;
ann@{DOMAIN};Ann Lee;another word;;;;
cat@{DOMAIN};;;;;;
"""

pytestmark = pytest.mark.xdist_group("user lists")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("lists"), users=("ann",))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def imported(server: Server, *options: str, given: bytes) -> list[tuple[int, str, str]]:
    """Line, result and reason of each."""
    done = server.run("account", "import", "-", "--json", *options, given=given, check=False)
    assert b"Traceback" not in done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (1 if any(each["result"] == "refused" for each in answers) else 0), done.stderr
    return [(each["line"], each["result"], each["reason"]) for each in answers]


def may_log_in(server: Server, address: str, password: str) -> bool:
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
    client.user(address)
    try:
        client.pass_(password)
    except poplib.error_proto:
        return False
    finally:
        client.close()
    return True


def test_a_list_from_its_check_to_its_export(server: Server, tmp_path: Path) -> None:
    checked = imported(server, "--dry-run", given=LIST.encode())
    assert [result for _, result, _ in checked] == [
        "created",
        "created",
        "refused",
        "refused",
        "refused",
        "created",
        "changed",
        "refused",
    ]
    assert len(server.ask("account", "list")) == 1

    first = imported(server, given=LIST.encode())
    assert [(line, result) for line, result, _ in first] == [
        (2, "created"),
        (3, "created"),
        (4, "refused"),
        (5, "refused"),
        (6, "refused"),
        (7, "refused"),
        (8, "changed"),
        (9, "refused"),
    ]
    reasons = [reason for _, _, reason in first]
    assert "is no address" in reasons[2]
    assert "at least 8 characters" in reasons[3]
    assert "not a local domain" in reasons[4]
    assert reasons[5] == f"the account is created, but There is no nobody@{DOMAIN} here. Add it first"
    assert reasons[7] == "the address stands in line 2 already"
    accounts = {each["address"]: each for each in server.ask("account", "list")}
    assert set(accounts) == {f"{name}@{DOMAIN}" for name in ("ann", "cat", "dan", "gus")}
    assert accounts[f"cat@{DOMAIN}"]["forward_to"] == [f"dan@{DOMAIN}"]
    assert accounts[f"dan@{DOMAIN}"]["quota_bytes"] == 2 * 1024**3
    assert accounts[f"ann@{DOMAIN}"]["display_name"] == "Ann Lee"
    assert [each["address"] for each in server.ask("alias", "list")] == [f"info@{DOMAIN}", f"sales@{DOMAIN}"]
    assert may_log_in(server, f"dan@{DOMAIN}", "second word")
    assert not may_log_in(server, f"ann@{DOMAIN}", "another word")

    # Again nothing is doubled, and nothing is changed.
    again = imported(server, given=LIST.encode())
    assert [result for _, result, _ in again].count("unchanged") == 3
    assert {each["address"]: each for each in server.ask("account", "list")} == accounts
    assert imported(server, "--set-passwords", given=f"address,password\nann@{DOMAIN},another word\n".encode()) == [
        (2, "changed", "")
    ]

    exported = server.run("account", "export").stdout
    assert b"Zo\xc3\xab D." in exported
    assert b"word" not in exported
    assert {result for _, result, _ in imported(server, given=exported)} == {"unchanged"}


def test_a_file_that_is_no_list_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "users.csv"
    wrong.write_bytes("address,name\nann@here.example,Zoë\n".encode("latin-1"))
    done = server.run("account", "import", str(wrong), check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"line 2 is not utf-8" in done.stderr
    assert b"--encoding" in done.stderr
    said = server.run("account", "import", str(wrong), "--encoding", "latin-1").stdout.decode()
    assert said == f"line 2: ann@{DOMAIN} changed\n"
    missing = server.run("account", "import", str(tmp_path / "nothing.csv"), check=False)
    assert (missing.returncode, b"No such file" in missing.stderr) == (2, True)
