"""mbox files, written and read: every variant, every split, and nothing of a message lost."""

from __future__ import annotations

import itertools
import mailbox
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.line_ends import CrLf
from postroad.message.mbox import (
    MboxQuoting,
    MboxReader,
    MessageBegins,
    MessageEnds,
    NoMbox,
    Quoting,
    from_line,
    parse_from_line,
)

AT = datetime(2026, 11, 4, 9, 8, 7, tzinfo=UTC)
LINE = b"From ann@a.example Wed Nov  4 09:08:07 2026"


def read(octets: bytes, quoting: Quoting = Quoting.MBOXRD, cuts: tuple[int, ...] = ()) -> list[tuple[bytes, bytes]]:
    """The sender and the octets of each message."""
    reader = MboxReader(quoting, lambda offset, count: octets[offset : offset + count])
    edges = [0, *sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]
    events = [event for a, b in itertools.pairwise(edges) for event in reader.feed(octets[a:b])]
    messages: list[tuple[bytes, list[bytes]]] = []
    open_ = False
    for event in [*events, *reader.end()]:
        if isinstance(event, MessageBegins):
            assert not open_
            open_ = True
            messages.append((event.sender, []))
        elif isinstance(event, MessageEnds):
            open_ = False
        else:
            assert open_
            assert event
            messages[-1][1].append(event)
    assert not open_
    return [(sender, b"".join(pieces)) for sender, pieces in messages]


def texts(octets: bytes, quoting: Quoting = Quoting.MBOXRD) -> list[bytes]:
    return [text for _, text in read(octets, quoting)]


def written(*messages: bytes) -> bytes:
    octets = b""
    for message in messages:
        quoting = MboxQuoting()
        octets += from_line("ann@a.example", AT) + b"\n" + quoting.feed(message) + quoting.end()
    return octets


def test_the_line_between_messages_is_that_of_rfc_4155() -> None:
    assert from_line("ann@a.example", AT) == LINE
    assert from_line("", AT) == b"From MAILER-DAEMON Wed Nov  4 09:08:07 2026"
    assert from_line('"a\nb c"@x.example', AT).count(b" ") == LINE.count(b" ")
    assert parse_from_line(LINE) == MessageBegins(AT, b"ann@a.example")


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b"From - Wed Nov 04 09:08:07 2026", AT),
        (b"From a@b.example  Wed Nov  4 10:08:07 2026 +0100", AT),
        (b"From a@b.example Wed Nov  4 04:08:07 -0500 2026", AT),
        (b"From a@b.example Wed Nov  4 09:08:07 UTC 2026", AT),
        (b"From a@b.example Wed Nov  4 09:08 2026", AT.replace(second=0)),
        (b"From a@b.example WED NOV 4 09:08:07 2026 remote from b", AT),
    ],
)
def test_dates_are_understood_as_other_programs_write_them(line: bytes, at: datetime) -> None:
    begins = parse_from_line(line)
    assert begins is not None
    assert begins.at == at


@pytest.mark.parametrize(
    "line",
    [
        b"From here on it is quiet",
        b"From a@b.example Wed Nov 31 09:08:07 2026",
        b"From a@b.example Wed Nov  4 29:08:07 2026",
        b"From a@b.example Wed Nov  4 09:08:07 2026 +9999",
        b"From a@b.example Mon Jan  1 00:00:00 0001 +2300",
        b"from a@b.example Wed Nov  4 09:08:07 2026",
        b"From " + b"a" * 2000 + b" Wed Nov  4 09:08:07 2026",
    ],
)
def test_what_only_looks_like_it_is_text(line: bytes) -> None:
    assert parse_from_line(line) is None
    assert texts(LINE + b"\nA: b\n\n" + line + b"\n\n") == [b"A: b\n\n" + line + b"\n"]


def test_quoted_lines_lose_one_mark_in_mboxrd_and_none_in_mboxo() -> None:
    box = LINE + b"\nA: b\n\n>From here\n>>From there\n> From\n>Fromage\n\n"
    assert texts(box) == [b"A: b\n\nFrom here\n>From there\n> From\n>Fromage\n"]
    assert texts(box, Quoting.MBOXO) == [b"A: b\n\n>From here\n>>From there\n> From\n>Fromage\n"]


def test_crlf_files_and_files_without_empty_lines_between_are_read() -> None:
    assert texts(LINE + b"\r\nA: b\r\n\r\none\r\n\r\n" + LINE + b"\r\nC: d\r\n\r\n\r\n") == [
        b"A: b\r\n\r\none\r\n",
        b"C: d\r\n\r\n",
    ]
    assert texts(LINE + b"\nA: b\n\none\n" + LINE + b"\nC: d\n\ntwo") == [b"A: b\n\none\n", b"C: d\n\ntwo"]
    assert texts(b"\n\n" + LINE + b"\n") == [b""]
    assert texts(b"") == []


def test_a_content_length_is_followed_where_a_message_ends_there_and_only_then() -> None:
    inner = b"look:\n" + LINE + b"\nnot a message\n"
    rest = b"\n" + LINE + b"\nC: d\n\ntwo\n"
    honest = LINE + b"\nA: b\nContent-Length: %d\n\n" % len(inner) + inner + rest
    assert texts(honest, Quoting.MBOXCL) == [b"A: b\nContent-Length: 36\n\n".replace(b"36", b"%d" % len(inner)) + inner,
                                             b"C: d\n\ntwo\n"]  # fmt: skip
    last = LINE + b"\nContent-Length: %d\n\n" % len(inner) + inner
    assert len(texts(last, Quoting.MBOXCL)) == 1
    for wrong in (len(inner) - 3, len(inner) + 7, 10**12):
        lying = LINE + b"\nA: b\nContent-Length: %d\n\n" % wrong + inner + rest
        assert len(texts(lying, Quoting.MBOXCL)) == 3
    assert len(texts(honest, Quoting.MBOXRD)) == 3


def test_what_is_no_mbox_is_refused() -> None:
    with pytest.raises(NoMbox):
        texts(b"Subject: a letter\n\nHello\n")
    with pytest.raises(NoMbox):
        texts(b"x" * 5000)


PIECES = st.sampled_from(
    [
        LINE,
        b"From ",
        b">",
        b"\n",
        b"\r\n",
        b"\r",
        b"Content-Length: 5",
        b"a",
        b">>From x",
        b"\n\n",
        b"y" * 1030,
        b"A: b",
    ]
)


@given(st.lists(PIECES, max_size=30), st.lists(st.integers(0, 5000), max_size=8), st.sampled_from(Quoting))
def test_the_split_of_the_octets_does_not_matter(pieces: list[bytes], cuts: list[int], quoting: Quoting) -> None:
    octets = LINE + b"\n" + b"".join(pieces)
    assert read(octets, quoting, tuple(cuts)) == read(octets, quoting)


@given(st.binary(max_size=300))
def test_no_octets_do_harm(octets: bytes) -> None:
    read(LINE + b"\n" + octets)
    try:
        read(octets)
    except NoMbox:
        assert octets.strip(b"\r\n")


@given(st.lists(st.lists(PIECES, max_size=12), max_size=4), st.integers(0, 4000))
def test_what_is_written_is_read_again(messages: list[list[bytes]], cut: int) -> None:
    contents = []
    for pieces in messages:
        lines = CrLf()
        content = lines.feed(b"".join(pieces)) + lines.end()
        contents.append(content if content.endswith(b"\r\n") else content + b"\r\n")
    box = written(*contents)
    assert [text.replace(b"\n", b"\r\n") for _, text in read(box, cuts=(cut,))] == contents


def test_other_programs_read_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(written(b"Subject: 1\r\n\r\nFrom me\r\n", b"Subject: 2\r\n\r\ntwo\r\n"))
    box = mailbox.mbox(tmp_path / "box")
    one, two = box
    box.close()
    assert (one["Subject"], two["Subject"]) == ("1", "2")
    assert one.get_payload() == ">From me\n"


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(0, 3000), max_size=6))
def test_lines_end_by_crlf_however_they_are_split(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(pieces)
    whole = CrLf()
    expected = whole.feed(octets) + whole.end()
    edges = [0, *sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]
    lines = CrLf()
    made = b"".join(lines.feed(octets[a:b]) for a, b in itertools.pairwise(edges)) + lines.end()
    assert made == expected
    assert made.count(b"\n") == made.count(b"\r") == made.count(b"\r\n")
    again = CrLf()
    assert again.feed(made) + again.end() == made


@pytest.mark.parametrize("piece", [1, 7, 1021, 4096, 1_000_000])
@pytest.mark.parametrize("marks", [1, 1018, 1019, 1020, 1024, 1025, 1026, 5000, 70_000])
@pytest.mark.parametrize("line", [b"From here", b"From", b"Frog", b""])
def test_a_line_of_very_many_marks_comes_back_as_it_was(marks: int, line: bytes, piece: int) -> None:
    message = b"Subject: x\r\n\r\n" + (b">" * marks + line + b"\r\n") * 2 + b"end\r\n"
    quoting = MboxQuoting()
    octets = from_line("ann@a.example", AT) + b"\n"
    octets += b"".join(quoting.feed(message[at : at + piece]) for at in range(0, len(message), piece)) + quoting.end()
    assert octets.count(b">") == 2 * (marks + (line == b"From here"))
    reader = MboxReader()
    events = [event for at in range(0, len(octets), piece) for event in reader.feed(octets[at : at + piece])]
    text = b"".join(event for event in (*events, *reader.end()) if isinstance(event, bytes))
    assert text == message.replace(b"\r\n", b"\n")
