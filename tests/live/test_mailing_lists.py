"""Mailing lists as their owners and posters meet them: made by commands, asked for and written to over SMTP."""

from __future__ import annotations

import poplib
from collections.abc import Iterator

import pytest

from tests.support.server import PASSWORD, Server
from tests.support.submitters import as_a_server, as_a_user

DOMAIN = "here.example"
ANN, BOB, CAT = f"ann@{DOMAIN}", f"bob@{DOMAIN}", f"cat@{DOMAIN}"
STRANGER = "dan@stranger.example"

pytestmark = pytest.mark.xdist_group("mailing lists")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("lists"),
        domain=DOMAIN,
        users=("ann", "bob", "cat"),
        sections='expn = "anyone"\nvrfy = "anyone"\n',  # [policy] is the last of the common part
    )
    server.start()
    yield server
    assert server.stop() == 0


def make(server: Server, name: str, *members: str, options: tuple[str, ...] = ()) -> str:
    address = f"{name}@{DOMAIN}"
    server.run("list", "create", address, *options)
    if members:
        server.run("list", "join", address, *members)
    return address


def asked(server: Server, command: str) -> str:
    """By a stranger."""
    client = as_a_server(server.address, server.ports["smtp"])()
    code, words = client.docmd(command)
    client.quit()
    return f"{code} {words.decode()}"


def posted(server: Server, sender: str, to: str) -> str:
    """The answer to RCPT, or to the dot where there is one."""
    client = as_a_server(server.address, server.ports["smtp"])()
    client.mail(sender)
    code, words = client.rcpt(to)
    if code == 250:
        header = f"From: {sender}\r\nTo: {to}\r\nSubject: post\r\nMessage-ID: <1@x.example>\r\n\r\n"
        code, words = client.data(header.encode() + b"Hello.\r\n")
    client.quit()
    return f"{code} {words.decode()}"


def letters(server: Server, address: str) -> list[str]:
    """Fetched and removed."""
    server.wait_until_delivered()
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
    client.user(address)
    client.pass_(PASSWORD)
    fetched = []
    for number in range(1, client.stat()[0] + 1):
        fetched.append(b"\n".join(client.retr(number)[1]).decode())
        client.dele(number)
    client.quit()
    return fetched


def test_a_list_takes_what_a_member_writes_to_all_members(server: Server) -> None:
    friends = make(server, "friends", ANN, BOB)
    assert posted(server, ANN, friends).startswith("250 ")
    (letter,) = letters(server, BOB)
    assert letter.startswith(f"Return-Path: <friends-bounces+bob={DOMAIN}@{DOMAIN}>\nList-Id: ")
    assert letters(server, ANN) != []
    assert letters(server, CAT) == []


@pytest.mark.parametrize(
    ("posters", "sender", "answer"),
    [
        ("members", ANN, "250"),
        ("members", f"ann+away@{DOMAIN}", "250"),
        ("members", CAT, "250"),
        ("members", BOB, "550 5.7.2 Only members may write to this list; its owners are at {}-owner@"),
        ("members", STRANGER, "550 5.7.2 Only members may write to this list; its owners are at {}-owner@"),
        ("members", "", "550 5.7.2 Lists take no notifications"),
        ("owners", ANN, "550 5.7.2 Only its owners may write to this list; its owners are at {}-owner@"),
        ("owners", CAT, "250"),
        ("anyone", STRANGER, "250"),
        ("anyone", "", "550 5.7.2 Lists take no notifications"),
    ],
)
def test_who_may_not_write_to_a_list_hears_it_before_the_content(
    server: Server, posters: str, sender: str, answer: str
) -> None:
    name = f"p{abs(hash((posters, sender)))}"
    address = make(server, name, ANN, options=("--posters", posters, "--owner", CAT))
    assert posted(server, sender, address).startswith(answer.format(name))


def test_one_recipient_that_is_refused_takes_nothing_from_the_others(server: Server) -> None:
    address = make(server, "inner", ANN)
    client = as_a_server(server.address, server.ports["smtp"])()
    client.mail(STRANGER)
    assert client.rcpt(address)[0] == 550
    assert client.rcpt(CAT)[0] == 250
    assert client.rcpt(f"inner-owner@{DOMAIN}")[0] == 250
    client.rset()
    client.quit()


def test_a_user_of_ours_who_is_no_member_is_refused_as_well(server: Server) -> None:
    address = make(server, "closed", ANN)
    client = as_a_user(server.address, server.ports["submissions"], BOB)()
    client.mail(BOB)
    code, words = client.rcpt(address)
    client.quit()
    assert code == 550
    assert b"5.7.2 Only members" in words


def test_expn_tells_the_members_who_get_mail_and_vrfy_the_list(server: Server) -> None:
    address = make(server, "told", ANN, STRANGER, options=("--description", "The told ones"))
    assert asked(server, "EXPN told") == f"250 2.1.5 <{ANN}>\n2.1.5 <{STRANGER}>"
    assert asked(server, f"EXPN <{address}>") == f"250 2.1.5 <{ANN}>\n2.1.5 <{STRANGER}>"
    assert asked(server, "VRFY told") == f"250 2.1.5 The told ones <{address}>"
    assert asked(server, "EXPN told-owner") == f"250 2.1.5 The told ones <told-owner@{DOMAIN}>"


def test_expn_of_a_large_list_names_nobody(server: Server) -> None:
    address = make(server, "large")
    everybody = "".join(f"u{number}@stranger.example\n" for number in range(1001))
    done = server.run("list", "join", address, "--from", "-", given=f"# all of them\n\n{everybody}".encode())
    assert done.stdout.count(b" joined\n") == 1001
    assert asked(server, "EXPN large").startswith("252 2.1.5 More members than are told")
    assert len(server.ask("list", "members", address)) == 1001
    server.run("list", "leave", address, "u7@stranger.example")
    assert asked(server, "EXPN large").startswith("250 2.1.5 <u0@stranger.example>\n")


def test_a_list_from_its_first_day_to_its_last_by_mail(server: Server) -> None:
    """The notices and the commands speak of the same list."""
    address = make(server, "open")
    client = as_a_user(server.address, server.ports["submissions"], CAT)()
    client.sendmail(CAT, f"open-subscribe@{DOMAIN}", f"From: {CAT}\r\nMessage-ID: <w@x.example>\r\n\r\n".encode())
    client.quit()
    (question,) = letters(server, CAT)
    (back,) = [line for line in question.split("\n") if line.startswith("From: ")]
    client = as_a_user(server.address, server.ports["submissions"], CAT)()
    to = back.partition("<")[2].partition(">")[0]
    client.sendmail(CAT, to, f"From: {CAT}\r\nSubject: yes\r\nMessage-ID: <y@x.example>\r\n\r\n".encode())
    client.quit()
    letters(server, CAT)
    assert [each["address"] for each in server.ask("list", "members", address)] == [CAT]
