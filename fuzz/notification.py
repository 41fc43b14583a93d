"""Notifications about anything: composed of a sender's words, a peer's words and a stranger's header.

What must hold: none of these can add a field, a part or a line of its own; lines are as RFC 5322 has them, and Python's
own parser finds three parts and no defect.
"""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta

from fuzz.choices import Choices, expanded
from postroad.message.notification import compose, envelope_for
from postroad.message.notification_request import NotificationRequest
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Envelope, Notify, Recipient
from postroad.vocabulary.limits import CONTENT_LINE_BYTES
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import printable
from postroad.wire.smtp.commands import parse_mail, parse_rcpt
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_profile import ServerProfile

_AT = datetime(2026, 1, 6, 12, tzinfo=UTC)
_PROFILE = ServerProfile(hostname="mx.example.org")


def check(given: bytes) -> None:
    choices = Choices(given)
    fates = [choices.one_of(list(_CLASS)) for _ in range(1 + choices.octet() % 3)]
    is_whole = bool(choices.octet() & 1)
    mail, rcpt = choices.octets(400), choices.octets(400)
    words = [choices.octets(500).decode("utf-8", "replace") for _ in range(3)]
    try:
        sender = parse_mail(b"FROM:<" + mail, _PROFILE)
        given_to = parse_rcpt(b"TO:<" + rcpt, _PROFILE, smtputf8=sender.smtputf8)
    except SyntaxRefused:
        return
    if sender.reverse_path is None:
        return
    recipient = Recipient(given_to.forward_path, given_to.notify, given_to.original)
    outcomes = tuple(
        Outcome(
            recipient, fate, EnhancedStatus(_CLASS[fate], 1, 1), text=printable(words[0]), reply=printable(words[1]),
            remote_mta=printable(words[2]), remote_address="192.0.2.1",
        )
        for fate in fates
    )  # fmt: skip
    request = NotificationRequest(
        hostname="mx.example.org",
        notification_id="0000000000NB",
        at=_AT,
        queue_id="0000000000NA",
        envelope=Envelope(
            sender.reverse_path, (recipient,), smtputf8=sender.smtputf8, ret=sender.ret, envid=sender.envid
        ),
        outcomes=outcomes,
        arrived_at=_AT - timedelta(days=1),
        content=expanded(choices.rest()),
        content_is_whole=is_whole,
    )
    check_composed(compose(request), request)


_CLASS = {Fate.DELIVERED: 2, Fate.RELAYED: 2, Fate.DEFERRED: 4, Fate.FAILED: 5}


def check_composed(octets: bytes, request: NotificationRequest) -> None:
    ends = octets.count(b"\r\n")
    assert octets.count(b"\r") == octets.count(b"\n") == ends, "a lone CR or LF"
    assert b"\0" not in octets
    assert octets.endswith(b"\r\n")
    assert max(map(len, octets.split(b"\r\n"))) <= CONTENT_LINE_BYTES - 2
    header = octets.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in header.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    assert set(names) <= _FIELDS, names
    assert len(set(names)) == len(names), "a field came twice"
    message = email.message_from_bytes(octets, policy=email.policy.compat32)
    assert not message.defects, message.defects
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3, "a part of somebody else's"
    envelope = envelope_for(request, octets)
    assert envelope.reverse_path is None
    assert envelope.recipients[0].notify == (Notify.NEVER,)


_FIELDS = {
    b"From", b"To", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"References", b"Auto-Submitted",
    b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding",
}  # fmt: skip


def _input(fate: int, mail: bytes, rcpt: bytes, words: tuple[bytes, bytes, bytes], content: bytes) -> bytes:
    def counted(octets: bytes) -> bytes:
        return len(octets).to_bytes(2, "big") + octets

    return bytes([0, fate, 1]) + counted(mail) + counted(rcpt) + b"".join(map(counted, words)) + content


def seeds() -> list[bytes]:
    plain, asked = b"ann@a.example>", b"ann@a.example> RET=FULL ENVID=a+2Bb"
    boundary = b"--=_0000000000NB_0\r\nContent-Type: text/plain\r\n\r\nmine\r\n"
    words = (b"no route", b"550 5.1.1 no such user", b"mx.b.example")
    return [
        _input(3, plain, b"bob@b.example>", words, b"From: a@b\r\nSubject: x\r\nMessage-ID: <1@a>\r\n\r\nhi\r\n"),
        _input(3, asked, b"bob@b.example> NOTIFY=FAILURE ORCPT=rfc822;bob+2B@b", words, b"A: b\r\n\r\n" + boundary),
        _input(
            2, plain, b'"a b"@b.example>', (b"\x1b[2J\r\nX: y", b"550 \xff\r\nBcc: x", b"mx\r\n\r\n"), b"\xff\0\r\n"
        ),
        _input(
            0,
            "ann@k\u00f6ln.example> SMTPUTF8 RET=HDRS".encode(),
            "gr\u00fcn@b>".encode(),
            words,
            "A: \u00fc\r\n\r\n".encode(),
        ),
        _input(3, asked, b"bob@b.example>", words, b"Subject: {LONG}\r\n\r\n"),
        _input(3, asked, b"bob@b.example>", words, b"Message-ID: <a@b\r\n c>\r\nX: a\rb\n\n"),
    ]


WORDS = (
    b"ann@a.example>", b"bob@b.example>", b" RET=FULL", b" RET=HDRS", b" ENVID=", b" ORCPT=rfc822;",
    b" SMTPUTF8", b"\r\n",
    b"--=_0000000000NB_0", b"Message-ID: <a@b>", b"\r\n\r\n", b"\xc3\xbc", b"+0D+0A", b"{LONG}", b"From: ",
    b"utf-8;\\x{1}",
)  # fmt: skip
