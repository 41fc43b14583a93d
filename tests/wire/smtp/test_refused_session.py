"""A client that was refused at the door: it hears 503 until it says QUIT (RFC 5321 section 3.1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import DISCARD_BYTES, PIPELINE_BYTES, REFUSED_CLIENT_LINES
from postroad.vocabulary.reply import reply
from postroad.wire.session import Wait
from postroad.wire.smtp.refused_session import RefusedSession
from tests.wire.cutting import cut

_NO = reply(554, "Your host is refused here", status="5.7.1")


def talk(*chunks: bytes) -> tuple[list[bytes], Wait]:
    session = RefusedSession(_NO)
    wait = session.next_event()
    for chunk in chunks:
        if wait is Wait.CLOSED:
            break
        session.receive_data(chunk)
        wait = session.next_event()
        assert session.buffered_bytes <= PIPELINE_BYTES
    return [line[:3] for line in session.data_to_send().splitlines()], wait


def test_it_is_told_so_until_it_says_quit() -> None:
    assert talk() == ([b"554"], Wait.NEED_DATA)
    assert talk(b"EHLO x\r\nMAIL FROM:<>\r\nquit\r\nNOOP\r\n") == ([b"554", b"503", b"503", b"221"], Wait.CLOSED)


def test_it_may_not_go_on_for_ever() -> None:
    said, wait = talk(b"NOOP\r\n" * 1000)
    assert (len(said), wait) == (1 + REFUSED_CLIENT_LINES, Wait.CLOSED)
    assert talk(b"")[1] is Wait.CLOSED
    assert talk(*[b"x" * 1000] * (DISCARD_BYTES // 500))[1] is Wait.CLOSED


_WORDS = st.sampled_from([b"NOOP\r\n", b"QUIT\r\n", b"\xff\x00\r\n", b"x" * 3000, b"\r\n", b"\n"])


@given(st.lists(_WORDS, min_size=1, max_size=8), st.lists(st.integers(1, 9000), max_size=5))
def test_how_the_octets_are_cut_changes_nothing(words: list[bytes], edges: list[int]) -> None:
    octets = b"".join(words)
    assert talk(*cut(octets, edges)) == talk(octets)
