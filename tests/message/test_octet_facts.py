"""What octets ask of a transport (RFC 2045 sections 2.7 to 2.9)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.octet_facts import OctetFacts, needs
from postroad.vocabulary.envelope import BodyType

OCTETS = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b"\xe9", b"a", b"b" * 990, b"c" * 998, b"d" * 9]), max_size=12
).map(b"".join)


@pytest.mark.parametrize(
    ("octets", "least"),
    [
        (b"", BodyType.SEVEN_BIT),
        (b"plain\r\ntext", BodyType.SEVEN_BIT),
        (b"caf\xe9\r\n", BodyType.EIGHT_BIT_MIME),
        (b"a\nb", BodyType.BINARY_MIME),
        (b"a\rb", BodyType.BINARY_MIME),
        (b"a\r", BodyType.BINARY_MIME),
        (b"a\0b", BodyType.BINARY_MIME),
        (b"x" * 998 + b"\r\n", BodyType.SEVEN_BIT),
        (b"x" * 998, BodyType.SEVEN_BIT),
        (b"x" * 999 + b"\r\n", BodyType.BINARY_MIME),
        (b"x" * 999, BodyType.BINARY_MIME),
        (b"a\r\n" + b"x" * 999 + b"\r\nb\r\n", BodyType.BINARY_MIME),
    ],
)
def test_the_least_body_that_octets_need(octets: bytes, least: BodyType) -> None:
    assert needs(octets) is least


@given(OCTETS, st.lists(st.integers(0, 4000), max_size=5))
def test_the_facts_are_those_of_the_definition_in_any_split(octets: bytes, cuts: list[int]) -> None:
    facts = OctetFacts()
    places = sorted({min(cut, len(octets)) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(octets)], strict=True):
        facts.look(octets[start:end])
    facts.finish()
    assert facts.eight_bit == any(octet > 127 for octet in octets)
    assert facts.is_broken == bool(re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets))
    if not facts.is_broken:
        assert facts.has_long == any(len(line) > 998 for line in octets.split(b"\r\n"))
