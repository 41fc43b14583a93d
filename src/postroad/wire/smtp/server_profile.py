"""What an SMTP server session is told once: its name, its role, its limits; and the words made from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from postroad.vocabulary.limits import CONTENT_LINE_BYTES, SCRAM_ITERATIONS
from postroad.vocabulary.reply import Reply, printable, reply
from postroad.vocabulary.settings import BareNewline, WhoMayAsk
from postroad.wire.smtp.transitions import NOT_COMMANDS, Verb

XCLIENT_ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")

PROFILES = 256
"""Profiles whose words are remembered: one per listener and, on the local socket, per Unix user."""


class ServerProfile(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """Make one per listener and share it: the words of the session are prepared once for each profile."""

    hostname: str
    greeting: str = "ESMTP Postroad"
    """What follows the host name in the 220."""
    greeting_held: bool = False
    """The session is silent until `greet()`; who speaks before it is refused."""
    identity: str = ""
    """Who the client is known to be without AUTH (the peer credentials of the local socket)."""
    mail_requires_auth: bool = False
    auth_offered: tuple[str, ...] = ()
    """SASL mechanisms, of wire/sasl.MECHANISMS or SECRET_MECHANISMS; announced and taken inside TLS only."""
    auth_in_clear: tuple[str, ...] = ()
    """Those of SECRET_MECHANISMS that are announced and taken without TLS too (RFC 2645 section 5.1.2)."""
    channel_binding: bytes = b""
    """tls-server-end-point of the certificate in use (RFC 5929 section 4): its hash. Without it SCRAM-SHA-256-PLUS
    is not offered."""
    scram_iterations: int = SCRAM_ITERATIONS
    """Of new keys: what an unknown name is made to look like."""
    tls_available: bool = False
    message_bytes: int = 52_428_800
    """Announced by SIZE (RFC 1870); of the content with its transparency dots removed."""
    recipients_max: int = 1000
    messages_per_session: int = 1000
    bad_commands: int = 10
    """So many are answered each in its own words; the next is answered 421. An accepted message forgives."""
    command_s: float = 300.0
    dsn: bool = True
    eight_bit_mime: bool = True
    smtputf8: bool = True
    chunking: bool = False
    """BDAT (RFC 3030)."""
    binarymime: bool = False
    """BODY=BINARYMIME (RFC 3030 section 3); needs `chunking`."""
    require_tls: bool = False
    """REQUIRETLS (RFC 8689), inside TLS only."""
    deliver_by_min_s: int | None = None
    """DELIVERBY (RFC 2852): the least time of mode R; 0 for no bound, None when it is not offered."""
    future_release_max_s: int | None = None
    """FUTURERELEASE (RFC 4865): how far ahead; None when it is not offered. The session must be told `began_at`."""
    mt_priority: bool = False
    """MT-PRIORITY (RFC 6710)."""
    limits: bool = False
    """LIMITS (RFC 9422): RCPTMAX and MAILMAX."""
    expn: bool = False
    etrn: bool = False
    turn: bool = False
    """TURN (RFC 821 section 3.8), for clients that authenticated."""
    atrn: bool = False
    """ATRN (RFC 2645), for clients that authenticated; then no mail is taken here: MAIL is 502 (section 5.4)."""
    old_ways: WhoMayAsk = WhoMayAsk.NEVER
    """SEND, SOML and SAML (RFC 821 section 3.4)."""
    lmtp: bool = False
    """LHLO instead of HELO and EHLO, a reply for each recipient (RFC 2033). Never on port 25."""
    xclient: bool = False
    """XCLIENT; for the listed front ends alone."""
    bare_newline: BareNewline = BareNewline.REJECT
    content_line_bytes: int = CONTENT_LINE_BYTES
    """Longest line of content with its CR LF; longer ones are refused at the end."""


class Words(msgspec.Struct, frozen=True):
    """What is said alike in all sessions of a profile. Where there are two, the second is for clients that
    authenticated."""

    greeting: Reply
    helo: Reply
    ehlo: tuple[Reply, Reply]
    ehlo_in_tls: tuple[Reply, Reply]
    help: tuple[Reply, Reply]
    verbs: tuple[frozenset[Verb], frozenset[Verb]]
    """What is offered; the others are answered 502."""


@lru_cache(maxsize=PROFILES)
def words_of(profile: ServerProfile) -> Words:
    verbs = _verbs(profile, known=False), _verbs(profile, known=True)

    def ehlo(in_tls: bool, known: bool) -> Reply:
        return Reply(250, (profile.hostname, *_keywords(profile, verbs[known], in_tls=in_tls, known=known)))

    def help_of(offered: frozenset[Verb]) -> Reply:
        return reply(214, "Commands:", " ".join(verb.value for verb in Verb if verb in offered), status="2.0.0")

    return Words(
        greeting=reply(220, printable(f"{profile.hostname} {profile.greeting}").strip()),
        helo=reply(250, profile.hostname),
        ehlo=(ehlo(False, False), ehlo(False, True)),
        ehlo_in_tls=(ehlo(True, False), ehlo(True, True)),
        help=(help_of(verbs[0]), help_of(verbs[1])),
        verbs=verbs,
    )


def ehlo_until(profile: ServerProfile, answer: Reply, began_at: datetime) -> Reply:
    """The EHLO answer with FUTURERELEASE, which names a time (RFC 4865 section 3)."""
    assert profile.future_release_max_s is not None, "FUTURERELEASE is not offered"
    latest = release_limit(began_at, profile.future_release_max_s)
    keyword = f"FUTURERELEASE {profile.future_release_max_s} {latest:%Y-%m-%dT%H:%M:%SZ}"
    return Reply(250, (*answer.lines, keyword))


def release_limit(began_at: datetime, max_s: int) -> datetime:
    """The latest time until which a message is held; whole seconds."""
    return began_at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=max_s)


def mechanisms(profile: ServerProfile, *, in_tls: bool) -> tuple[str, ...]:
    """The SASL mechanisms on offer (RFC 4954 section 3)."""
    offered = profile.auth_offered if in_tls else profile.auth_in_clear
    if profile.channel_binding:
        return offered
    return tuple(mechanism for mechanism in offered if not mechanism.endswith("-PLUS"))


def _keywords(profile: ServerProfile, verbs: frozenset[Verb], *, in_tls: bool, known: bool) -> list[str]:
    """RFC 5321 section 4.1.1.1; exactly what is offered at this moment."""
    auth = mechanisms(profile, in_tls=in_tls)
    keywords = {
        "PIPELINING": True,
        f"SIZE {profile.message_bytes}": True,
        "ENHANCEDSTATUSCODES": True,
        "8BITMIME": profile.eight_bit_mime,
        "BINARYMIME": profile.binarymime and profile.chunking and profile.eight_bit_mime,
        "CHUNKING": profile.chunking,
        "SMTPUTF8": profile.smtputf8,
        "DSN": profile.dsn,
        f"LIMITS MAILMAX={profile.messages_per_session} RCPTMAX={profile.recipients_max}": profile.limits,
        # RFC 8689 section 2: inside TLS only.
        "REQUIRETLS": profile.require_tls and in_tls,
        f"DELIVERBY {profile.deliver_by_min_s}" if profile.deliver_by_min_s else "DELIVERBY": (
            profile.deliver_by_min_s is not None
        ),
        "MT-PRIORITY": profile.mt_priority,
        # RFC 5321 section 3.5.2: EXPN must be listed.
        **{verb.value: verb in verbs for verb in _VERB_KEYWORDS},
        f"XCLIENT {' '.join(XCLIENT_ATTRIBUTES)}": profile.xclient,
        # RFC 3207 section 4.2: not inside TLS.
        "STARTTLS": profile.tls_available and not in_tls,
        # RFC 4954 section 4: it cannot be done twice.
        f"AUTH {' '.join(auth)}": bool(auth) and not known,
    }
    return [keyword for keyword, is_offered in keywords.items() if is_offered]


_VERB_KEYWORDS = (Verb.EXPN, Verb.ETRN, Verb.ATRN, Verb.TURN, Verb.SEND, Verb.SOML, Verb.SAML)


def _verbs(profile: ServerProfile, *, known: bool) -> frozenset[Verb]:
    """`known`: the client has authenticated."""
    old_ways = profile.old_ways is WhoMayAsk.ANYONE or (profile.old_ways is WhoMayAsk.AUTHENTICATED and known)
    # RFC 2645 section 5.4: where mail is fetched none is taken.
    takes_mail = not profile.atrn
    offered = {
        Verb.HELO: not profile.lmtp,
        Verb.EHLO: not profile.lmtp,
        Verb.LHLO: profile.lmtp,
        **dict.fromkeys((Verb.MAIL, Verb.RCPT, Verb.DATA), takes_mail),
        Verb.BDAT: takes_mail and profile.chunking,
        **dict.fromkeys((Verb.SEND, Verb.SOML, Verb.SAML), takes_mail and old_ways),
        Verb.EXPN: profile.expn,
        Verb.ETRN: profile.etrn,
        Verb.ATRN: profile.atrn,
        Verb.TURN: profile.turn,
        Verb.STARTTLS: profile.tls_available,
        Verb.AUTH: bool(profile.auth_offered or profile.auth_in_clear),
        Verb.XCLIENT: profile.xclient,
    }
    return frozenset(verb for verb in Verb if verb not in NOT_COMMANDS and offered.get(verb, True))
