"""Reverse-paths and forward-paths from the wire to values (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

    Path       = "<" [ A-d-l ":" ] Mailbox ">"
    Mailbox    = Local-part "@" ( Domain / address-literal )
    Local-part = Dot-string / Quoted-string

A `%` or `!` in a local part is a letter like any other: nothing is re-routed here or anywhere.
`Mailbox.__str__` is the way back.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import DOMAIN_BYTES, DOMAIN_CACHE_ENTRIES, LOCAL_PART_BYTES, PATH_BYTES

_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_DOT_STRING = _ALPHANUMERIC + b".!#$%&'*+-/=?^_`{|}~"
_DOT_STRING_TEXT = frozenset(_DOT_STRING.decode())
_DOMAIN = _ALPHANUMERIC + b".-"
_LABEL_BYTES = 63

# Characters that change what a reader sees or cannot be seen: controls, formats (bidirectional overrides,
# zero-width joiners), surrogates, private and unassigned ones, and every space but U+0020.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


class PathRefused(ValueError):
    """What came is no path, with the reason in words for the peer.

    `needs_smtputf8` tells that it would be one in a transaction with SMTPUTF8 (RFC 6531 section 3.5).
    """

    def __init__(self, reason: str, *, needs_smtputf8: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.needs_smtputf8 = needs_smtputf8


def split_path(argument: bytes) -> tuple[bytes, bytes]:
    """The octets between the angle brackets at the start of `argument`, and what follows them.

    A `>` inside a quoted local part does not end the path. Raises PathRefused when there are no brackets.
    """
    if argument[:1] != b"<":
        raise PathRefused("the address must stand in angle brackets")
    end = argument.find(b">")
    if b'"' in argument[:end]:
        end = _end_after_quotes(argument)
    if end < 0:
        raise PathRefused("the closing angle bracket is missing")
    if end >= PATH_BYTES:
        raise PathRefused(f"a path has at most {PATH_BYTES} octets")
    return argument[1:end], argument[end + 1 :]


def parse_mailbox(octets: bytes, *, smtputf8: bool = False) -> Mailbox:
    """The mailbox of a path, without its angle brackets; a source route is read and ignored
    (RFC 5321 section 3.3 and appendix C). Raises PathRefused, never anything else."""
    local, at, domain = octets.partition(b"@")
    if at and is_dot_string(local):
        return Mailbox(local.decode("ascii"), parse_domain(domain, smtputf8))
    text = _readable(octets, smtputf8)
    if text.startswith("@"):
        text = _after_route(text, smtputf8)
    local_part, rest = _quoted(text) if text.startswith('"') else _unquoted(text)
    if rest[:1] != "@":
        raise PathRefused("a mailbox is local-part@domain")
    return Mailbox(local_part, parse_domain(rest[1:].encode(), smtputf8))


def is_dot_string(local: bytes) -> bool:
    """Dot-string = Atom *("." Atom), and short enough. US-ASCII alone; other letters take the slower way."""
    if local.isalnum():
        return len(local) <= LOCAL_PART_BYTES
    return (
        0 < len(local) <= LOCAL_PART_BYTES
        and not local.translate(None, _DOT_STRING)
        and (b"." not in local or (local[0] != 46 and local[-1] != 46 and b".." not in local))
    )


@lru_cache(maxsize=DOMAIN_CACHE_ENTRIES)
def parse_domain(octets: bytes, smtputf8: bool = False) -> str:
    """A domain in lower case with A-labels, or an address literal in its brackets. Raises PathRefused."""
    if octets[:1] == b"[":
        return _address_literal(octets)
    if len(octets) > DOMAIN_BYTES:
        raise PathRefused(f"a domain has at most {DOMAIN_BYTES} octets")
    if not octets.isascii():
        octets = _a_labels(_readable(octets, smtputf8))
    if octets.translate(None, _DOMAIN):
        raise PathRefused("a domain has letters, digits, hyphens and dots only")
    for label in octets.split(b"."):
        if not 0 < len(label) <= _LABEL_BYTES or label[0] == 45 or label[-1] == 45:
            raise PathRefused("a label of the domain is empty, too long, or begins or ends with a hyphen")
    return octets.decode("ascii").lower()


def _end_after_quotes(argument: bytes) -> int:
    """Where the `>` is that stands outside of a quoted string; -1 when there is none."""
    quoted = escaped = False
    for n, octet in enumerate(argument[: PATH_BYTES + 1]):
        if escaped:
            escaped = False
        elif quoted and octet == 92:
            escaped = True
        elif octet == 34:
            quoted = not quoted
        elif octet == 62 and not quoted:
            return n
    return -1


def _readable(octets: bytes, smtputf8: bool) -> str:
    """The octets as text that a person can see whole. Raises PathRefused."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise PathRefused("the address is not UTF-8") from None
    if text.isascii():
        return text
    if any(unicodedata.category(c) in _UNSEEN for c in text if c != " "):
        raise PathRefused("the address has control, zero-width or bidirectional characters")
    if not smtputf8:
        raise PathRefused("the address is not US-ASCII and SMTPUTF8 was not asked for", needs_smtputf8=True)
    return text


def _after_route(text: str, smtputf8: bool) -> str:
    """A-d-l = At-domain *( "," At-domain ), At-domain = "@" Domain; checked, then forgotten."""
    route, colon, rest = text.partition(":")
    if not colon:
        raise PathRefused("a source route ends with a colon")
    for hop in route.split(","):
        if hop[:1] != "@" or hop[1:2] == "[":
            raise PathRefused("a source route is a list of @domain")
        parse_domain(hop[1:].encode(), smtputf8)
    return rest


def _unquoted(text: str) -> tuple[str, str]:
    """A Dot-string, and what follows it."""
    local, at, rest = text.partition("@")
    _check_local_part_bytes(local)
    if not all(c in _DOT_STRING_TEXT or c > "\x7f" for c in local):
        raise PathRefused("the local part has characters that must be quoted")
    if not all(local.split(".")):
        raise PathRefused("the local part has an empty part between dots")
    return local, at + rest


def _quoted(text: str) -> tuple[str, str]:
    """A Quoted-string without its quotes and backslashes, and what follows it.

    QcontentSMTP = qtextSMTP / quoted-pairSMTP: SP to "~", and with SMTPUTF8 what is beyond US-ASCII.
    """
    letters: list[str] = []
    n = 1
    while n < len(text) and text[n] != '"':
        if text[n] == "\\":
            n += 1
        if n >= len(text) or text[n] < " " or text[n] == "\x7f":
            raise PathRefused("the quoted local part has a control character or a backslash at its end")
        letters.append(text[n])
        n += 1
    if n >= len(text):
        raise PathRefused("the quoted local part has no closing quote")
    _check_local_part_bytes(text[: n + 1])
    return "".join(letters), text[n + 1 :]


def _check_local_part_bytes(local: str) -> None:
    if not 0 < len(local.encode()) <= LOCAL_PART_BYTES:
        raise PathRefused(f"a local part has 1 to {LOCAL_PART_BYTES} octets")


def _a_labels(text: str) -> bytes:
    """U-labels as A-labels (RFC 5891), so that a domain has one spelling here."""
    import idna  # large tables, and most sessions never see such a domain

    try:
        return idna.encode(text, uts46=True)
    except UnicodeError:  # idna.IDNAError is one
        raise PathRefused("the domain is not a valid internationalised name") from None


def _address_literal(octets: bytes) -> str:
    """address-literal = "[" ( IPv4-address-literal / IPv6-address-literal ) "]" (RFC 5321 section 4.1.3)."""
    try:
        text = octets.decode("ascii")
        inner = text[1:-1]
        if not text.endswith("]") or "%" in inner:
            raise ValueError
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{IPv6Address(inner[5:])}]"
        return f"[{IPv4Address(inner)}]"
    except ValueError:
        raise PathRefused("the address literal is not an IPv4 or IPv6 address") from None
