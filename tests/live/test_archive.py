"""A server that archives its domain: what comes over SMTP is in the archive with everybody it was for, and is found,
exported and verified by the commands; also after a kill."""

from __future__ import annotations

import hashlib
import json
import mailbox
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.support.server import Server, running_server
from tests.support.submitters import as_a_user

LETTER = (
    b"From: ann@here.example\r\nTo: bob@here.example\r\nSubject: the plan\r\n\r\n"
    b"Meet at the old mill.\r\nFrom there on.\r\n"
)
ARCHIVED = '[archive]\ndomains = ["here.example"]\n'
WHY = ("--reason", "case 7")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("archive"), sections=ARCHIVED, users=("ann", "bob", "cat")) as server:
        client = as_a_user(server.address, server.ports["submissions"], "ann@here.example")()
        # cat stands in the envelope alone: a blind copy.
        client.sendmail("ann@here.example", ["bob@here.example", "cat@here.example"], LETTER)
        client.quit()
        server.wait_until_delivered()
        yield server


def test_a_blind_recipient_is_in_the_archive(server: Server) -> None:
    (found,) = server.ask("archive", "search", "--words", "old mill", *WHY)
    assert (found["sender"], found["subject"]) == ("ann@here.example", "the plan")
    assert found["recipients"] == ["bob@here.example", "cat@here.example"]
    assert server.ask("archive", "search", "--to", "cat@here.example", *WHY) == [found]
    assert server.ask("archive", "search", "--from", "eve@away.example", *WHY) == []
    (shown,) = server.ask("archive", "show", found["queue_id"], *WHY)
    assert shown["content_hash"] == found["content_hash"]
    content = server.run("archive", "show", found["queue_id"], "--content", *WHY).stdout
    assert content.endswith(LETTER)
    assert hashlib.blake2b(content, digest_size=32).hexdigest() == found["content_hash"]


def test_nobody_looks_without_a_reason_and_every_look_is_kept(server: Server) -> None:
    assert server.run("archive", "search", check=False).returncode == 2
    assert server.run("archive", "search", "--reason", " ", check=False).returncode == 2
    server.run("archive", "search", "--words", "secret", "--reason", "case 8")
    last = server.ask("archive", "log")[0]
    assert (last["action"], last["detail"], last["reason"]) == ("search", "words=secret", "case 8")
    assert last["by"]


def test_an_export_is_the_messages_and_their_hashes(server: Server, tmp_path: Path) -> None:
    server.run("archive", "export", str(tmp_path / "eml"), *WHY)
    (entry,) = [json.loads(line) for line in (tmp_path / "eml" / "manifest.jsonl").read_text().splitlines()]
    octets = (tmp_path / "eml" / entry["file"]).read_bytes()
    assert hashlib.blake2b(octets, digest_size=32).hexdigest() == entry["content_hash"]
    server.run("archive", "export", str(tmp_path / "mbox"), "--format", "mbox", *WHY)
    box = mailbox.mbox(tmp_path / "mbox" / "archive.mbox")
    (message,) = box
    box.close()
    assert message.get_payload() == "Meet at the old mill.\n>From there on.\n"
    refused = server.run("archive", "export", str(tmp_path / "mbox"), *WHY, check=False)
    assert refused.returncode == 1


def test_a_hold_is_put_on_listed_and_released(server: Server) -> None:
    server.run("archive", "hold", "add", "case 7", "--address", "@here.example", *WHY)
    assert [hold["name"] for hold in server.ask("archive", "hold", "list")] == ["case 7"]
    assert server.run("archive", "hold", "add", "case 7", *WHY, check=False).returncode == 1
    server.run("archive", "hold", "release", "case 7", *WHY)
    assert server.ask("archive", "hold", "list") == []


def test_one_changed_bit_is_told_and_heads_that_were_kept_are_compared(tmp_path: Path) -> None:
    with running_server(tmp_path, sections=ARCHIVED) as server:
        client = as_a_user(server.address, server.ports["submissions"], "ann@here.example")()
        client.sendmail("ann@here.example", ["bob@here.example"], LETTER)
        server.kill()
        client.close()
        server.start()
        server.wait_until_delivered()
        kept = tmp_path / "heads"
        kept.write_bytes(server.run("archive", "heads", "--json").stdout)
        (verified,) = server.ask("archive", "verify", "--heads", str(kept))
        assert (verified["complaints"], len(server.mailbox("bob"))) == ([], 1)
        (file,) = (tmp_path / "data" / "archive").glob("*/0.db")
        connection = apsw.Connection(str(file))
        content = bytearray(connection.execute("SELECT content FROM record").get)
        content[-3] ^= 1
        connection.execute("UPDATE record SET content = ?", (bytes(content),))
        connection.close()
        done = server.run("archive", "verify", check=False)
        assert done.returncode == 1
        assert b"content was changed" in done.stdout
