"""SMTP command lines from octets to values (RFC 5321 section 4.1).

The commands that are questions to the world are read into those questions (events.py); the others need
no value. One exception, SyntaxRefused, carries the reply; nothing else is ever raised, whatever the octets.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.envelope import BodyType, Notify, Way
from postroad.vocabulary.limits import COMMAND_TEXT, DOMAIN_BYTES
from postroad.vocabulary.reply import Reply, printable, reply
from postroad.wire.smtp import replies
from postroad.wire.smtp.events import Greeted, RecipientGiven, SenderGiven
from postroad.wire.smtp.later_parameters import Later, read_later
from postroad.wire.smtp.parameters import (
    SyntaxRefused,
    read_auth,
    read_body,
    read_envid,
    read_notify,
    read_orcpt,
    read_ret,
    read_size,
    split_parameters,
    unknown_parameter,
    wrong_argument,
)
from postroad.wire.smtp.paths import PathRefused, parse_mailbox, split_path
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.transitions import GREETING_VERBS, MAIL_VERBS, NOT_COMMANDS, Verb

VERBS: dict[bytes, Verb] = {verb.encode(): verb for verb in Verb if verb not in NOT_COMMANDS}

# Whoever says this speaks HTTP, perhaps with SMTP in its body: the connection ends at once.
FOREIGN_VERBS = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"PATCH", b"DELETE"})

# Verbs of other servers and of other protocols: the only words, beside our own, that are kept of what we refuse.
_KNOWN_ELSEWHERE = FOREIGN_VERBS | frozenset(
    b"APOP BURL CAPA CAPABILITY HELLO LIST LOGIN LOGOUT PASS RETR STAT STLS USER X-EXPS XEXCH50 XFORWARD".split()
)
_NO_WORD_OF_IT = "unknown command"
_KEPT_WHOLE = frozenset(
    {*MAIL_VERBS, *GREETING_VERBS, Verb.RCPT, Verb.BDAT, Verb.VRFY, Verb.EXPN, Verb.ETRN, Verb.ATRN},
)


_MAIL = Way.MAIL


class AuthAsked(NamedTuple):
    mechanism: str
    initial: bytes | None


def read_verb(line: bytes) -> tuple[Verb | None, bytes, bytes]:
    """The verb (None when it is none), the word it was read from in upper case, and the argument."""
    word, _, argument = line.partition(b" ")
    verb = VERBS.get(word)
    if verb is None:
        word = word.upper()
        verb = VERBS.get(word)
    return verb, word, argument


def kept_word(word: bytes) -> str:
    """What the ledger keeps of a word that is no verb here. After an AUTH that was refused, clients go on with the
    response they had ready, and base64 can look like any word: only words that are somebody's verb are kept."""
    return word.decode("ascii") if word in _KNOWN_ELSEWHERE else _NO_WORD_OF_IT


def kept_of(line: bytes) -> str:
    """What the ledger keeps of a refused command line: all of it where an address or a name is said, else the verb;
    behind a lone CR or LF there may be another command, with a password in it."""
    verb, word, _ = read_verb(line.replace(b"\r", b"\n").partition(b"\n")[0])
    if verb is None:
        return kept_word(word)
    if verb not in _KEPT_WHOLE or b"\n" in line or b"\r" in line:
        return verb.value
    return printable(line.decode("ascii", "replace"), COMMAND_TEXT)


def refuse_argument(argument: bytes) -> None:
    """RFC 5321 section 4.3.2: DATA, RSET, QUIT and STARTTLS take none; spaces are forgiven."""
    if argument and argument.strip(b" "):
        raise SyntaxRefused(replies.NO_ARGUMENT_ALLOWED)


def parse_greeting(verb: Verb, argument: bytes) -> Greeted:
    """ehlo = "EHLO" SP ( Domain / address-literal ).

    The name is taken as it is, if it is one word of printable US-ASCII: many honest clients have no proper
    name, and what to think of it is for the rules (RFC 5321 section 4.1.4).
    """
    name = argument.strip(b" ").decode("ascii", "replace")
    if not name or " " in name or len(name) > DOMAIN_BYTES or not (name.isascii() and name.isprintable()):
        raise SyntaxRefused(replies.NAME_NEEDED)
    return Greeted(verb.value, name)


def parse_mail(
    argument: bytes,
    profile: ServerProfile,
    way: Way = Way.MAIL,
    in_tls: bool = False,
    began_at: datetime | None = None,
) -> SenderGiven:
    """mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]; a space after the colon is tolerated.

    `way` is the verb it began with, `began_at` when the session did (for HOLDUNTIL)."""
    if argument[:5].upper() != b"FROM:":
        raise SyntaxRefused(replies.SYNTAX_OF_WAY[way])
    inner, rest = _split(argument[5:], "5.1.7")
    if not rest:
        path = _reverse_path(inner, False)
        return SenderGiven(path) if way is _MAIL else SenderGiven(path, way=way)
    size: int | None = None
    body, smtputf8, ret, envid = BodyType.SEVEN_BIT, False, "", ""
    auth: str | None = None
    later: Later | None = None
    for keyword, value in split_parameters(rest).items():
        if keyword == "SIZE":
            size = read_size(value)
        elif keyword == "BODY" and profile.eight_bit_mime:
            body = read_body(value, binary=profile.chunking and profile.binarymime)
        elif keyword == "SMTPUTF8" and profile.smtputf8:
            if value is not None:
                raise wrong_argument("SMTPUTF8 takes no value")
            smtputf8 = True
        elif keyword == "RET" and profile.dsn:
            ret = read_ret(value)
        elif keyword == "ENVID" and profile.dsn:
            envid = read_envid(value)
        elif keyword == "AUTH":
            # From strangers too: it is read, and means nothing (RFC 4954 section 5).
            auth = read_auth(value)
        else:
            later = {} if later is None else later
            read_later(keyword, value, later, profile=profile, in_tls=in_tls, began_at=began_at)
    if size is not None and size > profile.message_bytes:
        raise SyntaxRefused(replies.TOO_LARGE)
    path = _reverse_path(inner, smtputf8)
    if later:
        return SenderGiven(path, body, smtputf8, size, ret, envid, auth, way, **later)
    return SenderGiven(path, body, smtputf8, size, ret, envid, auth, way)


def parse_rcpt(argument: bytes, profile: ServerProfile, *, smtputf8: bool) -> RecipientGiven:
    """rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]"""
    if argument[:3].upper() != b"TO:":
        raise SyntaxRefused(replies.RCPT_SYNTAX)
    inner, rest = _split(argument[3:], "5.1.3")
    forward_path = _forward_path(inner, smtputf8)
    if not rest:
        return RecipientGiven(forward_path)
    notify: tuple[Notify, ...] = ()
    original = ""
    for keyword, value in split_parameters(rest).items():
        if keyword == "NOTIFY" and profile.dsn:
            notify = read_notify(value)
        elif keyword == "ORCPT" and profile.dsn:
            original = read_orcpt(value, smtputf8=smtputf8)
        else:
            raise unknown_parameter(keyword[:40])
    return RecipientGiven(forward_path, notify, original)


def parse_name(argument: bytes, *, smtputf8: bool, otherwise: Reply) -> str:
    """What VRFY and EXPN ask about (RFC 5321 section 3.5), without the SMTPUTF8 that may follow it: what we answer is
    US-ASCII in any case (RFC 6531 section 3.7.4.2). Raises SyntaxRefused with `otherwise`."""
    try:
        text = argument.strip(b" ").decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxRefused(otherwise) from None
    if smtputf8 and text[-9:].upper() == " SMTPUTF8":
        text = text[:-9].rstrip(" ")
    if not text or not text.isprintable():
        raise SyntaxRefused(otherwise)
    return text


def parse_auth(argument: bytes) -> AuthAsked:
    """AUTH mechanism [initial-response] (RFC 4954 section 4)."""
    words = argument.strip(b" ").split(b" ")
    if not words[0] or len(words) > 2:
        raise SyntaxRefused(replies.AUTH_SYNTAX)
    return AuthAsked(words[0].decode("ascii", "replace").upper(), words[1] if len(words) == 2 else None)


def _split(argument: bytes, status: str) -> tuple[bytes, bytes]:
    try:
        inner, rest = split_path(argument.lstrip(b" ") if argument[:1] == b" " else argument)
    except PathRefused as fault:
        raise _refused(fault, status, 501) from None
    return inner, rest if rest.strip(b" ") else b""


def _reverse_path(inner: bytes, smtputf8: bool) -> ReversePath:
    if not inner:
        return None
    try:
        return parse_mailbox(inner, smtputf8=smtputf8)
    except PathRefused as fault:
        # RFC 6531 section 3.5: 550 when MAIL would have needed SMTPUTF8, 553 when RCPT would.
        raise _refused(fault, "5.1.7", 550) from None


def _forward_path(inner: bytes, smtputf8: bool) -> Mailbox:
    # RFC 5321 section 4.5.1: the one address without a domain.
    if inner.lower() == b"postmaster":
        return Mailbox("postmaster", "")
    try:
        return parse_mailbox(inner, smtputf8=smtputf8)
    except PathRefused as fault:
        raise _refused(fault, "5.1.3", 553) from None


def _refused(fault: PathRefused, status: str, code: int) -> SyntaxRefused:
    text = f"Bad address: {fault.reason}"
    if fault.needs_smtputf8:
        return SyntaxRefused(reply(code, text, status="5.6.7"))
    return SyntaxRefused(reply(501, text, status=status))
