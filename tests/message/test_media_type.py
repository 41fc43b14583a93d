"""Content-Type and Content-Transfer-Encoding, as programs really write them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.media_type import TEXT, media_type, transfer_encoding

PIECES = st.sampled_from(
    [b"multipart/mixed", b";", b"boundary", b"=", b'"', b"\\", b"(", b")", b" ", b"\r\n ", b"b", b"\0", b"\xff", b"/"]
)


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        (b'multipart/mixed; boundary="b"', b"b"),
        (b"Multipart/Mixed;BOUNDARY=b", b"b"),
        (b"multipart/mixed; boundary=----=_Part_1?x", b"----=_Part_1?x"),
        (b'multipart/mixed;\r\n\tcharset=x;\r\n boundary="a \\"b\\" c"', b'a "b" c'),
        (b'multipart/mixed; name="; boundary=no"; boundary=yes', b"yes"),
        (b"multipart/mixed (with (a) comment; boundary=no); boundary=yes", b"yes"),
        (b'multipart/mixed; boundary="a(b"', b"a(b"),
        (b"multipart/mixed; boundary=one; boundary=two", b"one"),
        (b'multipart/mixed; boundary="b  "', b"b"),
        (b'multipart/mixed; boundary="never ends', b"never ends"),
        (b'multipart/mixed; boundary=""', b""),
        (b"multipart/mixed", b""),
    ],
)
def test_the_boundary_is_found(value: bytes, boundary: bytes) -> None:
    assert media_type(value) == (b"multipart", b"mixed", boundary)


@pytest.mark.parametrize("value", [b"", b"text", b"/", b"text//plain", b"\xff", b"; boundary=b"])
def test_what_cannot_be_read_is_plain_text(value: bytes) -> None:
    assert media_type(value) == TEXT


@pytest.mark.parametrize(
    ("value", "encoding"),
    [(b" Base64 ", b"base64"), (b"8bit (sic)", b"8bit"), (b"", b"7bit"), (b"7bit;", b"7bit"), (b"x-uu\r\n", b"x-uu")],
)
def test_the_encoding_is_found(value: bytes, encoding: bytes) -> None:
    assert transfer_encoding(value) == encoding


@given(st.one_of(st.binary(max_size=100), st.lists(PIECES, max_size=30).map(b"".join)))
def test_no_octets_raise(value: bytes) -> None:
    media_type(value)
    media_type(b"multipart/mixed; " + value)
    transfer_encoding(value)


@pytest.mark.parametrize(
    "piece", [b"(", b")", b'"', b"\\", b";", b"b*0=x;", b"boundary", b" ", b'"(', b"multipart/mixed;"]
)
def test_a_long_value_takes_linear_time(piece: bytes) -> None:
    began = time.perf_counter()
    media_type(b"multipart/mixed; " + piece * (500_000 // len(piece)))
    assert time.perf_counter() - began < 2
