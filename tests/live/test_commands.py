"""Every command an administrator has, beside the running server and while it is stopped.

One small house for each: ann has written to bob three times and to eve, who is away. The first letter was fetched
and removed, the second and third are in bob's mailbox, the one for eve waits in the queue; a stranger was refused.
"""

from __future__ import annotations

import json
import os
import poplib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.ports import free_port, pause
from tests.support.server import PASSWORD, Server
from tests.support.submitters import as_a_server, as_a_user

ANN, BOB, EVE = "ann@here.example", "bob@here.example", "eve@away.example"
COMMANDS = (
    ("init",),
    ("serve",),
    ("check",),
    ("config", "show"),
    ("status",),
    ("bench",),
    ("account", "add"),
    ("account", "remove"),
    ("account", "list"),
    ("account", "passwd"),
    ("account", "disable"),
    ("account", "grant"),
    ("account", "limit"),
    ("account", "name"),
    ("account", "forward"),
    ("account", "vacation"),
    ("account", "import"),
    ("account", "export"),
    ("domain", "add"),
    ("domain", "remove"),
    ("domain", "list"),
    ("alias", "add"),
    ("alias", "remove"),
    ("alias", "list"),
    *(("list", name) for name in ("create", "change", "delete", "show", "members", "join", "leave")),
    ("send",),
    ("sendmail",),
    ("suppression", "add"),
    ("suppression", "remove"),
    ("suppression", "list"),
    ("read",),
    ("queue", "list"),
    ("queue", "show"),
    ("queue", "summary"),
    ("queue", "flush"),
    ("queue", "retry"),
    ("queue", "hold"),
    ("queue", "release"),
    ("queue", "bounce"),
    ("queue", "delete"),
    ("queue", "pause"),
    ("queue", "resume"),
    ("offline",),
    ("explain",),
    ("trace",),
    *(("archive", name) for name in ("search", "show", "export", "verify", "heads", "log")),
    *(("archive", "hold", name) for name in ("add", "release", "list")),
    ("pickup",),
    ("watch",),
    ("backup",),
    ("restore",),
    ("import",),
    ("export",),
)


@dataclass
class House:
    server: Server
    running: bool
    queue_ids: dict[str, str] = field(default_factory=dict)
    """Of the letters, by name: first, second, third, away."""

    def fails(self, status: int, *arguments: str, given: bytes = b"") -> str:
        """A command that cannot be: one line of explanation and this exit status."""
        done = self.server.run(*arguments, given=given, check=False)
        said = done.stderr.decode()
        assert done.returncode == status, said
        assert "Traceback" not in said
        assert done.stdout == b""
        assert said.count("\n") == 1 or said.startswith("Usage:"), said
        return said

    def said(self, *arguments: str) -> str:
        return self.server.run(*arguments).stdout.decode()


def submit(server: Server, name: str, recipient: str) -> str:
    """By ann, from her mail client; the queue id that the 250 carries."""
    client = as_a_user(server.address, server.ports["submissions"], ANN)()
    header = f"From: Ann <{ANN}>\r\nTo: {recipient}\r\nSubject: {name}\r\nMessage-ID: <{name}@client.example>"
    client.mail(ANN)
    client.rcpt(recipient)
    code, words = client.data(f"{header}\r\n\r\nHello, this is the {name} letter.\r\n".encode())
    client.quit()
    assert code == 250
    match = re.fullmatch(rb"2\.0\.0 Ok: queued as ([0-9A-Z]{12})", words)
    assert match is not None, words
    return match[1].decode()


def prepared(folder: Path) -> House:
    """A running server in the state that is told above."""
    sections = f'[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{free_port()}"\n'
    server = Server(folder, sections=sections)
    server.start()
    house = House(server, running=True)
    for name in ("first", "second", "third"):
        house.queue_ids[name] = submit(server, name, BOB)
        server.wait_until_delivered()
    house.queue_ids["away"] = submit(server, "away", EVE)
    end = time.monotonic() + 20
    while not server.ask("queue", "list")[0]["attempts"]:
        assert time.monotonic() < end, "nobody tries"
        pause(0.1)
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=20)
    client.user(BOB)
    client.pass_(PASSWORD)
    client.retr(1)
    client.dele(1)
    client.quit()
    stranger = as_a_server(server.address, server.ports["smtp"])()
    stranger.mail("cat@client.example")
    assert stranger.rcpt("nobody@here.example")[0] == 550
    stranger.quit()
    return house


RUNNING = pytest.param("running", marks=pytest.mark.xdist_group("commands beside"))
STOPPED = pytest.param("stopped", marks=pytest.mark.xdist_group("commands alone"))
beside_the_server = pytest.mark.parametrize("house", [RUNNING], indirect=True)
without_the_server = pytest.mark.parametrize("house", [STOPPED], indirect=True)


@pytest.fixture(scope="module", params=[RUNNING, STOPPED])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = prepared(tmp_path_factory.mktemp("house"))
    if request.param == "stopped":
        assert house.server.stop() == 0
        house.running = False
    yield house
    if house.running:
        assert house.server.stop() == 0
    assert "unexpected" not in house.server.log()
    assert not (house.server.folder / "data" / "run" / "errors.log").exists()


# ---- the server --------------------------------------------------------------------------------------


@without_the_server
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(house: House, command: tuple[str, ...]) -> None:
    said = house.said(*command, "--help")
    assert said.startswith("Usage: ")
    assert "--json" in said or command in (("init",), ("serve",), ("sendmail",))


def test_what_is_no_command_is_a_wrong_usage(house: House) -> None:
    assert "No such command" in house.fails(2, "frobnicate")
    assert "No such option" in house.fails(2, "status", "--frobnicate")


def test_a_configuration_that_is_not_there_is_named(house: House, tmp_path: Path) -> None:
    assert f"{tmp_path}/none.toml" in house.fails(2, "--config", f"{tmp_path}/none.toml", "status")


def test_check_looks_at_every_door(house: House) -> None:
    done = house.server.run("check", "--json", check=False)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    doors = {finding["what"]: finding for finding in findings if finding["what"].startswith("listen.")}
    assert set(doors) == {f"listen.{role}" for role in house.server.ports}
    for door in doors.values():
        assert door["ok"], door
        assert ("is served" if house.running else "is free") in door["finding"]
    assert done.returncode == (0 if all(finding["ok"] for finding in findings) else 1)
    for line in house.server.run("check", check=False).stdout.decode().splitlines():
        assert line.startswith(("ok  ", "FIX ", "      "))


def test_config_show_tells_where_each_value_comes_from(house: House) -> None:
    shown = {value["key"]: value for value in house.server.ask("config", "show")}
    assert shown["hostname"]["value"] == '"mx.here.example"'
    assert str(house.server.configuration) in shown["hostname"]["source"]
    assert "queue.retry" not in shown
    everything = {value["key"]: value for value in house.server.ask("config", "show", "--defaults")}
    assert everything["queue.retry"]["source"] == "default"
    assert everything["queue.retry"]["value"].startswith('["5m", ')
    assert "HOSTNAME" not in house.said("config", "show").splitlines()[0]


def test_status_tells_what_there_is(house: House) -> None:
    reports = house.server.ask("status")
    assert sum(report.get("queue_messages", 0) for report in reports) == 1
    processes = [report["process"] for report in reports]
    assert processes == (["supervisor", "t0", "a0"] if house.running else ["stopped"])
    assert processes[0] in house.said("status")


# ---- accounts and domains ----------------------------------------------------------------------------


def test_an_account_from_its_first_day_to_its_last(house: House) -> None:
    server = house.server
    (added,) = map(
        json.loads,
        server.run(
            "account",
            "add",
            "dan@here.example",
            "--name",
            "Dan D.",
            "--password-stdin",
            "--json",
            given=b"first word\n",
        ).stdout.splitlines(),
    )
    assert (added["address"], added["display_name"]) == ("dan@here.example", "Dan D.")
    assert (added["disabled"], added["unix_user"], added["grants"]) == (False, "", [])
    assert "is here already" in house.fails(
        1, "account", "add", "dan@here.example", "--password-stdin", given=b"abcdefgh"
    )
    assert [account["address"] for account in server.ask("account", "list", "here.example")] == [
        ANN,
        BOB,
        "dan@here.example",
    ]
    assert "Dan D." in house.said("account", "list")
    assert logs_in(house, "dan@here.example", "first word")
    server.run("account", "passwd", "dan@here.example", "--password-stdin", given=b"second word\n")
    assert logs_in(house, "dan@here.example", "second word")
    assert not logs_in(house, "dan@here.example", "first word", expected=False)
    assert house.said("account", "disable", "dan@here.example") == "dan@here.example is disabled\n"
    assert not logs_in(house, "dan@here.example", "second word", expected=False)
    server.run("account", "disable", "--undo", "dan@here.example")
    assert logs_in(house, "dan@here.example", "second word")
    server.run("account", "grant", "dan@here.example", "office@here.example")
    (granted,) = (each for each in server.ask("account", "list") if each["address"] == "dan@here.example")
    assert granted["grants"] == ["office@here.example"]
    (revoked,) = server.ask("account", "grant", "--revoke", "dan@here.example", "office@here.example")
    assert revoked["grants"] == []
    (removed,) = server.ask("account", "remove", "dan@here.example")
    assert removed == {
        "address": "dan@here.example",
        "removed": True,
        "messages_removed": 0,
        "still_leading_there": [],
    }
    assert "there is no account" in house.fails(1, "account", "remove", "dan@here.example")


def test_a_mailing_list_from_its_first_day_to_its_last(house: House) -> None:
    friends = "friends@here.example"
    assert "no lists yet" in house.said("list", "show")
    made = house.said("list", "create", friends, "--description", "Our friends", "--owner", ANN)
    assert made.startswith(f"{friends} is a mailing list; ")
    assert "is a list's address" in house.fails(1, "list", "create", friends)
    assert "is an account" in house.fails(1, "list", "create", ANN)
    assert "no local domain" in house.fails(1, "list", "create", "x@away.example")
    for name in ("a+b@here.example", f"{'x' * 32}@here.example"):
        assert "the name of a list" in house.fails(2, "list", "create", name)
    assert "one line" in house.fails(2, "list", "create", "x@here.example", "--description", "x" * 101)
    assert "is here already" in house.fails(
        1, "account", "add", "friends-owner@here.example", "--password-stdin", given=b"abcdefgh"
    )
    assert house.said("list", "join", friends, BOB, EVE, ANN, BOB) == f"{BOB} joined\n{EVE} joined\n{ANN} joined\n"
    assert house.said("list", "join", friends, EVE) == f"{EVE} is a member already\n"
    assert "no members.csv" in house.fails(1, "list", "join", friends, "--from", "no members.csv")
    assert "not text" in house.fails(1, "list", "join", friends, "--from", "-", given=b"\xff\xfe\n")
    assert "is no address" in house.fails(2, "list", "join", friends, "--from", "-", given=b"not an address\n")
    assert "say whom" in house.fails(2, "list", "join", friends)
    assert "there is no nobody@" in house.fails(1, "list", "join", friends, "nobody@here.example")
    for own in (friends, "friends-owner@here.example"):
        assert "is an address of a list itself" in house.fails(1, "list", "join", friends, own)
    assert [each["address"] for each in house.server.ask("list", "members", friends)] == [ANN, BOB, EVE]
    assert EVE in house.said("list", "members", friends)
    (shown,) = house.server.ask("list", "show", friends)
    assert shown == {
        "address": friends,
        "description": "Our friends",
        "posters": "members",
        "owners": [ANN],
        "verp": True,
        "from_rewrite": False,
        "closed": False,
        "members": 3,
        "suspended": 0,
    }
    changed = house.said("list", "change", friends, "--no-verp", "--closed", "--posters", "anyone", "--from-rewrite")
    assert "closed, no VERP, rewrites From" in changed
    (shown,) = house.server.ask("list", "show", "here.example")
    assert (shown["description"], shown["owners"], shown["posters"]) == ("Our friends", [ANN], "anyone")
    assert "say what to change" in house.fails(2, "list", "change", friends)
    assert house.said("list", "leave", friends, EVE, "x@y.example") == f"{EVE} left\nx@y.example was no member\n"
    house.server.run("alias", "add", "pals@here.example", friends)
    assert "pals@here.example still leads to" in house.fails(1, "list", "delete", friends)
    house.server.run("alias", "remove", "pals@here.example")
    assert house.said("list", "delete", friends) == f"{friends} is deleted; it had 2 members\n"
    assert "there is no list" in house.fails(1, "list", "members", friends)


def test_an_alias_from_its_first_day_to_its_last(house: House) -> None:
    assert "no aliases yet" in house.said("alias", "list")
    assert house.said("alias", "add", "team@here.example", ANN, EVE) == f"team@here.example leads to {ANN}, {EVE}\n"
    (added,) = house.server.ask("alias", "add", "all@here.example", "team@here.example", BOB)
    assert added["targets"] == ["team@here.example", BOB]
    assert added["leads_to"] == [BOB, ANN, EVE]
    assert [each["address"] for each in house.server.ask("alias", "list", "here.example")] == [
        "all@here.example",
        "team@here.example",
    ]
    assert f"{ANN}, {EVE}" in house.said("alias", "list", "team@here.example")
    assert (
        "there is no nobody@here.example here"
        in house.fails(1, "alias", "add", "x@here.example", "nobody@here.example").lower()
    )
    assert "circle" in house.fails(1, "alias", "add", "team@here.example", "all@here.example")
    assert "is an account" in house.fails(1, "alias", "add", ANN, BOB)
    assert "no local domain" in house.fails(1, "alias", "add", "x@away.example", BOB)
    assert "is an alias" in house.fails(1, "account", "add", "team@here.example", "--password-stdin", given=b"abcdefgh")
    assert "is no address" in house.fails(2, "alias", "add", "x@here.example", "not an address")
    assert house.said("alias", "remove", "team@here.example", EVE) == f"team@here.example leads to {ANN}\n"
    assert house.said("alias", "add", "@here.example", BOB) == f"@here.example leads to {BOB}\n"
    for name in ("all@here.example", "team@here.example", "@here.example"):
        assert house.said("alias", "remove", name) == f"{name} is removed\n"
    assert "there is no alias" in house.fails(1, "alias", "remove", "team@here.example").lower()


def test_what_becomes_of_a_users_mail_can_be_changed(house: House) -> None:
    (named,) = house.server.ask("account", "name", BOB, "Bob B.")
    assert named["display_name"] == "Bob B."
    assert house.said("account", "forward", BOB, EVE, "--no-copy") == f"{BOB} forwards to {EVE} and keeps no copy\n"
    assert "circle" in house.fails(1, "account", "forward", BOB, BOB)
    assert "--off" in house.fails(2, "account", "forward", BOB)
    assert house.said("account", "forward", BOB, "--off") == f"{BOB} forwards no more\n"
    (away,) = house.server.ask("account", "vacation", BOB, "--text", "Away.", "--days", "3", "--until", "2031-01-31")
    assert (away["vacation"]["text"], away["vacation"]["days"]) == ("Away.", 3)
    assert " away " in house.said("account", "list")
    assert "no date" in house.fails(2, "account", "vacation", BOB, "--text", "Away.", "--until", "soon")
    assert "--text" in house.fails(2, "account", "vacation", BOB)
    assert house.said("account", "vacation", BOB, "--off") == f"{BOB} answers no more\n"
    (bob,) = house.server.ask("account", "limit", BOB, "--quota", "2G")
    assert bob["quota_bytes"] == 2 * 1024**3
    (bob,) = house.server.ask("account", "limit", BOB, "--quota", "default")
    assert bob["quota_bytes"] is None
    assert (bob["forward_to"], bob["keeps_copy"], bob["vacation"]) == ([], True, None)


def logs_in(house: House, address: str, password: str, *, expected: bool = True) -> bool:
    """By POP3, where somebody serves it: within the second that other processes may take to notice a change."""
    if not house.running:
        return expected
    end = time.monotonic() + 5
    while True:
        client = poplib.POP3(house.server.address, house.server.ports["pop3"], timeout=20)
        try:
            client.user(address)
            client.pass_(password)
            client.quit()
            answer = True
        except poplib.error_proto:
            client.close()
            answer = False
        if answer == expected or time.monotonic() > end:
            return answer
        pause(0.1)


def test_accounts_that_cannot_be_are_refused(house: House) -> None:
    assert "at least 8 characters" in house.fails(
        2, "account", "add", "x@here.example", "--password-stdin", given=b"short"
    )
    assert "is not a local domain" in house.fails(
        1, "account", "add", "x@far.example", "--password-stdin", given=b"abcdefgh"
    )
    assert "no terminal" in house.fails(2, "account", "add", "x@here.example")
    house.fails(2, "account", "add", "no address", "--password-stdin", given=b"abcdefgh")
    assert "there is no account" in house.fails(
        1, "account", "passwd", "x@here.example", "--password-stdin", given=b"abcdefgh"
    )
    assert "there is no account" in house.fails(1, "account", "disable", "x@here.example")
    assert "there is no account" in house.fails(1, "account", "grant", "x@here.example", ANN)


def test_a_domain_comes_and_goes(house: House) -> None:
    server = house.server
    assert house.said("domain", "add", "New.Example") == "new.example is now a local domain of this server\n"
    assert server.ask("domain", "add", "--relay", "mx.backup.example:2525", "backup.example") == [
        {"domain": "backup.example", "kind": "relay", "relay_to": "mx.backup.example:2525"}
    ]
    server.run("domain", "add", "other.example", "--relay")
    kinds = {each["domain"]: each["kind"] for each in server.ask("domain", "list")}
    assert kinds == {
        "backup.example": "relay",
        "here.example": "local",
        "new.example": "local",
        "other.example": "relay",
    }
    assert "by MX" in house.said("domain", "list")
    assert takes_mail_for(house, "x@backup.example")
    assert "is here already" in house.fails(1, "domain", "add", "new.example")
    assert "still has accounts" in house.fails(1, "domain", "remove", "here.example")
    for name in ("new.example", "backup.example", "other.example"):
        server.run("domain", "remove", name)
    assert "is not a domain of this server" in house.fails(1, "domain", "remove", "new.example")
    assert [each["domain"] for each in server.ask("domain", "list")] == ["here.example"]
    house.fails(2, "domain", "add", "no domain")
    house.fails(2, "domain", "add", "--relay", "no place", "x.example")


def takes_mail_for(house: House, recipient: str) -> bool:
    """Whether a stranger's RCPT is accepted, where somebody serves it."""
    if not house.running:
        return True
    end = time.monotonic() + 5
    with as_a_server(house.server.address, house.server.ports["smtp"])() as client:
        client.mail("cat@client.example")
        while client.rcpt(recipient)[0] != 250:
            if time.monotonic() > end:
                return False
            pause(0.1)
        client.rset()
    return True


# ---- the queue ---------------------------------------------------------------------------------------


def test_queue_list_and_show_tell_what_waits_and_why(house: House) -> None:
    away = house.queue_ids["away"]
    (entry,) = house.server.ask("queue", "list")
    assert entry["queue_id"] == away
    assert entry["recipients"] == [EVE]
    assert entry["attempts"] >= 1
    assert "refused" in entry["last"]
    assert away in house.said("queue", "list")
    for chosen in (("--domain", "away.example"), ("--from", ANN), ("--from", "here.example"), ("--older", "0s")):
        assert len(house.server.ask("queue", "list", *chosen)) == 1, chosen
    for chosen in (("--domain", "here.example"), ("--from", BOB), ("--older", "1d")):
        assert house.server.ask("queue", "list", *chosen) == [], chosen
    assert house.said("queue", "list", "--older", "1d") == "The queue is empty.\n"
    shown = house.said("queue", "show", away.lower())
    assert "Subject: away" in shown
    assert EVE in shown
    (shown_to_scripts,) = house.server.ask("queue", "show", away)
    assert "Message-ID: <away@client.example>" in shown_to_scripts["header"]
    assert "postroad trace" in house.fails(1, "queue", "show", house.queue_ids["first"])
    house.fails(2, "queue", "show", "nonsense")
    house.fails(2, "queue", "list", "--older", "yesterday")


def test_queue_flush_makes_mail_due_now(house: House) -> None:
    away = house.queue_ids["away"]
    before = house.server.ask("queue", "list")[0]
    assert "which mail?" in house.fails(2, "queue", "flush")
    assert house.server.ask("queue", "flush", away) == [{"groups": 1}]
    assert house.server.ask("queue", "flush", "--domain", "away.example") == [{"groups": 1}]
    assert house.server.ask("queue", "flush", "--older", "1d") == [{"groups": 0}]
    assert "due now" in house.said("queue", "flush", "--all")
    done = house.server.run("queue", "flush", house.queue_ids["first"], check=False)
    assert done.returncode == 1
    assert b"is not in the queue" in done.stderr
    if not house.running:
        assert house.server.ask("queue", "list")[0]["due_at"] < before["due_at"]
        return
    end = time.monotonic() + 20
    while house.server.ask("queue", "list")[0]["attempts"] == before["attempts"]:
        assert time.monotonic() < end, "it is not tried again"
        pause(0.1)


# ---- stories and mailboxes ---------------------------------------------------------------------------


def test_trace_tells_the_whole_story_by_any_of_its_names(house: House) -> None:
    first = house.queue_ids["first"]
    by_id = house.server.ask("trace", first)
    assert [step["type"] for step in by_id] == ["received", "attempted", "fetched", "fetched"]
    received, attempted, fetched, removed = by_id
    assert received["listener"] == "submissions"
    assert received["peer"]["account"] == ANN
    assert received["peer"]["helo"] == "client.example"
    assert received["peer"]["tls"][0].startswith("TLS")
    assert attempted["outcomes"][0]["fate"] == "delivered"
    assert fetched["account"] == BOB
    assert (fetched["removed"], removed["removed"]) == (False, True)
    assert house.server.ask("trace", first.lower()) == by_id
    assert house.server.ask("trace", "<first@client.example>") == by_id
    told = house.said("trace", first)
    for words in (
        "accepted from a mail client (TLS)",
        "is logged in as ann@here.example",
        "DELIVERED",
        "fetched by bob",
    ):
        assert words in told, told


def test_trace_by_address_tells_of_all_its_mail_and_of_refusals(house: House) -> None:
    told = house.server.ask("trace", BOB)
    assert {step["queue_id"] for step in told} >= {house.queue_ids[name] for name in ("first", "second", "third")}
    times = [step["at"] for step in told]
    assert times == sorted(times)
    away = house.server.ask("trace", EVE)
    assert {step["type"] for step in away} >= {"received", "attempted"}
    (refused,) = house.server.ask("trace", "nobody@here.example")
    assert refused["type"] == "refused"
    assert refused["reply"].startswith("550 5.1.1 ")
    assert "REFUSED at RCPT" in house.said("trace", "nobody@here.example")


def test_trace_says_so_when_it_knows_nothing(house: House) -> None:
    assert "nothing is known" in house.fails(1, "trace", "<none@client.example>")
    assert "nothing is known" in house.fails(1, "trace", "0" * 12)
    assert "neither a queue id" in house.fails(2, "trace", "nonsense")


def test_read_shows_a_mailbox_and_the_look_is_in_the_story(house: House) -> None:
    listed = house.server.ask("read", BOB, "--list")
    assert [each["queue_id"] for each in listed][:2] == [house.queue_ids["second"], house.queue_ids["third"]]
    assert house.queue_ids["second"] in house.said("read", BOB)
    octets = house.server.run("read", BOB, "2").stdout
    assert octets.startswith(b"Return-Path: <ann@here.example>\r\n")
    assert octets.endswith(b"\r\n\r\nHello, this is the third letter.\r\n")
    story = house.server.ask("trace", house.queue_ids["third"])
    assert story[-1]["type"] == "read"
    assert story[-1]["account"] == BOB
    assert story[-1]["by"]
    assert "by the administrator" in house.said("trace", house.queue_ids["third"])
    assert all(step["type"] != "read" for step in house.server.ask("trace", house.queue_ids["second"]))
    assert "there is no number 99" in house.fails(1, "read", BOB, "99")
    assert "there is no account" in house.fails(1, "read", "nobody@here.example")
    assert house.said("read", ANN) == "The mailbox is empty.\n"
    assert b"third" not in house.server.run("read", BOB, "2", "--json").stdout  # base64: it is not text


# ---- handing in --------------------------------------------------------------------------------------


@without_the_server
def test_init_makes_a_house_that_serves_at_once(house: House, tmp_path: Path) -> None:
    """The configuration is the commented one, with every port moved to where anybody may listen."""
    folder = tmp_path / "new"
    arguments = ["init", str(folder), "--domain", "new.example", "--hostname", "mx.new.example", "--password-stdin"]
    said = house.server.run(*arguments, given=f"{PASSWORD}\n".encode()).stdout.decode()
    assert f"{folder}/postroad.toml" in said
    assert PASSWORD not in said
    assert "is there already" in house.fails(1, *arguments, given=f"{PASSWORD}\n".encode())
    path = folder / "postroad.toml"
    assert path.stat().st_mode & 0o777 == 0o644
    assert (folder / "data").stat().st_mode & 0o777 == 0o711
    (account,) = house.server.ask("--config", str(path), "account", "list")
    assert account["address"] == "postmaster@new.example"
    new = Server(tmp_path / "other", users=())
    listen = new.configuration.read_text().partition("[listen]")[2].partition("[limits]")[0]
    text = path.read_text().replace("[listen]", f"[listen]{listen}")
    path.write_text(text.replace("[processes]", '[processes]\nuser = "root"') if os.geteuid() == 0 else text)
    new.configuration, new.folder = path, folder
    new.start()
    try:
        client = poplib.POP3(new.address, new.ports["pop3"], timeout=20)
        client.user("postmaster@new.example")
        client.pass_(PASSWORD)
        client.quit()
    finally:
        assert new.stop() == 0


@without_the_server
def test_send_and_sendmail_while_the_server_is_down_keep_nothing(house: House) -> None:
    before = tree(house.server.folder / "data")
    letter = b"To: bob@here.example\nSubject: x\n\nHello\n"
    assert "try again" in house.fails(75, "sendmail", "-t", given=letter)
    assert "try again" in house.fails(75, "sendmail", BOB, given=letter)
    assert "try again" in house.fails(75, "send", "--to", BOB, "--body", "Hello")
    assert tree(house.server.folder / "data") == before


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def newest(house: House, address: str, subject: str) -> bytes:
    """The letter with this subject, once it is there."""
    house.server.wait_until_delivered(left=1)
    count = len(house.server.ask("read", address, "--list"))
    octets = house.server.run("read", address, str(count)).stdout
    assert f"Subject: {subject}\r\n".encode() in octets, octets
    return octets


@beside_the_server
def test_sendmail_t_takes_recipients_from_the_header_and_keeps_bcc_secret(house: House) -> None:
    letter = (
        b"From: ann@here.example\nTo: Bob <bob@here.example>\nBcc:\n ann@here.example\n"
        b"Subject: by sendmail\n\nHello\n.\nafter the dot\n"
    )
    house.server.run("sendmail", "-t", "-i", "-f", ANN, given=letter)
    for address in (BOB, ANN):
        octets = newest(house, address, "by sendmail")
        assert b"bcc" not in octets.lower()
        assert b"\r\n\r\nHello\r\n.\r\nafter the dot\r\n" in octets
        assert octets.startswith(b"Return-Path: <ann@here.example>\r\n")
    house.server.run("sendmail", "-f", ANN, BOB, given=b"Subject: till the dot\n\nHello\n.\nnot this\n")
    octets = newest(house, BOB, "till the dot")
    assert octets.endswith(b"\r\n\r\nHello\r\n")
    assert b"\r\nFrom: ann@here.example\r\n" in octets


@beside_the_server
def test_sendmail_tells_what_is_wrong_by_its_exit_status(house: House) -> None:
    letter = b"Subject: x\n\nHello\n"
    house.fails(64, "sendmail", given=letter)
    house.fails(64, "sendmail", "-bp")
    assert "550 5.1.1" in house.fails(67, "sendmail", "-f", ANN, "nobody@here.example", given=letter)


@beside_the_server
def test_send_writes_a_letter_and_names_its_queue_id(house: House, tmp_path: Path) -> None:
    attached = tmp_path / "grüße.bin"
    attached.write_bytes(bytes(range(256)))
    arguments = ["send", "--from", ANN, "--to", BOB, "--subject", "Grüße", "--body", "Hallo", "--attach", str(attached)]
    (result,) = house.server.ask(*arguments)
    assert result["refused"] == []
    house.server.wait_until_delivered(left=1)
    steps = house.server.ask("trace", result["queue_id"])
    assert steps[0]["listener"] == "local"
    assert steps[0]["peer"]["uid"] == os.getuid()
    assert "queued as" in house.said(*arguments)
    refused = house.server.run(
        "send", "--from", ANN, "--to", BOB, "--to", "nobody@here.example", "--body", "x", check=False
    )
    assert refused.returncode == 1
    assert b"queued as" in refused.stdout
    assert b"refused: nobody@here.example: 550 5.1.1" in refused.stderr
    house.fails(66, "send", "--to", BOB, "--body", "x", "--attach", str(tmp_path / "none"))
