"""Content made 7-bit part by part: readers find the same in it, and what must not change does not."""

import re
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.convert import CannotConvert, Rewriter, needs, plan_conversion, to_seven_bit
from postroad.message.structure import StructureScanner, scan
from postroad.vocabulary.envelope import BodyType
from tests.message.mime import decoded, head, multipart

MIME = (b"Subject: x", b"MIME-Version: 1.0")
EIGHT_BIT_TEXT = head(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit") + b"caf\xc3\xa9"
PICTURE = head(b"Content-Type: image/png", b"Content-Transfer-Encoding: binary") + b"\x89PNG\r\n\x1a\n\0\xff"
PLAIN = head(b"Content-Type: text/plain", b"X-Odd:  spacing\t") + b"as it is\r\n"


def made(content: bytes, **more: Any) -> bytes:
    result = to_seven_bit(content, **{"from_binary": True, **more})
    assert isinstance(result, bytes), result
    return result


def refused(content: bytes, **more: Any) -> str:
    result = to_seven_bit(content, **{"from_binary": True, **more})
    assert isinstance(result, CannotConvert)
    assert str(result.status) == "5.6.3"
    return result.reason


def test_what_needs_nothing_is_the_same_object() -> None:
    content = multipart(b"b", PLAIN, PLAIN, first=(*MIME, b"Content-Transfer-Encoding: 8bit"))
    assert made(content) is content
    assert made(content, from_binary=False) is content


def test_text_becomes_quoted_printable_and_the_rest_base64() -> None:
    content = multipart(b"b", EIGHT_BIT_TEXT, PICTURE, PLAIN, first=(*MIME, b"Content-Transfer-Encoding: binary"))
    text = head(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: quoted-printable")
    picture = head(b"Content-Type: image/png", b"Content-Transfer-Encoding: base64")
    assert made(content) == multipart(
        b"b",
        text + b"caf=C3=A9",
        picture + b"iVBORw0KGgoA/w==",
        PLAIN,
        first=(*MIME, b"Content-Transfer-Encoding: 7bit"),
    )


def test_a_part_without_the_field_gets_one() -> None:
    content = multipart(b"b", head(b"Content-Type: text/html") + b"\xe9", first=MIME)
    assert b"\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n" in made(
        content
    )


def test_a_part_without_a_header_gets_one() -> None:
    content = multipart(b"b", b"\r\n\xe9", b"no field \xe9", first=MIME)
    label = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    assert made(content) == multipart(b"b", label + b"=E9", label + b"no field =E9", first=MIME)


def test_text_that_is_no_mime_becomes_mime_with_a_character_set_that_nobody_knows() -> None:
    assert made(b"Subject: x\r\n\r\ncaf\xe9\r\n", from_binary=False) == (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"
    )


def test_a_mime_version_that_is_missing_is_added_where_it_belongs() -> None:
    letter = multipart(b"c", EIGHT_BIT_TEXT, first=(b"Subject: fwd",))
    content = multipart(b"b", head(b"Content-Type: message/rfc822") + letter, first=MIME)
    result = made(content)
    assert result.count(b"MIME-Version: 1.0\r\n") == 2
    assert b'boundary="c"\r\nMIME-Version: 1.0\r\n\r\n--c' in result


def test_parts_round_an_encoded_one_are_labelled_anew() -> None:
    eight = b"Content-Transfer-Encoding: 8BIT (yes)"
    inner = multipart(b"c", EIGHT_BIT_TEXT, first=(eight,))
    letter = head(b"Content-Type: message/rfc822", b"Content-Transfer-Encoding: binary") + head(*MIME) + b"ascii"
    result = made(multipart(b"b", inner, letter, first=(*MIME, eight)), from_binary=False)
    assert re.findall(rb"Content-Transfer-Encoding: (.*)\r\n", result) == [
        b"7bit",
        b"7bit",
        b"quoted-printable",
        b"7bit",
    ]


def test_a_message_in_a_message_is_converted_inside() -> None:
    content = multipart(b"b", head(b"Content-Type: message/rfc822") + head(*MIME) + b"\xe9\r\n", first=MIME)
    assert decoded(made(content))[2] == (2, "text/plain", b"\xe9\r\n")


def test_a_message_of_a_digest_that_begins_without_an_empty_line_stays_a_message() -> None:
    content = multipart(b"b", b"caf\xc3\xa9 and no header", subtype=b"digest", first=(b"MIME-Version: 1.0",))
    result = made(content, from_binary=False)
    assert [part.media_type for part in scan(result).parts][:2] == [part.media_type for part in scan(content).parts][:2]
    assert b"\r\n--b\r\n\r\nMIME-Version: 1.0\r\n" in result


def test_a_message_global_is_encoded_whole() -> None:
    content = multipart(b"b", head(b"Content-Type: message/global") + b"Subject: \xc3\xa9\r\n\r\n\xc3\xa9", first=MIME)
    assert b"\r\nU3ViamVjdDogw6kNCg0Kw6k=\r\n" in made(content)


def test_encoded_parts_with_octets_that_do_not_belong_are_cleaned() -> None:
    quoted = head(b"Content-Type: text/plain", b"Content-Transfer-Encoding: quoted-printable") + b"a=3Db \xe9\nc=\nd"
    coded = head(b"Content-Type: image/png", b"Content-Transfer-Encoding: base64") + b"iVBO\nRw0K\xffGgoA\n/w=="
    assert made(multipart(b"b", quoted, coded, first=MIME)) == multipart(
        b"b",
        quoted[: quoted.index(b"a=3D")] + b"a=3Db =E9\r\nc=\r\nd",
        coded[: coded.index(b"iVBO")] + b"iVBORw0KGgoA/w==",
        first=MIME,
    )


def test_line_ends_and_long_lines_count_only_for_what_was_binary() -> None:
    content = multipart(b"b", PLAIN + b"x" * 2000, head(b"Content-Type: image/png") + b"a\nb", first=MIME)
    assert made(content, from_binary=False) is content
    assert needs(made(content)) is BodyType.SEVEN_BIT


def test_what_is_no_content_is_left_out_where_it_cannot_travel() -> None:
    content = multipart(b"b", EIGHT_BIT_TEXT, first=MIME)
    before, _, rest = content.partition(b"\r\n--b\r\n")
    result = made(before + b"\r\nvoil\xe0\r\n--b\r\n--b\r\n" + rest + b"\xe0 bient\xf4t\r\n")
    assert result == made(before + b"\r\n\r\n--b\r\n--b\r\n" + rest)
    kept = before + b"\r\nvoila\r\n--b\r\n" + rest + b"a bientot\r\n"
    assert b"voila" in made(kept)
    assert b"a bientot" in made(kept)


# ---- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [EIGHT_BIT_TEXT, PICTURE, head(b"Subject: \xe9") + b"x", PLAIN + b"a\rb"])
def test_a_signed_part_is_never_changed(part: bytes) -> None:
    signed = multipart(b"s", part, PLAIN, subtype=b"signed")
    reason = refused(multipart(b"b", PLAIN, signed, first=MIME))
    assert "signed" in reason or "header" in reason


def test_a_signed_part_that_can_travel_stays_while_others_change() -> None:
    signed = multipart(b"s", PLAIN, PLAIN, subtype=b"signed")
    result = made(multipart(b"b", EIGHT_BIT_TEXT, signed, first=MIME))
    assert signed in result
    assert result.isascii()


def test_octets_over_127_may_stay_in_headers_and_signed_parts_for_a_transport_that_carries_them() -> None:
    signed = multipart(b"s", EIGHT_BIT_TEXT, PLAIN, subtype=b"signed", first=(b"Content-Transfer-Encoding: 8bit",))
    first = (b"Subject: caf\xc3\xa9", b"MIME-Version: 1.0", b"Content-Transfer-Encoding: binary")
    content = multipart(b"b", signed, PICTURE, EIGHT_BIT_TEXT, first=first)
    refused(content)
    result = made(content, eight_bit_may_stay=True)
    assert signed in result
    assert b"Subject: caf\xc3\xa9\r\n" in result
    assert re.findall(rb"Content-Transfer-Encoding: (.*)\r\n", result) == [
        b"8bit", b"8bit", b"8bit", b"base64", b"quoted-printable"
    ]  # fmt: skip
    assert needs(result) is BodyType.EIGHT_BIT_MIME
    refused(multipart(b"b", multipart(b"s", PICTURE, subtype=b"signed"), first=MIME), eight_bit_may_stay=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (head(b"Subject: \xe9") + b"x", "header"),
        (multipart(b"b", head(b"Content-Type: message/rfc822") + head(b"Subject: \xe9") + b"x"), "header"),
        (b"Subject: a\rb\r\n\r\n\xe9", "header"),
        (b"Subject: a\nMIME-Version: 1.0\n\n\xe9", "header"),
        (b"Subject: a\0\r\n\r\nx", "header"),
        (head(b"Content-Type: text/plain", b"Content-Transfer-Encoding: x-uuencode") + b"\xe9", "not known"),
        (head(b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 8bit") + b"\xe9", "two different"),
        (head(b"Content-Type: multipart/mixed; boundary=b") + b"\xe9", "no part"),
        (head(b"Content-Type: multipart/mixed") + b"--b\r\n\r\n\xe9", "no part"),
        (head(b"Content-Type: message/partial") + b"\xe9", "may not be encoded"),
        (multipart(b"b", *[b""] * 10_001, b"\r\n\xe9"), "10000 parts"),
    ],
)
def test_what_cannot_be_converted_is_said_in_words(content: bytes, words: str) -> None:
    assert words in refused(content)


# ---- for any message -----------------------------------------------------------------------------

TYPES = st.sampled_from([b"text/plain; charset=utf-8", b"text/html", b"image/png", b"application/octet-stream"])
ENCODINGS = st.sampled_from([(), (b"Content-Transfer-Encoding: 8bit",), (b"content-transfer-encoding:BINARY",)])
OCTETS = st.lists(
    st.sampled_from(
        [b"\r\n", b"\xc3\xa9", b"\0", b"\r", b"\n", b"--b1", b"--", b"-", b"=", b"x" * 72, b"y" * 1200, b" ", b"word"]
    ),
    max_size=12,
).map(b"".join)


def leaf(kind: bytes, encoding: tuple[bytes, ...], octets: bytes) -> bytes:
    return head(b"Content-Type: " + kind, *encoding) + octets


LEAVES = st.builds(leaf, TYPES, ENCODINGS, OCTETS)


@st.composite
def entities(draw: st.DrawFn, depth: int = 0) -> bytes:
    kind = draw(st.integers(0, 3)) if depth < 3 else 0
    if kind <= 1:
        return draw(LEAVES)
    inside = draw(st.lists(entities(depth + 1), min_size=1, max_size=3))
    if kind == 2:
        return multipart(b"b%d" % depth, *inside, first=draw(ENCODINGS))
    return head(b"Content-Type: message/rfc822", *draw(ENCODINGS)) + b"MIME-Version: 1.0\r\n" + inside[0]


MESSAGES = entities().map(lambda entity: b"Subject: x\r\nMIME-Version: 1.0\r\n" + entity + b"\r\n")


def as_read(content: bytes) -> object:
    """What a reader finds: types and octets; a line end at the very end of a part may come or go."""
    return [
        (depth, kind, None if octets is None else octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n"))
        for depth, kind, octets in decoded(content)
    ]


@given(MESSAGES, st.booleans())
def test_readers_find_the_same_parts_after_it(content: bytes, from_binary: bool) -> None:
    result = made(content, from_binary=from_binary)
    if from_binary:
        assert needs(result) is BodyType.SEVEN_BIT
    assert result.isascii()
    before, after = scan(content), scan(result)
    assert [(part.depth, part.media_type) for part in before.parts] == [
        (part.depth, part.media_type) for part in after.parts
    ]
    assert made(result, from_binary=from_binary) is result
    # The standard library takes a lone LF or CR for a line end when it looks for boundaries; we, as the RFC, do not.
    if not re.search(rb"(?:\r(?!\n)|(?<!\r)\n)--|--[^\r\n]*(?:\r(?!\n)|\n)", content):
        assert as_read(result) == as_read(content)


@given(MESSAGES, st.lists(st.integers(0, 500), max_size=6))
def test_a_rewriter_gives_the_same_in_any_split(content: bytes, cuts: list[int]) -> None:
    plan = plan_conversion(scan(content), from_binary=True)
    assert not isinstance(plan, CannotConvert)
    rewriter = Rewriter(plan)
    places = sorted({min(cut, len(content)) for cut in cuts})
    pieces = [
        rewriter.feed(content[start:end]) for start, end in zip([0, *places], [*places, len(content)], strict=True)
    ]
    pieces.append(rewriter.end())
    assert decoded(b"".join(pieces)) == decoded(made(content))


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_no_octets_raise(content: bytes, from_binary: bool, stays: bool) -> None:
    for octets in (content, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + content):
        result = to_seven_bit(octets, from_binary=from_binary, eight_bit_may_stay=stays)
        assert isinstance(result, CannotConvert) or stays or result.isascii()


def test_a_large_part_takes_linear_time() -> None:
    content = multipart(b"b", EIGHT_BIT_TEXT + b"\xc3\xa9" * 2_000_000, PICTURE + b"\0" * 4_000_000, first=MIME)
    began = time.perf_counter()
    result = made(content)
    assert time.perf_counter() - began < 8
    assert result.isascii()


def test_ten_thousand_parts_take_linear_time() -> None:
    content = multipart(b"b", *[EIGHT_BIT_TEXT] * 9_000, first=MIME)
    began = time.perf_counter()
    assert made(content).isascii()
    assert time.perf_counter() - began < 8


def test_streamed_content_is_never_whole_in_memory() -> None:
    block = b"\x89PNG\0\r\n" * 8192
    pieces = [head(*MIME, b"Content-Type: image/png"), *[block] * 200]
    tracemalloc.start()
    try:
        scanner = StructureScanner()
        for piece in pieces:
            scanner.feed(piece)
        plan = plan_conversion(scanner.end(), from_binary=True)
        assert not isinstance(plan, CannotConvert)
        rewriter = Rewriter(plan)
        written = sum(len(rewriter.feed(piece)) for piece in pieces) + len(rewriter.end())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written > 10_000_000
    assert peak < 2_000_000
