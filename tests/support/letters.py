"""Letters as people and programs write them, each with what makes it hard to carry unharmed."""

from __future__ import annotations

import base64
import random

_MIB = 1_048_576


def _head(name: str, *fields: bytes) -> bytes:
    given = b"".join(field + b"\r\n" for field in fields)
    return b"From: Ann <ann@here.example>\r\nTo: bob@here.example\r\nSubject: " + name.encode() + b"\r\n" + given


def _base64_lines(octets: bytes) -> bytes:
    return b"".join(base64.b64encode(octets[at : at + 57]) + b"\r\n" for at in range(0, len(octets), 57))


def _with_picture() -> bytes:
    picture = random.Random(7).randbytes(40_000)
    return (
        _head("html", b"MIME-Version: 1.0", b'Content-Type: multipart/related; boundary="=_b"')
        + b"\r\n--=_b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + b'<p>Gr=C3=BC=C3=9Fe</p><img src=3D"cid:one">\r\n'
        + b"--=_b\r\nContent-Type: image/png\r\nContent-ID: <one>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + _base64_lines(picture)
        + b"--=_b--\r\n"
    )


def _large(octets: int) -> bytes:
    head = _head(
        "large",
        b"MIME-Version: 1.0",
        b"Content-Type: application/octet-stream; name=big.bin",
        b"Content-Transfer-Encoding: base64",
    )
    return head + b"\r\n" + _base64_lines(random.Random(25).randbytes(octets * 57 // 78))


def letters() -> dict[str, bytes]:
    """By name; all have CR LF line ends, and none has Date or Message-ID unless it says so."""
    mime = (b"MIME-Version: 1.0", b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit")
    return {
        "text": _head("text", b"Message-ID: <text@here.example>", b"Date: Mon, 23 Nov 2026 10:00:00 +0000")
        + b"\r\nHello Bob,\r\n\r\n\tit rains.  \r\n\r\nAnn\r\n",
        "html": _with_picture(),
        "8bit": _head("8bit", *mime) + "\r\nGrüße aus Köln, 你好, привет\r\n".encode(),
        "latin": _head("latin") + b"\r\nGr\xfc\xdfe, without a declaration\r\n",
        "long": _head("long") + b"\r\n" + (b"x" * 998 + b"\r\n") * 300 + b"y" * 998 + b"\r\n",
        "dots": _head("dots") + b"\r\n.\r\n..\r\n.begins with a dot\r\n...three\r\nends.\r\n.\r\n",
        "folded": _head("folded", b"X-Folded: one\r\n\ttwo\r\n  three", b"X-Empty:", b"x-CASE: Kept") + b"\r\nbody\r\n",
        "bare": _head("bare") + b"\r\nthe last line has no end",
        "large": _large(25 * _MIB),
    }
