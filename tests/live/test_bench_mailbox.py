"""The measurements of mailboxes count right: every letter is in its mailbox, and gone once it was fetched. How long it
takes is the machine's affair."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import mailbox
from bench.keepers import ENTRIES
from bench.tables import markdown

pytestmark = [
    pytest.mark.peer("dovecot", "smtp-source"),
    pytest.mark.skipif(os.geteuid() != 0, reason="dovecot starts for root alone"),
    pytest.mark.xdist_group("bench-mailbox"),
]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For temporary files, with a path that is short, as Unix sockets need; nothing may be left in it."""
    with tempfile.TemporaryDirectory(prefix="b-") as name:
        Path(name).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield
        assert list(Path(name).iterdir()) == []


def test_letters_are_delivered_and_fetched_beside_dovecot() -> None:
    delivered, fetched = mailbox.deliver_and_fetch(rounds=1, messages=20, sessions=4)
    for shown in (delivered, fetched):
        assert list(shown.results) == ["postroad", "dovecot"]
        assert all(one.rate > 0 and one.cpu_ms > 0 for rounds in shown.results.values() for one in rounds)
    assert "| mailbox-fetch, 4 users |" in markdown([delivered, fetched])


def test_a_letter_to_many_a_crowd_and_a_large_mailbox(capsys: pytest.CaptureFixture[str]) -> None:
    mailbox.many(people=10, large_bytes=300_000)
    mailbox.crowd(people=10)
    mailbox.large(messages=300, rounds=1)
    said = capsys.readouterr().out
    assert said.count("mailbox-many   postroad: ") == said.count("mailbox-many   dovecot: ") == 3
    assert "mailbox-crowd  dovecot: 10 POP3 sessions at once" in said
    assert "mailbox-large  300 messages: RETR of the last" in said


def test_every_keeper_says_how_it_was_configured() -> None:
    assert next(iter(ENTRIES)) == "postroad"
    assert all(entry.configuration for entry in ENTRIES.values())
