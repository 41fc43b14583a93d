"""What each POP3 command is answered, or what must be asked first (RFC 1939 sections 4 to 7, RFC 2449, RFC 2595,
RFC 5034, RFC 6856).

Functions from (argument, what the session knows) to a Response or a question. They run only in order
(`states.py` was asked before); USER leaves the name, DELE and RSET their marks, in what the session knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from postroad.vocabulary.reply import printable
from postroad.wire.pop3.apop import Apop, parse_apop
from postroad.wire.pop3.events import CredentialsGiven, MessageAsked, Question, SecretAsked, UpdateAsked
from postroad.wire.pop3.lines import number
from postroad.wire.pop3.listing import Listing
from postroad.wire.pop3.states import Said, State
from postroad.wire.sasl_server import PLUS

_IN_CLEAR = frozenset({"SCRAM-SHA-256"})
"""What is offered without TLS even where no password may come in clear: it does not send one."""


class Pop3Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is told about its listener.

    hostname                 our name in the greeting
    tls_available            STLS can be offered: there is a certificate
    tls_active               the connection is under TLS already (POP3S, RFC 8314 section 3.3)
    plaintext_login_allowed  USER and PASS without TLS, as the settings say for this client
    mechanisms               of SASL, the strongest first (RFC 5034); without TLS only those that send no password,
                             and the others where `plaintext_login_allowed`
    channel_binding          tls-server-end-point of the certificate; without it SCRAM-SHA-256-PLUS is not offered
    apop                     the greeting has a timestamp, and APOP may be used (RFC 1939 section 7)
    implementation           what CAPA tells of us (RFC 2449 section 6.9)
    """

    hostname: str
    tls_available: bool = False
    tls_active: bool = False
    plaintext_login_allowed: bool = False
    mechanisms: tuple[str, ...] = ()
    channel_binding: bytes = b""
    apop: bool = False
    implementation: str = "Postroad"


class Known(msgspec.Struct):
    """What a session knows when a command comes."""

    profile: Pop3Profile
    tls_active: bool
    state: State = State.AUTHORIZATION
    name: str = ""
    listing: Listing | None = None
    timestamp: bytes = b""
    """Of the greeting; b"" where APOP may not be used."""
    apop: Apop | None = None
    """The one that is being looked into."""
    utf8: bool = False
    """The client has said UTF8 (RFC 6856 section 2): it takes headers as they are."""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """On offer at this moment."""
        return tuple(each for each in self.profile.mechanisms if self._is_offered(each))

    def _is_offered(self, mechanism: str) -> bool:
        if mechanism == PLUS:
            return bool(self.profile.channel_binding) and self.tls_active
        return self.login_allowed or mechanism in _IN_CLEAR

    @property
    def login_allowed(self) -> bool:
        return self.tls_active or self.profile.plaintext_login_allowed

    @property
    def stls_allowed(self) -> bool:
        return self.profile.tls_available and not self.tls_active


class Response(NamedTuple):
    """A reply, whole."""

    said: Said
    octets: bytes


class AuthAsked(NamedTuple):
    """AUTH of a mechanism that is on offer; `initial` is the initial response as it stood there, None without one."""

    mechanism: str
    initial: bytes | None


Result: TypeAlias = Response | Question | AuthAsked


def ok(text: str = "", more: bytes = b"") -> Response:
    """+OK; `more` are the further lines of a multi-line reply, made transparent, without the final dot line."""
    end = b".\r\n" if more else b""
    return Response(Said.OK, (f"+OK {text}" if text else "+OK").encode("ascii") + b"\r\n" + more + end)


def err(text: str, code: str = "") -> Response:
    """-ERR with a response code (RFC 2449 section 8) if there is one. Any text can be given."""
    code = f"[{code}] " if code else ""
    return Response(Said.ERR, f"-ERR {code}{printable(text)}\r\n".encode("ascii", "replace"))


NO_SUCH_MESSAGE = err("No such message")
LANGUAGES = {b"en": b"English", b"i-default": b"English"}


def _user(argument: bytes, known: Known) -> Result:
    if not known.login_allowed:
        how = "use STLS first" if known.stls_allowed else "connect to the TLS port instead"
        return err(f"Passwords are taken over an encrypted connection only: {how}")
    name = _text(argument)
    if not name:
        return err("Syntax: USER name")
    known.name = name
    return ok("Now the password")


def _pass(argument: bytes, known: Known) -> Result:
    # RFC 1939 section 7: the argument is all of the line, spaces too.
    password = _text(argument)
    if not password:
        return err("Wrong name or password", "AUTH")
    return CredentialsGiven("USER", "", known.name, password)


def _auth(argument: bytes, known: Known) -> Result:
    """AUTH mechanism [initial-response] (RFC 5034 section 4)."""
    words = argument.split(b" ")
    if not words[0] or len(words) > 2:
        return err("Syntax: AUTH mechanism [initial-response]")
    mechanism = words[0].decode("ascii", "replace").upper()
    if mechanism not in known.mechanisms:
        return err("This mechanism is not on offer here; CAPA tells which are")
    return AuthAsked(mechanism, words[1] if len(words) == 2 else None)


def _apop(argument: bytes, known: Known) -> Result:
    if not known.timestamp:
        return err("APOP is not on offer here")
    parsed = parse_apop(argument)
    if parsed is None:
        return err("Syntax: APOP name digest")
    # What cannot be a name is nobody's: the answer is that of a wrong digest.
    known.apop = Apop(_text(parsed[0]), parsed[1])
    return SecretAsked("APOP", known.apop.name)


def _utf8(argument: bytes, known: Known) -> Result:
    """RFC 6856 section 2.1. A STLS that follows makes the session forget it, with all else."""
    if argument:
        return err("Syntax: UTF8")
    known.utf8 = True
    return ok("Headers will come in UTF-8")


def _lang(argument: bytes, known: Known) -> Result:
    """RFC 6856 section 3: what we say to people is in English, which "i-default" (RFC 2277 section 4.5) is too."""
    if not argument:
        return ok("Languages:", b"".join(b"%b %b\r\n" % language for language in LANGUAGES.items()))
    wanted = argument.lower()
    if wanted == b"*":
        wanted = b"en"
    # RFC 4647 section 3.4: "en-GB" is served by "en".
    while wanted not in LANGUAGES and b"-" in wanted:
        wanted = wanted.rpartition(b"-")[0]
    if wanted not in LANGUAGES:
        return err("This language is not spoken here; LANG alone tells which are")
    return ok(f"{wanted.decode('ascii')} This is the language from now on")


def _stls(argument: bytes, known: Known) -> Result:
    if argument:
        return err("Syntax: STLS")
    if known.tls_active:
        return err("The connection is encrypted already")
    if not known.profile.tls_available:
        return err("There is no TLS here")
    return ok("Begin TLS")


def _capa(argument: bytes, known: Known) -> Result:
    """RFC 2449 section 5. What AUTHORIZATION announces stands in TRANSACTION too, STLS apart: RFC 2595
    section 4 announces it only where it may be used."""
    tags = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "LANG"]
    if known.login_allowed:
        tags.append("USER")
    # RFC 6856 section 2.2: the argument tells that USER and PASS, which must be there then, take UTF-8 too.
    tags.append("UTF8 USER" if known.login_allowed else "UTF8")
    if known.mechanisms:
        tags.append(f"SASL {' '.join(known.mechanisms)}")
    if known.stls_allowed and known.state is not State.TRANSACTION:
        tags.append("STLS")
    tags.append(f"IMPLEMENTATION {printable(known.profile.implementation)}")
    return ok("Capability list follows", "".join(f"{tag}\r\n" for tag in tags).encode("ascii"))


def _stat(argument: bytes, known: Known) -> Result:
    if argument:
        return err("Syntax: STAT")
    listing = _listing(known)
    return ok(f"{listing.count} {listing.octets}")


def _list(argument: bytes, known: Known) -> Result:
    listing = _listing(known)
    if not argument:
        return Response(
            Said.OK,
            b"+OK %d messages (%d octets)\r\n%b.\r\n" % (listing.count, listing.octets, listing.scan_lines()),
        )
    asked = _message(argument, listing, "LIST [message-number]")
    return asked if isinstance(asked, Response) else ok(f"{asked} {listing.size(asked)}")


def _uidl(argument: bytes, known: Known) -> Result:
    listing = _listing(known)
    if not argument:
        return Response(Said.OK, b"+OK\r\n%b.\r\n" % listing.uidl_lines())
    asked = _message(argument, listing, "UIDL [message-number]")
    return asked if isinstance(asked, Response) else ok(f"{asked} {listing.uidl(asked)}")


def _retr(argument: bytes, known: Known) -> Result:
    asked = _message(argument, _listing(known), "RETR message-number")
    return asked if isinstance(asked, Response) else MessageAsked(number=asked, lines=None)


def _top(argument: bytes, known: Known) -> Result:
    syntax = "TOP message-number lines"
    first, _, second = argument.partition(b" ")
    lines = number(second.strip(b" "))
    if lines is None:
        return err(f"Syntax: {syntax}")
    asked = _message(first, _listing(known), syntax)
    return asked if isinstance(asked, Response) else MessageAsked(number=asked, lines=lines)


def _dele(argument: bytes, known: Known) -> Result:
    listing = _listing(known)
    asked = _message(argument, listing, "DELE message-number")
    if isinstance(asked, Response):
        return asked
    listing.delete(asked)
    return ok(f"Message {asked} will be removed at QUIT")


def _rset(argument: bytes, known: Known) -> Result:
    if argument:
        return err("Syntax: RSET")
    listing = _listing(known)
    listing.reset()
    return ok(f"{listing.count} messages ({listing.octets} octets)")


def _noop(argument: bytes, known: Known) -> Result:
    return err("Syntax: NOOP") if argument else ok()


def _quit(argument: bytes, known: Known) -> Result:
    if known.listing is None:
        return ok("Goodbye")
    return UpdateAsked(numbers=known.listing.deleted)


HANDLERS: dict[str, Callable[[bytes, Known], Result]] = {
    "USER": _user,
    "PASS": _pass,
    "AUTH": _auth,
    "APOP": _apop,
    "UTF8": _utf8,
    "LANG": _lang,
    "STLS": _stls,
    "CAPA": _capa,
    "STAT": _stat,
    "LIST": _list,
    "UIDL": _uidl,
    "RETR": _retr,
    "TOP": _top,
    "DELE": _dele,
    "RSET": _rset,
    "NOOP": _noop,
    "QUIT": _quit,
}


def _listing(known: Known) -> Listing:
    assert known.listing is not None, "there is a maildrop in TRANSACTION"
    return known.listing


def _message(argument: bytes, listing: Listing, syntax: str) -> int | Response:
    asked = number(argument)
    if asked is None:
        return err(f"Syntax: {syntax}")
    return asked if listing.has(asked) else NO_SUCH_MESSAGE


def _text(argument: bytes) -> str:
    """A name or a password as text, "" for what cannot be one: it is UTF-8 without NUL."""
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text
