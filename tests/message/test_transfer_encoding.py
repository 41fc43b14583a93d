"""Octets as quoted-printable and base64: what comes out is 7bit, and decoded it is what went in."""

import base64
import binascii
import quopri
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.transfer_encoding import Base64, CleanBase64, CleanQuotedPrintable, Encoder, QuotedPrintable

PIECES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b"\t", b"=", b"--b", b"-", b".", b"\0", b"\xc3\xa9", b"word ", b"x" * 75, b"y" * 5000]
)
OCTETS = st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=30).map(b"".join))
CUTS = st.lists(st.integers(0, 400), max_size=4)


def encoded(make: Callable[[], Encoder], octets: bytes, cuts: list[int]) -> bytes:
    encoder = make()
    places = sorted({min(cut, len(octets)) for cut in cuts})
    pairs = zip([0, *places], [*places, len(octets)], strict=True)
    return b"".join([*(encoder.feed(octets[start:end]) for start, end in pairs), encoder.end()])


def assert_can_travel(text: bytes) -> None:
    assert text.isascii()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|[\0-\x08\x0e-\x1f\x7f]", text)
    for line in text.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.startswith(b"--")


@given(OCTETS, CUTS)
def test_quoted_printable_decodes_to_what_was_encoded(octets: bytes, cuts: list[int]) -> None:
    text = encoded(QuotedPrintable, octets, cuts)
    assert_can_travel(text)
    assert not re.search(rb"[ \t](\r\n|\Z)", text)
    assert quopri.decodestring(text) == octets


@given(OCTETS, CUTS)
def test_base64_decodes_to_what_was_encoded(octets: bytes, cuts: list[int]) -> None:
    text = encoded(Base64, octets, cuts)
    assert_can_travel(text)
    assert base64.b64decode(text.replace(b"\r\n", b""), validate=True) == octets
    assert text == encoded(Base64, octets, [])


@given(OCTETS, CUTS, st.sampled_from([b"\n", b"\r", b"\0", b"\xff", b"!"]))
def test_base64_with_octets_that_do_not_belong_is_cleaned(octets: bytes, cuts: list[int], stray: bytes) -> None:
    dirty = stray.join(base64.b64encode(octets)[at : at + 7] for at in range(0, len(octets) * 2, 7))
    text = encoded(CleanBase64, dirty, cuts)
    assert_can_travel(text)
    assert binascii.a2b_base64(text) == binascii.a2b_base64(dirty)


@given(OCTETS, CUTS, st.sampled_from([b"\n", b"\xff", b"\0"]))
def test_quoted_printable_with_octets_that_do_not_belong_decodes_as_before(
    octets: bytes, cuts: list[int], stray: bytes
) -> None:
    dirty = encoded(QuotedPrintable, octets, []).replace(b"\r\n", b"\n") + stray
    text = encoded(CleanQuotedPrintable, dirty, cuts)
    assert_can_travel(text)
    assert quopri.decodestring(text) == quopri.decodestring(dirty.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("line", [b"caf\xe9 au lait", b"a = b", b"trailing ", b"--b", b"a\rb", b"x" * 200])
def test_plain_lines_stay_readable(line: bytes) -> None:
    text = encoded(QuotedPrintable, b"before\r\n" + line + b"\r\nafter\r\n", [])
    assert text.startswith(b"before\r\n")
    assert text.endswith(b"\r\nafter\r\n")
