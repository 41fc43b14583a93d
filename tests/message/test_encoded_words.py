"""A subject is shown as it was meant, and whatever it holds does no harm (RFC 2047)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.encoded_words import decoded, encoded_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain words", "plain words"),
        (b"=?iso-8859-1?q?Gr=FC=DFe?= from Ann", "Gr\u00fc\u00dfe from Ann"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Gr\u00fc\u00dfe"),
        (b"=?utf-8*de?Q?a_b?=", "a b"),
        # RFC 2047 section 6.2: space between encoded words is none of the text, other space is.
        (b"=?utf-8?q?a?= =?utf-8?q?b?= c", "ab c"),
        ("Gr\u00fc\u00dfe".encode(), "Gr\u00fc\u00dfe"),
        (b"=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        (b"=?hex?q?61?=", "=?hex?q?61?="),
        (b"=?utf-8?b?x?=", "=?utf-8?b?x?="),
        (b"=?utf-8?q?=FF?= \xff", "\ufffd \ufffd"),
        (b"=?idna?q?=FF?=", "=?idna?q?=FF?="),
    ],
)
def test_a_value_is_read_as_it_was_meant(value: bytes, text: str) -> None:
    assert decoded(value) == text


@given(st.text())
def test_what_we_write_is_read_again(text: str) -> None:
    value = encoded_words(text).encode().replace(b"\r\n", b"") if text else b""
    assert decoded(value) == text.encode("utf-8", "replace").decode()


@given(st.binary(max_size=300) | st.from_regex(rb"(=\?[a-z0-9_\-]{1,12}\?[bq]\?[ -~]{0,30}\?= ?){1,4}", fullmatch=True))
def test_no_octets_raise(value: bytes) -> None:
    assert isinstance(decoded(value), str)
