"""A message goes to a POP3 client whole, exact, and so that the simplest client finds its end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.wire.pop3.content import MessageOutput

PIECES = st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"a", b" ", b"\0", b"\xff", b"Subject: x"])
OCTETS = st.one_of(st.binary(max_size=100), st.lists(PIECES, max_size=30).map(b"".join))
CUTS = st.lists(st.integers(0, 200), max_size=8)


def sent(octets: bytes, lines: int | None = None, cuts: list[int] | None = None) -> bytes:
    output = MessageOutput(lines)
    edges = [0, *sorted(cut for cut in cuts or [] if cut < len(octets)), len(octets)]
    return b"".join([output.chunk(octets[a:b]) for a, b in pairwise(edges)]) + output.end()


def naive_client(octets: bytes) -> tuple[bytes, bytes]:
    """Reads as many clients do, line by line at LF: (the message, what it would take for the next reply)."""
    message = b""
    while True:
        line, end, octets = octets.partition(b"\n")
        assert end, "the end never came"
        if line == b".\r":
            return message, octets
        assert line != b"."
        message += line.removeprefix(b".") + end


def strict_client(octets: bytes) -> tuple[bytes, bytes]:
    """Reads as RFC 1939 section 3 says: lines end with CR LF alone."""
    message = b""
    while True:
        line, end, octets = octets.partition(b"\r\n")
        assert end, "the end never came"
        if line == b".":
            return message, octets
        message += line.removeprefix(b".") + end


def ended(octets: bytes) -> bytes:
    return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"


@given(OCTETS, CUTS)
def test_what_a_client_reads_is_what_is_stored(octets: bytes, cuts: list[int]) -> None:
    assert naive_client(sent(octets, cuts=cuts) + b"+OK next\r\n") == (ended(octets), b"+OK next\r\n")


@given(OCTETS, CUTS)
def test_a_strict_client_reads_it_too_when_lines_end_as_they_must(octets: bytes, cuts: list[int]) -> None:
    proper = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    assert strict_client(sent(proper, cuts=cuts) + b"+OK next\r\n") == (ended(proper), b"+OK next\r\n")


@given(OCTETS, CUTS, st.none() | st.integers(0, 5))
def test_the_split_of_the_octets_does_not_matter(octets: bytes, cuts: list[int], lines: int | None) -> None:
    assert sent(octets, lines, cuts) == sent(octets, lines)


def top(octets: bytes, lines: int) -> bytes:
    """What TOP shows, by reading whole lines: the header, the empty line, `lines` lines."""
    rows = octets.splitlines(keepends=True) if b"\r" not in octets.replace(b"\r\n", b"") else None
    assert rows is not None
    shown = []
    left = -1
    for row in rows:
        if left == 0:
            break
        shown.append(row)
        if left > 0:
            left -= 1
        elif row in (b"\r\n", b"\n"):
            left = lines
            if not lines:
                break
    return b"".join(shown)


# bytes.splitlines knows CR, LF and CR LF alone.
LINES = st.lists(st.sampled_from([b"A: b\r\n", b"\r\n", b"\n", b".\r\n", b"x\n", b"..x\r\n", b"y"]), max_size=20)


@given(LINES.map(b"".join), st.integers(0, 6), CUTS)
def test_top_shows_the_header_and_so_many_lines(octets: bytes, lines: int, cuts: list[int]) -> None:
    assert naive_client(sent(octets, lines, cuts))[0] == ended(top(octets, lines))


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (0, b"A: b\r\n\r\n"),
        (1, b"A: b\r\n\r\n1\r\n"),
        (2, b"A: b\r\n\r\n1\r\n.2\r\n"),
        (3, b"A: b\r\n\r\n1\r\n.2\r\n3\r\n"),
        (10**10, b"A: b\r\n\r\n1\r\n.2\r\n3\r\n"),
    ],
)
def test_top_line_by_line(lines: int, shown: bytes) -> None:
    assert naive_client(sent(b"A: b\r\n\r\n1\r\n.2\r\n3", lines))[0] == shown


def test_top_wants_no_more_once_it_has_all() -> None:
    output = MessageOutput(1)
    assert output.chunk(b"A: b\r\n\r\none\r\ntwo") == b"A: b\r\n\r\none\r\n"
    assert not output.wants_more
    assert output.chunk(b"three\r\n") == b""
    assert output.end() == b".\r\n"


def test_retr_wants_more_until_the_end() -> None:
    output = MessageOutput()
    assert output.chunk(b"") == b""
    assert output.chunk(b"a\r") == b"a\r"
    assert output.wants_more
    assert output.end() == b"\r\n.\r\n"
    assert not output.wants_more
