"""The buffer under the line protocols: lines, bounds, and any cutting of the stream."""

from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import DISCARD_BYTES
from postroad.wire.line_buffer import LineBuffer, LineFault
from tests.wire.cutting import cut, split


def lines(chunks: list[bytes], bytes_max: int = 10) -> list[bytes | LineFault]:
    buffer = LineBuffer()
    found: list[bytes | LineFault] = []
    for chunk in chunks:
        buffer.append(chunk)
        while (line := buffer.take_line(bytes_max)) is not None:
            found.append(line)
            if line is LineFault.ENDLESS:
                return found
    return found


def test_only_cr_lf_ends_a_line() -> None:
    assert lines([b"a\nb\rc\r\n\r\nd"]) == [b"a\nb\rc", b""]


def test_a_long_line_is_said_once_and_thrown_away() -> None:
    assert lines([b"12345678\r\n", b"123456789\r\n", b"next\r\n"]) == [b"12345678", LineFault.TOO_LONG, b"next"]


def test_an_endless_line_ends() -> None:
    assert lines([b"x" * (9 + DISCARD_BYTES)]) == [LineFault.TOO_LONG, LineFault.ENDLESS]
    assert lines([b"x" * (8 + DISCARD_BYTES)]) == [LineFault.TOO_LONG]
    assert lines([b"x" * (7 + DISCARD_BYTES) + b"\r\nok\r\n"]) == [LineFault.TOO_LONG, b"ok"]


def test_what_is_left_can_be_taken_whole() -> None:
    buffer = LineBuffer()
    buffer.append(b"line\r\nrest\r\n.")
    assert buffer.take_line(100) == b"line"
    assert buffer.first() == ord("r")
    assert len(buffer) == 7
    assert buffer.take_all() == b"rest\r\n."
    assert len(buffer) == 0
    assert buffer.first() is None


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"0123456789", b"x" * 200]), max_size=30),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_how_the_stream_is_cut_does_not_matter(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(pieces)
    assert lines(cut(octets, cuts)) == lines([octets]) == lines(split(octets))
