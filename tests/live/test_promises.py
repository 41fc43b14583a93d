"""What a user asks of a running server beyond delivery: not before an hour, not after one, not without TLS."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from tests.support.ports import free_port
from tests.support.server import PASSWORD, Server
from tests.support.submitters import unverified

ANN = "ann@here.example"
LETTER = "Subject: hi\r\nMessage-ID: <%s@here.example>\r\n\r\nthe body\r\n"

pytestmark = pytest.mark.xdist_group("promises")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two domains are elsewhere: at one nobody answers, at the other a server without TLS does."""
    plain = Controller(Sink(), hostname="127.0.0.1", port=free_port())
    plain.start()
    sections = f"""
[queue]
retry = ["1s"]
[[route]]
domain = "closed.example"
to = "127.0.0.1:{free_port()}"
[[route]]
domain = "plain.example"
to = "127.0.0.1:{plain.port}"
"""
    server = Server(tmp_path_factory.mktemp("promises"), sections=sections)
    server.start()
    yield server
    assert server.stop() == 0
    plain.stop()
    assert "unexpected" not in server.log()


def submit(server: Server, name: str, recipient: str, parameters: list[str], *asked: str) -> None:
    """`asked` are parameters of RCPT."""
    port = server.ports["submissions"]
    with smtplib.SMTP_SSL("127.0.0.1", port, context=unverified(), timeout=20) as smtp:
        smtp.login(ANN, PASSWORD)
        smtp.sendmail(ANN, [recipient], LETTER % name, mail_options=parameters, rcpt_options=asked)


def report(server: Server, name: str) -> bytes:
    """The notification about a message, when everything has come to its end."""
    server.wait_until_delivered()
    (found,) = (each for each in server.mailbox("ann") if f"References: <{name}@".encode() in each)
    return found


def test_a_letter_for_later_comes_later(server: Server) -> None:
    began = time.monotonic()
    submit(server, "later", "bob@here.example", ["HOLDFOR=3"])
    assert server.queued() == 1
    assert server.mailbox("bob") == []
    server.run("queue", "flush", "--all")
    server.wait_until_delivered()
    assert time.monotonic() - began >= 3
    assert [b"<later@here.example>" in each for each in server.mailbox("bob")] == [True]


def test_a_letter_that_cannot_be_there_in_time_comes_back(server: Server) -> None:
    began = time.monotonic()
    submit(server, "in-time", "x@closed.example", ["BY=3;R"])
    found = report(server, "in-time")
    assert time.monotonic() - began >= 3
    assert b"Status: 5.4.7" in found
    assert b"Deliver-By-Date: " in found


def test_a_letter_that_requires_tls_does_not_go_without(server: Server) -> None:
    submit(server, "secret", "x@plain.example", ["REQUIRETLS", "RET=FULL"])
    found = report(server, "secret")
    assert b"Status: 5.7.30" in found
    assert b"the body" not in found


@pytest.mark.parametrize(("recipient", "action"), [("bob@here.example", b"delivered"), ("x@plain.example", b"relayed")])
def test_success_is_told_under_the_names_that_the_sender_gave(server: Server, recipient: str, action: bytes) -> None:
    """RFC 3461 sections 5.2.2, 5.2.3 and 6.3"""
    name = f"told-{action.decode()}"
    submit(server, name, recipient, ["RET=FULL", "ENVID=order+2B42"], "NOTIFY=SUCCESS", "ORCPT=rfc822;An+2BOther@x")
    found = report(server, name)
    assert b"\r\nAction: %s\r\n" % action in found
    assert b"\r\nOriginal-Envelope-Id: order+42\r\n" in found
    assert b"\r\nOriginal-Recipient: rfc822; An+Other@x\r\n" in found
    assert b"the body" not in found


def test_who_wants_to_hear_nothing_hears_nothing(server: Server) -> None:
    """RFC 3461 sections 4.1 and 5.2.6: two letters that cannot be delivered, and one report."""
    before = len(server.mailbox("ann"))
    submit(server, "silence", "x@closed.example", ["BY=1;R"], "NOTIFY=NEVER")
    submit(server, "words", "y@closed.example", ["BY=1;R"], "NOTIFY=FAILURE")
    assert b"y@closed.example" in report(server, "words")
    assert len(server.mailbox("ann")) == before + 1


def test_a_priority_is_in_the_trace_of_a_letter(server: Server) -> None:
    submit(server, "urgent", ANN, ["MT-PRIORITY=6"])
    server.wait_until_delivered()
    (found,) = (each for each in server.mailbox("ann") if b"Message-ID: <urgent@" in each)
    assert b"\tpriority 6;" in found
