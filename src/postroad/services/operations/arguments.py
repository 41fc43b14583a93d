"""Reading the plain arguments of a verb: a wrong one is told to the caller, by name."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from typing import TypeVar

from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.address import Mailbox
from postroad.wire.smtp.paths import PathRefused, parse_domain, parse_mailbox

T = TypeVar("T", str, int, bool)

LIMIT_MAX = 10_000_000
"""Of an account; as much as the configuration takes."""

QUOTA_MAX = 2**50
"""Octets."""

_HOST_AND_PORT = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")


def argument(arguments: PlainObject, name: str, default: T) -> T:
    """The argument of this name, of the type of `default`. Raises OperationFailed for another type."""
    value = arguments.get(name, default)
    if type(value) is not type(default):
        raise OperationFailed(f"{name}: expected {type(default).__name__}, got {value!r}", 2)
    return value


def limit(arguments: PlainObject, name: str, present: int | None, most: int = LIMIT_MAX) -> int | None:
    """A number from 0, `present` when it is not given, None for "default". Raises OperationFailed for another."""
    value = arguments.get(name, present)
    if value == "default":
        return None
    if value is not None and (type(value) is not int or not 0 <= value <= most):
        raise OperationFailed(f'{name}: expected a number from 0 to {most}, or "default", got {value!r}', 2)
    return value


def moment(arguments: PlainObject, name: str) -> datetime | None:
    """A time in RFC 3339, aware. Raises OperationFailed for anything else; None when it is not given."""
    text = argument(arguments, name, "")
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise OperationFailed(f"{name}: {text!r} is not a time", 2) from None
    if at.tzinfo is None:
        raise OperationFailed(f"{name}: {text!r} has no time zone", 2)
    return at


def address(text: str) -> Mailbox:
    """A whole address with its domain. Raises OperationFailed with the reason."""
    try:
        return parse_mailbox(text.strip().encode("utf-8", "replace"), smtputf8=True)
    except PathRefused as refused:
        raise OperationFailed(f"{text!r} is no address: {refused.reason}", 2) from None


def addresses(arguments: PlainObject, name: str) -> tuple[Mailbox, ...]:
    """A list of addresses; none where it is not given. Raises OperationFailed for anything else."""
    texts = arguments.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise OperationFailed(f"{name}: expected a list of addresses, got {texts!r}", 2)
    return tuple(dict.fromkeys(address(text) for text in texts))


def domain_name(text: str) -> str:
    """A domain in lower case with A-labels. Raises OperationFailed with the reason."""
    try:
        return parse_domain(text.strip().encode("utf-8", "replace"), smtputf8=True)
    except PathRefused as refused:
        raise OperationFailed(f"{text!r} is no domain: {refused.reason}", 2) from None


def host_and_port(text: str) -> str:
    """ "host:port" or "host" in its usual spelling, an IPv6 address in brackets. Raises OperationFailed."""
    refused = OperationFailed(f'{text!r} is no host; expected "host:port", such as "mail.example.net:2525"', 2)
    match = _HOST_AND_PORT.fullmatch(text.strip())
    if match is None or (match[2] and not 0 < int(match[2]) < 65_536):
        raise refused
    host = match[1]
    try:
        if host.startswith("["):
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        else:
            host = parse_domain(host.encode("utf-8", "replace"), smtputf8=True)
    except (ValueError, PathRefused):
        raise refused from None
    return f"{host}:{int(match[2])}" if match[2] else host
