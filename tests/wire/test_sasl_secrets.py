"""SCRAM-SHA-256 and CRAM-MD5: the vectors of their RFCs, our client against our server, and what is no proof."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.credentials import CramSecret, ScramKeys, prepared, scram_keys
from postroad.vocabulary.limits import SCRAM_ITERATIONS
from postroad.wire.sasl import BadBase64, BadCredentials, Cancelled, SaslFault, from_base64, to_base64
from postroad.wire.sasl_client import PLUS, SCRAM, Exchange, NotTheServer, begin, strongest
from postroad.wire.sasl_secrets import (
    CramExchange,
    ScramExchange,
    ScramOpening,
    ScramProof,
    begin_cram,
    begin_scram,
    cram_response,
    is_right,
    scram_challenge,
    scram_proof,
    unknown_keys,
)

BINDING = b"the hash of a certificate"
KEYS = scram_keys("pencil", b"salt", 64)


def client(
    name: str = "user",
    password: str = "pencil",
    *,
    plus: bool = False,
    binding: bytes = b"",
    plus_offered: bool = False,
) -> Exchange:
    return begin(
        PLUS if plus else SCRAM,
        name,
        password,
        random_octets=lambda size: b"c" * size,
        channel_binding=binding,
        plus_offered=plus_offered,
    )


def converse(exchange: Exchange, keys: ScramKeys, *, binding: bytes = b"", plus_offered: bool = False) -> ScramProof:
    """Up to the server's judgement."""
    first = exchange.initial(1000)
    assert first is not None
    opening = begin_scram(exchange.mechanism, first, plus_offered=plus_offered)
    challenge = scram_challenge(opening, keys, b"s" * 18)
    return scram_proof(challenge, exchange.respond(challenge.text), binding)


def test_the_vector_of_rfc_7677() -> None:
    salt = from_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==")
    bare = b"n=user,r=rOprNGfwEbeRWgbNEkqO"
    opening = begin_scram(SCRAM, to_base64(b"n,," + bare), plus_offered=False)
    assert opening == ScramOpening(SCRAM, "", "user", b"rOprNGfwEbeRWgbNEkqO", b"n,,", bare)
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    first = b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    exchange = ScramExchange(opening, scram_keys("pencil", salt, 4096), first)
    final = b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    proof = scram_proof(exchange, to_base64(final), b"")
    assert proof.right
    assert from_base64(proof.text) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_vector_of_rfc_2195() -> None:
    exchange = CramExchange(b"<1896.697170952@postoffice.reston.mci.net>")
    response = cram_response(exchange, b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw")
    assert response.name == "tim"
    assert is_right(response, CramSecret("tanstaaftanstaaf"))
    assert not is_right(response, CramSecret("tanstaaftanstaaF"))
    assert not is_right(response, None)


@pytest.mark.parametrize(("plus", "binding"), [(False, b""), (True, BINDING)])
def test_who_knows_the_password_proves_it_and_so_does_the_server(plus: bool, binding: bytes) -> None:
    exchange = client(plus=plus, binding=binding, plus_offered=plus)
    proof = converse(exchange, KEYS, binding=binding, plus_offered=plus)
    assert proof.right
    assert not exchange.may_end
    assert exchange.respond(proof.text) == b""
    assert exchange.may_end


def test_a_wrong_password_is_no_proof() -> None:
    assert not converse(client(password="Pencil"), KEYS).right


def test_another_channel_is_no_proof() -> None:
    assert not converse(client(plus=True, binding=b"another"), KEYS, binding=BINDING, plus_offered=True).right


def test_who_was_told_that_there_is_no_plus_was_lied_to() -> None:
    """RFC 5802 section 6"""
    with pytest.raises(BadCredentials):
        converse(client(binding=BINDING, plus_offered=False), KEYS, binding=BINDING, plus_offered=True)
    assert converse(client(binding=BINDING, plus_offered=False), KEYS, plus_offered=False).right
    assert converse(client(binding=BINDING, plus_offered=True), KEYS, plus_offered=True).right


def test_no_proof_fits_an_unknown_name_and_it_looks_like_a_known_one() -> None:
    keys = unknown_keys(b"fake", KEYS.iterations)
    assert not converse(client(), keys).right
    opening = begin_scram(SCRAM, client().initial(1000) or b"", plus_offered=False)
    known = from_base64(scram_challenge(opening, KEYS, b"s" * 18).text)
    unknown = from_base64(scram_challenge(opening, keys, b"s" * 18).text)
    assert len(known) == len(unknown)


def test_a_server_that_proves_nothing_is_not_believed() -> None:
    exchange = client()
    converse(exchange, KEYS)
    with pytest.raises(NotTheServer):
        exchange.respond(to_base64(b"v=" + to_base64(b"x" * 32)))
    assert not exchange.may_end


@pytest.mark.parametrize(
    "first",
    [
        b"r=other,s=c2FsdA==,i=64",
        b"s=c2FsdA==,i=64",
        b"r=%b,s=c2FsdA==,i=64",
        b"r=%bx,s=c2FsdA==,i=0",
        b"r=%bx,s=c2FsdA==,i=-1",
        b"r=%bx,s=c2FsdA==,i=99999999",
        b"r=%bx,s=?,i=64",
        b"m=x,r=%bx,s=c2FsdA==,i=64",
        b"",
        b"e=other-error",
    ],
)
def test_a_server_that_makes_no_sense_is_given_up(first: bytes) -> None:
    exchange = client()
    nonce = (b"c" * 18).hex().encode()
    exchange.initial(1000)
    with pytest.raises(SaslFault):
        exchange.respond(to_base64(first.replace(b"%b", nonce) or b"x"))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=user",
        b"n,,r=x,n=user",
        b"n,,n=,r=x",
        b"n,,n=user,r=",
        b"n,,n=us=er,r=x",
        b"n,,n=us=2cer,r=x",
        b"n,b=x,n=user,r=x",
        b"n,,m=x,n=user,r=x",
        b"n,,n=user,r=a b",
        b"n,,n=us\xffer,r=x",
        b"n,,n=us\0er,r=x",
        b"n,,n=" + b"u" * 600 + b",r=x",
        b"x,,n=user,r=x",
        b"p=tls-unique,,n=user,r=x",
        b"p=tls-server-end-point,,n=user,r=x",
    ],
)
def test_an_opening_that_is_none(message: bytes) -> None:
    with pytest.raises(BadCredentials):
        begin_scram(SCRAM, to_base64(message), plus_offered=False)


@pytest.mark.parametrize("binding", [b"n", b"y", b"p=tls-unique", b"p=", b""])
def test_plus_binds_by_the_end_point(binding: bytes) -> None:
    with pytest.raises(BadCredentials):
        begin_scram(PLUS, to_base64(binding + b",,n=user,r=x"), plus_offered=True)


def test_names_are_spelled_and_told_apart() -> None:
    opening = begin_scram(SCRAM, to_base64(b"n,a=b=2Coss,n=a=3Db=2Cc,r=x,ext=1"), plus_offered=False)
    assert (opening.authorization_id, opening.name) == ("b,oss", "a=b,c")
    assert b"n=a=3Db=2Cc" in from_base64(client("a=b,c").initial(1000) or b"")


@pytest.mark.parametrize(
    ("line", "fault"), [(b"*", Cancelled), (b"!", BadBase64), (b"YQ", BadBase64), (to_base64(b"x"), BadCredentials)]
)
def test_lines_that_are_no_messages(line: bytes, fault: type[SaslFault]) -> None:
    opening = ScramOpening(SCRAM, "", "user", b"x", b"n,,", b"n=user,r=x")
    for call in (
        lambda: begin_scram(SCRAM, line, plus_offered=False),
        lambda: scram_proof(scram_challenge(opening, KEYS, b"s"), line, b""),
        lambda: cram_response(begin_cram(b"n", "host"), line),
    ):
        with pytest.raises(fault):
            call()


@given(st.binary(max_size=80), st.sampled_from([b"n,,n=user,r=", b"c=biws,r=x73,p=", b"user ", b""]))
def test_any_line_is_a_step_or_a_fault(octets: bytes, prefix: bytes) -> None:
    opening = ScramOpening(SCRAM, "", "user", b"x", b"n,,", b"n=user,r=x")
    exchange = scram_challenge(opening, KEYS, b"s")
    for line in (octets, to_base64(prefix + octets)):
        for call in (
            lambda line=line: begin_scram(SCRAM, line, plus_offered=True),
            lambda line=line: scram_proof(exchange, line, b""),
            lambda line=line: cram_response(begin_cram(b"n", "host"), line),
            lambda line=line: client().respond(line),
        ):
            try:
                result = call()
            except SaslFault:
                continue
            assert not isinstance(result, ScramProof) or not result.right


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


@given(NAMES, NAMES)
def test_any_name_and_password_get_through(name: str, password: str) -> None:
    keys = scram_keys(password, b"salt", 2)
    assert converse(client(name, password), keys).right
    assert not converse(client(name, password + "x"), keys).right
    cram = begin("CRAM-MD5", name, password)
    exchange = begin_cram(b"n", "mx.example.org")
    response = cram_response(exchange, cram.respond(exchange.text))
    assert response.name == name
    assert is_right(response, CramSecret(password))
    assert cram.may_end


@pytest.mark.parametrize(
    ("text", "result"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep(text: str, result: str) -> None:
    """RFC 4013 section 3"""
    assert prepared(text) == result


@pytest.mark.parametrize("text", ["", "\u0007", "\u06271", "a\u0627", "\ue000", "\u00ad", "a\ud800", "\u2028x"])
def test_what_cannot_be_prepared(text: str) -> None:
    with pytest.raises(ValueError):
        prepared(text)
    with pytest.raises(ValueError):
        scram_keys(text, b"salt", 1)


def test_two_spellings_of_a_password_have_the_same_keys() -> None:
    assert scram_keys("\u2168", b"salt", 4) == scram_keys("IX", b"salt", 4)


def test_secrets_are_not_printed() -> None:
    assert "pencil" not in repr(CramSecret("pencil"))
    assert repr(KEYS) == "ScramKeys(iterations=64, ...)"
    assert SCRAM_ITERATIONS >= 100_000


@pytest.mark.parametrize(
    ("offered", "in_tls", "may_show", "can_bind", "can_draw", "best"),
    [
        ("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS", True, False, True, True, PLUS),
        ("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS", True, False, False, True, SCRAM),
        ("plain scram-sha-256", True, False, False, True, SCRAM),
        ("PLAIN SCRAM-SHA-256", True, False, True, False, "PLAIN"),
        ("LOGIN CRAM-MD5", True, False, True, True, "LOGIN"),
        ("CRAM-MD5", True, False, True, True, "CRAM-MD5"),
        ("PLAIN LOGIN CRAM-MD5", False, True, False, True, "CRAM-MD5"),
        ("PLAIN LOGIN CRAM-MD5", False, False, False, False, "CRAM-MD5"),
        ("PLAIN LOGIN", False, False, False, True, None),
        ("LOGIN", False, True, False, True, "LOGIN"),
        ("GSSAPI", True, True, True, True, None),
        ("", True, True, True, True, None),
    ],
)
def test_the_best_mechanism_is_taken(
    offered: str, in_tls: bool, may_show: bool, can_bind: bool, can_draw: bool, best: str | None
) -> None:
    found = strongest(offered.split(), in_tls=in_tls, password_may_show=may_show, can_bind=can_bind, can_draw=can_draw)
    assert (found[0] if found else None) == best
