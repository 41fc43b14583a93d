"""What reception changes in a header is what it must, and no octet more."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.header import fields, find_body
from postroad.message.intake import Prepared, is_authserv_id, prepare

OWN = "mx.a.example"
DATE = "Thu, 01 Jan 2026 00:00:00 +0000"
ID = "<1@mx.a.example>"
TRACE = b"Received: from x\r\n"

PIECES = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b" ", b":", b";", b"(", b")", b'"', b"\\",
        b"Return-Path: <x@y>", b"Authentication-Results: mx.a.example; spf=pass", b"authentication-results:",
        b"Received: from z", b"Date: now", b"Message-ID: <2@b.example>", b"From: a", b"x", b"\0", b"\xff",
    ]
)  # fmt: skip
OCTETS = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join))


def prepared(octets: bytes, *, is_submission: bool = False) -> Prepared:
    return prepare(octets, own_name=OWN, is_submission=is_submission, date=lambda: DATE, message_id=lambda: ID)


def unwanted() -> str:
    raise AssertionError("nobody needs this")


def test_a_return_path_is_removed_and_all_else_stays() -> None:
    content = (
        b"Return-Path:\r\n <x@y>\r\nReceived: a\r\n\tb\r\nFrom: z\r\nRETURN-PATH : <>\r\n\r\nReturn-Path: body\r\n"
    )
    got = prepared(content)
    assert got.octets == b"Received: a\r\n\tb\r\nFrom: z\r\n\r\nReturn-Path: body\r\n"
    assert got.removed == ("return-path", "return-path")
    assert (got.added, got.received_count, got.has_header, got.has_end) == (b"", 1, True, True)


@pytest.mark.parametrize(
    "value",
    [
        "mx.a.example; spf=pass",
        "MX.A.Example 1; none",
        "mx.a.example",
        "mx.a.example.; none",
        "(a (nested) \\) comment) mx.a.example; none",
        '"mx.a.example"; none',
        '"mx.\\a.example"; none',
        "\r\n mx.a.example\r\n ; none",
        "mx.a.example/1; none",
        "mx.a.example(comment); none",
    ],
)
def test_results_in_our_name_are_removed(value: str) -> None:
    got = prepared(f"From: a\r\nAuthentication-Results: {value}\r\nTo: b\r\n\r\n".encode())
    assert got.octets == b"From: a\r\nTo: b\r\n\r\n"


@pytest.mark.parametrize(
    "value",
    ["mx.b.example; mx.a.example", "xmx.a.example; none", "mx.a.example.b; none", "", "(mx.a.example", ";", '"'],
)
def test_results_in_the_name_of_others_stay(value: str) -> None:
    content = f"From: a\r\nAuthentication-Results: {value}\r\nTo: b\r\n\r\n".encode()
    assert prepared(content).octets == content


def test_our_name_in_unicode_letters_is_our_name() -> None:
    assert is_authserv_id("bücher.example; none".encode(), "xn--bcher-kva.example")
    assert not is_authserv_id(b"\xff\xfe.example; none", "xn--bcher-kva.example")


def test_a_forged_result_behind_a_bare_newline_is_removed() -> None:
    got = prepared(b"From: a\r\nX: y\nAuthentication-Results: mx.a.example; spf=pass\nTo: b\r\n\r\n")
    assert got.octets == b"From: a\r\nX: y\nTo: b\r\n\r\n"


def test_submission_adds_what_is_missing() -> None:
    got = prepared(b"From: a\r\n\r\nbody", is_submission=True)
    assert got.added == f"Message-ID: {ID}\r\nDate: {DATE}\r\n".encode()
    assert got.message_id == ID
    assert got.with_trace(TRACE) == TRACE + got.added + b"From: a\r\n\r\nbody"


def test_submission_adds_nothing_that_is_there_and_asks_for_nothing() -> None:
    content = b"Date: now\r\nMessage-Id:\r\n <2@b.example>\r\n\r\n"
    got = prepare(content, own_name=OWN, is_submission=True, date=unwanted, message_id=unwanted)
    assert (got.added, got.octets, got.message_id) == (b"", content, "<2@b.example>")


def test_relayed_mail_gets_nothing_added() -> None:
    got = prepare(b"From: a\r\n\r\n", own_name=OWN, is_submission=False, date=unwanted, message_id=unwanted)
    assert (got.added, got.message_id) == (b"", "")


@pytest.mark.parametrize(
    "content", [b"hello\r\nDate: x\r\n\r\nbye", b"From x Thu\r\nA: b\r\n\r\n", b" folded: x\r\n", b""]
)
@pytest.mark.parametrize("is_submission", [False, True])
def test_content_without_a_header_becomes_the_body(content: bytes, is_submission: bool) -> None:
    got = prepared(content, is_submission=is_submission)
    message = got.with_trace(TRACE)
    assert message[find_body(message) :] == content
    assert [field.name for field in fields(message)] == [b"received"] + [b"message-id", b"date"] * is_submission
    assert (got.has_header, got.octets) == (False, content)


def test_content_that_begins_with_the_empty_line_gets_no_second_one() -> None:
    got = prepared(b"\r\nbody\r\n")
    assert got.with_trace(TRACE) == TRACE + b"\r\nbody\r\n"
    assert got.has_end


def test_a_header_without_end_is_a_header() -> None:
    got = prepared(b"From: a\r\nReturn-Path: <x>", is_submission=True)
    assert (got.octets, got.has_end, got.has_header) == (b"From: a\r\n", False, True)


def test_hops_are_counted() -> None:
    content = b"Received: a\r\n" * 60 + b"received : b\r\n" * 41 + b"Received-SPF: x\r\n\r\nReceived: body\r\n"
    assert prepared(content).received_count == 101


def test_a_message_id_for_the_story_is_short_and_printable() -> None:
    got = prepared(b"Message-ID: <a\x1b[31m\xff" + b"x" * 100_000 + b">\r\nMessage-ID: <second@x>\r\n\r\n")
    assert got.message_id.startswith("<a?[31m")
    assert got.message_id.isprintable()
    assert len(got.message_id) <= 250


@given(OCTETS, st.booleans())
def test_no_octet_changes_but_in_the_removed_ranges(content: bytes, is_submission: bool) -> None:
    got = prepared(content, is_submission=is_submission)
    # Build what must be from the slow scanner: the unwanted fields of the header cut out, nothing else.
    start = 0
    expected = b""
    if got.has_header:
        for field in fields(content):
            value = content[field.value : field.end].replace(b"\r\n", b"").replace(b"\n", b"")
            if field.name == b"return-path" or (
                field.name == b"authentication-results" and is_authserv_id(value.strip(b" \t\r\n"), OWN)
            ):
                expected += content[start : field.start]
                start = field.end
    assert got.octets == expected + content[start:]
    message = got.with_trace(TRACE)
    assert message.startswith(TRACE)
    assert is_submission or got.added in (b"", b"\r\n")


@given(OCTETS)
def test_what_was_prepared_once_is_not_changed_again(content: bytes) -> None:
    got = prepared(content, is_submission=True)
    message = got.with_trace(TRACE)
    again = prepare(message, own_name=OWN, is_submission=True, date=unwanted, message_id=unwanted)
    if got.has_header:
        assert again.octets.startswith(TRACE + got.added)
    else:
        assert again.octets == message


@pytest.mark.parametrize(
    "header",
    [
        b"Received: x\r\n" * 770_000,
        b"Authentication-Results: " + b"(" * 10_000_000 + b"\r\n",
        b"Message-ID: " + b"\r\n " * 3_000_000,
        b"Return-Path: <x>\r\n" * 500_000,
    ],
    ids=["hops", "comments", "folds", "removals"],
)
def test_ten_megabytes_are_prepared_in_linear_time(header: bytes) -> None:
    started = time.process_time()
    prepared(header)
    assert time.process_time() - started < 8.0
