"""What an SMTP server session is told once: its name, its role, its limits; and the words made from them."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from postroad.vocabulary.limits import CONTENT_LINE_BYTES, SCRAM_ITERATIONS
from postroad.vocabulary.reply import Reply, printable, reply
from postroad.vocabulary.settings import BareNewline, WhoMayAsk
from postroad.wire.smtp.transitions import Verb

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
    """What is said alike in all sessions of a profile."""

    greeting: Reply
    helo: Reply
    ehlo: Reply
    ehlo_in_tls: Reply
    ehlo_authenticated: Reply
    """Inside TLS, without AUTH: it cannot be done twice (RFC 4954 section 4)."""
    help: Reply


@lru_cache(maxsize=PROFILES)
def words_of(profile: ServerProfile) -> Words:
    common = ["PIPELINING", f"SIZE {profile.message_bytes}", "ENHANCEDSTATUSCODES"]
    if profile.eight_bit_mime:
        common.append("8BITMIME")
    if profile.smtputf8:
        common.append("SMTPUTF8")
    if profile.dsn:
        common.append("DSN")
    # RFC 3207 section 4.2: not announced inside TLS.
    clear = [*common, "STARTTLS"] if profile.tls_available else common
    auth = [f"AUTH {' '.join(profile.auth_offered)}"] if profile.auth_offered and not profile.identity else []

    def ehlo(keywords: list[str]) -> Reply:
        return Reply(250, (profile.hostname, *keywords))

    return Words(
        greeting=reply(220, printable(f"{profile.hostname} {profile.greeting}").strip()),
        helo=reply(250, profile.hostname),
        ehlo=ehlo(clear),
        ehlo_in_tls=ehlo([*common, *auth]),
        ehlo_authenticated=ehlo(common),
        help=reply(214, "Commands:", " ".join(_verbs(profile)), status="2.0.0"),
    )


def _verbs(profile: ServerProfile) -> list[str]:
    absent = {Verb.END_OF_DATA, Verb.TLS_STARTED, Verb.RESPONSE}
    if not profile.tls_available:
        absent.add(Verb.STARTTLS)
    if not profile.auth_offered:
        absent.add(Verb.AUTH)
    return [verb.value for verb in Verb if verb not in absent]
