"""Quotas and notices of absence, by smtplib in and by poplib out."""

from __future__ import annotations

import email
import poplib
import time
from collections.abc import Iterator
from email.message import Message

import pytest

from tests.support.ports import pause
from tests.support.server import PASSWORD, Server
from tests.support.submitters import as_a_server

DOMAIN = "here.example"
ANN, BOB, CAT = (f"{name}@{DOMAIN}" for name in ("ann", "bob", "cat"))
PATIENCE_S = 30.0

pytestmark = pytest.mark.xdist_group("mailbox keeping")


class Post:
    def __init__(self, server: Server) -> None:
        self.server = server

    def offer(self, recipient: str, *, sender: str = BOB, size: int = 0) -> tuple[int, str]:
        """The answer to RCPT."""
        client = as_a_server(self.server.address, self.server.ports["smtp"])()
        client.mail(sender, [f"SIZE={size}"] if size else [])
        code, words = client.rcpt(recipient)
        client.quit()
        return code, words.decode()

    def send(self, recipient: str, *, sender: str = BOB, header: str = "", octets: int = 10, to: str = "") -> None:
        client = as_a_server(self.server.address, self.server.ports["smtp"])()
        fields = f"From: {sender}\r\nTo: {to or recipient}\r\nSubject: hello\r\nMessage-ID: <1@c.example>\r\n{header}"
        lines = "x" * 70 + "\r\n"
        client.sendmail(sender, [recipient], (f"{fields}\r\n" + lines * (octets // 72 + 1)).encode())
        client.quit()

    def fetch(self, address: str, *, remove: bool = True) -> list[Message]:
        client = poplib.POP3(self.server.address, self.server.ports["pop3"], timeout=20)
        client.user(address)
        client.pass_(PASSWORD)
        letters = []
        for number in range(1, client.stat()[0] + 1):
            letters.append(email.message_from_bytes(b"\r\n".join(client.retr(number)[1])))
            if remove:
                client.dele(number)
        client.quit()
        return letters

    def await_letters(self, address: str, count: int) -> list[Message]:
        """At least so many, left where they are."""
        end = time.monotonic() + PATIENCE_S
        while len(letters := self.fetch(address, remove=False)) < count:
            assert time.monotonic() < end, [letter["Subject"] for letter in letters]
            pause(0.1)
        return letters


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    sections = '[limits.account]\nover_quota = "reject"\n'
    server = Server(tmp_path_factory.mktemp("keeping"), users=("ann", "bob", "cat"), sections=sections)
    server.start()
    try:
        yield Post(server)
    finally:
        server.stop()


# ---- absence -----------------------------------------------------------------------------------------


@pytest.fixture
def away(post: Post) -> Iterator[Post]:
    for address in (ANN, BOB, CAT):
        post.fetch(address)
    post.server.run("account", "name", ANN, "Ann Lee")
    post.server.run("account", "vacation", ANN, "--text", "I am away until Monday: Grüße.", "--days", "3")
    yield post
    post.server.run("account", "vacation", ANN, "--off")
    post.server.wait_until_delivered()


def test_a_sender_is_told_once_that_the_user_is_away(away: Post) -> None:
    away.send(ANN)
    (notice,) = away.await_letters(BOB, 1)
    assert notice["Return-Path"] == "<>"
    assert notice["Auto-Submitted"] == "auto-replied"
    assert notice["Subject"] == "Auto: hello"
    assert notice["From"] == f"Ann Lee <{ANN}>"
    assert notice["To"] == BOB
    assert notice["In-Reply-To"] == notice["References"] == "<1@c.example>"
    assert notice["Date"]
    assert "Monday: Grüße." in notice.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert len(away.fetch(ANN)) == 1
    away.send(ANN)
    away.send(ANN, sender=CAT)
    away.await_letters(CAT, 1)
    assert len(away.fetch(ANN)) == 2
    assert len(away.fetch(BOB)) == 1
    story = away.server.run("trace", notice["Message-ID"]).stdout.decode()
    assert f"the notice of absence of {ANN}" in story


def test_lists_machines_and_bounces_hear_nothing(away: Post) -> None:
    away.send(ANN, header="Precedence: bulk\r\n")
    away.send(ANN, header="List-Id: <l.example>\r\n")
    away.send(ANN, header="Auto-Submitted: auto-generated\r\n")
    away.send(ANN, sender="")
    away.send(ANN, to="undisclosed@elsewhere.example")
    away.server.wait_until_delivered()
    # What comes last is answered, and by then the others would have been.
    away.send(ANN, sender=CAT)
    away.await_letters(CAT, 1)
    assert away.fetch(BOB) == []
    assert len(away.fetch(ANN)) == 6


def test_two_who_are_away_do_not_answer_each_other_for_ever(away: Post) -> None:
    away.server.run("account", "vacation", BOB, "--text", "I am away too.")
    try:
        away.send(ANN, sender=BOB)
        (notice,) = away.await_letters(BOB, 1)
        assert notice["Auto-Submitted"] == "auto-replied"
        away.server.wait_until_delivered()
        assert [each["Auto-Submitted"] for each in away.fetch(ANN)] == [None]
    finally:
        away.server.run("account", "vacation", BOB, "--off")


# ---- quota -------------------------------------------------------------------------------------------


def test_a_full_mailbox_is_told_at_rcpt_and_its_owner_is_warned_once_before(post: Post) -> None:
    post.fetch(CAT)
    post.server.run("account", "limit", CAT, "--quota", "20K")
    post.send(CAT, octets=10_000)
    assert [each["Subject"] for each in post.await_letters(CAT, 1)] == ["hello"]
    code, words = post.offer(CAT, size=15_000)
    assert (code, words.split()[0]) == (552, "5.2.2")
    assert post.offer(CAT, size=5000)[0] == 250
    assert post.offer(f"postmaster@{DOMAIN}", size=50_000)[0] == 250
    post.send(CAT, octets=8500)
    subjects = [each["Subject"] for each in post.await_letters(CAT, 3)]
    assert subjects == ["hello", "hello", "Your mailbox is nearly full"]
    warning = post.fetch(CAT, remove=False)[2]
    assert (warning["Return-Path"], warning["Auto-Submitted"]) == ("<>", "auto-generated")
    post.send(CAT, octets=100)
    assert len(post.await_letters(CAT, 4)) == 4
    assert post.offer(CAT, size=3000)[0] == 552
    # With room again mail is taken, and the next time it is full its owner is warned again.
    post.fetch(CAT)
    end = time.monotonic() + PATIENCE_S
    while post.offer(CAT, size=3000)[0] != 250:
        assert time.monotonic() < end
        pause(0.2)
    post.send(CAT, octets=100)
    post.await_letters(CAT, 1)
    post.send(CAT, octets=19_000)
    assert [each["Subject"] for each in post.await_letters(CAT, 3)][2] == "Your mailbox is nearly full"
    post.server.run("account", "limit", CAT, "--quota", "0")


def test_what_turns_out_too_large_for_the_mailbox_is_returned(post: Post) -> None:
    """The client did not say how large it is, and an alias does not know."""
    for address in (BOB, CAT):
        post.fetch(address)
    post.server.run("account", "limit", CAT, "--quota", "5K")
    post.server.run("alias", "add", f"desk@{DOMAIN}", CAT, check=False)
    try:
        post.send(f"desk@{DOMAIN}", octets=6000)
        (report,) = post.await_letters(BOB, 1)
        assert "5.2.2" in report.as_string()
        assert post.fetch(CAT) == []
    finally:
        post.server.run("account", "limit", CAT, "--quota", "0")
        post.fetch(BOB)


def test_a_quota_of_everybody_defers_by_configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    sections = '[limits.account]\nquota_bytes = 4000\nover_quota = "defer"\n[queue]\nretry = ["1s"]\n'
    server = Server(tmp_path_factory.mktemp("deferring"), sections=sections)
    server.start()
    try:
        post = Post(server)
        post.send(ANN, octets=3000)
        post.await_letters(ANN, 1)
        code, words = post.offer(ANN, size=3000)
        assert (code, words.split()[0]) == (452, "4.2.2")
        server.run("alias", "add", f"desk@{DOMAIN}", ANN)
        post.send(f"desk@{DOMAIN}", octets=3000)
        server.wait_until_delivered(left=1)
        post.fetch(ANN)
        # It waited in the queue, and comes when there is room.
        server.wait_until_delivered()
        assert len(post.fetch(ANN)) == 1
    finally:
        server.stop()
