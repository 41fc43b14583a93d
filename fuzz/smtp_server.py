"""The SMTP server session, met by any client.

What must hold: no exception; how the octets were cut changes nothing that can be seen; what is buffered and what is
answered is bounded; every answer is a proper reply; a transaction that is over leaves nothing behind; nothing said
before TLS counts inside it.
"""

from __future__ import annotations

import re

from fuzz.choices import Choices, expanded, three_cuts
from fuzz.proofs import cram, scram
from fuzz.smtp_world import (
    BINDING,
    CONTENT_NOT_TAKEN,
    CONTENT_NOT_WANTED,
    PROFILES,
    PatientProfile,
    ServerWorld,
)
from postroad.wire.session import Wait
from postroad.wire.smtp.server_profile import ServerProfile

TLS_TOKEN, HANDSHAKES = b"{TLS}", 3
"""Parts of an input between these tokens: at each the client begins the handshake, if the server waits for one."""

_REPLIES = re.compile(rb"(?:[2-5][0-5][0-9](?:-|[ ]|(?=\r))[\t -~]{0,506}\r\n)*")
_LAST_LINE = re.compile(rb"(?m)^[2-5][0-5][0-9](?: |\r)")


def check(given: bytes) -> None:
    choices = Choices(given)
    profile = choices.one_of(PROFILES)
    ends_by_silence = bool(choices.octet() & 1)
    seed = choices.octet()
    flights = [expanded(part) for part in choices.rest().split(TLS_TOKEN, HANDSHAKES)]
    histories = [
        play(profile, [list(chunks) for chunks in cut], ends_by_silence)
        for cut in zip(*(three_cuts(flight, seed) for flight in flights), strict=True)
    ]
    for other in histories[1:]:
        assert other == histories[0], "how the octets were cut can be seen"


def play(profile: ServerProfile, flights: list[list[bytes]], ends_by_silence: bool) -> tuple[object, ...]:
    """A whole connection; all that could be seen of it."""
    world = ServerWorld(profile)
    world.settle()
    lines = 0
    inside: ServerWorld | None = None
    for number, chunks in enumerate(flights):
        if number and world.wait is Wait.NEED_TLS:
            world.start_tls()
            inside = _as_if_new(profile, world)
        for chunk in chunks:
            lines += chunk.count(b"\n")
            world.hear(chunk)
            if inside is not None:
                inside.hear(chunk)
        if inside is not None:
            assert inside.seen() == world.seen_inside_tls(), "something from before TLS counts inside it"
    world.end(by_silence=ends_by_silence)
    check_replies(world, lines)
    return world.seen()


def _as_if_new(profile: ServerProfile, world: ServerWorld) -> ServerWorld | None:
    """A session that began inside TLS and has said its greeting: the other one must now be like it. Offences are
    counted on across the handshake, so only a patient profile is compared."""
    if profile.bad_commands < PatientProfile.bad_commands:
        return None
    fresh = ServerWorld(profile, tls=world.tls)
    fresh.settle()
    fresh.forget_greeting()
    return fresh


def check_replies(world: ServerWorld, lines: int) -> None:
    """No more replies than questions: one for each line, the greeting, two at the end, over LMTP one more for each
    recipient; each line as RFC 5321 sections 4.2.1 and 4.5.3.1.5 have it."""
    said = world.said
    assert _REPLIES.fullmatch(said), said[-700:]
    assert len(_LAST_LINE.findall(said)) <= lines + 3 + world.recipients_taken, said[-700:]


def seeds() -> list[bytes]:
    mail = (
        b"EHLO c.example\r\nMAIL FROM:<a@a.example> SIZE=20\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<nobody@b.example>\r\n"
    )
    data = mail + b"DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n"
    chunks = mail + b"BDAT 5\r\nhello" + b"BDAT 3 LAST\r\n\r\n.NOOP\r\n"
    clear = b"EHLO c\r\nSTARTTLS\r\n"
    auth = b"EHLO c\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nAUTH LOGIN\r\nYW5u\r\nc2VjcmV0\r\n"
    proofs = scram(b"n,,", "SCRAM-SHA-256"), scram(b"p=tls-server-end-point,,", "SCRAM-SHA-256-PLUS", BINDING)
    half = b"AUTH SCRAM-SHA-256 biwsbj1hbm4scj1ub25jZQ==\r\nYz1iaXdzLHI9bm9uY2U=\r\n*\r\n"
    old = b"EHLO c\r\nSEND FROM:<a@b>\r\nRSET\r\nVRFY ann\r\nEXPN all\r\nHELP MAIL\r\nETRN @b.example\r\nTURN\r\n"
    spoken = [
        data,
        chunks,
        clear + TLS_TOKEN + auth + mail,
        auth + half,
        old,
        b"LHLO c\r\n" + mail[16:],
        b"GET / x\r\n",
    ]
    spoken += [b"XCLIENT NAME=a.example ADDR=192.0.2.1\r\n", clear + b"MAIL FROM:<a@b>\r\n", b"EHLO {LONG}\r\n"]
    spoken += [mail + b"DATA\r\n{LONG}\r\n.\n\r\n.\r\nMAIL FROM:<x@x>\r\n", auth + b"ATRN b.example\r\n"]
    spoken += [clear + TLS_TOKEN + b"EHLO c\r\n" + proof + mail + b"TURN\r\n" for proof in proofs]
    known = b"EHLO c\r\n" + cram("mx.example.org")
    spoken += [known + b"ATRN\r\n", known + b"STARTTLS\r\n" + TLS_TOKEN + b"ATRN\r\nEHLO c\r\nATRN\r\n" + mail]
    begun = mail + b"BDAT 5\r\nhello"
    spoken += [
        begun + b"RSET\r\n" + mail[16:] + b"BDAT 3 LAST\r\nx\r\nBDAT 0 LAST\r\n",
        begun + mail + b"DATA\r\n.\r\n",
    ]
    spoken += [_refused_and_again(size) for size in (CONTENT_NOT_TAKEN, CONTENT_NOT_WANTED)]
    crowd = b"".join(b"RCPT TO:<b%d@b.example>\r\n" % n for n in range(3 * PROFILES[0].recipients_max))
    spoken += [mail + crowd + b"DATA\r\nx\r\n.\r\n", mail + b"DATA\r\n" + b"y" * 900 + b"\r\n{LONG}" * 3 + b"\r\n.\r\n"]
    spoken += [
        clear + b"NOOP\r\n" + mail + TLS_TOKEN + mail,
        auth + clear + TLS_TOKEN + mail[16:],
        known + clear + TLS_TOKEN,
    ]
    spoken += [data.partition(b"QUIT")[0] * 4, b"EHLO c\r\n" + b"XYZZY\r\n" * 30 + mail]
    return [bytes([n % len(PROFILES), 0, n]) + octets for octets in spoken for n in range(len(PROFILES))]


def _refused_and_again(size: int) -> bytes:
    """Mail that is refused at its content, then commands that would go on with it, then other mail."""
    sender = b"EHLO c\r\nMAIL FROM:<a@a.example> SIZE=%d\r\n" % size
    mail = sender + b"RCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\n"
    again = b"DATA\r\nRCPT TO:<d@b.example>\r\nBDAT 0 LAST\r\nMAIL FROM:<e@e.example>\r\nDATA\r\n.\r\nRSET\r\n"
    return mail + b"DATA\r\nx\r\n.\r\n" + again + mail + b"BDAT 3\r\nx\r\nBDAT 0 LAST\r\n" + again


WORDS = (
    b"EHLO ", b"HELO ", b"LHLO ", b"MAIL FROM:<", b"RCPT TO:<", b"@b.example>", b"DATA\r\n", b"BDAT ", b" LAST\r\n",
    b"\r\n.\r\n", b"RSET\r\n", b"NOOP", b"QUIT\r\n", b"VRFY ", b"EXPN ", b"HELP", b"STARTTLS\r\n", b"AUTH PLAIN ",
    b"AUTH LOGIN", b"AUTH SCRAM-SHA-256", b"-PLUS", b"AUTH CRAM-MD5", b"ETRN ", b"ATRN ", b"TURN", b"SEND FROM:<",
    b"SOML FROM:<", b"SAML FROM:<", b"XCLIENT ADDR=", b" SIZE=7", b" SIZE=8", b" BODY=8BITMIME", b" BODY=BINARYMIME",
    b" SMTPUTF8", b" RET=FULL", b" ENVID=", b" NOTIFY=NEVER", b" ORCPT=rfc822;", b" AUTH=<>", b" REQUIRETLS",
    b" BY=120;R", b"\r\n", b" HOLDFOR=", b" HOLDUNTIL=", b" MT-PRIORITY=", b"{TLS}", b"{LONG}", b"nobody", b"later",
    b"\x16\x03\x01", b"\xc3\xbc",
)  # fmt: skip
