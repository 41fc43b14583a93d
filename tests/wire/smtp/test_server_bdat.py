"""Content by BDAT (RFC 3030): counted octets, kept or swallowed, never a command."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import CHUNKS_OF_MESSAGE, CONTENT_OVERRUN_BYTES, SERVER_CONTENT_S
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.session import Wait
from postroad.wire.smtp.events import CommandRefused, ContentAsked, ContentEnded, SenderGiven, TransactionDropped
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.transitions import Phase
from tests.wire.cutting import cut, split
from tests.wire.smtp.conversation import FULL, MX, Conversation, history, ready

OPENING = ("MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>")
BINARY = ("MAIL FROM:<a@a.example> BODY=BINARYMIME", "RCPT TO:<b@b.example>")
EVIL = b"RSET\r\nMAIL FROM:<evil@x.example>\r\n"


def with_recipient(opening: tuple[str, ...] = OPENING) -> Conversation:
    conversation = ready(FULL)
    assert conversation.lines(*opening).startswith("250")
    return conversation


def test_a_message_in_one_chunk() -> None:
    conversation = with_recipient()
    assert conversation.say(b"BDAT 6 LAST\r\n") == b""
    assert conversation.session.patience_s == SERVER_CONTENT_S
    assert conversation.say(b"abcd\r\n") == b"250 2.0.0 Queued\r\n"
    assert conversation.messages == [b"abcd\r\n"]
    assert conversation.asked(ContentAsked) == [ContentAsked(by_chunks=True)]
    assert conversation.asked(ContentEnded) == [ContentEnded(6)]


def test_a_message_in_many_chunks_each_answered_in_turn() -> None:
    conversation = with_recipient()
    assert conversation.say(b"BDAT 3\r\nabc") == b"250 2.0.0 3 octets received\r\n"
    assert conversation.session.state.phase is Phase.CHUNKS
    assert conversation.say(b"bdat 5\r\ndef\r\nBDAT 0 last\r\n") == (
        b"250 2.0.0 5 octets received\r\n250 2.0.0 Queued\r\n"
    )
    assert conversation.messages == [b"abcdef\r\n"]


def test_chunks_are_pipelined_with_the_next_message() -> None:
    """RFC 3030 section 4.2"""
    conversation = ready(FULL)
    said = conversation.say(
        b"MAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\nBDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\n"
        b"MAIL FROM:<>\r\nRCPT TO:<b@b>\r\nQUIT\r\n"
    )
    assert [line[:3] for line in said.decode().splitlines()] == ["250", "250", "250", "250", "250", "250", "221"]
    assert conversation.messages == [b"a\r\nb\r\n"]


@pytest.mark.parametrize("by_octet", [False, True])
def test_the_end_of_data_of_another_command_is_content_here(by_octet: bool) -> None:
    """13 g"""
    content = b"x\r\n.\r\n..\r\nMAIL FROM:<evil@x>\r\n"
    octets = b"BDAT %d LAST\r\n" % len(content) + content + b"NOOP\r\n"
    conversation = with_recipient()
    said = b"".join(conversation.say(each) for each in (split(octets) if by_octet else [octets]))
    assert said == b"250 2.0.0 Queued\r\n250 2.0.0 OK\r\n"
    assert conversation.messages == [content]


@pytest.mark.parametrize(
    "lines", [[], ["EHLO x"], ["EHLO x", "MAIL FROM:<a@b>"], ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<nobody@b>"]]
)
@pytest.mark.parametrize("by_octet", [False, True])
def test_a_chunk_for_nobody_is_swallowed_to_its_last_octet(lines: list[str], by_octet: bool) -> None:
    """13 a"""
    conversation = Conversation(FULL)
    conversation.lines(*lines)
    senders = len(conversation.asked(SenderGiven))
    octets = b"BDAT %d LAST\r\n" % len(EVIL) + EVIL
    said = b"".join(conversation.say(each) for each in (split(octets) if by_octet else [octets]))
    assert said.startswith(b"554 5.5.1" if len(lines) > 1 else b"503 5.5.1")
    assert said.count(b"\r\n") == 1
    assert len(conversation.asked(SenderGiven)) == senders
    assert conversation.messages == []
    assert conversation.lines("NOOP") == "250 2.0.0 OK\r\n"
    assert conversation.session.transaction is None


@pytest.mark.parametrize(
    "argument",
    [
        "18446744073709551616",
        "99999999999999999999 LAST",
        "-1",
        "+1",
        "0x10",
        "1e9",
        "",
        "LAST",
        "1 LAST LAST",
        "1 FIRST",
        "1LAST",
        "٣",
        "1.0",
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_who_cannot_count_is_sent_away(argument: str, inside: bool) -> None:
    """13 b: nobody knows where the next command begins."""
    conversation = with_recipient() if inside else ready(FULL)
    said = conversation.say(f"BDAT {argument}\r\n".encode() + EVIL)
    assert said.startswith(b"501 5.5.4")
    assert said.count(b"\r\n") == 1
    assert conversation.closed
    assert conversation.messages == []
    assert conversation.session.transaction is None


@pytest.mark.parametrize("chunk", [b"BDAT 1\r\n\rBDAT 1\r\n\n", b"BDAT 0\r\n"])
def test_a_message_has_a_bounded_number_of_chunks(chunk: bytes) -> None:
    """13 c: a million of them; each is let go as it comes."""
    profile = msgspec.structs.replace(FULL, message_bytes=10_000_000)
    conversation = Conversation(profile)
    conversation.lines("EHLO x", *OPENING)
    answered, said = 0, b""
    for _ in range(1000):
        said = conversation.say(chunk * 1000)
        answered += said.count(b"250 ")
        assert conversation.session.buffered_bytes == 0
        if conversation.closed:
            break
    assert answered == CHUNKS_OF_MESSAGE
    assert said.endswith(b"421 4.7.0 Too many chunks in one message, closing\r\n")
    assert conversation.asked(TransactionDropped)


def test_a_million_chunks_for_nobody_end_after_a_few() -> None:
    conversation = ready(FULL)
    said = conversation.say(b"BDAT 1\r\nx" * 1000)
    assert said.count(b"503 ") == FULL.bad_commands
    assert said.endswith(b"421 4.7.0 Too many errors, closing\r\n")
    assert conversation.closed


@pytest.mark.parametrize("first", [b"BDAT 3\r\nx\ry", b"BDAT 900\r\n" + bytes(900)])
def test_chunks_behind_one_that_ended_the_transaction_are_one_offence_with_it(first: bytes) -> None:
    """A client that sends its chunks without waiting cannot know of the refusal yet."""
    profile = msgspec.structs.replace(FULL, message_bytes=500)
    conversation = Conversation(profile)
    conversation.lines("EHLO x", *OPENING)
    said = conversation.say(first + b"BDAT 1\r\nx" * 100 + b"BDAT 1 LAST\r\nx")
    assert said.count(b"503 ") == 101
    assert not conversation.closed
    # The message is over with the last of them: whoever goes on has no excuse.
    said = conversation.say(b"BDAT 1\r\nx" * 100)
    assert conversation.closed


def test_chunks_behind_a_refused_one_are_bounded() -> None:
    profile = msgspec.structs.replace(FULL, message_bytes=500)
    conversation = Conversation(profile)
    conversation.lines("EHLO x", *OPENING)
    said = conversation.say(b"BDAT 900\r\n" + bytes(900))
    for _ in range(1000):
        said = conversation.say(b"BDAT 1\r\nx" * 1000)
        if conversation.closed:
            break
    assert said.endswith(b"421 4.7.0 Too many chunks in one message, closing\r\n")


def test_the_two_ways_are_not_mixed() -> None:
    """13 d, e"""
    conversation = with_recipient()
    conversation.say(b"BDAT 3\r\na\r\n")
    assert conversation.lines("DATA").startswith("503 5.5.1")
    assert conversation.lines("RCPT TO:<c@c>").startswith("503 5.5.1")
    assert conversation.lines("MAIL FROM:<c@c>").startswith("503 5.5.1")
    assert conversation.say(b"BDAT 0 LAST\r\n").startswith(b"250")
    assert conversation.say(b"BDAT 3 LAST\r\nx\r\n").startswith(b"503 5.5.1")
    assert conversation.lines("DATA").startswith("503 5.5.1")
    refused = with_recipient()
    assert refused.say(b"BDAT 2 LAST\r\n\nx").startswith(b"550 5.6.0")
    assert refused.lines("DATA").startswith("503 5.5.1")
    assert refused.lines("RCPT TO:<c@c>").startswith("503 5.5.1")


def test_chunks_behind_a_refused_one_are_swallowed_and_refused_too() -> None:
    """A client that has not waited goes on with its chunks: RFC 3030 section 2."""
    conversation = with_recipient()
    said = conversation.say(b"BDAT 2\r\n\nxBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n")
    assert [line[:9] for line in said.decode().splitlines()] == ["550 5.6.0", "503 5.5.1", "503 5.5.1", "250 2.0.0"]
    assert conversation.messages == []
    conversation.lines("RSET", *OPENING)
    assert conversation.say(b"BDAT 3 LAST\r\nc\r\n").startswith(b"250")
    assert conversation.messages == [b"c\r\n"]


def test_chunks_that_are_more_than_was_said_are_taken_whole() -> None:
    """RFC 1870 section 6.3"""
    conversation = ready(FULL)
    conversation.lines("MAIL FROM:<a@b> SIZE=1", "RCPT TO:<b@b>")
    assert conversation.say(b"BDAT 6\r\nabcd\r\n").startswith(b"250")
    assert conversation.say(b"BDAT 6 LAST\r\nefgh\r\n").startswith(b"250")
    assert conversation.messages == [b"abcd\r\nefgh\r\n"]


@pytest.mark.parametrize("octets", [b"BDAT 10\r\nabc", b"BDAT 3\r\na\r\n", b"BDAT 10 LAST\r\n123456789"])
def test_a_cut_in_the_middle_leaves_nothing(octets: bytes) -> None:
    """13 f"""
    conversation = with_recipient()
    conversation.say(octets)
    assert conversation.say(b"") == b""
    assert conversation.closed
    assert conversation.messages == []
    assert len(conversation.asked(TransactionDropped)) == 1


def test_more_than_the_announced_size_is_swallowed_and_refused() -> None:
    """13 h"""
    conversation = with_recipient(BINARY)
    assert conversation.say(b"BDAT 9000\r\n" + b"x" * 9000).startswith(b"250")
    assert conversation.say(b"BDAT 1001 LAST\r\n" + EVIL) == b""
    assert conversation.say(b"x" * (1001 - len(EVIL))).startswith(b"552 5.3.4")
    assert conversation.content == b""
    assert conversation.lines(*OPENING).startswith("250")


def test_what_is_far_too_large_is_not_even_swallowed() -> None:
    conversation = with_recipient()
    size = FULL.message_bytes + CONTENT_OVERRUN_BYTES + 1
    assert conversation.say(b"BDAT %d\r\n" % size + EVIL).startswith(b"552 5.3.4")
    assert conversation.closed


def test_without_a_last_chunk_nothing_is_kept() -> None:
    """13 i"""
    conversation = with_recipient()
    conversation.say(b"BDAT 3\r\na\r\n")
    assert conversation.lines("RSET") == "250 2.0.0 OK\r\n"
    assert conversation.asked(TransactionDropped) == [TransactionDropped("RSET")]
    assert conversation.content == b""
    assert conversation.say(b"BDAT 3 LAST\r\nb\r\n").startswith(b"503")
    conversation.lines(*OPENING)
    assert conversation.say(b"BDAT 3 LAST\r\nc\r\n").startswith(b"250")
    assert conversation.messages == [b"c\r\n"]


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([b"a\nb\r\n"], 550),
        ([b"a\rb\r\n"], 550),
        ([b"a\r\n\r"], 550),
        ([b"a\r", b"\n"], 250),
        ([b"a\r", b"", b"\n"], 250),
        ([b"a\r", b"b\r\n"], 550),
        ([b"\n"], 550),
        ([b"a\0b\r\n"], 550),
        ([b"x" * 998 + b"\r\n"], 250),
        ([b"x" * 999 + b"\r\n"], 554),
        ([b"x" * 600, b"x" * 600], 554),
        ([b"no line end"], 250),
        ([], 250),
    ],
)
@pytest.mark.parametrize("by_octet", [False, True])
def test_without_binarymime_the_content_is_lines(chunks: list[bytes], code: int, by_octet: bool) -> None:
    conversation = with_recipient()
    octets = b"".join(b"BDAT %d\r\n" % len(each) + each for each in chunks) + b"BDAT 0 LAST\r\n"
    said = b"".join(conversation.say(each) for each in (split(octets) if by_octet else [octets]))
    answers = [line[:3] for line in said.decode().splitlines()]
    if code == 250:
        assert set(answers) == {"250"}
        assert conversation.messages == [b"".join(chunks)]
    else:
        assert str(code) in answers
        assert conversation.messages == []
        assert conversation.content == b""
        assert conversation.lines("MAIL FROM:<a@b>").startswith("250")


def test_binary_content_arrives_octet_for_octet() -> None:
    content = bytes(range(256)) * 8 + b"\r\n.\r\n\n\r\0"
    conversation = with_recipient(BINARY)
    sender = conversation.asked(SenderGiven)[0]
    assert isinstance(sender, SenderGiven)
    assert sender.body is BodyType.BINARY_MIME
    assert conversation.say(b"BDAT %d LAST\r\n" % len(content) + content).startswith(b"250")
    assert conversation.messages == [content]


def test_binary_content_never_goes_by_data() -> None:
    conversation = with_recipient(BINARY)
    assert conversation.lines("DATA").startswith("503 5.5.1")
    assert conversation.say(b"BDAT 1 LAST\r\n\n").startswith(b"250")


@pytest.mark.parametrize("no", [reply(452, "No space", status="4.3.1"), reply(554, "No", status="5.7.1")])
def test_a_chunk_that_the_world_refuses_is_swallowed_first(no: Reply) -> None:
    session = ServerSession(msgspec.structs.replace(FULL, future_release_max_s=None))
    session.receive_data(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\nBDAT 8 LAST\r\nQUI")
    for _ in range(3):
        session.next_event()
        session.answer(None)
    session.data_to_send()
    assert session.next_event() == ContentAsked(by_chunks=True)
    session.answer(no)
    assert isinstance(session.next_event(), TransactionDropped)
    assert session.next_event() is Wait.NEED_DATA
    assert session.data_to_send() == b""
    session.receive_data(b"T\r\nxyNOOP\r\n")
    assert session.next_event() is Wait.NEED_DATA
    assert session.data_to_send() == no.wire + b"250 2.0.0 OK\r\n"


def test_a_421_to_the_first_chunk_is_the_last_word() -> None:
    session = ServerSession(msgspec.structs.replace(FULL, future_release_max_s=None))
    session.receive_data(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\nBDAT 8 LAST\r\nQUI")
    for _ in range(3):
        session.next_event()
        session.answer(None)
    session.next_event()
    session.answer(reply(421, "Going down", status="4.3.2"))
    assert session.data_to_send().endswith(b"421 4.3.2 Going down\r\n")
    assert isinstance(session.next_event(), TransactionDropped)
    assert session.next_event() is Wait.CLOSED


def test_where_it_is_not_offered_bdat_begins_nothing() -> None:
    conversation = ready(MX)
    said = conversation.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\nBDAT 60 LAST\r\nSubject: x\r\n" + EVIL)
    assert [line[:3] for line in said.decode().splitlines()] == ["250", "250", "502", "500", "250", "503"]
    assert len(conversation.asked(SenderGiven)) == 1
    assert conversation.lines("MAIL FROM:<a@b> BODY=BINARYMIME").startswith("503")
    assert ready(MX).lines("MAIL FROM:<a@b> BODY=BINARYMIME").startswith("501 5.5.4")


def test_a_silent_client_inside_a_chunk_is_timed_out() -> None:
    conversation = with_recipient()
    conversation.say(b"BDAT 10\r\nabc")
    conversation.session.timed_out()
    assert conversation.settle().startswith(b"421 4.4.2")
    assert conversation.closed
    assert len(conversation.asked(TransactionDropped)) == 1


def test_a_shutdown_inside_a_chunk_is_silent() -> None:
    conversation = with_recipient()
    conversation.say(b"BDAT 10\r\nabc")
    conversation.session.shut_down(reply(421, "Going down", status="4.3.2"))
    assert conversation.settle() == b""
    assert conversation.closed


CHUNKS = [b"BDAT 3\r\n", b"BDAT 0\r\n", b"BDAT 4 LAST\r\n", b"BDAT 70\r\n", b"BDAT -1\r\n", b"BDAT 20000\r\n"]
OCTETS = [b"a\r\n", b"ab", b"\r", b"\n", b"\0", b"x" * 999, b".\r\n"]
OTHERS = [
    b"RSET\r\n",
    b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<b@b>\r\n",
    b"DATA\r\n",
]
PIECES = st.sampled_from([*CHUNKS, *OCTETS, *OTHERS])


@given(st.lists(PIECES, max_size=25), st.lists(st.integers(0, 700), max_size=8))
def test_how_the_stream_is_cut_does_not_matter(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@b>\r\n" + b"".join(pieces)
    assert history(cut(octets, cuts), FULL) == history([octets], FULL) == history(split(octets), FULL)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_binary_content_survives_every_cut_into_chunks(content: bytes, cuts: list[int]) -> None:
    conversation = with_recipient(BINARY)
    for chunk in cut(content, cuts):
        assert conversation.say(b"BDAT %d\r\n" % len(chunk) + chunk).startswith(b"250")
    assert conversation.say(b"BDAT 0 LAST\r\n").startswith(b"250")
    assert conversation.messages == [content]


def test_what_was_refused_is_told_to_the_ledger() -> None:
    conversation = ready(FULL)
    conversation.say(b"BDAT 3 LAST\r\nabc")
    (refused,) = conversation.asked(CommandRefused)
    assert isinstance(refused, CommandRefused)
    assert (refused.command, refused.reply.code) == ("BDAT", 503)
