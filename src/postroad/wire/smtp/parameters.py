"""ESMTP parameters of MAIL and RCPT (RFC 5321 section 4.1.2) and the xtext they use (RFC 3461 section 4).

Mail-parameters = esmtp-param *(SP esmtp-param)
esmtp-param     = esmtp-keyword ["=" esmtp-value]
esmtp-value     = 1*(%d33-60 / %d62-126)        ; no SP, no "=", no controls
"""

from __future__ import annotations

import re

from postroad.vocabulary.envelope import BodyType, Notify
from postroad.vocabulary.limits import PARAMETERS, XTEXT_ENVID_BYTES, XTEXT_ORCPT_BYTES
from postroad.vocabulary.reply import Reply, reply

# RFC 3461 section 4: xtext = *( xchar / hexchar ); xchar = "!" to "~" except "+" and "="
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[!-<>-~\x80-\U0010ffff]+")
# RFC 6533 section 3: utf-8-addr-xtext = 1*( QCHAR / "\x{" HEXPOINT "}" ), QCHAR without "+", "=" and "\".
_UTF8_ADDRESS = re.compile(r"(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


class SyntaxRefused(Exception):
    """A command is malformed; `reply` is what the client is told."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(str(answer))
        self.reply = answer


def wrong_argument(text: str) -> SyntaxRefused:
    return SyntaxRefused(reply(501, text, status="5.5.4"))


def unknown_parameter(keyword: str) -> SyntaxRefused:
    """RFC 5321 section 4.1.1.11: 555 for a parameter that is not recognized, or not announced."""
    return SyntaxRefused(reply(555, f"Parameter {keyword} not recognized", status="5.5.4"))


def split_parameters(octets: bytes) -> dict[str, str | None]:
    """Keywords in upper case with their values, None for a keyword that stands alone.

    Raises SyntaxRefused: 501 for a malformed or repeated parameter, or too many of them.
    """
    try:
        words = octets.decode("utf-8").split(" ")
    except UnicodeDecodeError:
        raise wrong_argument("A parameter is not UTF-8") from None
    if words[0]:
        raise wrong_argument("A space must follow the address")
    parameters: dict[str, str | None] = {}
    for word in words:
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)):
            raise wrong_argument("A parameter is malformed")
        if keyword in parameters:
            raise wrong_argument(f"Parameter {keyword[:40]} is given twice")
        if len(parameters) == PARAMETERS:
            raise wrong_argument("Too many parameters")
        parameters[keyword] = value if equals else None
    return parameters


def needed(keyword: str, value: str | None) -> str:
    if value is None:
        raise wrong_argument(f"Parameter {keyword} needs a value")
    return value


def decode_xtext(keyword: str, value: str, bytes_max: int, *, may_hold_tabs: bool = False) -> str:
    """What xtext stands for: graphic US-ASCII and spaces. Raises SyntaxRefused for anything else: a hidden CR LF
    or NUL here would come out in a report (RFC 3461 section 4.2, which has tabs among the white space)."""
    if len(value) > bytes_max or not _XTEXT.fullmatch(value):
        raise wrong_argument(f"{keyword} is not xtext, or too long")
    if "+" in value:
        value = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), value)
    shown = value.replace("\t", " ") if may_hold_tabs else value
    if not (shown.isascii() and shown.isprintable()):
        raise wrong_argument(f"{keyword} has encoded control characters")
    return value


def read_size(value: str | None) -> int:
    """RFC 1870 section 3: size-value = 1*20DIGIT."""
    text = needed("SIZE", value)
    if len(text) > 20 or not (text.isascii() and text.isdigit()):
        raise wrong_argument("SIZE is a number of octets")
    return int(text)


def read_body(value: str | None, *, binary: bool) -> BodyType:
    """RFC 6152 section 2, and RFC 3030 section 3 where it is announced."""
    text = needed("BODY", value).upper()
    if text == "8BITMIME":
        return BodyType.EIGHT_BIT_MIME
    if text == "7BIT":
        return BodyType.SEVEN_BIT
    if text == "BINARYMIME" and binary:
        return BodyType.BINARY_MIME
    raise wrong_argument("BODY is 7BIT, 8BITMIME or BINARYMIME" if binary else "BODY is 7BIT or 8BITMIME")


def read_ret(value: str | None) -> str:
    """RFC 3461 section 4.3."""
    text = needed("RET", value).upper()
    if text not in ("FULL", "HDRS"):
        raise wrong_argument("RET is FULL or HDRS")
    return text


def read_envid(value: str | None) -> str:
    """RFC 3461 section 4.4; kept in xtext, as it is passed on."""
    text = needed("ENVID", value)
    decode_xtext("ENVID", text, XTEXT_ENVID_BYTES, may_hold_tabs=True)
    return text


def read_auth(value: str | None) -> str:
    """RFC 4954 section 5: an address in xtext, or `<>`, which is "" here."""
    text = needed("AUTH", value)
    return "" if text == "<>" else decode_xtext("AUTH", text, XTEXT_ORCPT_BYTES)


def read_notify(value: str | None) -> tuple[Notify, ...]:
    """RFC 3461 section 4.1: NEVER alone, or a list of the others; what is said twice is said."""
    words = needed("NOTIFY", value).upper().split(",")
    try:
        notify = tuple(dict.fromkeys(Notify(word) for word in words))
    except ValueError:
        raise wrong_argument("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY") from None
    if Notify.NEVER in notify and len(words) > 1:
        raise wrong_argument("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")
    return notify


def read_orcpt(value: str | None, *, smtputf8: bool) -> str:
    """RFC 3461 section 4.2: addr-type ";" xtext; kept as given. Of the type utf-8, in US-ASCII whatever came, so that
    it can be passed on to any server (RFC 6533 section 3)."""
    text = needed("ORCPT", value)
    address_type, semicolon, address = text.partition(";")
    if not semicolon or not _KEYWORD.fullmatch(address_type) or not address:
        raise wrong_argument("ORCPT is type;address")
    if address_type.lower() == "utf-8":
        return f"{address_type};{_utf8_address(address, smtputf8)}"
    decode_xtext("ORCPT", address, XTEXT_ORCPT_BYTES, may_hold_tabs=True)
    return text


def _utf8_address(address: str, smtputf8: bool) -> str:
    """The utf-8-addr-xtext of an address that came so, or, with SMTPUTF8, in UTF-8."""
    if not (smtputf8 or address.isascii()) or not _UTF8_ADDRESS.fullmatch(address):
        raise wrong_argument("ORCPT is not an address of the type utf-8")
    try:
        meant = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), address)
        meant.encode()
    except ValueError:  # beyond Unicode, or half of a surrogate pair
        raise wrong_argument("ORCPT holds a character that does not exist") from None
    if not meant.isprintable():
        raise wrong_argument("ORCPT has encoded control characters")
    said = "".join(c if c.isascii() and c not in "+=\\" else f"\\x{{{ord(c):02X}}}" for c in meant)
    if len(said) > XTEXT_ORCPT_BYTES:
        raise wrong_argument("ORCPT is too long")
    return said
