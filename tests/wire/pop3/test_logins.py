"""AUTH (RFC 5034), APOP (RFC 1939 section 7), UTF8 and LANG (RFC 6856), as dialogues."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.credentials import CramSecret, StoredSecret, scram_keys
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import AUTH_LINE_BYTES, POP3_BAD_COMMANDS
from postroad.wire.pop3.events import CredentialsGiven, Pop3Event, ProofGiven, SecretAsked
from postroad.wire.pop3.server import Pop3Profile, Pop3Session
from postroad.wire.pop3.states import State
from postroad.wire.session import Wait
from tests.support.scram import ScramClient

FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
ALL = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")
BINDING = b"hash of the certificate"
IN_TLS = Pop3Profile(hostname="mx.a.example", tls_active=True, mechanisms=ALL, channel_binding=BINDING, apop=True)
CLEAR = Pop3Profile(hostname="mx.a.example", mechanisms=ALL, channel_binding=BINDING, apop=True, tls_available=True)
OPEN = msgspec.structs.replace(CLEAR, plaintext_login_allowed=True)
KEYS = scram_keys("secret", b"salt of ann 0123", 4096)
STAMP = b"<" + (b"x" * 18).hex().encode() + b"@mx.a.example>"
WELCOME = "+OK 1 messages (5 octets)\r\n"
WRONG = "-ERR [AUTH] Wrong name or password\r\n"


class Door:
    """The outside of a session: ann, whose password is `secret`, and who keeps it for APOP too."""

    def __init__(self, profile: Pop3Profile = IN_TLS) -> None:
        self.session = Pop3Session(profile, lambda size: b"x" * size)
        self.events: list[Pop3Event] = []
        self.wait: Wait = Wait.NEED_DATA
        self.secret: StoredSecret = KEYS
        self.greeting = self.session.data_to_send().decode()

    def hear(self, octets: bytes) -> str:
        session = self.session
        session.receive_data(octets)
        while not isinstance(event := session.next_event(), Wait):
            self.events.append(event)
            match event:
                case SecretAsked(mechanism="APOP", name=name):
                    session.give_secret(CramSecret("secret") if name == "ann@a.example" else None, b"")
                case SecretAsked(name=name):
                    session.give_secret(self.secret if name == "ann@a.example" else None, b"salt of nobody")
                case ProofGiven(right=True) | CredentialsGiven(name="ann@a.example", password="secret"):
                    session.opened([5], ["1.1"])
                case ProofGiven() | CredentialsGiven():
                    session.refuse("Wrong name or password", "AUTH")
        self.wait = event
        return session.data_to_send().decode()

    def ask(self, line: str) -> str:
        return self.hear(line.encode() + b"\r\n")


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def capability(door: Door, tag: str) -> list[str]:
    """The arguments of a capability; fails when it is not there."""
    [line] = [line for line in door.ask("CAPA").split("\r\n") if line.split(" ")[0] == tag]
    return line.split(" ")[1:]


# ---- AUTH -----------------------------------------------------------------------------------------


def test_mechanisms_are_offered_where_they_may_be_used() -> None:
    assert capability(Door(IN_TLS), "SASL") == list(ALL)
    assert capability(Door(CLEAR), "SASL") == ["SCRAM-SHA-256"]
    assert capability(Door(OPEN), "SASL") == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    unbound = msgspec.structs.replace(IN_TLS, channel_binding=b"")
    assert capability(Door(unbound), "SASL") == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    assert "SASL" not in Door(Pop3Profile(hostname="h")).ask("CAPA")


@pytest.mark.parametrize(
    "line", ["AUTH PLAIN", "auth plain AGE=", "AUTH SCRAM-SHA-256-PLUS", "AUTH X", "AUTH CRAM-MD5"]
)
def test_a_mechanism_that_is_not_offered_is_refused(line: str) -> None:
    door = Door(CLEAR)
    assert door.ask(line) == "-ERR This mechanism is not on offer here; CAPA tells which are\r\n"
    assert door.events == []


def test_plain_with_and_without_an_initial_response() -> None:
    response = b64("\0ann@a.example\0secret")
    assert Door().ask(f"AUTH PLAIN {response}") == WELCOME
    door = Door()
    assert door.ask("AUTH PLAIN") == "+ \r\n"
    assert door.ask(response) == WELCOME
    assert door.session.state is State.TRANSACTION
    assert door.events == [CredentialsGiven("PLAIN", "", "ann@a.example", "secret")]


def test_login_asks_for_the_name_and_the_password() -> None:
    door = Door()
    assert door.ask("AUTH LOGIN") == "+ VXNlcm5hbWU6\r\n"
    assert door.ask(b64("ann@a.example")) == "+ UGFzc3dvcmQ6\r\n"
    assert door.ask(b64("secret")) == WELCOME


@pytest.mark.parametrize(("mechanism", "binding"), [("SCRAM-SHA-256", b""), ("SCRAM-SHA-256-PLUS", BINDING)])
def test_scram_shows_that_both_sides_know_the_password(mechanism: str, binding: bytes) -> None:
    door, client = Door(), ScramClient("ann@a.example", "secret", binding=binding)
    first = door.ask(f"AUTH {mechanism} {b64(client.first())}")
    final = door.ask(b64(client.final(base64.b64decode(first[2:]))))
    assert client.believes(base64.b64decode(final[2:]))
    assert door.ask("") == WELCOME


def test_scram_with_a_wrong_password_and_with_a_wrong_name_look_alike() -> None:
    for name, password in (("ann@a.example", "wrong"), ("eve@a.example", "secret")):
        door, client = Door(), ScramClient(name, password)
        assert door.ask("AUTH SCRAM-SHA-256") == "+ \r\n"
        first = door.ask(b64(client.first()))
        assert door.ask(b64(client.final(base64.b64decode(first[2:])))) == WRONG
        assert door.session.state is State.AUTHORIZATION
        assert [type(event) for event in door.events] == [SecretAsked, ProofGiven]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("*", "-ERR The login was cancelled\r\n"),
        ("no base64!", "-ERR This is not base64\r\n"),
        (b64("only this"), WRONG),
        (b64("\0a\nb\0c"), WRONG),
        ("A" * (AUTH_LINE_BYTES + 4), "-ERR The line is too long\r\n"),
    ],
)
def test_an_exchange_that_comes_to_nothing_is_over_and_asks_nobody(line: str, answer: str) -> None:
    door = Door()
    door.ask("AUTH PLAIN")
    assert door.ask(line) == answer
    assert door.events == []
    assert door.ask("NOOP").startswith("-ERR Log in first"), "the exchange is still open"
    assert door.ask(f"AUTH PLAIN {b64(chr(0) + 'ann@a.example' + chr(0) + 'secret')}") == WELCOME


def test_a_response_may_be_longer_than_a_command() -> None:
    door = Door()
    door.ask("AUTH PLAIN")
    assert door.ask(b64("\0ann@a.example\0" + "x" * 1000)) == WRONG


def test_cram_md5_has_pop3_s_frames_where_it_is_offered() -> None:
    door = Door(msgspec.structs.replace(IN_TLS, mechanisms=("CRAM-MD5",)))
    door.secret = CramSecret("secret")
    assert door.ask("AUTH CRAM-MD5 " + b64("ann@a.example 0")) == "-ERR This mechanism takes no initial response\r\n"
    challenge = base64.b64decode(door.ask("AUTH CRAM-MD5").removeprefix("+ "))
    assert challenge == STAMP
    digest = hmac.new(b"secret", challenge, "md5").hexdigest()
    assert door.ask(b64(f"ann@a.example {digest}")) == WELCOME
    assert door.events[-1] == ProofGiven("CRAM-MD5", "", "ann@a.example", True)


def test_a_password_is_not_in_what_a_question_looks_like() -> None:
    assert "secret" not in repr(CredentialsGiven("PLAIN", "", "ann@a.example", "secret"))


def test_a_second_login_is_out_of_order() -> None:
    door = Door()
    door.ask(f"AUTH PLAIN {b64(chr(0) + 'ann@a.example' + chr(0) + 'secret')}")
    for line in ("AUTH PLAIN", f"APOP ann@a.example {'0' * 32}", "USER ann@a.example"):
        assert door.ask(line) == "-ERR You are logged in already\r\n"


def test_guessing_by_auth_and_apop_ends_the_session() -> None:
    for line in (f"AUTH PLAIN {b64(chr(0) + 'ann@a.example' + chr(0) + 'x')}", f"APOP ann@a.example {'0' * 32}"):
        door = Door()
        for _ in range(POP3_BAD_COMMANDS):
            assert door.wait is Wait.NEED_DATA
            door.ask(line)
        assert door.wait is Wait.CLOSED


# ---- APOP -----------------------------------------------------------------------------------------


def apop(door: Door, name: str = "ann@a.example", secret: str = "secret", stamp: bytes = STAMP) -> str:
    return door.ask(f"APOP {name} {hashlib.md5(stamp + secret.encode()).hexdigest()}")


def test_apop_goes_by_the_timestamp_of_the_greeting() -> None:
    door = Door(CLEAR)
    assert door.greeting == f"+OK mx.a.example POP3 server ready {STAMP.decode()}\r\n"
    assert apop(door) == WELCOME


def test_a_digest_of_another_session_is_worth_nothing() -> None:
    assert apop(Door(CLEAR), stamp=b"<of another session@mx.a.example>") == WRONG


@pytest.mark.parametrize(
    ("name", "secret"), [("ann@a.example", "wrong"), ("eve@a.example", "nobody"), ("\0", "secret")]
)
def test_apop_of_a_wrong_secret_and_of_nobody_look_alike(name: str, secret: str) -> None:
    door = Door(CLEAR)
    assert apop(door, name, secret) == WRONG
    assert [type(event) for event in door.events] == [SecretAsked, ProofGiven]


@pytest.mark.parametrize("line", ["APOP", "APOP ann", f"APOP {'0' * 32}", "APOP ann 0", f"APOP ann {'A' * 32}"])
def test_apop_that_is_none_asks_nobody(line: str) -> None:
    door = Door(CLEAR)
    assert door.ask(line) == "-ERR Syntax: APOP name digest\r\n"
    assert door.events == []


def test_without_apop_the_greeting_has_no_timestamp() -> None:
    door = Door(msgspec.structs.replace(CLEAR, apop=False))
    assert door.greeting == "+OK mx.a.example POP3 server ready\r\n"
    assert apop(door) == "-ERR APOP is not on offer here\r\n"


# ---- UTF8 and LANG --------------------------------------------------------------------------------


def test_a_client_says_that_it_reads_utf8_before_it_logs_in() -> None:
    door = Door()
    assert capability(door, "UTF8") == ["USER"]
    assert Door().session.utf8 is False
    assert door.ask("UTF8") == "+OK Headers will come in UTF-8\r\n"
    assert door.session.utf8
    assert door.ask("UTF8 x") == "-ERR Syntax: UTF8\r\n"
    door.hear(b"USER ann@a.example\r\nPASS secret\r\n")
    assert door.session.utf8
    assert door.ask("UTF8") == "-ERR UTF8 comes before the login, not after\r\n"


def test_stls_forgets_that_utf8_was_said() -> None:
    door = Door(CLEAR)
    assert capability(door, "UTF8") == []
    door.ask("UTF8")
    door.ask("STLS")
    door.session.tls_started(FACTS)
    assert not door.session.utf8
    assert apop(door) == WELCOME


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("LANG en", "+OK en This is the language from now on\r\n"),
        ("LANG EN-gb", "+OK en This is the language from now on\r\n"),
        ("LANG i-default", "+OK i-default This is the language from now on\r\n"),
        ("LANG *", "+OK en This is the language from now on\r\n"),
        ("LANG tlh", "-ERR This language is not spoken here; LANG alone tells which are\r\n"),
        ("LANG", "+OK Languages:\r\nen English\r\ni-default English\r\n.\r\n"),
    ],
)
def test_our_languages_are_told_before_and_after_the_login(asked: str, answer: str) -> None:
    door = Door()
    assert door.ask(asked) == answer
    door.hear(b"USER ann@a.example\r\nPASS secret\r\n")
    assert door.ask(asked) == answer


# ---- any octets -----------------------------------------------------------------------------------

PIECES = [
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN =\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH SCRAM-SHA-256\r\n",
    f"AUTH SCRAM-SHA-256 {b64(ScramClient('ann@a.example', 'secret').first())}\r\n".encode(),
    f"{b64(ScramClient('eve', 'x').first())}\r\n".encode(),
    f"{b64(chr(0) + 'ann@a.example' + chr(0) + 'secret')}\r\n".encode(),
    b"APOP ann@a.example " + b"0" * 32 + b"\r\n",
    b"APOP \xff " + b"0" * 32 + b"\r\n",
    b"UTF8\r\n",
    b"LANG\r\n",
    b"LANG \xff\r\n",
    b"*\r\n",
    b"\r\n",
    b"=\r\n",
    b"\n",
    b"A" * 600,
]
SOUP = st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=12).map(b"".join)


def outcome(chunks: list[bytes], profile: Pop3Profile) -> tuple[object, ...]:
    door = Door(profile)
    said = "".join([door.hear(chunk) for chunk in chunks if chunk])
    return said, door.events, door.wait, door.session.snapshot()


@given(SOUP, st.lists(st.integers(0, 2000), max_size=8), st.sampled_from([IN_TLS, CLEAR, OPEN]))
def test_the_split_of_the_octets_of_a_login_does_not_matter(soup: bytes, cuts: list[int], profile: Pop3Profile) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(soup)), len(soup)]
    assert outcome([soup[a:b] for a, b in pairwise(edges)], profile) == outcome([soup], profile)


MISUSES: list[Callable[[Pop3Session], None]] = [
    lambda session: session.give_secret(None, b"salt"),
    lambda session: session.opened([], []),
]


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_by_our_own_code_is_found(misuse: Callable[[Pop3Session], None]) -> None:
    with pytest.raises(AssertionError):
        misuse(Door().session)
