"""`[[hold]]` and `[[pickup]]` in the configuration: what they become, and what is wrong with them in words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from postroad.app.configuration import Configuration, load, parse
from postroad.app.effective import effective
from postroad.app.errors import ConfigurationError
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import HoldDomain, PickupMethod, SmarthostTls, WhoMayAsk

HOSTNAME = 'hostname = "mx.example.org"\n'
FILE = Path("/etc/postroad/postroad.toml")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(HOSTNAME + text, FILE)
    return list(caught.value.problems)


def loaded(folder: Path, text: str) -> Configuration:
    secret = folder / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    path = folder / "postroad.toml"
    path.write_text(HOSTNAME + text)
    return load(path)


def test_holds_have_a_domain_an_owner_and_a_time() -> None:
    text = """
[[hold]]
domain = "D.example"
owner = "Dave@Example.org"
[[hold]]
domain = "e.example"
owner = "dave@example.org"
keep = "7d"
"""
    configuration = parse(HOSTNAME + text, FILE)
    assert configuration.hold_settings() == (
        HoldDomain("d.example", "dave@example.org", timedelta(days=30)),
        HoldDomain("e.example", "dave@example.org", timedelta(days=7)),
    )
    assert configuration.delivery_settings().hold_domains == {"d.example", "e.example"}


def test_each_method_of_a_pick_up_has_its_port_and_its_own_keys(tmp_path: Path) -> None:
    text = """
[[pickup]]
host = "one.example"
method = "etrn"
domains = ["example.org"]
[[pickup]]
host = "two.example:1366"
method = "atrn"
user = "us"
password_file = "secret"
every = "15m"
[[pickup]]
name = "old"
host = "two.example"
method = "turn"
user = "us"
password_file = "secret"
tls = "opportunistic"
[[pickup]]
host = "2001:db8::1"
method = "pop3"
user = "ann"
password_file = "secret"
deliver_to = "Ann@example.org"
"""
    etrn, atrn, turn, pop3 = loaded(tmp_path, text.replace('"2001:db8::1"', '"[2001:db8::1]:995"')).pickup_settings()
    assert (etrn.name, etrn.port, etrn.method, etrn.domains) == ("one.example", 25, PickupMethod.ETRN, ("example.org",))
    assert (atrn.port, atrn.user, atrn.password, atrn.every) == (1366, "us", "correct horse", timedelta(minutes=15))
    assert (turn.name, turn.port, turn.tls, turn.every) == ("old", 25, SmarthostTls.OPPORTUNISTIC, None)
    assert (pop3.host, pop3.port, pop3.deliver_to) == ("2001:db8::1", 995, Mailbox("ann", "example.org"))
    assert pop3.tls is SmarthostTls.VERIFIED
    assert "correct horse" not in repr(atrn)


def test_the_usual_ports_need_not_be_given(tmp_path: Path) -> None:
    login = 'user = "us"\npassword_file = "secret"\n'
    text = (
        f'[[pickup]]\nname = "a"\nhost = "192.0.2.1"\nmethod = "atrn"\n{login}'
        f'[[pickup]]\nname = "t"\nhost = "192.0.2.1"\nmethod = "turn"\n{login}'
        f'[[pickup]]\nname = "p"\nhost = "192.0.2.1"\nmethod = "pop3"\ndeliver_to = "a@b"\n{login}'
    )
    assert [each.port for each in loaded(tmp_path, text).pickup_settings()] == [366, 25, 110]


_PICKUP = '[[pickup]]\nhost = "a.example"\n'

WRONG = [
    ('[[hold]]\ndomain = "a"\n', "hold[1].owner", "is missing"),
    ('[[hold]]\ndomain = "a b"\nowner = "x@y"\n', "hold[1].domain", "is no domain name"),
    ('[[hold]]\ndomain = "a"\nowner = "x"\n', "hold[1].owner", "is no address"),
    ('[[hold]]\ndomain = "a"\nowner = "x@y"\nkeep = "1h"\n', "hold[1].keep", "is too short"),
    ('[[hold]]\ndomain = "a"\nowner = "x@y"\n[[hold]]\ndomain = "A"\nowner = "x@y"\n', "hold[2].domain", "already"),
    (_PICKUP, "pickup[1].method", "is missing"),
    (_PICKUP + 'method = "imap"\n', "pickup[1].method", "is not possible"),
    (_PICKUP + 'method = "atrn"\n', "pickup[1].user", "is missing"),
    (_PICKUP + 'method = "atrn"\nuser = "x"\n', "pickup[1].user", "a password_file"),
    (_PICKUP + 'method = "etrn"\n', "pickup[1].domains", "is missing"),
    (
        _PICKUP + 'method = "turn"\nuser = "x"\npassword_file = "/nowhere"\ndomains = ["d"]\n',
        "pickup[1].domains",
        "names no domains",
    ),
    (_PICKUP + 'method = "pop3"\nuser = "x"\npassword_file = "/nowhere"\n', "pickup[1].deliver_to", "an address here"),
    (_PICKUP + 'method = "etrn"\ndomains = ["d"]\ndeliver_to = "a@b"\n', "pickup[1].deliver_to", "none for the others"),
    (
        _PICKUP + 'method = "atrn"\nuser = "x"\npassword_file = "/nowhere"\n',
        "pickup[1].password_file",
        "cannot be read",
    ),
    (2 * (_PICKUP + 'method = "etrn"\ndomains = ["d"]\n'), "pickup[2].name", "another one's name"),
    ('[[pickup]]\nhost = "a:0"\nmethod = "etrn"\n', "pickup[1].host", "names port 0"),
    ('[[pickup]]\nhost = "not a host"\nmethod = "etrn"\n', "pickup[1].host", "is no domain name"),
    (_PICKUP + 'method = "etrn"\ndomains = ["d"]\nevery = "0s"\n', "pickup[1].every", "is too short"),
]


@pytest.mark.parametrize(("text", "key", "words"), WRONG)
def test_what_is_wrong_is_named_with_its_key(text: str, key: str, words: str) -> None:
    (problem,) = problems(text)
    assert f": {key}: " in problem
    assert words in problem
    assert problem.startswith(f"{FILE}:")


def test_a_mistake_stands_on_the_line_of_its_own_table() -> None:
    text = '[[hold]]\ndomain = "a"\nowner = "x@y"\n[[hold]]\ndomain = "a"\nowner = "x@y"\n'
    (problem,) = problems(text)
    assert problem.startswith(f"{FILE}:6: ")


def test_config_show_lists_holds_and_pick_ups_and_no_password(tmp_path: Path) -> None:
    configuration = loaded(
        tmp_path,
        '[[hold]]\ndomain = "d.example"\nowner = "x@y"\n'
        '[[pickup]]\nhost = "a.example"\nmethod = "atrn"\nuser = "x"\npassword_file = "secret"\n',
    )
    by_key = {key: value for key, value, _ in effective(configuration)}
    assert by_key["hold[1].keep"] == '"30d"'
    assert by_key["pickup[1].method"] == '"atrn"'
    assert by_key["pickup[1].every"] == '""'
    assert not any("correct horse" in value for value in by_key.values())


def test_the_door_for_dial_up_customers_and_the_old_commands_can_be_set() -> None:
    text = '[listen]\nodmr = ["127.0.0.1:366"]\n[policy]\nexpn = "never"\nlegacy_commands = "anyone"\n'
    configuration = parse(HOSTNAME + text, FILE)
    assert (ListenerRole.ODMR, Endpoint("127.0.0.1", 366)) in configuration.listeners()
    policy = configuration.policy_settings()
    assert (policy.expn, policy.legacy_commands) == (WhoMayAsk.NEVER, WhoMayAsk.ANYONE)
