"""What is taken as content, what ends it, and what is refused (RFC 5321 sections 4.1.1.4 and 4.5.2)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.limits import CONTENT_OVERRUN_BYTES
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import BareNewline
from postroad.wire.smtp.events import CommandRefused, TransactionDropped
from tests.wire.cutting import cut, split
from tests.wire.smtp.conversation import MX, Conversation, in_content, ready

FULL = reply(452, "No space", status="4.3.1")
NORMALISING = msgspec.structs.replace(MX, bare_newline=BareNewline.NORMALISE)
SMUGGLED = b"MAIL FROM:<evil@x>\r\nRCPT TO:<b@b>\r\nDATA\r\nevil\r\n.\r\n"
FALSE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n\x00.\r\n", b"\r\n.\r\r\n"]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"x\r\n.\r\n", b"x\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..x\r\n.y\r\n...\r\n.\r\n", b".x\r\ny\r\n..\r\n"),
        (b"x.\r\n.\r\n", b"x.\r\n"),
        (b"\r\n\r\n\r\n.\r\n", b"\r\n\r\n\r\n"),
        (b"\xff\xfe\r\n.\r\n", b"\xff\xfe\r\n"),
        (b"x" * 998 + b"\r\n" + b".." + b"x" * 997 + b"\r\n.\r\n", b"x" * 998 + b"\r\n." + b"x" * 997 + b"\r\n"),
    ],
)
@pytest.mark.parametrize("by_octet", [False, True])
def test_content_arrives_as_it_was_meant(sent: bytes, meant: bytes, by_octet: bool) -> None:
    conversation = in_content()
    said = b"".join(conversation.say(octets) for octets in (split(sent) if by_octet else [sent]))
    assert said.startswith(b"250 ")
    assert conversation.messages == [meant]


@pytest.mark.parametrize("false_end", FALSE_ENDS)
@pytest.mark.parametrize("by_octet", [False, True])
def test_nothing_but_cr_lf_dot_cr_lf_ends_the_content(false_end: bytes, by_octet: bool) -> None:
    """Smuggling: what follows a false end must never be a command."""
    conversation = in_content()
    sent = b"x" + false_end + SMUGGLED
    said = b"".join(conversation.say(octets) for octets in (split(sent) if by_octet else [sent]))
    assert said.startswith(b"550 5.6.0 ")
    assert said.count(b"\r\n") == 1
    assert conversation.closed
    assert conversation.messages == []
    assert b"evil" not in repr(conversation.asked(CommandRefused)).encode()
    assert len(conversation.asked(TransactionDropped)) == 1


@pytest.mark.parametrize("false_end", [end for end in FALSE_ENDS if b"\0" not in end])
@pytest.mark.parametrize("by_octet", [False, True])
def test_normalising_does_not_make_an_end(false_end: bytes, by_octet: bool) -> None:
    conversation = in_content(NORMALISING)
    sent = b"x" + false_end + SMUGGLED
    said = b"".join(conversation.say(octets) for octets in (split(sent) if by_octet else [sent]))
    assert said == b"250 2.0.0 Queued\r\n"
    (message,) = conversation.messages
    assert message.endswith(b"DATA\r\nevil\r\n")
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")


def test_a_nul_is_refused_when_normalising_too() -> None:
    conversation = in_content(NORMALISING)
    assert conversation.say(b"a\0b\r\n.\r\n").startswith(b"550 5.6.0 A NUL")
    assert conversation.closed


def test_a_line_of_999_octets_is_refused_and_the_session_goes_on() -> None:
    conversation = in_content()
    assert conversation.say(b"x" * 999 + b"\r\n.\r\n").startswith(b"554 5.6.0")
    assert conversation.messages == []
    assert conversation.lines("RCPT TO:<b@b>").startswith("503")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("250")


@given(
    lengths=st.lists(st.sampled_from([0, 1, 75, 996, 997, 998, 999, 1000, 2500]), max_size=8),
    cuts=st.lists(st.integers(0, 9000), max_size=6),
)
def test_a_long_line_is_found_wherever_it_is_cut(lengths: list[int], cuts: list[int]) -> None:
    sent = b"".join(b"x" * length + b"\r\n" for length in lengths) + b".\r\n"
    conversation = in_content(msgspec.structs.replace(MX, message_bytes=100_000))
    said = b"".join(conversation.say(chunk) for chunk in cut(sent, cuts))
    assert said[:3] == (b"554" if max(lengths, default=0) > 998 else b"250")


def test_a_message_of_the_announced_size_passes_and_one_octet_more_does_not() -> None:
    body = b"x" * 98 + b"\r\n"
    conversation = in_content()
    assert conversation.say(b"." + b"." + body[1:] + body * 99 + b".\r\n").startswith(b"250")
    assert len(conversation.messages[0]) == MX.message_bytes
    conversation.lines("MAIL FROM:<a@b> SIZE=1", "RCPT TO:<b@b>", "DATA")
    assert conversation.say(b"y" + body + body * 99 + b".\r\n").startswith(b"552 5.3.4")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("250")


@pytest.mark.parametrize("announced", [0, 1, MX.message_bytes])
def test_a_message_that_is_not_as_large_as_was_said_is_taken_whole(announced: int) -> None:
    """RFC 1870 section 6.3: what is announced is a guess, and nothing is cut off at it."""
    conversation = ready()
    conversation.lines(f"MAIL FROM:<a@b> SIZE={announced}", "RCPT TO:<b@b>", "DATA")
    body = b"x" * 98 + b"\r\n"
    assert conversation.say(body * 50 + b".\r\n").startswith(b"250")
    assert conversation.messages == [body * 50]


def test_a_message_far_too_large_is_cut_off() -> None:
    """SIZE=1, and then no end."""
    conversation = in_content()
    bound = 2 * MX.message_bytes + CONTENT_OVERRUN_BYTES
    said = b""
    for _ in range(bound // 1000):
        said += conversation.say((b"x" * 98 + b"\r\n") * 10)
        assert conversation.session.buffered_bytes == 0
        assert len(conversation.content) <= MX.message_bytes
    said += conversation.say(b"x" * 1000)
    assert said.startswith(b"552 5.3.4")
    assert conversation.closed


ALPHABET = [b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\0", b"..", b"y" * 999]


@given(
    pieces=st.lists(st.sampled_from(ALPHABET), max_size=25),
    cuts=st.lists(st.integers(0, 400), max_size=10),
    normalise=st.booleans(),
)
def test_how_the_content_is_cut_does_not_matter(pieces: list[bytes], cuts: list[int], normalise: bool) -> None:
    sent = b"".join(pieces) + b"\r\n.\r\nNOOP\r\n"
    seen = []
    for chunks in ([sent], cut(sent, cuts), split(sent)):
        conversation = in_content(NORMALISING if normalise else MX)
        said = b"".join(map(conversation.say, chunks))
        refused = conversation.asked(CommandRefused), conversation.asked(TransactionDropped)
        seen.append((said, conversation.messages, refused, conversation.wait, conversation.content))
    assert seen[0] == seen[1] == seen[2]


@given(st.lists(st.sampled_from(ALPHABET), max_size=25))
def test_what_is_taken_has_whole_lines_only(pieces: list[bytes]) -> None:
    for profile in (MX, NORMALISING):
        conversation = in_content(profile)
        conversation.say(b"".join(pieces) + b"\r\n.\r\n")
        for message in conversation.messages:
            assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
            assert message == b"" or message.endswith(b"\r\n")
            assert b"\0" not in message


def test_a_refused_message_is_over_as_well() -> None:
    conversation = Conversation(at_end=FULL)
    conversation.lines("EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<b@b>", "DATA")
    assert conversation.say(b"x\r\n.\r\n") == FULL.wire
    assert conversation.lines("DATA").startswith("503")
