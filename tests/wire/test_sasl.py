"""PLAIN and LOGIN, both ends (RFC 4616, RFC 4954)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import PASSWORD_BYTES, SASL_NAME_BYTES
from postroad.wire.sasl import (
    BadBase64,
    BadCredentials,
    Cancelled,
    Challenge,
    Credentials,
    SaslFault,
    plain_response,
    respond,
    start,
    to_base64,
)

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)


@given(TEXT, TEXT)
def test_what_the_client_says_the_server_understands(name: str, password: str) -> None:
    assert start("PLAIN", plain_response(name, password)) == Credentials("", name, password)
    challenge = start("LOGIN", None)
    assert isinstance(challenge, Challenge)
    second = respond(challenge, to_base64(name.encode()))
    assert isinstance(second, Challenge)
    assert respond(second, to_base64(password.encode())) == Credentials("", name, password)


def test_an_identity_to_act_as_is_told_apart() -> None:
    assert start("PLAIN", to_base64(b"boss\0ann\0secret")) == Credentials("boss", "ann", "secret")


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(Credentials("", "ann", "secret"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"*", Cancelled),
        (b"YQ", BadBase64),
        (b"Y!Q=", BadBase64),
        (b"YQ==YQ==", BadBase64),
        (b" YQ==", BadBase64),
        (b"", BadCredentials),
        (to_base64(b"ann\0secret"), BadCredentials),
        (to_base64(b"\0ann\0"), BadCredentials),
        (to_base64(b"\0\0secret"), BadCredentials),
        (to_base64(b"\0ann\0a\0b"), BadCredentials),
        (to_base64(b"\0an\r\nn\0secret"), BadCredentials),
        (to_base64(b"\0ann\xff\0secret"), BadCredentials),
        (to_base64(b"\0" + b"a" * (SASL_NAME_BYTES + 1) + b"\0secret"), BadCredentials),
        (to_base64(b"\0ann\0" + b"a" * (PASSWORD_BYTES + 1)), BadCredentials),
    ],
)
def test_what_is_no_name_and_password(line: bytes, fault: type[SaslFault]) -> None:
    with pytest.raises(fault):
        respond(Challenge("PLAIN"), line)


@given(
    st.binary(max_size=60), st.sampled_from([Challenge("PLAIN"), Challenge("LOGIN"), Challenge("LOGIN", b"", "ann")])
)
def test_any_line_is_a_step_or_a_fault(line: bytes, challenge: Challenge) -> None:
    for octets in (line, to_base64(line)):
        try:
            step = respond(challenge, octets)
        except SaslFault:
            continue
        assert isinstance(step, Challenge | Credentials)
