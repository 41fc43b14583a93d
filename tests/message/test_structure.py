"""Where the parts of a message are, whatever its octets are (RFC 2045, RFC 2046)."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.structure import Kind, Place, Structure, StructureScanner, scan
from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import MIME_DASHED_LINES, MIME_DEPTH, MIME_HEADER_BYTES, MIME_PARTS, READ_BYTES
from tests.message.mime import head, multipart

TEXT = head(b"Content-Type: text/plain") + b"text"


def bodies(content: bytes) -> list[bytes]:
    return [content[region.start : region.end] for region in scan(content).regions if region.place is Place.BODY]


def shape(structure: Structure) -> list[tuple[int, str]]:
    return [(part.depth, part.media_type.subtype.decode()) for part in structure.parts]


def test_a_plain_message_is_one_part() -> None:
    content = head(b"Subject: x") + b"hello\r\n"
    structure = scan(content)
    (part,) = structure.parts
    assert (part.kind, part.media_type[:2], part.parent, part.end) == (Kind.LEAF, (b"text", b"plain"), -1, len(content))
    assert bodies(content) == [b"hello\r\n"]


def test_parts_lie_in_parts() -> None:
    inner = multipart(b"inner", TEXT, head(b"Content-Type: text/html") + b"<p>", subtype=b"alternative")
    letter = head(b"Content-Type: message/rfc822") + multipart(b"third", TEXT, first=(b"Subject: fwd",))
    content = multipart(b"outer", inner, letter, head() + b"last", first=(b"Subject: x",))
    assert shape(scan(content)) == [
        (0, "mixed"), (1, "alternative"), (2, "plain"), (2, "html"),
        (1, "rfc822"), (2, "mixed"), (3, "plain"), (1, "plain"),
    ]  # fmt: skip
    assert bodies(content) == [b"text", b"<p>", b"text", b"last"]


def test_offsets_are_those_of_the_octets() -> None:
    content = b"Subject: x\r\n" + multipart(b"b", TEXT, TEXT)
    for part in scan(content).parts[1:]:
        assert content[part.header_start : part.end] == TEXT
        assert content[part.fields_end : part.body_start] == b"\r\n"
        assert content[part.body_start : part.end] == b"text"


def test_a_boundary_that_begins_like_another_is_not_it() -> None:
    inner = multipart(b"b-", TEXT)
    content = multipart(b"b", inner, head() + b"--bb\r\n--b-x\r\n--b -\r\nx--b\r\n--b\ty")
    assert bodies(content) == [b"text", b"--bb\r\n--b-x\r\n--b -\r\nx--b\r\n--b\ty"]


def test_where_two_multiparts_share_a_boundary_it_is_the_inners() -> None:
    inner = multipart(b"b", TEXT, TEXT)
    content = multipart(b"b", head(b"Content-Type: message/rfc822") + inner, head() + b"outer again")
    assert shape(scan(content)) == [(0, "mixed"), (1, "rfc822"), (2, "mixed"), (3, "plain"), (3, "plain"), (1, "plain")]


def test_white_space_after_a_boundary_is_transports() -> None:
    content = multipart(b"b", TEXT).replace(b"--b\r\n", b"--b \t\r\n")
    assert bodies(content) == [b"text"]


def test_an_outer_boundary_ends_all_that_is_open_inside() -> None:
    inner = head(b'Content-Type: multipart/mixed; boundary="inner"') + b"--inner\r\n" + TEXT
    assert bodies(multipart(b"outer", inner, TEXT)) == [b"text", b"text"]


def test_a_part_may_end_in_its_header_and_begin_without_one() -> None:
    content = multipart(b"b", b"Subject: no end", b"not a field\r\n\r\nbody", b"")
    structure = scan(content)
    assert shape(structure) == [(0, "mixed"), (1, "plain"), (1, "plain"), (1, "plain")]
    assert bodies(content) == [b"not a field\r\n\r\nbody"]


def test_preamble_and_epilogue_are_no_parts() -> None:
    content = multipart(b"b", TEXT).replace(b"\r\n\r\n--b", b"\r\n\r\nbefore\r\n--b", 1) + b"after\r\n"
    places = {region.place: content[region.start : region.end] for region in scan(content).regions}
    assert places[Place.PREAMBLE] == b"before"
    assert places[Place.EPILOGUE] == b"after\r\n"


def test_what_lies_in_a_digest_is_a_message_unless_it_says_otherwise() -> None:
    content = multipart(b"b", b"\r\n" + head(b"Subject: one") + b"1", TEXT, subtype=b"digest")
    assert shape(scan(content)) == [(0, "digest"), (1, "rfc822"), (2, "plain"), (1, "plain")]


def test_what_lies_in_a_signed_part_is_signed() -> None:
    signed = multipart(b"s", multipart(b"i", TEXT), TEXT, subtype=b"signed")
    assert [part.is_signed for part in scan(multipart(b"o", signed, TEXT)).parts] == [
        False, False, True, True, True, False
    ]  # fmt: skip


def test_a_multipart_that_is_encoded_or_has_no_usable_boundary_has_no_parts() -> None:
    for line in (
        b"multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64",
        b"multipart/mixed",
        b'multipart/mixed; boundary=""',
        b"multipart/mixed; boundary=" + b"b" * 10_240,
    ):
        content = head(b"Content-Type: " + line) + b"--b\r\n\r\nx\r\n--\r\n--b--\r\n"
        structure = scan(content)
        assert len(structure.parts) == 1
        assert not structure.unparsed


def test_the_needs_are_those_of_all_parts() -> None:
    text = head(b"Content-Type: text/plain")
    assert scan(multipart(b"b", TEXT, TEXT)).needs is BodyType.SEVEN_BIT
    assert scan(multipart(b"b", TEXT, text + b"\xe9")).needs is BodyType.EIGHT_BIT_MIME
    assert scan(multipart(b"b", text + b"a\nb", text + b"\xe9")).needs is BodyType.BINARY_MIME
    assert not scan(multipart(b"b", text + b"\xe9")).has_eight_bit_header
    assert scan(multipart(b"b", head(b"Subject: \xe9"))).has_eight_bit_header


PIECES = st.sampled_from(
    [
        b"\r\n", b"\r\n\r\n", b"--b", b"--", b"b", b"\n", b"\r", b" ", b"\xe9", b"x" * 40, b"\r\n--b\r\n", b"--b--\r\n",
        b"\r\n--b-\r\n\r\n", b"A: x\r\n", b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"Content-Type: multipart/signed; boundary=b-\r\n\r\n",
        b"Content-Transfer-Encoding: 8bit\r\n",
    ]
)  # fmt: skip
CONTENTS = st.lists(PIECES, max_size=40).map(b"".join)


def flat(structure: Structure) -> object:
    parts = [tuple(getattr(part, name) for name in part.__slots__) for part in structure.parts]
    regions = [(*region[:4], region.facts.needs, region.facts.eight_bit) for region in structure.regions]
    return parts, regions, structure.size_bytes, structure.unparsed


@given(CONTENTS, st.integers(1, 50), st.data())
def test_any_split_gives_the_same_structure(content: bytes, piece_bytes: int, data: st.DataObject) -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + content
    scanner = StructureScanner(piece_bytes)
    at = 0
    while at < len(content):
        size = data.draw(st.integers(1, 60))
        scanner.feed(content[at : at + size])
        at += size
    assert flat(scanner.end()) == flat(scan(content))


@given(st.one_of(CONTENTS, st.binary(max_size=300)))
def test_the_regions_are_all_of_the_content_but_its_boundary_lines(content: bytes) -> None:
    structure = scan(content)
    at = 0
    for region in structure.regions:
        assert at <= region.start < region.end
        gap = content[at : region.start]
        assert gap == b"" or gap.strip(b"\r\n").startswith(b"--")
        at = region.end
    assert structure.size_bytes == len(content)
    for part in structure.parts:
        assert part.header_start <= part.fields_end <= part.body_start <= part.end <= len(content)


# ---- bombs ---------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    lines = [b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(depth)]
    return b"".join(lines) + b"\r\nbottom\r\n"


def in_letters(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"\r\nbottom\r\n"


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "depth": (lambda: nested(10_000), "deep"),
    "letters": (lambda: in_letters(10_000), "deep"),
    "parts": (lambda: multipart(b"b", *[b""] * 1_000_000), "parts"),
    "header": (lambda: b"X: " + b"y" * (MIME_HEADER_BYTES * 2), "header of more"),
    "headers": (lambda: multipart(b"b", *[b"X: " + b"y" * 5000 + b"\r\n\r\n"] * 5000), "headers of more"),
    "dashes": (lambda: multipart(b"b", b"\r\n" + b"--\r\n" * (MIME_DASHED_LINES + 1)), "boundaries"),
    "continuations": (
        lambda: head(b"Content-Type: multipart/mixed" + b";\r\n boundary*0=b" * 100_000),
        "header of more",
    ),
    "prefixes": (lambda: multipart(b"b" * 199, b"\r\n" + (b"--" + b"b" * 198 + b"\r\n") * 50_000), ""),
    "shared": (lambda: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 100_000, "deep"),
    "no line end": (lambda: multipart(b"b", b"\r\n" + b"x" * 20_000_000), ""),
    "carriage returns": (lambda: multipart(b"b", b"\r\n" + b"\r" * 5_000_000), ""),
    "hyphens": (lambda: multipart(b"b", b"\r\n" + b"-" * 5_000_000), ""),
    "line ends": (lambda: multipart(b"b", b"\r\n" + b"\r\n" * 5_000_000), ""),
    "spaces": (lambda: multipart(b"b", b"\r\n--b" + b" " * 5_000_000), ""),
    "unended fields": (lambda: (b"x" * 900 + b"\r\n") * 5000, ""),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_unparsed_or_parsed_but_never_a_stall(name: str) -> None:
    make, words = BOMBS[name]
    content = make()
    began = time.perf_counter()
    structure = scan(content)
    took_s = time.perf_counter() - began
    assert took_s < 0.5 + len(content) / 2_000_000, f"{took_s:.2f} s for {len(content)} octets"
    assert words in structure.unparsed if words else not structure.unparsed
    assert structure.size_bytes == len(content)
    assert len(structure.regions) <= 3 * MIME_PARTS


def test_the_limits_themselves_are_allowed() -> None:
    assert not scan(nested(MIME_DEPTH)).unparsed
    assert scan(nested(MIME_DEPTH + 1)).unparsed
    assert not scan(multipart(b"b", *[b""] * (MIME_PARTS - 1))).unparsed
    assert scan(multipart(b"b", *[b""] * MIME_PARTS)).unparsed


def test_the_facts_of_a_bomb_are_known_to_its_last_octet() -> None:
    assert scan(nested(10_000)).needs is BodyType.SEVEN_BIT
    assert scan(nested(10_000) + b"\xe9").needs is BodyType.EIGHT_BIT_MIME
    assert scan(nested(10_000) + b"\xe9" * READ_BYTES + b"\0").needs is BodyType.BINARY_MIME
