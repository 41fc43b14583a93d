"""The structure of messages, and content made 7-bit by it.

What must hold, beside "no exception": how the content was cut changes nothing; the regions are all of it but its
boundary lines; what was made 7-bit is 7-bit, needs nothing more, has the same parts, and each of them decodes to what
it was before.
"""

from __future__ import annotations

import binascii
import re

from fuzz.choices import Choices, expanded, pieces, three_cuts
from postroad.message.convert import CannotConvert, Conversion, Rewriter, plan_conversion, rewrite
from postroad.message.structure import Kind, Part, Place, Structure, StructureScanner, scan
from postroad.vocabulary.limits import MIME_DEPTH, MIME_PARTS

_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_NOT_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r\n)")
"""What RFC 2045 section 6.7 leaves to each reader to make something of."""
_SOFT_BREAK = re.compile(rb"=[ \t]*\r\n")


def check_structure(given: bytes) -> None:
    choices = Choices(given)
    seed, piece_bytes = choices.octet(), 1 + choices.octet()
    octets = expanded(choices.rest())
    whole = scan(octets)
    for cut in three_cuts(octets, seed):
        scanner = StructureScanner(piece_bytes)
        for chunk in cut:
            scanner.feed(chunk)
        assert _seen(scanner.end()) == _seen(whole), "how the content was cut can be seen"
    _check_regions(octets, whole)
    _check_parts(octets, whole)


def _seen(structure: Structure) -> object:
    parts = [tuple(getattr(part, name) for name in part.__slots__) for part in structure.parts]
    regions = [(*region[:4], region.facts.needs, region.facts.eight_bit) for region in structure.regions]
    return parts, regions, structure.size_bytes, structure.unparsed


def _check_regions(octets: bytes, structure: Structure) -> None:
    at = 0
    for region in structure.regions:
        assert at <= region.start < region.end
        gap = octets[at : region.start]
        assert not gap or gap.strip(b"\r\n").startswith(b"--"), "content that is in no region"
        eight_bit = not octets[region.start : region.end].isascii()
        assert region.facts.eight_bit == eight_bit, "a fact about the octets is wrong"
        assert not structure.parts or -1 < region.part < len(structure.parts)
        at = region.end
    assert structure.size_bytes == len(octets)
    left = octets[at:]
    assert not left or left.strip(b"\r\n").startswith(b"--"), "content that is in no region"


def _check_parts(octets: bytes, structure: Structure) -> None:
    parts = structure.parts
    assert bool(parts) != bool(structure.unparsed)
    assert len(parts) <= MIME_PARTS
    for number, part in enumerate(parts):
        assert part.header_start <= part.fields_end <= part.body_start <= part.end <= len(octets)
        assert part.depth <= MIME_DEPTH
        assert part.parent < number
        if part.parent != -1:
            above = parts[part.parent]
            assert part.depth == above.depth + 1
            assert above.body_start <= part.header_start <= part.end <= above.end


def check_conversion(given: bytes) -> None:
    choices = Choices(given)
    flags, seed = choices.octet(), choices.octet()
    from_binary, may_stay = bool(flags & 1), bool(flags & 2)
    octets = expanded(choices.rest())
    before = scan(octets)
    plan = plan_conversion(before, from_binary=from_binary, eight_bit_may_stay=may_stay)
    if isinstance(plan, CannotConvert):
        assert plan.reason.isprintable()
        return
    # Where a long line is folded may hang on how it came; what it says may not.
    for after in {rewrite(octets, plan), _rewritten(list(pieces(octets, seed)), plan)}:
        found = scan(after)
        _check_made(after, found, plan, from_binary=from_binary, may_stay=may_stay)
        _check_same(octets, before, after, found)
        assert plan.edits or after == octets


def _check_made(after: bytes, found: Structure, plan: Conversion, *, from_binary: bool, may_stay: bool) -> None:
    assert not plan.stays_eight_bit or may_stay
    assert plan.stays_eight_bit or after.isascii(), "it was to be 7-bit"
    for region in found.regions if from_binary else ():
        # The line of a header that is too long stays: no octet of a header is ever changed.
        assert not (region.facts.is_broken if region.place is Place.HEADER else region.facts.is_binary)
    again = plan_conversion(found, from_binary=from_binary, eight_bit_may_stay=may_stay)
    assert isinstance(again, Conversion)
    assert not [edit for edit in again.edits if edit.encoder is not None], "it was not enough"


def _check_same(octets: bytes, before: Structure, after: bytes, found: Structure) -> None:
    assert [part.depth for part in before.parts] == [part.depth for part in found.parts]
    for one, other in zip(before.parts, found.parts, strict=True):
        # Text that nobody has named may have got a name.
        assert one.media_type == other.media_type or not one.has_media_type
        if one.kind is Kind.LEAF and not _is_malformed(octets, one):
            assert _meant(octets, one) == _meant(after, other), "a part says something else now"


def _rewritten(chunks: list[bytes], plan: Conversion) -> bytes:
    rewriter = Rewriter(plan)
    return b"".join([*(rewriter.feed(chunk) for chunk in chunks), rewriter.end()])


def _is_malformed(octets: bytes, part: Part) -> bool:
    body = octets[part.body_start : part.end]
    return part.encoding == b"quoted-printable" and _NOT_QUOTED.search(body) is not None


def _meant(octets: bytes, part: Part) -> bytes:
    """What a reader makes of the body of a leaf. How its lines end, and that the last one does, is not looked at."""
    body = octets[part.body_start : part.end]
    if part.encodings_differ:
        return body
    if part.encoding == b"base64":
        body = _base64(body)
    elif part.encoding == b"quoted-printable":
        body = binascii.a2b_qp(_SOFT_BREAK.sub(b"=\r\n", body))
    return _LINE_ENDS.sub(b"\n", body).rstrip(b"\n")


def _base64(body: bytes) -> bytes:
    """What is outside of the alphabet is passed over (RFC 2045 section 6.8), and so is what is after the end."""
    letters = _NOT_BASE64.sub(b"", body.partition(b"=")[0])
    letters = letters[: -1 if len(letters) % 4 == 1 else None]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def seeds() -> list[bytes]:
    text = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9\r\n"
    picture = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\r\n\x1a\n\0"
    encoded = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nY2Fm\xe9w6k=\r\n"
    quoted = b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\xe9 =\r\nx\r\n"
    mixed = b"Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\n\r\npreamble\r\n"
    signed = b'Content-Type: multipart/signed; boundary="b"\r\n\r\n'
    letters = [
        b"Subject: x\r\n\r\ncaf\xe9\r\n",
        b"caf\xe9 without a header\r\n",
        b"MIME-Version: 1.0\r\n" + text,
        mixed + b"--b\r\n" + text + b"\r\n--b\r\n" + picture + b"\r\n--b--\r\nepilogue\xe9\r\n",
        mixed + b"--b\r\n" + encoded + b"\r\n--b\r\n" + quoted + b"\r\n--b--\r\n",
        signed + b"--b\r\n" + text + b"\r\n--b\r\n\r\nsignature\r\n--b--\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n" + mixed + b"--b\r\n" + text + b"\r\n--b--",
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: y\r\n\r\n\xe9\r\n--b--\r\n",
        mixed + b"--b \t\r\n" + mixed.replace(b"=b", b"=bb") + b"--bb\r\n" + picture + b"\n--b\r\n\r\n--b\r\n\xe9",
        mixed + b"--b\r\nContent-Type: text/plain\r\n\r\n{LONG}\r\n--b\r\n\r\n\xe9\n--b\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\xe9  \r\n-\r\n.\r\nFrom \t\r\n=\r\n" + b"y" * 1200,
    ]
    return [bytes([flags, n]) + letter for n, letter in enumerate(letters) for flags in range(4)]


WORDS = (
    b"\r\n", b"\r\n\r\n", b"--b", b"\r\n--b\r\n", b"\r\n--b--\r\n", b"--", b"\n", b"\r", b"\0", b"\xc3\xa9", b"\xe9",
    b" ", b"\t", b"=", b"{LONG}", b"Content-Type: ", b"text/plain", b"image/png", b"message/rfc822", b"message/global",
    b"multipart/mixed; boundary=b", b"multipart/signed; boundary=b", b"multipart/digest; boundary=b",
    b"Content-Transfer-Encoding: ", b"8bit", b"binary", b"7bit", b"base64", b"quoted-printable", b"x-unknown",
    b"MIME-Version: 1.0\r\n", b"Subject: x\r\n", b"\r\n\n--b\r\n", b"=3D", b"=\r\n",
)  # fmt: skip
