"""Postfix as the other server, found by MX through NSD, both ways; what arrives is compared octet for octet."""

from __future__ import annotations

import os
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.letters import letters
from tests.support.nsd import running_nsd
from tests.support.ports import free_port, pause
from tests.support.postfix import Postfix, running_postfix
from tests.support.server import PASSWORD, Server, running_server

# Port 53 and the MX's own port leave no choice of ports, so each run takes addresses of its own.
NET = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"
DNS, OURS, THEIRS, DEAD = f"{NET}.53", f"{NET}.2", f"{NET}.3", f"{NET}.4"
CARRIED = [name for name in letters() if name not in ("large", "bare")]

pytestmark = [
    pytest.mark.peer("postfix", "nsd", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and port 53 need root"),
    pytest.mark.xdist_group("postfix"),
]


@dataclass(frozen=True)
class Internet:
    """here.example is ours, there.example is Postfix's."""

    ours: Server
    theirs: Postfix


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    port = free_port(THEIRS)
    zones = {
        "here.example": f"@ MX 10 mx\nmx A {OURS}",
        "there.example": f"@ MX 5 dead\n@ MX 10 mx\ndead A {DEAD}\nmx A {THEIRS}",
    }
    sections = f"""\
[dns]
servers = ["{DNS}:53"]
[delivery]
port = {port}
private_destinations = "allow"
bind = ["{OURS}"]
[queue]
retry = ["1s", "2s"]
"""
    with (
        running_nsd(DNS, 53, zones),
        running_postfix(
            address=THEIRS,
            port=port,
            hostname="mx.there.example",
            domains=("there.example",),
            users=("cat",),
            nameserver=DNS,
            settings={"smtp_tcp_port": str(port), "smtp_tls_security_level": "may", "minimal_backoff_time": "1s"},
        ) as theirs,
        running_server(
            tmp_path_factory.mktemp("ours"), address=OURS, port_of={"smtp": port}, sections=sections
        ) as ours,
    ):
        yield Internet(ours, theirs)


def body(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[2]


def own_fields(content: bytes) -> bytes:
    """The header from the From field on: what the author wrote, below what servers put before it."""
    return content[content.index(b"From: Ann") :].partition(b"\r\n\r\n")[0]


def test_postfix_takes_what_we_relay(internet: Internet) -> None:
    with smtplib.SMTP(internet.ours.address, internet.ours.ports["submission"]) as client:
        client.starttls()
        client.login("ann@here.example", PASSWORD)
        for name in CARRIED:
            content = letters()[name]
            options = [] if content.isascii() else ["BODY=8BITMIME"]
            client.sendmail("ann@here.example", ["cat@there.example"], content, mail_options=options)
    internet.ours.wait_until_delivered()
    arrived = sorted(internet.theirs.messages("cat"), key=body)
    assert [body(content) for content in arrived] == sorted(body(letters()[name]) for name in CARRIED)
    headers = {own_fields(content) for content in arrived}
    assert headers == {own_fields(letters()[name]) for name in CARRIED}


def test_we_take_what_postfix_relays(internet: Internet) -> None:
    with smtplib.SMTP(internet.theirs.address, internet.theirs.port) as client:
        for name in CARRIED:
            content = letters()[name]
            options = [] if content.isascii() else ["BODY=8BITMIME"]
            client.sendmail("cat@there.example", ["bob@here.example"], content, mail_options=options)
    wait_until_empty(internet.theirs)
    internet.ours.wait_until_delivered()
    arrived = internet.ours.mailbox("bob")
    assert sorted(map(body, arrived)) == sorted(body(letters()[name]) for name in CARRIED)
    assert all(b"with ESMTPS" in content for content in arrived)


def test_a_letter_to_nobody_at_postfix_comes_back_with_its_words(internet: Internet) -> None:
    before = len(internet.ours.mailbox("ann"))
    internet.ours.run(
        *("send", "--from", "ann@here.example", "--to", "nobody@there.example"),
        *("--subject", "hello", "--body", "is anybody there?"),
    )
    internet.ours.wait_until_delivered()
    reports = internet.ours.mailbox("ann")[before:]
    assert len(reports) == 1
    assert b"Diagnostic-Code: smtp; 550 5.1.1 <nobody@there.example>" in reports[0]
    assert b"Remote-MTA: dns; mx.there.example" in reports[0]
    assert b"Action: failed" in reports[0]


def test_a_letter_to_nobody_here_is_refused_to_postfix_and_reported_to_its_user(internet: Internet) -> None:
    with smtplib.SMTP(internet.theirs.address, internet.theirs.port) as client:
        client.sendmail("cat@there.example", ["nobody@here.example"], letters()["text"])
    wait_until_empty(internet.theirs)
    report = internet.theirs.messages("cat")[-1]
    assert b"550 5.1.1" in report


def test_postfix_hands_over_what_its_sender_asks_to_be_told(internet: Internet) -> None:
    asked, told = ["RET=HDRS", "ENVID=by+2Bpostfix"], ["NOTIFY=SUCCESS", "ORCPT=rfc822;bob+2Bx@here.example"]
    with smtplib.SMTP(internet.theirs.address, internet.theirs.port) as client:
        client.sendmail(
            "cat@there.example", ["bob@here.example"], letters()["text"], mail_options=asked, rcpt_options=told
        )
    report = report_by(internet.ours.hostname, internet.theirs)
    assert b"Action: delivered\r\n" in report
    assert b"Original-Envelope-Id: by+postfix\r\n" in report
    assert b"Original-Recipient: rfc822; bob+x@here.example\r\n" in report


def test_postfix_hands_over_addresses_beyond_ascii(internet: Internet) -> None:
    content = "From: Ann <gr\u00fcn@there.example>\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nby postfix\r\n".encode()
    with smtplib.SMTP(internet.theirs.address, internet.theirs.port) as client:
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        client.sendmail("gr\u00fcn@there.example", ["bob@here.example"], content, mail_options=options)
    wait_until_empty(internet.theirs)
    internet.ours.wait_until_delivered()
    [arrived] = [each for each in internet.ours.mailbox("bob") if b"by postfix" in each]
    assert own_fields(arrived).startswith(content.partition(b"\r\n\r\n")[0])
    assert b"with UTF8SMTPS (" in arrived
    assert arrived.startswith("Return-Path: <gr\u00fcn@there.example>\r\n".encode())


def report_by(hostname: str, postfix: Postfix) -> bytes:
    """The report that this server has sent to cat; Postfix may still be writing others of its own."""
    for _ in range(300):
        for content in postfix.messages("cat"):
            if f"Reporting-MTA: dns; {hostname}\r\n".encode() in content:
                return content
        pause(0.1)
    raise AssertionError(postfix.log())


def wait_until_empty(postfix: Postfix) -> None:
    for _ in range(300):
        if not postfix.queued():
            return
        pause(0.1)
    raise AssertionError(postfix.log())


def test_a_smart_host_takes_everything(internet: Internet, tmp_path: Path) -> None:
    """Postfix as the smart host: no MX is asked for, several domains ride in one transaction."""
    theirs = internet.theirs
    sections = f'[delivery]\nsmarthost = "{theirs.address}:{theirs.port}"\nsmarthost_tls = "none"\n'
    already = len(theirs.messages("cat"))
    with running_server(tmp_path / "behind", address=f"{NET}.5", sections=sections) as behind:
        behind.run("send", "--from", "ann@here.example", "--to", "cat@there.example", "--body", "by smart host")
        behind.wait_until_delivered()
    wait_until_empty(theirs)
    assert b"by smart host" in theirs.messages("cat")[already]
