"""Headers are ranges of octets: where they end, what they hold, whatever the octets are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.header import (
    begins_with_field,
    fields,
    find_body,
    find_fields,
    finder,
    first_value,
    split_header,
    unfold,
)

# Pieces that meet each other in all orders are worth more than random octets.
PIECES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"Received", b"received: x", b"Date", b"a", b"\0", b"\xff", b"From x"]
)
OCTETS = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join))


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\r\n\nbody", 7),
        (b"A: b\n\r\nbody", 7),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\n\nx\r\n\r\ny", 6),
        (b"A: b\r\n\r\nx\n\ny", 8),
        (b"A: b\r\n", -1),
        (b"A: b\r\n\rx\n", -1),
        (b"A: b\r\n \r\nB: c\r\n", -1),
        (b"", -1),
    ],
)
def test_the_first_empty_line_ends_the_header(content: bytes, body: int) -> None:
    assert find_body(content) == body


@given(OCTETS, st.data())
def test_the_end_is_found_alike_when_content_comes_in_pieces(content: bytes, data: st.DataObject) -> None:
    searched = 0
    found = -1
    while found == -1 and searched < len(content):
        end = data.draw(st.integers(searched + 1, len(content)))
        found = find_body(content[:end], searched)
        searched = end
    assert found == find_body(content)


@given(OCTETS)
def test_split_parts_make_the_content_again(content: bytes) -> None:
    header, rest = split_header(content)
    assert header + rest == content
    assert not rest or not header or rest.startswith((b"\r\n", b"\n"))


def test_content_that_does_not_begin_with_a_field_has_no_header() -> None:
    for content in (
        b"hello\r\nA: b\r\n\r\n",
        b"From x Thu\r\nA: b\r\n\r\n",
        b" A: b\r\n\r\n",
        b": b\r\n\r\n",
        b"\r\nA: b\r\n",
    ):
        assert not begins_with_field(content)
        assert split_header(content) == (b"", content)


def test_fields_are_whole_with_their_continuations() -> None:
    header = b"A: one\r\n two\r\n\tthree\r\nB:\r\njunk\r\nC : x\n y\nD:last"
    assert [(field.name, header[field.start : field.end], unfold(header, field)) for field in fields(header)] == [
        (b"a", b"A: one\r\n two\r\n\tthree\r\n", b"one two\tthree"),
        (b"b", b"B:\r\n", b""),
        (b"c", b"C : x\n y\n", b"x y"),
        (b"d", b"D:last", b"last"),
    ]


def test_fields_end_at_the_empty_line() -> None:
    assert [field.name for field in fields(b"A: b\r\n\r\nC: d\r\n")] == [b"a"]
    assert first_value(b"A: b\r\n\r\nC: d\r\n", b"c") is None
    assert first_value(b"A: b\r\nC: d\r\nC: e\r\n\r\n", b"c") == b"d"


def test_a_name_in_a_value_or_a_longer_name_is_not_that_field() -> None:
    header = b"Subject: Date: now\r\n Date: folded\r\nDate-Sent: x\r\nX-Date: y\r\nDATE \t: z\r\n"
    assert [unfold(header, field) for field in find_fields(header, finder(b"date"))] == [b"z"]


@given(OCTETS)
def test_the_quick_search_finds_what_the_slow_one_finds(content: bytes) -> None:
    header, _ = split_header(content)
    if header:
        wanted = [field for field in fields(header) if field.name in (b"received", b"date")]
        assert find_fields(header, finder(b"received", b"date")) == wanted


@given(OCTETS)
def test_fields_never_overlap_and_never_raise(octets: bytes) -> None:
    at = 0
    for field in fields(octets):
        assert at <= field.start < field.value <= field.end <= len(octets)
        at = field.end
        assert not unfold(octets, field).startswith((b" ", b"\t"))


@pytest.mark.parametrize(
    "header",
    [
        b"A: " + b"x" * 10_000_000,
        b"A:" + b"\r\n x" * 2_500_000,
        b"A:" + b"\n " * 5_000_000,
        b"A" * 10_000_000,
        b"A:\r\n" + b"junk\r\n" * 50_000 + b"x" * 9_000_000,
        b"A" + b" " * 10_000_000,
        b"A:" + b"\r" * 10_000_000,
    ],
    ids=["one line", "folds", "bare folds", "no colon", "junk", "spaces", "CRs"],
)
def test_ten_megabytes_take_no_time(header: bytes) -> None:
    started = time.process_time()
    for field in fields(header):
        unfold(header, field)
    find_fields(header, finder(b"received", b"date"))
    split_header(header)
    assert time.process_time() - started < 8.0
