"""The values of Content-Type and Content-Transfer-Encoding as octets (RFC 2045 sections 5.1 and 6.1).

Lenient as mail programs are, linear in the octets, and it never raises: what cannot be read is what RFC 2045
section 5.2 says of it, text/plain.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Possessive throughout: no octets are looked at twice, whatever they are.
_TYPE = re.compile(rb"[ \t]*+([^\s()<>@,;:\\\"/\[\]?=]++)[ \t]*+/[ \t]*+([^\s()<>@,;:\\\"/\[\]?=]++)[ \t]*+(?:;|\Z)")
_PARAMETER = re.compile(rb"((?:[^\";]++|\"(?:[^\"\\]++|\\(?:.|\Z))*+(?:\"|\Z))*+)(?:;|\Z)", re.DOTALL)
_QUOTED = re.compile(rb"\"((?:[^\"\\]++|\\(?:.|\Z))*+)", re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_MARK = re.compile(rb"\\.|[()\"]", re.DOTALL)


class MediaType(NamedTuple):
    """`type` and `subtype` in lower case; `boundary` as given, b"" without one (or with an empty one)."""

    type: bytes
    subtype: bytes
    boundary: bytes = b""


TEXT = MediaType(b"text", b"plain")
MESSAGE = MediaType(b"message", b"rfc822")


def media_type(value: bytes) -> MediaType:
    """The value of a Content-Type field, unfolded or not."""
    text = without_comments(value.replace(b"\r", b"").replace(b"\n", b""))
    head = _TYPE.match(text)
    if head is None:
        return TEXT
    found = MediaType(head[1].lower(), head[2].lower())
    # Only a multipart's boundary is of interest, and only the first of several counts.
    return found._replace(boundary=_boundary(text, head.end())) if found.type == b"multipart" else found


def _boundary(text: bytes, start: int) -> bytes:
    while start < len(text):
        found = _PARAMETER.match(text, start)
        assert found is not None, "the pattern takes any octets"
        name, equals, value = found[1].partition(b"=")
        if equals and name.strip(b" \t").lower() == b"boundary":
            value = value.strip(b" \t")
            if quoted := _QUOTED.match(value):
                value = _QUOTED_PAIR.sub(rb"\1", quoted[1])
            else:
                value = value.partition(b" ")[0].partition(b"\t")[0]
            # RFC 2046 section 5.1.1: a boundary does not end with white space, which transport may have added.
            return value.rstrip(b" \t")
        start = found.end()
    return b""


def transfer_encoding(value: bytes) -> bytes:
    """The value of a Content-Transfer-Encoding field, in lower case; b"7bit" for an empty one (RFC 2045
    section 6.1)."""
    return without_comments(value.replace(b"\r", b"").replace(b"\n", b"")).strip(b" \t;").lower() or b"7bit"


def without_comments(value: bytes) -> bytes:
    """RFC 5322 section 3.2.2: comments nest, and there is none inside a quoted string."""
    if b"(" not in value:
        return value
    kept = []
    depth = start = 0
    in_quotes = False
    for mark in _COMMENT_MARK.finditer(value):
        match mark[0]:
            case b'"' if not depth:
                in_quotes = not in_quotes
            case b"(" if not in_quotes:
                if not depth:
                    kept.append(value[start : mark.start()])
                depth += 1
            case b")" if depth:
                depth -= 1
                start = mark.end()
            case _:
                pass
    if not depth:
        kept.append(value[start:])
    return b" ".join(kept)
