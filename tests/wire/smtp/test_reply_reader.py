"""Replies of servers, good, odd and hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import REPLY_LINE_BYTES, REPLY_LINES
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.smtp.reply_reader import BadReply, ReplyReader
from tests.wire.cutting import cut, split


def read(*chunks: bytes) -> list[Reply | str]:
    """All that the chunks hold; a bad reply as its reason, and nothing after it."""
    reader = ReplyReader()
    found: list[Reply | str] = []
    for chunk in chunks:
        reader.append(chunk)
        while (taken := reader.take()) is not None:
            if isinstance(taken, BadReply):
                return [*found, str(taken)]
            found.append(taken)
    return found


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"250 OK\r\n", reply(250, "OK")),
        (b"250 2.1.0 Fine\r\n", reply(250, "Fine", status="2.1.0")),
        (b"250 5.1.0 Contradiction\r\n", reply(250, "5.1.0 Contradiction")),
        (b"250 2.1.0x Fine\r\n", reply(250, "2.1.0x Fine")),
        (b"250\r\n", reply(250, "")),
        (b"250 \r\n", reply(250, "")),
        (b"250 OK\n", reply(250, "OK")),
        (b"250-one\r\n250-\r\n250 three\r\n", reply(250, "one", "", "three")),
        (b"550-5.7.1 no\r\n550 5.7.1 never\r\n", reply(550, "no", "never", status="5.7.1")),
        (b"550-5.7.1 no\r\n550 see the manual\r\n", reply(550, "no", "see the manual", status="5.7.1")),
        (b"250-one\r\n250\r\n", reply(250, "one", "")),
        (b"571 Blocked\r\n", reply(550, "(571) Blocked")),
        (b"554 <b>\x1b[2J\xff</b>\r\n", reply(554, "<b>?[2J?</b>")),
    ],
)
def test_a_reply_is_read(octets: bytes, expected: Reply) -> None:
    assert read(octets) == [expected]
    assert read(*split(octets)) == [expected]


@pytest.mark.parametrize(
    "octets",
    [b"hello\r\n", b"\r\n", b"25\r\n", b"2x0 OK\r\n", b"150 OK\r\n", b"650 OK\r\n", b"250x OK\r\n", b"250-a\r\nb\r\n"],
)
def test_what_is_no_reply_is_said_to_be_none(octets: bytes) -> None:
    (reason,) = read(octets)
    assert isinstance(reason, str)
    assert reason.startswith("not an SMTP reply")


def test_a_reply_without_end_is_given_up() -> None:
    (reason,) = read(b"250-more\r\n" * (REPLY_LINES + 1))
    assert reason == "the reply has no end"


def test_a_line_without_end_is_given_up() -> None:
    reader = ReplyReader()
    for _ in range(REPLY_LINE_BYTES - 1):
        reader.append(b"2")
        assert reader.take() is None
    reader.append(b"2")
    assert isinstance(reader.take(), BadReply)


def test_several_replies_come_in_order() -> None:
    assert read(b"250 a\r\n354 b\r\n55", b"0 c\r\n") == [reply(250, "a"), reply(354, "b"), reply(550, "c")]


@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"\r\n", b"250 ", b"250-", b"5.1.1 ", b"599", b"\n"]), max_size=30
    ),
    st.lists(st.integers(0, 300), max_size=6),
)
def test_any_octets_are_replies_or_not_and_never_raise(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(pieces)
    assert read(*cut(octets, cuts)) == (read(octets) if octets else [])
