"""Command lines of POP3 clients: only CR LF ends one, and none is endless."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import DISCARD_BYTES, POP3_COMMAND_LINE_BYTES
from postroad.wire.pop3.lines import CommandLines, Fault, Line, number

PIECES = st.sampled_from([b"\r\n", b"\n", b"\r", b"NOOP", b"a" * 300, b"b" * 600, b"\0"])


def read(*chunks: bytes) -> list[Line]:
    lines = CommandLines()
    found = []
    for chunk in chunks:
        lines.feed(chunk)
        while (line := lines.next()) is not None:
            found.append(line)
            if line is Fault.ENDLESS:
                return found
    return found


def test_lines_end_with_cr_lf() -> None:
    assert read(b"NOOP\r\nQUIT\r\nrest") == [b"NOOP", b"QUIT"]


def test_what_a_bare_lf_ends_is_never_a_command() -> None:
    assert read(b"NOOP\nQUIT\r\n", b"A\rB\r\n", b"\r\r\n") == [Fault.NO_CR, b"QUIT", Fault.NO_CR, Fault.NO_CR]


def test_the_longest_line_fits_and_the_next_does_not() -> None:
    longest = b"a" * (POP3_COMMAND_LINE_BYTES - 2)
    assert read(longest + b"\r\n" + longest + b"b\r\nNOOP\r\n") == [longest, Fault.TOO_LONG, b"NOOP"]


def test_an_endless_line_is_dropped_as_it_comes_and_given_up() -> None:
    lines = CommandLines()
    for _ in range(DISCARD_BYTES // 1024):
        lines.feed(b"a" * 1024)
        assert lines.next() is None
        assert len(lines) <= 1024
    lines.feed(b"a")
    assert lines.next() is Fault.ENDLESS


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(1, 700), max_size=20))
def test_the_split_of_the_octets_does_not_matter(octets: bytes, sizes: list[int]) -> None:
    chunks = []
    rest = octets
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert read(*chunks, rest) == read(octets)


@given(st.integers(DISCARD_BYTES - 3, DISCARD_BYTES + 3), st.lists(st.integers(1, DISCARD_BYTES), max_size=5))
def test_nor_does_it_near_the_bound(length: int, cuts: list[int]) -> None:
    octets = b"a" * length + b"\r\nNOOP\r\n"
    edges = [0, *sorted(cuts), len(octets)]
    assert read(*(octets[a:b] for a, b in pairwise(edges))) == read(octets)


def test_numbers_are_rows_of_digits() -> None:
    assert [number(text) for text in (b"0", b"1", b"007", b"99999999999999999999", b"9" * 5000)] == [
        0, 1, 7, 10**10, 10**10,
    ]  # fmt: skip
    for text in (b"", b"-1", b"+1", b"1.0", b" 1", b"1 1", b"0x1", b"\xd9\xa1", b"1_0"):
        assert number(text) is None
