"""The configuration file: what is read from it, and how each mistake is named."""

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.app.configuration import Configuration, find_configuration, load, parse
from postroad.app.effective import effective, toml_string, toml_value
from postroad.app.errors import ConfigurationError
from postroad.app.lines import key_lines, line_of
from postroad.app.values import duration_text, parse_duration
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import (
    DeliverySettings,
    LimitSettings,
    PlaintextLogin,
    PolicySettings,
    RetrySettings,
    Route,
    Severity,
    Smarthost,
    SmarthostTls,
)

HOSTNAME = 'hostname = "mx.example.org"\n'
FILE = Path("/etc/postroad/postroad.toml")


def problems(text: str, path: Path = FILE) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, path)
    return list(caught.value.problems)


def test_a_hostname_is_enough_and_all_else_is_the_products_default() -> None:
    configuration = parse(HOSTNAME, FILE)
    assert configuration.limit_settings() == LimitSettings()
    assert configuration.policy_settings() == PolicySettings()
    assert configuration.retry_settings() == RetrySettings()
    assert configuration.delivery_settings() == DeliverySettings(hostname="mx.example.org")
    assert configuration.plaintext_login() is PlaintextLogin.LOOPBACK
    assert configuration.data_folder == Path("/var/lib/postroad")
    assert configuration.dns.servers == ()
    assert configuration.ledger.keep == timedelta(days=30)
    assert configuration.listeners() == (
        (ListenerRole.SMTP, Endpoint("::", 25)),
        (ListenerRole.SUBMISSION, Endpoint("::", 587)),
        (ListenerRole.SUBMISSIONS, Endpoint("::", 465)),
        (ListenerRole.POP3, Endpoint("::", 110)),
        (ListenerRole.POP3S, Endpoint("::", 995)),
    )


def test_every_section_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame\nsecond line\n")
    secret.chmod(0o600)
    text = """
hostname = "MX.example.org"
data = "var"
processes.user = "mail"
processes.workers = 3
[listen]
smtp = ["127.0.0.1:2525", "[::1]:0"]
submissions = []
[dns]
servers = ["9.9.9.9", "127.0.0.1:5353", "2620:fe::fe", "[2620:fe::9]:53"]
[delivery]
smarthost = "Smart.example.net:587"
smarthost_user = "us"
smarthost_password_file = "secret"
private_destinations = "allow"
connection_idle_s = 0.5
[[route]]
domain = "*.corp"
to = "[::1]:2525"
[[route]]
domain = "*"
to = "10.0.0.1:25"
[queue]
retry = ["1s", "90m"]
[limits]
exempt = ["127.0.0.0/8", "::1"]
[policy]
helo = "off"
block_clients = ["192.0.2.0/24", "*.example.net"]
block_senders = ["Spam@Example.net", "example.com"]
[pop3]
plaintext_login = "never"
[ledger]
keep = "2d"
"""
    configuration = parse(text, tmp_path / "postroad.toml")
    assert configuration.hostname == "mx.example.org"
    assert configuration.data_folder == tmp_path / "var"
    assert (configuration.processes.user, configuration.processes.workers) == ("mail", 3)
    assert configuration.listen.smtp == (Endpoint("127.0.0.1", 2525), Endpoint("::1", 0))
    assert configuration.listen.submissions == ()
    assert [str(server) for server in configuration.dns.servers] == [
        "9.9.9.9:53",
        "127.0.0.1:5353",
        "[2620:fe::fe]:53",
        "[2620:fe::9]:53",
    ]
    delivery = configuration.delivery_settings()
    assert delivery.smarthost == Smarthost(
        host="smart.example.net", port=587, user="us", password="open sesame", tls=SmarthostTls.VERIFIED
    )
    assert delivery.routes == (Route("*.corp", "::1", 2525), Route("*", "10.0.0.1", 25))
    assert delivery.private_destinations_allowed
    assert delivery.connection_idle_s == 0.5
    assert configuration.retry_settings().waits == (timedelta(seconds=1), timedelta(minutes=90))
    assert configuration.limit_settings().exempt == ("127.0.0.0/8", "::1/128")
    policy = configuration.policy_settings()
    assert policy.helo is Severity.OFF
    assert policy.block_clients == ("192.0.2.0/24", "*.example.net")
    assert policy.block_senders == ("spam@example.net", "example.com")
    assert configuration.plaintext_login() is PlaintextLogin.NEVER
    assert configuration.ledger.keep == timedelta(days=2)


MISTAKES = [
    ("", 1, "hostname", "is missing; expected"),
    ('hostname = "a b"\n', 1, "hostname", "is no domain name; expected one such as"),
    ('hostname = "192.0.2.1"\n', 1, "hostname", "looks like an address"),
    (HOSTNAME + "\n\nretyr = 1\n", 4, "retyr", "did you mean queue.retry?"),
    (HOSTNAME + 'retry = ["5m"]\n', 2, "retry", "it belongs under [queue]"),
    (HOSTNAME + "[queue]\nattempt_max = 3\n", 3, "queue.attempt_max", "did you mean attempts_max?"),
    (HOSTNAME + "[queue]\nxyzzy = 3\n", 3, "queue.xyzzy", "expected one of retry, give_up_after"),
    (HOSTNAME + "[quueue]\nretry = 3\n", 2, "quueue", "did you mean queue?"),
    (HOSTNAME + 'queue = "x"\n', 2, "queue", '"x" is text; expected a table of keys'),
    (HOSTNAME + "[queue]\nretry = []\n", 3, "queue.retry", "is empty; expected at least 1"),
    (HOSTNAME + '[queue]\nretry = [\n  "5m",\n  "0s",\n]\n', 5, "queue.retry[2]", 'expected at least "1s"'),
    (HOSTNAME + "[queue]\ngive_up_after = 5\n", 3, "queue.give_up_after", "5 is no duration; expected a number"),
    (HOSTNAME + '[queue]\nwarn_after = "5 m"\n', 3, "queue.warn_after", '"5 m" is no duration'),
    (HOSTNAME + '[queue]\nwarn_after = "99999d"\n', 3, "queue.warn_after", "is too long; expected at most"),
    (HOSTNAME + "queue.attempts_max = 0\n", 2, "queue.attempts_max", "0 is too small; expected at least 1"),
    (HOSTNAME + "[limits]\nmessage_bytes = 1000\n", 3, "limits.message_bytes", "expected at least 65536"),
    (HOSTNAME + "[limits]\nmessage_bytes = 1e6\n", 3, "limits.message_bytes", "expected a whole number"),
    (HOSTNAME + "[limits]\nhops = true\n", 3, "limits.hops", "true is a truth value; expected a whole number"),
    (HOSTNAME + '[limits]\nsession_s = "1"\n', 3, "limits.session_s", '"1" is text; expected a number'),
    (HOSTNAME + "[limits]\nsession_s = inf\n", 3, "limits.session_s", "expected"),
    (HOSTNAME + "[limits]\nexempt = '10.0.0.0/8'\n", 3, "limits.exempt", "is text; expected a list"),
    (HOSTNAME + '[limits]\nexempt = ["10.0.0.1/8"]\n', 3, "limits.exempt[1]", 'expected "10.0.0.0/8"'),
    (HOSTNAME + '[limits]\nexempt = ["lan"]\n', 3, "limits.exempt[1]", '"lan" is no network; expected'),
    (HOSTNAME + '[listen]\nsmtp = ["25"]\n', 3, "listen.smtp[1]", '"25" has no port'),
    (HOSTNAME + '[listen]\nsmtp = ["127.0.0.1:99999"]\n', 3, "listen.smtp[1]", "has no port (0 to 65535)"),
    (HOSTNAME + '[listen]\nsmtp = ["::1:25"]\n', 3, "listen.smtp[1]", "needs brackets"),
    (HOSTNAME + '[listen]\nsmtp = ["localhost:25"]\n', 3, "listen.smtp[1]", '"localhost" is no IP address'),
    (HOSTNAME + "[listen]\nsmtp = [25]\n", 3, "listen.smtp[1]", "25 is no text; expected"),
    (HOSTNAME + '[listen]\nlmtp = ["192.0.2.1:24"]\n', 3, "listen.lmtp[1]", "can be reached by others"),
    (HOSTNAME + '[listen]\nlmtp = ["127.0.0.1:25"]\n', 3, "listen.lmtp[1]", "LMTP must not use"),
    (HOSTNAME + '[listen]\nlmtp = ["lmtp"]\n', 3, "listen.lmtp[1]", "is neither; expected a path"),
    (HOSTNAME + f'[listen]\nlmtp = ["/{"x" * 120}"]\n', 3, "listen.lmtp[1]", "too long for a Unix socket"),
    (HOSTNAME + '[listen]\nsmtp_proxy = ["balancer"]\n', 3, "listen.smtp_proxy[1]", "has no port"),
    (HOSTNAME + '[policy]\nxclient = ["front"]\n', 3, "policy.xclient[1]", '"front" is no network'),
    (HOSTNAME + "[policy]\ngreeting_delay_s = 61\n", 3, "policy.greeting_delay_s", "expected at most 60"),
    (HOSTNAME + '[dns]\nservers = ["dns.example"]\n', 3, "dns.servers[1]", "expected"),
    (HOSTNAME + '[dns]\nservers = ["127.0.0.1:0"]\n', 3, "dns.servers[1]", "nobody can ask"),
    (HOSTNAME + '[policy]\nhelo = "maybe"\n', 3, "policy.helo", 'expected "off", "tag", "defer" or "reject"'),
    (HOSTNAME + '[policy]\nvrfy = "all"\n', 3, "policy.vrfy", 'expected "never", "authenticated" or "anyone"'),
    (HOSTNAME + '[policy]\nblock_senders = ["a b"]\n', 3, "policy.block_senders[1]", "neither an address nor a domain"),
    (HOSTNAME + '[policy]\nblock_clients = ["a b"]\n', 3, "policy.block_clients[1]", "neither a network nor a name"),
    (HOSTNAME + '[delivery]\noffline = "yes"\n', 3, "delivery.offline", '"yes" is text; expected true or false'),
    (HOSTNAME + "[delivery]\nport = 0\n", 3, "delivery.port", "0 is too small; expected at least 1"),
    (HOSTNAME + '[delivery]\nbind = ["eth0"]\n', 3, "delivery.bind[1]", '"eth0" is no IP address'),
    (HOSTNAME + '[delivery]\nsmarthost = "a"\n', 3, "delivery.smarthost", 'expected "host:port"'),
    (HOSTNAME + '[delivery]\nsmarthost = "a:0"\n', 3, "delivery.smarthost", "nobody can connect to"),
    (
        HOSTNAME + '[delivery]\nprivate_destinations = "x"\n',
        3,
        "delivery.private_destinations",
        'expected "refuse" or "allow"',
    ),
    (HOSTNAME + '[[route]]\ndomain = "a"\nto = "b:1"\n[[route]]\ndomain = "c"\n', 5, "route[2].to", "is missing"),
    (HOSTNAME + '[[route]]\ndomain = "*.*"\nto = "b:1"\n', 3, "route[1].domain", "is no domain name"),
    (
        HOSTNAME + '[pop3]\nplaintext_login = "x"\n',
        3,
        "pop3.plaintext_login",
        'expected "never", "loopback" or "always"',
    ),
    (HOSTNAME + '[ledger]\nkeep = "1h"\n', 3, "ledger.keep", 'expected at least "1d"'),
    (HOSTNAME + "[processes]\nworkers = 65\n", 3, "processes.workers", "65 is too large; expected at most 64"),
    (HOSTNAME + '[tls]\nkey = "k.pem"\n', 2, "tls", "expected both, or neither"),
    (HOSTNAME + '[delivery]\nsmarthost_user = "u"\n', 3, "delivery.smarthost_user", "no smarthost; expected"),
    ("hostname = \n", 1, None, "Invalid value"),
    (HOSTNAME + "a = [1,\n\n", 3, None, "expected TOML"),
    (HOSTNAME + "[tls]\n[dns]\n[tls]\n", 4, None, "Cannot declare"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), MISTAKES)
def test_a_mistake_is_named_with_file_line_key_and_what_was_expected(
    text: str, line: int, key: str | None, words: str
) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{FILE}:{line}: " + (f"{key}: " if key else ""))
    assert words in problem


def test_the_doors_for_other_mail_systems_are_read(tmp_path: Path) -> None:
    text = """
[listen]
smtp_proxy = ["192.0.2.1:26"]
lmtp = ["run/lmtp.sock", "/run/lmtp", "[::1]:24", "127.0.0.1:0"]
[policy]
xclient = ["192.0.2.7", "10.0.0.0/8"]
greeting_delay_s = 2.5
"""
    configuration = parse(HOSTNAME + text, tmp_path / "postroad.toml")
    assert [each for each in configuration.listeners() if each[0] in (ListenerRole.SMTP_PROXY, ListenerRole.LMTP)] == [
        (ListenerRole.SMTP_PROXY, Endpoint("192.0.2.1", 26)),
        (ListenerRole.LMTP, Endpoint("::1", 24)),
        (ListenerRole.LMTP, Endpoint("127.0.0.1", 0)),
    ]
    assert configuration.local_listeners() == (
        (ListenerRole.LMTP, tmp_path / "run" / "lmtp.sock"),
        (ListenerRole.LMTP, Path("/run/lmtp")),
    )
    policy = configuration.policy_settings()
    assert (policy.xclient, policy.greeting_delay_s) == (("192.0.2.7/32", "10.0.0.0/8"), 2.5)


NOT_YET = [
    ("listen.http", '["127.0.0.1:8025"]', "[]"),
]


@pytest.mark.parametrize(("key", "value", "off"), NOT_YET)
def test_what_is_not_built_is_refused_and_never_silently_accepted(key: str, value: str, off: str) -> None:
    (problem,) = problems(f"{HOSTNAME}{key} = {value}\n")
    assert problem.startswith(f"{FILE}:2: {key}: this version of Postroad does not have it yet")
    assert problem.endswith(f"set it to {off}")
    assert parse(f"{HOSTNAME}{key} = {off}\n", FILE).hostname == "mx.example.org"


@pytest.mark.parametrize("value", ["false", '""', "0.5", '"0"'])
def test_an_off_value_of_another_type_is_refused_too(value: str) -> None:
    assert len(problems(f"{HOSTNAME}limits.account.quota_bytes = {value}\n")) == 1


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file() -> None:
    found = problems('[limits]\nhops = 1\nhopz = 1\n[policy]\nhelo = "x"\n')
    assert [problem.split(": ")[:2] for problem in found] == [
        [f"{FILE}:1", "hostname"],
        [f"{FILE}:2", "limits.hops"],
        [f"{FILE}:3", "limits.hopz"],
        [f"{FILE}:5", "policy.helo"],
    ]


SMARTHOST = HOSTNAME + '[delivery]\nsmarthost = "a:25"\nsmarthost_user = "u"\nsmarthost_password_file = "secret"\n'


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "cannot be read (No such file or directory)"),
        (b"secret\n", 0o644, "can be read by everybody; expected mode 0600"),
        (b"", 0o600, "no usable first line"),
        (b"\nsecret\n", 0o600, "no usable first line"),
        (b"\xff\n", 0o600, "is not UTF-8"),
        (b"x" * 2000, 0o600, "no usable first line"),
    ],
)
def test_a_password_file_must_be_there_and_be_secret(
    tmp_path: Path, content: bytes | None, mode: int, words: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
        (tmp_path / "secret").chmod(mode)
    (problem,) = problems(SMARTHOST, tmp_path / "postroad.toml")
    assert problem.startswith(f"{tmp_path}/postroad.toml:5: delivery.smarthost_password_file: ")
    assert words in problem


def test_a_password_goes_only_to_a_smarthost_that_has_proved_its_name(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    (problem,) = problems(SMARTHOST + 'smarthost_tls = "opportunistic"\n', tmp_path / "postroad.toml")
    assert ":6: delivery.smarthost_tls: " in problem
    without = parse(HOSTNAME + '[delivery]\nsmarthost = "a:25"\nsmarthost_tls = "none"\n', FILE)
    assert without.delivery_settings().smarthost == Smarthost(host="a", port=25, tls=SmarthostTls.NONE)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, octets, words in (
        ("folder", None, "cannot be read"),
        ("latin", HOSTNAME.encode() + b"# caf\xe9\n", ":2: an octet that is not UTF-8"),
        ("deep", b"a = " + b"[" * 100_000, "nested too deep"),
        ("large", b"#" * 5_000_000, "over"),
    ):
        path = tmp_path / name
        if octets is None:
            path.mkdir()
        else:
            path.write_bytes(octets)
        with pytest.raises(ConfigurationError, match=words) as caught:
            load(path)
        assert str(caught.value).startswith(str(path))
        assert caught.value.exit_status == 2


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "postroad.toml"
    path.write_bytes(b'\xef\xbb\xbfhostname = "a.example"\r\n[limits]\r\nhops = 1\r\n')
    with pytest.raises(ConfigurationError, match=r"postroad\.toml:3: limits\.hops"):
        load(path)


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(HOSTNAME, FILE).limits.hops = 50  # type: ignore[misc]


def test_the_effective_configuration_names_the_source_of_every_value_and_reads_back_the_same() -> None:
    text = HOSTNAME + '[queue]\nretry = ["1s", "2h"]\n[[route]]\ndomain = "*.corp"\nto = "[::1]:25"\n'
    configuration = parse(text, FILE)
    rows = effective(configuration)
    by_key = {key: (value, source) for key, value, source in rows}
    assert by_key["hostname"] == ('"mx.example.org"', f"{FILE}:1")
    assert by_key["queue.retry"] == ('["1s", "2h"]', f"{FILE}:3")
    assert by_key["queue.give_up_after"] == ('"5d"', "default")
    assert by_key["listen.smtp"] == ('["[::]:25"]', "default")
    assert by_key["route[1].to"] == ('"[::1]:25"', f"{FILE}:6")
    assert by_key["limits.account.quota_bytes"] == ("0", "default")
    again = "\n".join(f"{key} = {value}" for key, value, _ in rows if not key.startswith("route["))
    routes = '\n[[route]]\ndomain = "*.corp"\nto = "[::1]:25"\n'
    assert parse(again + routes, FILE).model_dump() == configuration.model_dump()


def test_the_file_is_the_one_named_then_the_variables_then_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTROAD_CONFIG", raising=False)
    monkeypatch.setattr("postroad.app.location.SYSTEM", tmp_path / "etc.toml")
    with pytest.raises(ConfigurationError, match="postroad init"):
        find_configuration(None)
    for name in ("etc.toml", "postroad.toml", "variable.toml", "named.toml"):
        (tmp_path / name).write_text(HOSTNAME)
    assert find_configuration(tmp_path / "named.toml") == tmp_path / "named.toml"
    assert find_configuration(None) == tmp_path / "postroad.toml"
    (tmp_path / "postroad.toml").unlink()
    assert find_configuration(None) == tmp_path / "etc.toml"
    monkeypatch.setenv("POSTROAD_CONFIG", "variable.toml")
    assert find_configuration(None) == tmp_path / "variable.toml"
    monkeypatch.setenv("POSTROAD_CONFIG", "gone.toml")
    with pytest.raises(ConfigurationError, match="POSTROAD_CONFIG names it"):
        find_configuration(None)
    with pytest.raises(ConfigurationError, match="--config names it"):
        find_configuration("nix.toml")


def test_no_value_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTNAME", "other.example")
    monkeypatch.setenv("DATA", "/elsewhere")
    assert parse(HOSTNAME, FILE).data_folder == Path("/var/lib/postroad")


@given(st.integers(0, 3650 * 86_400).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_duration_is_read_as_it_is_written(duration: timedelta) -> None:
    assert parse_duration(duration_text(duration)) == duration


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_the_notation_of_the_file(text: str) -> None:
    assert tomllib.loads(f"a = {toml_string(text)}") == {"a": text}
    assert toml_value(text) == toml_string(text)


SCANNED = '''# a comment with [brackets] and = signs
title = "a \\" b # no comment" # c = 1
"quoted key" = 1
many = """
[not.a.table]
x = 1
"""
raw = \'\'\'
y = "\'\'\'
a.b . c = [ 1, # one, two
  [2, 3],

  4 ]
point = { x = 1, y = "]" }
[table.sub]
k = 1979-05-27T07:32:00Z
[[row]]
k = 1
[[row]]
k = "\\\\"
[row.sub]
k = 3
[[row.deep]]
k = 4
'''


def test_every_key_is_found_on_its_line() -> None:
    assert tomllib.loads(SCANNED)
    lines = key_lines(SCANNED)
    expected = {
        ("title",): 2,
        ("quoted key",): 3,
        ("many",): 4,
        ("raw",): 8,
        ("a", "b", "c"): 10,
        ("a", "b", "c", 0): 10,
        ("a", "b", "c", 1): 11,
        ("a", "b", "c", 2): 13,
        ("point",): 14,
        ("table", "sub", "k"): 16,
        ("row",): 17,
        ("row", 0): 17,
        ("row", 0, "k"): 18,
        ("row", 1): 19,
        ("row", 1, "k"): 20,
        ("row", 1, "sub", "k"): 22,
        ("row", 1, "deep", 0, "k"): 24,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert ("x",) not in lines
    assert ("y",) not in lines
    assert line_of(lines, ("table", "sub", "nothing")) == 15
    assert line_of(lines, ("nowhere",)) == 1


@given(st.text(st.sampled_from(list("ab.=[]{}\"'#,\n\\ 1")), max_size=40))
def test_the_scan_ends_for_every_well_formed_text(text: str) -> None:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert {key for key in table if key.isalnum()} <= {path[0] for path in lines}


def test_an_equal_file_makes_an_equal_configuration() -> None:
    one: Configuration = parse(HOSTNAME, FILE)
    assert one == parse(HOSTNAME, FILE)
    assert one != parse('hostname = "other.example.org"\n', FILE)
