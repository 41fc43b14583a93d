"""Aliases, forwarding and sub-addresses as people meet them: by smtplib in, by poplib out, over two servers."""

from __future__ import annotations

import poplib
import time
from collections.abc import Iterator

import pytest

from tests.support.ports import free_port, pause
from tests.support.server import PASSWORD, Server
from tests.support.submitters import as_a_server, as_a_user

HERE, AWAY = "here.example", "away.example"
ANN, BOB, CAT, EVE = f"ann@{HERE}", f"bob@{HERE}", f"cat@{HERE}", f"eve@{AWAY}"

pytestmark = pytest.mark.xdist_group("aliases")


class Houses:
    def __init__(self, here: Server, away: Server) -> None:
        self.here = here
        self.away = away

    def post(self, subject: str, *recipients: str, sender: str = "dan@stranger.example", options: str = "") -> None:
        """From another server, in one transaction; and on until it is delivered everywhere."""
        client = as_a_server(self.here.address, self.here.ports["smtp"])()
        client.mail(sender)
        for recipient in recipients:
            code, words = client.rcpt(recipient, [options] if options else [])
            assert code == 250, (recipient, words)
        to = f"From: {sender}\r\nTo: {recipients[0]}\r\nSubject: {subject}\r\n"
        code, words = client.data(f"{to}Message-ID: <{subject}@stranger.example>\r\n\r\nHello.\r\n".encode())
        assert code == 250, words
        client.quit()
        self.delivered()

    def delivered(self) -> None:
        self.here.wait_until_delivered()
        self.away.wait_until_delivered()

    def refused(self, recipient: str) -> str:
        client = as_a_server(self.here.address, self.here.ports["smtp"])()
        client.mail("dan@stranger.example")
        code, words = client.rcpt(recipient)
        client.quit()
        return f"{code} {words.decode()}"

    def mail(self, address: str) -> list[str]:
        """Fetched and removed."""
        server = self.away if address.endswith(AWAY) else self.here
        client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
        client.user(address)
        client.pass_(PASSWORD)
        letters = []
        for number in range(1, client.stat()[0] + 1):
            letters.append("\n".join(line.decode() for line in client.retr(number)[1]))
            client.dele(number)
        client.quit()
        return letters

    def subjects(self, address: str) -> list[str]:
        return [line[9:] for letter in self.mail(address) for line in letter.split("\n") if line[:9] == "Subject: "]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    folder = tmp_path_factory.mktemp("aliases")
    ports = {HERE: free_port(), AWAY: free_port()}
    to = {domain: f'[[route]]\ndomain = "{domain}"\nto = "127.0.0.1:{port}"\n' for domain, port in ports.items()}
    away = Server(
        folder / "away",
        hostname=f"mx.{AWAY}",
        domain=AWAY,
        users=("eve",),
        sections=to[HERE],
        port_of={"smtp": ports[AWAY]},
    )
    here = Server(
        folder / "here",
        domain=HERE,
        users=("ann", "bob", "cat"),
        sections=to[AWAY],
        port_of={"smtp": ports[HERE]},
    )
    here.start()
    away.start()
    try:
        yield Houses(here, away)
    finally:
        here.stop()
        away.stop()


def test_an_alias_gives_one_copy_to_each_here_and_elsewhere(houses: Houses) -> None:
    houses.here.run("alias", "add", f"sales@{HERE}", ANN, EVE)
    houses.here.run("alias", "add", f"all@{HERE}", f"sales@{HERE}", BOB, ANN)
    houses.post("to-all", f"all@{HERE}", ANN)
    assert houses.subjects(ANN) == houses.subjects(BOB) == houses.subjects(EVE) == ["to-all"]
    story = houses.here.run("trace", "<to-all@stranger.example>").stdout.decode()
    assert f"all@{HERE} leads to {BOB}, {ANN}, {EVE}" in story
    assert f"all@{HERE} leads to" in houses.here.run("trace", EVE).stdout.decode()


def test_what_goes_elsewhere_keeps_its_envelope_sender(houses: Houses) -> None:
    houses.here.run("alias", "add", f"out@{HERE}", EVE)
    houses.post("outward", f"out@{HERE}")
    (letter,) = houses.mail(EVE)
    assert letter.startswith("Return-Path: <dan@stranger.example>\n")


def test_a_circle_is_refused_when_it_is_made(houses: Houses) -> None:
    houses.here.run("alias", "add", f"first@{HERE}", ANN)
    houses.here.run("alias", "add", f"second@{HERE}", f"first@{HERE}")
    done = houses.here.run("alias", "add", f"first@{HERE}", f"second@{HERE}", check=False)
    assert done.returncode == 1
    assert b"circle: first@here.example -> second@here.example -> first@here.example" in done.stderr


def test_a_circle_over_two_servers_ends(houses: Houses) -> None:
    """RFC 5321 section 6.3: by the Received fields; the writer is told."""
    houses.here.run("alias", "add", f"round@{HERE}", f"round@{AWAY}")
    houses.away.run("alias", "add", f"round@{AWAY}", f"round@{HERE}")
    houses.post("round-and-round", f"round@{HERE}", sender=BOB)
    reports: list[str] = []
    end = time.monotonic() + 60
    while not reports:
        assert time.monotonic() < end, "nobody is told"
        pause(0.2)
        reports = houses.mail(BOB)
    assert "5.4.6" in reports[0]
    houses.delivered()
    assert houses.mail(BOB) == reports[1:] == []


def test_a_sub_address_comes_to_its_user_and_keeps_its_tag(houses: Houses) -> None:
    houses.post("tagged", f"bob+lists@{HERE}")
    assert houses.subjects(BOB) == ["tagged"]


def test_a_catch_all_gets_the_rest(houses: Houses) -> None:
    assert houses.refused(f"nobody@{HERE}").startswith("550 5.1.1")
    houses.here.run("alias", "add", f"@{HERE}", CAT)
    try:
        houses.post("caught", f"nobody@{HERE}", f"bob+x@{HERE}")
        assert houses.subjects(CAT) == houses.subjects(BOB) == ["caught"]
    finally:
        houses.here.run("alias", "remove", f"@{HERE}")
    assert houses.refused(f"nobody@{HERE}").startswith("550 5.1.1")


def test_postmaster_and_abuse_are_taken_without_anybody_having_made_them(houses: Houses) -> None:
    houses.post("to-the-postmaster", f"Postmaster@{HERE}", f"abuse@{HERE}")
    assert houses.subjects(ANN) == ["to-the-postmaster", "to-the-postmaster"]


def test_forwarding_with_and_without_a_kept_copy(houses: Houses) -> None:
    houses.here.run("account", "forward", CAT, EVE)
    houses.post("kept", CAT)
    assert houses.subjects(CAT) == houses.subjects(EVE) == ["kept"]
    houses.here.run("account", "forward", CAT, EVE, BOB, "--no-copy")
    houses.post("not-kept", CAT)
    assert houses.subjects(CAT) == []
    assert houses.subjects(EVE) == houses.subjects(BOB) == ["not-kept"]
    houses.here.run("account", "forward", CAT, "--off")
    houses.post("stays", CAT)
    assert houses.subjects(CAT) == ["stays"]
    assert houses.subjects(EVE) == []


def test_a_disabled_account_takes_no_mail_and_hands_none_on(houses: Houses) -> None:
    houses.here.run("account", "forward", CAT, EVE)
    houses.here.run("account", "disable", CAT)
    try:
        assert houses.refused(CAT).startswith("550 5.2.1")
    finally:
        houses.here.run("account", "disable", "--undo", CAT)
        houses.here.run("account", "forward", CAT, "--off")


def test_the_sender_hears_that_an_alias_was_expanded(houses: Houses) -> None:
    """RFC 3461 section 5.2.7.3."""
    houses.here.run("alias", "add", f"team@{HERE}", ANN, BOB)
    houses.post("expanded", f"team@{HERE}", sender=CAT, options="NOTIFY=SUCCESS,FAILURE")
    assert houses.subjects(ANN) == houses.subjects(BOB) == ["expanded"]
    (report,) = houses.mail(CAT)
    assert "\nAction: expanded\n" in report
    assert f"\nFinal-Recipient: rfc822; team@{HERE}\n" in report


def test_vrfy_and_expn_tell_what_is_configured(houses: Houses) -> None:
    houses.here.run("alias", "add", f"crew@{HERE}", BOB, EVE)
    client = as_a_user(houses.here.address, houses.here.ports["submissions"], ANN)()
    assert client.expn(f"crew@{HERE}") == (250, f"2.1.5 <{BOB}>\n2.1.5 <{EVE}>".encode())
    assert client.verify(f"crew@{HERE}") == (250, f"2.1.5 <crew@{HERE}>".encode())
    assert client.verify(f"bob+x@{HERE}") == (250, f"2.1.5 <{BOB}>".encode())
    client.quit()


def test_a_user_may_write_as_an_alias_that_names_it_and_as_no_other(houses: Houses) -> None:
    houses.here.run("alias", "add", f"desk@{HERE}", ANN)
    houses.here.run("alias", "add", f"others@{HERE}", BOB)
    houses.here.run("account", "forward", BOB, ANN)
    client = as_a_user(houses.here.address, houses.here.ports["submissions"], ANN)()
    try:
        for sender, code in ((f"desk@{HERE}", 250), (f"ann+x@{HERE}", 250), (f"others@{HERE}", 553), (BOB, 553)):
            assert client.mail(sender)[0] == code, sender
            client.rset()
    finally:
        client.quit()
        houses.here.run("account", "forward", BOB, "--off")


def test_removing_an_account_tells_who_still_leads_there(houses: Houses) -> None:
    houses.here.add_account(f"tom@{HERE}")
    houses.here.run("alias", "add", f"toms@{HERE}", f"tom@{HERE}", ANN)
    said = houses.here.run("account", "remove", f"tom@{HERE}").stdout.decode()
    assert f"toms@{HERE} still leads there" in said
    houses.post("to-what-is-left", f"toms@{HERE}", sender=BOB)
    assert houses.subjects(ANN) == ["to-what-is-left"]
    (bounce,) = houses.mail(BOB)
    assert f"tom@{HERE}" in bounce
