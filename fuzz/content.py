"""The content of messages: found on the wire, made ready by reception, sent on.

What must hold, beside "no exception": only CR LF . CR LF ends the data, and what was meant is what a reader line by
line makes of it; what we send is read as the same content, and as one message by a server that takes any line end;
the header is cut into ranges without a loss, and reception takes out nothing but what it says.
"""

from __future__ import annotations

import re

from fuzz.choices import Choices, expanded, pieces
from postroad.message.header import Field, fields, find_body, split_header, unfold
from postroad.message.intake import is_authserv_id, prepare
from postroad.vocabulary.settings import BareNewline
from postroad.wire.smtp.content_reader import ContentReader
from postroad.wire.smtp.dot_stuffing import DotStuffer, stuffed, with_whole_line_ends
from postroad.wire.smtp.server_profile import ServerProfile

_REJECT = ServerProfile(hostname="mx.example.org", message_bytes=50_000)
_NORMALISE = ServerProfile(hostname="mx.example.org", message_bytes=50_000, bare_newline=BareNewline.NORMALISE)
_FALSE_END = re.compile(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)")


def check_reading(given: bytes) -> None:
    choices = Choices(given)
    profile = choices.one_of((_REJECT, _NORMALISE))
    seed = choices.octet()
    octets = expanded(choices.rest())
    whole = _read([octets], profile)
    assert _read(list(pieces(octets, seed)), profile) == whole, "how the content was cut can be seen"
    ended, content, fault, rest, overrun = whole
    end = (b"\r\n" + octets).find(b"\r\n.\r\n")
    assert ended == (end >= 0) or overrun
    if ended:
        assert rest == octets[end + 3 :]
        if not fault:
            assert content == _meant(octets[:end], profile)


def _read(chunks: list[bytes], profile: ServerProfile) -> tuple[bool, bytes, str, bytes, bool]:
    reader = ContentReader(profile)
    content, rest = b"", b""
    for number, chunk in enumerate(chunks):
        content += reader.feed(chunk)
        if reader.ended:
            rest = b"".join([reader.rest, *chunks[number + 1 :]])
        if reader.ended or reader.overrun:
            break
    fault = str(reader.fault or "")
    return reader.ended, b"" if fault else content, fault, rest, reader.overrun


def _meant(octets: bytes, profile: ServerProfile) -> bytes:
    """RFC 5321 section 4.5.2, line by line."""
    if not octets:
        return b""
    lines = [line.removeprefix(b".") for line in octets.split(b"\r\n")]
    content = b"\r\n".join(lines)
    return with_whole_line_ends(content) if profile.bare_newline is BareNewline.NORMALISE else content


def check_sending(given: bytes) -> None:
    choices = Choices(given)
    seed = choices.octet()
    content = expanded(choices.rest()).replace(b"\0", b"0")
    wire = stuffed(content)
    stuffer = DotStuffer()
    assert b"".join([stuffer.feed(piece) for piece in pieces(content, seed)]) + stuffer.end() == wire
    assert with_whole_line_ends(wire) == wire, "a lone CR or LF leaves us"
    inside = b"\r\n" + wire
    found = _FALSE_END.search(inside)
    assert found is not None
    assert found.end() == len(inside), "a careless server would see more than one message"
    if len(content) < 10_000:
        ended, received, fault, rest, _ = _read([wire], _REJECT)
        assert ended
        assert not rest
        repaired = with_whole_line_ends(content)
        assert fault or received == (repaired if repaired.endswith(b"\r\n") or not repaired else repaired + b"\r\n")


def check_header(given: bytes) -> None:
    choices = Choices(given)
    is_submission = bool(choices.octet() & 1)
    cut = choices.octet()
    octets = expanded(choices.rest())
    header, rest = split_header(octets)
    assert header + rest == octets
    body = find_body(octets)
    assert -1 <= body <= len(octets)
    first = find_body(octets[:cut])
    assert (first if first != -1 else find_body(octets, min(cut, len(octets)))) == body, "how it was cut can be seen"
    last = 0
    for field in fields(header):
        assert last <= field.start < field.value <= field.end <= len(header)
        last = field.end
    ready = prepare(
        octets,
        own_name="mx.example.org",
        is_submission=is_submission,
        date=lambda: "Tue, 06 Jan 2026 12:00:00 +0000",
        message_id=lambda: "<1@mx.example.org>",
    )
    assert ready.message_id.isprintable()
    assert len(octets) - len(ready.octets) >= 0
    if not ready.removed:
        assert ready.octets == octets
    _check_removed(octets, ready.octets)


def _check_removed(before: bytes, after: bytes) -> None:
    """What is gone are whole fields of ours; none of them is left, and all others are, in their order."""
    header = split_header(before)[0]
    kept = [header[field.start : field.end] for field in fields(header) if not _is_ours(header, field)]
    left = split_header(after)[0] if header else b""
    found = [left[field.start : field.end] for field in fields(left)]
    # A line that is no field is passed over by `fields`; such headers are compared without it.
    if b"".join(kept) and len(b"".join(header[f.start : f.end] for f in fields(header))) == len(header):
        assert found == kept
    assert not any(_is_ours(left, field) for field in fields(left))


def _is_ours(header: bytes, field: Field) -> bool:
    if field.name == b"return-path":
        return True
    return field.name == b"authentication-results" and is_authserv_id(unfold(header, field), "mx.example.org")


def reading_seeds() -> list[bytes]:
    ends = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n\0.\r\n", b"\r\n.\r\r\n"]
    bodies = [b"Subject: x\r\n\r\nhi" + end + b"MAIL FROM:<evil@x>\r\n\r\n.\r\nQUIT\r\n" for end in ends]
    bodies += [
        b".\r\n",
        b"..\r\n.\r\n",
        b"\r\n.\r\n",
        b"{LONG}\r\n.\r\n",
        b"...a\r\n..\r\n..b\r\n.\r\nNOOP\r\n",
        b"x" * 999 + b"\r\n.\r\n",
    ]
    return [bytes([n & 1, n]) + body for n, body in enumerate(bodies)]


def sending_seeds() -> list[bytes]:
    bodies = [
        b".",
        b"\n.\n",
        b"\r.\r",
        b"\r\n.\r",
        b"a\r\n.\r\nb",
        b"",
        b"\r",
        b"a\r",
        b"\r\r\n.\n",
        b"..\r\n.",
        b"{LONG}.\n.\r",
    ]
    return [bytes([n]) + body for n, body in enumerate(bodies)]


def header_seeds() -> list[bytes]:
    ours = b"Authentication-Results: mx.example.org; spf=pass\r\n"
    blocks = [
        b"From: a@b\r\nSubject: x\r\n y\r\n\r\nbody\r\n",
        ours + b"From: a@b\r\n\r\n",
        b"Return-Path: <x>\r\n" + ours + b"A: b\r\n",
    ]
    blocks += [
        b"no header at all\r\n\r\nbody",
        b"\r\nbody",
        b"From x\r\nA: b\r\n\r\n",
        b"Received: a\r\n" * 5 + b"\r\n",
        b"A : b\nB:c\n\nd",
    ]
    blocks += [
        b'AUTHENTICATION-RESULTS : (c(\\)o)m) "mx.example.org" ; x\r\n\tmore\r\nX: y\r\n\r\n',
        b" A: b\r\n\r\n",
        b"A:\0b\r\r\nC: d\r\n",
    ]
    blocks += [
        b"Authentication-Results:\r\n mx.EXAMPLE.org.;none\r\nMessage-ID: <a@b>\r\nMessage-ID: \xff\r\nDate: x\r\n\r\n"
    ]
    return [bytes([n & 1, n * 3]) + block for n, block in enumerate(blocks)]


BODY_WORDS = (
    b"\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r.\r",
    b".",
    b"..",
    b"\0",
    b"\r",
    b"\n",
    b"{LONG}",
    b"MAIL FROM:<a@b>\r\n",
)
HEADER_WORDS = (
    b"Received:", b"Return-Path:", b"Authentication-Results:", b"Date:", b"Message-ID:", b"mx.example.org", b"\r\n ",
    b";",    b"\r\n\r\n", b"\n", b"\r\n", b":", b" :", b"(", b")", b'"', b"\\", b"\t", b"\0", b"{LONG}",
    b"From x\r\n", b"xn--",
)  # fmt: skip
