"""AUTH by SCRAM-SHA-256, its PLUS, and CRAM-MD5 in an SMTP session (RFC 4954, RFC 5802, RFC 2195)."""

from __future__ import annotations

import pytest

from postroad.vocabulary.credentials import CramSecret, ScramKeys
from postroad.vocabulary.reply import reply
from postroad.wire.sasl import from_base64, to_base64
from postroad.wire.sasl_client import Exchange, NotTheServer
from postroad.wire.session import Wait
from postroad.wire.smtp.events import ProofGiven, SecretAsked
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.transitions import Phase
from tests.wire.smtp.conversation import BEGAN_AT, FAKE_SALT, FULL, ODMR, TLS, Conversation
from tests.wire.smtp.secrets import cram_answer, scram


def in_tls() -> Conversation:
    conversation = Conversation(FULL, tls=TLS)
    conversation.lines("EHLO x")
    return conversation


def log_in(conversation: Conversation, exchange: Exchange, *, with_command: bool = True) -> str:
    """The last answer."""
    if with_command:
        initial = exchange.initial(1000)
        assert initial is not None
        answer = conversation.lines(f"AUTH {exchange.mechanism} {initial.decode()}")
    else:
        answer = conversation.lines(f"AUTH {exchange.mechanism}")
    while answer.startswith("334 "):
        answer = conversation.lines(exchange.respond(answer[4:].strip().encode()).decode())
    return answer


@pytest.mark.parametrize("with_command", [True, False])
@pytest.mark.parametrize("plus", [True, False])
def test_a_client_proves_that_it_knows_the_password(plus: bool, with_command: bool) -> None:
    conversation = in_tls()
    exchange = scram("ann", "secret", plus=plus, binding=FULL.channel_binding)
    assert log_in(conversation, exchange, with_command=with_command).startswith("235 2.7.0")
    assert exchange.may_end
    assert conversation.asked(SecretAsked) == [SecretAsked(exchange.mechanism, "ann")]
    assert conversation.asked(ProofGiven) == [ProofGiven(exchange.mechanism, "", "ann", True)]
    assert conversation.session.state.identity == "ann@example.org"
    assert conversation.session.state.exchange is None
    assert conversation.lines("AUTH SCRAM-SHA-256").startswith("503 5.5.1")


@pytest.mark.parametrize(("name", "password"), [("ann", "Secret"), ("bob", "secret")])
def test_a_wrong_name_and_a_wrong_password_look_alike(name: str, password: str) -> None:
    conversation = in_tls()
    assert log_in(conversation, scram(name, password)).startswith("535 5.7.8")
    assert conversation.asked(ProofGiven) == [ProofGiven("SCRAM-SHA-256", "", name, False)]
    assert conversation.session.state.identity == ""
    assert conversation.session.state.phase is Phase.READY


def test_an_unknown_name_has_the_salt_it_always_has() -> None:
    challenges = set()
    for _ in range(2):
        initial = scram("bob", "x").initial(1000)
        assert initial is not None
        answer = in_tls().lines(f"AUTH SCRAM-SHA-256 {initial.decode()}")
        challenges.add(from_base64(answer[4:].strip().encode()))
    (challenge,) = challenges
    assert b"s=" + to_base64(FAKE_SALT) + b",i=4096" in challenge


def test_a_binding_to_another_channel_is_no_proof() -> None:
    conversation = in_tls()
    assert log_in(conversation, scram("ann", "secret", plus=True, binding=b"of a man in the middle")).startswith("535")


def test_the_client_gives_up_after_our_proof() -> None:
    conversation = in_tls()
    exchange = scram("ann", "secret")
    initial = exchange.initial(1000)
    assert initial is not None
    answer = conversation.lines(f"AUTH SCRAM-SHA-256 {initial.decode()}")
    answer = conversation.lines(exchange.respond(answer[4:].strip().encode()).decode())
    assert answer.startswith("334 ")
    assert conversation.lines("*").startswith("501 5.7.0")
    assert conversation.asked(ProofGiven) == []
    assert conversation.session.state.identity == ""


def test_more_than_nothing_after_our_proof_is_too_much() -> None:
    conversation = in_tls()
    exchange = scram("ann", "secret")
    initial = exchange.initial(1000)
    assert initial is not None
    answer = conversation.lines(f"AUTH SCRAM-SHA-256 {initial.decode()}")
    conversation.lines(exchange.respond(answer[4:].strip().encode()).decode())
    assert conversation.lines("YQ==").startswith("535 5.7.8")
    assert conversation.session.state.identity == ""


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["AUTH SCRAM-SHA-256"], "334 \r\n"),
        (["AUTH SCRAM-SHA-256", "*"], "501 5.7.0"),
        (["AUTH SCRAM-SHA-256", "!"], "501 5.5.2"),
        (["AUTH SCRAM-SHA-256 ="], "535 5.7.8"),
        (["AUTH SCRAM-SHA-256 biws"], "535 5.7.8"),
        (["AUTH SCRAM-SHA-1"], "504 5.5.4"),
        (["AUTH CRAM-MD5 YQ=="], "501 5.7.0"),
        (["AUTH CRAM-MD5", "*"], "501 5.7.0"),
        (["AUTH CRAM-MD5", "!"], "501 5.5.2"),
        (["AUTH CRAM-MD5", "YQ=="], "535 5.7.8"),
        (["AUTH CRAM-MD5", ""], "535 5.7.8"),
    ],
)
def test_an_exchange_that_goes_wrong(lines: list[str], answer: str) -> None:
    conversation = in_tls()
    assert conversation.lines(*lines).startswith(answer)
    if not answer.startswith("334"):
        assert conversation.session.state.phase is Phase.READY
        assert conversation.session.state.exchange is None


@pytest.mark.parametrize(
    ("name", "secret", "answer"),
    [("ann", "secret", "235"), ("ann", "Secret", "535"), ("bob", "secret", "535"), ("later", "x", "454")],
)
def test_cram_md5(name: str, secret: str, answer: str) -> None:
    """In clear, where it is offered so (RFC 2645 section 5.1.2)."""
    conversation = Conversation(ODMR)
    challenge = conversation.lines("EHLO x", "AUTH CRAM-MD5")
    assert from_base64(challenge[4:].strip().encode()).endswith(b"@mx.example.org>")
    assert conversation.lines(cram_answer(challenge, name, secret)).startswith(answer)
    assert bool(conversation.session.state.identity) == (answer == "235")


def test_in_clear_no_mechanism_is_taken_that_is_not_offered_so() -> None:
    conversation = Conversation(FULL)
    conversation.lines("EHLO x")
    for mechanism in ("CRAM-MD5", "SCRAM-SHA-256", "PLAIN"):
        assert conversation.lines(f"AUTH {mechanism}").startswith("504 5.5.4")


def test_wrong_proofs_are_counted_like_wrong_passwords() -> None:
    conversation = in_tls()
    answers = [log_in(conversation, scram("ann", "x")) for _ in range(FULL.bad_commands + 1)]
    assert answers[-1].endswith("421 4.7.0 Too many errors, closing\r\n")
    assert conversation.closed


def asked_for_a_secret() -> ServerSession:
    session = ServerSession(FULL, TLS, random_octets=bytes, began_at=BEGAN_AT)
    session.receive_data(b"EHLO x\r\nAUTH SCRAM-SHA-256 " + to_base64(b"n,,n=ann,r=x") + b"\r\n")
    session.next_event()
    session.answer(None)
    assert session.next_event() == SecretAsked("SCRAM-SHA-256", "ann")
    return session


def test_the_wrong_kind_of_answer_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        asked_for_a_secret().authenticated("ann@example.org")
    with pytest.raises(AssertionError):
        asked_for_a_secret().give_secret(CramSecret("x"))
    with pytest.raises(AssertionError):
        asked_for_a_secret().give_secret(None)
    with pytest.raises(AssertionError):
        asked_for_a_secret().answer(None)
    session = asked_for_a_secret()
    session.give_secret(ScramKeys(b"s", 1, bytes(32), bytes(32)))
    with pytest.raises(AssertionError):
        session.give_secret(None, fake_salt=b"x")


def test_a_shutdown_waits_for_the_secret_that_is_asked_for() -> None:
    session = asked_for_a_secret()
    session.data_to_send()
    session.shut_down(reply(421, "Going down", status="4.3.2"))
    assert session.next_event() is Wait.NEED_ANSWER
    session.give_secret(None, fake_salt=b"x")
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send().endswith(b"421 4.3.2 Going down\r\n")


def test_a_wrong_proof_cannot_be_accepted() -> None:
    session = asked_for_a_secret()
    session.give_secret(None, fake_salt=b"x")
    first = from_base64(session.data_to_send().splitlines()[-1][4:])
    nonce = first[2:].partition(b",")[0]
    session.receive_data(to_base64(b"c=biws,r=" + nonce + b",p=" + to_base64(bytes(32))) + b"\r\n")
    assert session.next_event() == ProofGiven("SCRAM-SHA-256", "", "ann", False)
    with pytest.raises(AssertionError):
        session.authenticated("ann@example.org")


def test_an_attacker_who_plays_the_server_learns_nothing_and_is_found() -> None:
    exchange = scram("ann", "secret")
    exchange.initial(1000)
    nonce = (b"c" * 18).hex().encode()
    exchange.respond(to_base64(b"r=" + nonce + b"x,s=" + to_base64(b"salt") + b",i=4096"))
    with pytest.raises(NotTheServer):
        exchange.respond(b"")
