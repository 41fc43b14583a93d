"""Command lines of the rarer verbs from octets to values: BDAT, ETRN, ATRN, XCLIENT.

RFC 3030, RFC 1985, RFC 2645; XCLIENT as Postfix describes it. As in commands.py nothing but SyntaxRefused is raised.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from postroad.vocabulary.limits import ATRN_DOMAINS, CHUNK_SIZE_DIGITS, DOMAIN_BYTES, SASL_NAME_BYTES, XTEXT_ORCPT_BYTES
from postroad.vocabulary.reply import Reply
from postroad.wire.smtp import replies
from postroad.wire.smtp.events import ClientReplaced, QueueRunAsked, TurnAsked
from postroad.wire.smtp.parameters import SyntaxRefused, decode_xtext, wrong_argument
from postroad.wire.smtp.paths import PathRefused, parse_domain
from postroad.wire.smtp.server_profile import XCLIENT_ATTRIBUTES

_NOT_KNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


class ChunkAsked(NamedTuple):
    size_bytes: int
    is_last: bool


def parse_bdat(argument: bytes) -> ChunkAsked | None:
    """bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ]; None when that is not what came: then nobody knows where the
    next command begins."""
    words = argument.split()
    if not 1 <= len(words) <= 2 or (len(words) == 2 and words[1].upper() != b"LAST"):
        return None
    digits = words[0]
    if not digits.isdigit() or len(digits) > CHUNK_SIZE_DIGITS:
        return None
    return ChunkAsked(int(digits), len(words) == 2)


def parse_etrn(argument: bytes) -> QueueRunAsked:
    """RFC 1985 section 5: a domain; "@" before it means those below it too; "#" is the name of a queue."""
    text = argument.strip(b" ")
    if text[:1] == b"#":
        name = text.decode("ascii", "replace")
        if not 1 < len(name) <= DOMAIN_BYTES or not (name.isascii() and name.isprintable()) or " " in name:
            raise SyntaxRefused(replies.ETRN_SYNTAX)
        return QueueRunAsked(name)
    at = b"@" if text[:1] == b"@" else b""
    return QueueRunAsked(at.decode() + _domain(text[len(at) :], replies.ETRN_SYNTAX))


def parse_atrn(argument: bytes) -> TurnAsked:
    """atrn = "ATRN" [SP domain *("," domain)] (RFC 2645 section 5.2.1)."""
    text = argument.strip(b" ")
    if not text:
        return TurnAsked("ATRN")
    domains = text.split(b",")
    if len(domains) > ATRN_DOMAINS:
        raise SyntaxRefused(replies.ATRN_SYNTAX)
    return TurnAsked("ATRN", tuple(dict.fromkeys(_domain(each, replies.ATRN_SYNTAX) for each in domains)))


def _domain(octets: bytes, otherwise: Reply) -> str:
    try:
        domain = parse_domain(octets)
    except PathRefused:
        raise SyntaxRefused(otherwise) from None
    if domain.startswith("["):
        raise SyntaxRefused(otherwise)
    return domain


# ---- XCLIENT -------------------------------------------------------------------------------------


def parse_xclient(argument: bytes) -> ClientReplaced:
    """XCLIENT 1*( SP attribute-name "=" attribute-value ), the values in xtext."""
    said: dict[str, str] = {}
    for word in argument.decode("latin-1").split():
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if keyword not in XCLIENT_ATTRIBUTES or not equals or not value:
            raise wrong_argument("XCLIENT takes " + " ".join(XCLIENT_ATTRIBUTES))
        if keyword in said:
            raise wrong_argument(f"{keyword} is given twice")
        said[keyword] = decode_xtext(keyword, value, XTEXT_ORCPT_BYTES)
    if not said:
        raise wrong_argument("XCLIENT needs an attribute")
    return ClientReplaced(
        name=_text(said, "NAME", DOMAIN_BYTES),
        name_later=said.get("NAME", "").upper() == "[TEMPUNAVAIL]",
        address=_address(said, "ADDR"),
        port=_port(said, "PORT"),
        protocol=_protocol(said),
        helo=_text(said, "HELO", DOMAIN_BYTES),
        login=_text(said, "LOGIN", SASL_NAME_BYTES),
        destination_address=_address(said, "DESTADDR"),
        destination_port=_port(said, "DESTPORT"),
    )


def _text(said: dict[str, str], keyword: str, most: int) -> str | None:
    value = said.get(keyword)
    if value is None:
        return None
    if value.upper() in _NOT_KNOWN:
        return ""
    if len(value) > most or " " in value:
        raise wrong_argument(f"{keyword} is one word")
    return value


def _address(said: dict[str, str], keyword: str) -> str | None:
    """In the spelling of Endpoint: a v4-mapped address as IPv4."""
    value = _text(said, keyword, DOMAIN_BYTES)
    if not value:
        return value
    try:
        address: IPv4Address | IPv6Address = (
            IPv6Address(value[5:]) if value[:5].upper() == "IPV6:" else ip_address(value)
        )
    except ValueError:
        raise wrong_argument(f"{keyword} is an IPv4 address, or IPV6: and an IPv6 address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise wrong_argument(f"{keyword} has no scope")
        return str(address.ipv4_mapped or address)
    return str(address)


def _port(said: dict[str, str], keyword: str) -> int | None:
    value = _text(said, keyword, 40)
    if value is None or not value:
        return None if value is None else 0
    if not (value.isascii() and value.isdigit()) or not 0 < int(value) < 65_536:
        raise wrong_argument(f"{keyword} is a port number")
    return int(value)


def _protocol(said: dict[str, str]) -> str | None:
    value = _text(said, "PROTO", 40)
    if value and value.upper() not in ("SMTP", "ESMTP"):
        raise wrong_argument("PROTO is SMTP or ESMTP")
    return value.upper() if value else value
