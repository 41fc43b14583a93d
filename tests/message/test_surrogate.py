"""What a client without UTF-8 in headers gets in the place of an internationalised message (RFC 6858)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.encoded_words import decoded
from postroad.message.header import fields, first_value, unfold
from postroad.message.structure import StructureScanner
from postroad.message.surrogate import NOBODY, edits_of, headers_to_edit, plan_surrogate, rewriter

BODY = "\r\nGrüße, 8-bit and all\r\n".encode()


def surrogate_of(content: bytes) -> bytes:
    plan = plan_surrogate(content)
    assert plan is not None
    made = rewriter(plan.edits)
    octets = made.feed(content) + made.end()
    assert len(octets) == len(content) + plan.growth_bytes
    return octets


def shown(field: str) -> bytes:
    """The one field of a message as the client sees it; b"" when it is left out."""
    content = b"Date: today\r\n" + field.encode() + b"\r\nMessage-ID: <1@a.example>\r\n" + BODY
    octets = surrogate_of(content)
    assert octets.startswith(b"Date: today\r\n")
    assert octets.endswith(b"Message-ID: <1@a.example>\r\n" + BODY)
    return octets[len(b"Date: today\r\n") : -len(b"Message-ID: <1@a.example>\r\n" + BODY)]


@pytest.mark.parametrize(
    ("field", "seen"),
    [
        ("Subject: Grüße aus Köln", "Grüße aus Köln"),
        ("From: Jøran <joran@a.example>", "Jøran <joran@a.example>"),
        ('From: "Müller, Jörg" <jm@a.example>', "Müller, Jörg <jm@a.example>"),
        ("From: Jøran <jøran@a.example>", f"Jøran jøran@a.example {NOBODY}"),
        ("To: bob@a.example, <grün@a.example>", f"bob@a.example, grün@a.example {NOBODY}"),
        ("Cc: grün@bücher.example", f"grün@bücher.example {NOBODY}"),
        ("Cc: friends: grün@a.example, bob@a.example;", f"friends: grün@a.example {NOBODY}, bob@a.example;"),
        ("Content-Description: Übersicht", "Übersicht"),
        ('Content-Type: text/plain; charset=utf-8; name="Grüße.txt"', "text/plain; charset=utf-8"),
        ("Content-Disposition: attachment; filename=ö; size=5", "attachment; size=5"),
    ],
)
def test_a_field_is_shown_as_far_as_it_can_be(field: str, seen: str) -> None:
    octets = shown(field)
    assert octets.isascii()
    assert all(len(line) <= 100 for line in octets.split(b"\r\n"))
    [found] = fields(octets)
    assert " ".join(decoded(unfold(octets, found)).split()) == seen


@pytest.mark.parametrize("field", ["Received: from bücher.example", "X-Spam: ü", "Return-Path: <ü@a.example>", "Ü: x"])
def test_a_field_that_cannot_be_shown_is_left_out(field: str) -> None:
    if field.startswith("Ü"):
        assert plan_surrogate(f"{field}\r\n\r\n".encode()) is None, "it is no field at all"
    else:
        assert shown(field) == b""


def test_a_message_that_everybody_can_read_has_none() -> None:
    assert plan_surrogate(b"Subject: x\r\n\r\nplain\r\n") is None
    assert plan_surrogate(b"Subject: x\r\n" + BODY) is None, "an 8-bit body is no affair of the headers"
    assert plan_surrogate("Subject: Grüße\r\n\r\n".encode("latin-1")) is None, "older than UTF-8: as it always was"


def test_headers_of_parts_and_of_messages_within_are_shown_likewise() -> None:
    content = (
        "Subject: plain\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: attachment; filename="Grüße.txt"\r\n\r\nBüro\r\n'
        "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Büro\r\nX-Ü: ü\r\n\r\nBüro\r\n--b--\r\n"
    ).encode()
    octets = surrogate_of(content)
    assert b"attachment\r\n\r\nB\xc3\xbcro\r\n--b\r\n" in octets
    assert b"\r\n\r\nSubject: =?utf-8?b?QsO8cm8=?=\r\n" in octets
    assert octets.endswith("\r\n\r\nBüro\r\n--b--\r\n".encode())
    assert first_value(octets, b"subject") == b"plain"


HEADER_TEXT = st.text(st.sampled_from('abü, <>@;:"\\()=?ß\u4e2d'), max_size=60)
NAMES = st.sampled_from(["Subject", "From", "To", "Content-Type", "X", "Content-Disposition"])
MESSAGES = st.lists(st.tuples(NAMES, HEADER_TEXT), max_size=5).map(
    lambda found: "".join(f"{name}: {value}\r\n" for name, value in found).encode() + BODY
)


@given(MESSAGES)
def test_whatever_stands_in_the_header_the_surrogate_s_is_ascii_and_its_body_the_same(content: bytes) -> None:
    plan = plan_surrogate(content)
    if plan is None:
        assert content[: content.index(b"\r\n\r\n") if not content.startswith(b"\r\n") else 0].isascii()
        return
    octets = surrogate_of(content)
    assert octets.endswith(BODY)
    assert octets[: -len(BODY)].isascii()
    assert plan_surrogate(octets) is None


@given(MESSAGES | st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=6))
def test_the_split_of_the_octets_does_not_matter(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    chunks = [content[a:b] for a, b in pairwise(edges)]
    scanner = StructureScanner()
    for chunk in chunks:
        scanner.feed(chunk)
    ranges = headers_to_edit(scanner.end())
    plan = edits_of((start, content[start:end]) for start, end in ranges)
    assert plan == plan_surrogate(content)
    if plan is not None:
        made = rewriter(plan.edits)
        assert b"".join([*map(made.feed, chunks), made.end()]) == surrogate_of(content)
