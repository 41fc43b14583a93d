"""Exim as the other server, both ways: by BDAT and by DATA, in clear and inside TLS, with addresses beyond US-ASCII and
with what the sender asks to be told. What it hands over arrives octet for octet."""

from __future__ import annotations

import os
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import find_peer
from tests.support.doors import fetched
from tests.support.exim import Exim, running_exim
from tests.support.letters import letters
from tests.support.ports import free_port
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import unverified

BY_CHUNKS = [name for name in letters() if name not in ("large", "bare", "latin")]
BY_DATA = ["dots", "8bit"]
ENDING = {"CHUNKING and TLS": ("*", "*"), "DATA in clear": ("", "")}

pytestmark = [
    pytest.mark.peer("exim4"),
    pytest.mark.skipif(os.geteuid() != 0, reason="exim changes users"),
    pytest.mark.xdist_group("exim"),
]


@dataclass(frozen=True)
class Pair:
    """here.example is ours, there.example is exim's."""

    ours: Server
    theirs: Exim
    chunks: bool

    @property
    def carried(self) -> list[str]:
        """The names of the letters that go both ways; each takes exim a second."""
        return BY_CHUNKS if self.chunks else BY_DATA


@pytest.fixture(scope="module", params=ENDING)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    chunking, tls = ENDING[request.param]
    program = find_peer("exim4")
    assert program is not None
    port = free_port()
    sections = f'[delivery]\nsmarthost = "127.0.0.1:{port}"\nsmarthost_tls = "{"opportunistic" if tls else "none"}"\n'
    with running_server(tmp_path_factory.mktemp("ours"), users=("ann", "bob", "gr\u00fcn"), sections=sections) as ours:
        keys = ours.folder / "data" / "keys"
        with running_exim(
            program,
            address="127.0.0.1",
            port=port,
            hostname="mx.there.example",
            next_hop=("127.0.0.1", ours.ports["smtp"]),
            domains=("there.example",),
            users=("cat",),
            certificate=(sorted(keys.glob("*cert*"))[0], sorted(keys.glob("*key*"))[0]) if tls else None,
            transport={"hosts_try_chunking": chunking, "hosts_require_tls": tls, "hosts_avoid_tls": "" if tls else "*"},
        ) as theirs:
            yield Pair(ours, theirs, bool(chunking))


def body(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[2]


def own_fields(content: bytes) -> bytes:
    """The header from the From field on: what the author wrote, below what servers put before it."""
    return content[content.index(b"From: Ann") :].partition(b"\r\n\r\n")[0]


def given_to(theirs: Exim, sender: str, recipient: str, content: bytes, **how: tuple[str, ...]) -> None:
    with smtplib.SMTP(theirs.address, theirs.port, local_hostname="client.there.example") as client:
        client.sendmail(
            sender, [recipient], content, mail_options=how.get("mail", ()), rcpt_options=how.get("rcpt", ())
        )


def test_we_take_what_exim_hands_over_octet_for_octet(pair: Pair) -> None:
    for name in pair.carried:
        content = letters()[name]
        options = () if content.isascii() else ("BODY=8BITMIME",)
        given_to(pair.theirs, "cat@there.example", "bob@here.example", content, mail=options)
    pair.theirs.wait_until_empty()
    pair.ours.wait_until_delivered()
    arrived = [message for message in fetched(pair.ours, "bob") if b"From: Ann" in message]
    assert sorted(map(body, arrived)) == sorted(body(letters()[name]) for name in pair.carried)
    # Exim adds the Message-ID and Date that are missing, below the author's fields.
    for name in pair.carried:
        assert any(own_fields(message).startswith(own_fields(letters()[name])) for message in arrived), name
    assert all((b"with ESMTPS (" in message) == pair.chunks for message in arrived), arrived[0]
    assert pair.theirs.handed_over_by_bdat() == (len(pair.carried) if pair.chunks else 0)


def test_exim_takes_what_we_hand_over_octet_for_octet(pair: Pair) -> None:
    with smtplib.SMTP_SSL("127.0.0.1", pair.ours.ports["submissions"], context=unverified()) as client:
        client.login("ann@here.example", PASSWORD)
        for name in pair.carried:
            content = letters()[name]
            options = [] if content.isascii() else ["BODY=8BITMIME"]
            client.sendmail("ann@here.example", ["cat@there.example"], content, mail_options=options)
    pair.ours.wait_until_delivered()
    pair.theirs.wait_until_empty()
    arrived = [message for message in pair.theirs.messages("cat") if b"From: Ann" in message]
    assert sorted(map(body, arrived)) == sorted(body(letters()[name]) for name in pair.carried)
    assert {own_fields(message) for message in arrived} == {own_fields(letters()[name]) for name in pair.carried}


def test_exim_hands_over_mail_for_an_address_beyond_ascii(pair: Pair) -> None:
    content = "From: Ann <cat@there.example>\r\nSubject: Gr\u00fc\u00dfe by exim\r\n\r\nGr\u00fc\u00dfe\r\n".encode()
    given_to(pair.theirs, "cat@there.example", "gr\u00fcn@here.example", content, mail=("SMTPUTF8", "BODY=8BITMIME"))
    pair.theirs.wait_until_empty()
    pair.ours.wait_until_delivered()
    [arrived] = fetched(pair.ours, "gr\u00fcn")
    assert body(arrived) == body(content)
    assert b" with UTF8SMTP" in arrived


def test_exim_passes_on_what_the_sender_asks_to_be_told(pair: Pair) -> None:
    content = b"From: Ann <cat@there.example>\r\nSubject: tell me\r\n\r\nhello\r\n"
    before = len(pair.theirs.messages("cat"))
    asked = {"mail": ("RET=HDRS", "ENVID=by+2Bexim"), "rcpt": ("NOTIFY=SUCCESS", "ORCPT=rfc822;bob+2Bx@here.example")}
    given_to(pair.theirs, "cat@there.example", "bob@here.example", content, **asked)
    pair.theirs.wait_until_empty()
    pair.ours.wait_until_delivered()
    pair.theirs.wait_until_empty()
    [report] = pair.theirs.messages("cat")[before:]
    assert b"Action: delivered\r\n" in report
    assert b"Original-Envelope-Id: by+exim\r\n" in report
    assert b"Original-Recipient: rfc822; bob+x@here.example\r\n" in report


def test_who_is_not_at_exim_comes_back_with_its_words(pair: Pair) -> None:
    before = len(fetched(pair.ours, "ann"))
    letter = ["--subject", "hello", "--body", "is anybody there?"]
    pair.ours.run("send", "--from", "ann@here.example", "--to", "nobody@there.example", *letter)
    pair.ours.wait_until_delivered()
    [report] = fetched(pair.ours, "ann")[before:]
    assert b"Action: failed\r\n" in report
    assert b"Diagnostic-Code: smtp; 550 no such user here\r\n" in report


def test_who_is_not_here_is_refused_to_exim_and_reported_to_its_user(pair: Pair) -> None:
    given_to(pair.theirs, "cat@there.example", "nobody@here.example", letters()["text"])
    pair.theirs.wait_until_empty()
    report = pair.theirs.messages("cat")[-1]
    assert b"550 5.1.1 No such mailbox here" in report
