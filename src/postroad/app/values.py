"""The notations of the configuration file: durations, endpoints, networks, names; read and written.

Every `parse_` raises ValueError with the text that the administrator sees: what is wrong; what is expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import UNIX_PATH_BYTES

_DURATION = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_ADDRESS_EXAMPLE = '"address:port", such as "127.0.0.1:2525" or "[::]:25"'

SMTP_PORT = 25

DURATION_MAX = timedelta(days=3650)
"""Ten years: no time that we reckon with leaves the range of a datetime."""


def parse_duration(text: object) -> timedelta:
    """ "90s", "5m", "4h", "5d"."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f'{shown(text)} is no duration; expected a number with its unit, such as "30s", "5m", "4h", "5d"'
        )
    duration = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if duration > DURATION_MAX:
        raise ValueError(f'"{text}" is too long; expected at most "{DURATION_MAX.days}d"')
    return duration


def duration_text(duration: timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back."""
    seconds = int(duration.total_seconds())
    for unit in "dhm":
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _split_port(text: object, expected: str) -> tuple[str, int]:
    if not isinstance(text, str):
        raise ValueError(f"{shown(text)} is no text; expected {expected}")
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f'"{text}" has no port (0 to 65535); expected {expected}')
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(f'"{text}" needs brackets around its IPv6 address; expected {expected}')
    return host, int(port)


def parse_endpoint(text: object) -> Endpoint:
    """An IP address and port to listen on; port 0 lets the system choose one."""
    host, port = _split_port(text, _ADDRESS_EXAMPLE)
    try:
        return Endpoint(str(ipaddress.ip_address(host)), port)
    except ValueError:
        raise ValueError(f'"{host}" is no IP address; expected {_ADDRESS_EXAMPLE}') from None


def parse_lmtp(text: object, folder: Path) -> Endpoint | Path:
    """A loopback address and port, or the path of a Unix socket, meant from `folder` (RFC 2033 section 5)."""
    expected = 'expected a path, such as "/run/postroad/lmtp.sock", or a loopback address, such as "127.0.0.1:24"'
    if isinstance(text, str) and "/" in text and "\0" not in text:
        path = (folder / text).absolute()
        if len(str(path).encode()) > UNIX_PATH_BYTES:
            raise ValueError(f"{shown(text)} is too long for a Unix socket ({UNIX_PATH_BYTES} octets); {expected}")
        return path
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is neither; {expected}") from None
    if not ipaddress.ip_address(endpoint.address).is_loopback:
        raise ValueError(f'"{text}" can be reached by others, and LMTP asks nobody who they are; {expected}')
    if endpoint.port == SMTP_PORT:
        raise ValueError(f'"{text}" is the port of SMTP, which LMTP must not use; {expected}')
    return endpoint


def parse_name_server(text: object) -> Endpoint:
    """An IP address, with a port where it is not 53."""
    if isinstance(text, str):
        try:
            return Endpoint(str(ipaddress.ip_address(text.strip("[]"))), 53)
        except ValueError:
            pass
    server = parse_endpoint(text)
    if not server.port:
        raise ValueError(f'"{text}" names port 0, which nobody can ask; expected such as "127.0.0.1:5353"')
    return server


def parse_host_port(text: object) -> Endpoint:
    """A host name or IP address and the port to connect to."""
    expected = '"host:port", such as "mail.example.net:587"'
    host, port = _split_port(text, expected)
    if not port:
        raise ValueError(f'"{text}" names port 0, which nobody can connect to; expected {expected}')
    try:
        return Endpoint(str(ipaddress.ip_address(host)), port)
    except ValueError:
        return Endpoint(parse_domain(host), port)


def parse_address(text: object) -> str:
    """An IP address alone, in its usual spelling."""
    try:
        return str(ipaddress.ip_address(text if isinstance(text, str) else ""))
    except ValueError:
        raise ValueError(f'{shown(text)} is no IP address; expected one such as "192.0.2.1"') from None


def parse_network(text: object) -> str:
    """A network as "address/prefix", or one address."""
    expected = 'expected a network such as "10.1.0.0/16", or one address'
    if not isinstance(text, str):
        raise ValueError(f"{shown(text)} is no text; {expected}")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is no network; {expected}') from None
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f'"{text}" is an address inside a network; expected "{network}"')
    return str(network)


def parse_domain(text: object) -> str:
    """A domain name in lower case with A-labels (RFC 5321 section 2.3.5)."""
    expected = 'expected one such as "mx.example.org" (A-labels where it is international)'
    name = text.lower() if isinstance(text, str) else ""
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{shown(text)} is no domain name; {expected}")
    if name.rpartition(".")[2].isdigit():
        raise ValueError(f'"{text}" is no domain name but looks like an address; {expected}')
    return name


def parse_domain_pattern(text: object) -> str:
    """A domain, or "*.domain" for every name below it; "*" alone for all."""
    if text == "*":
        return "*"
    if isinstance(text, str) and text.startswith("*."):
        return "*." + parse_domain(text[2:])
    return parse_domain(text)


def parse_client(text: object) -> str:
    """A network, or the name of a client (RFC 5321 section 2.3.5), "*.name" for all below it."""
    try:
        return parse_network(text)
    except ValueError:
        try:
            return parse_domain_pattern(text)
        except ValueError:
            raise ValueError(
                f'{shown(text)} is neither a network nor a name; expected such as "192.0.2.0/24" or "*.example.net"'
            ) from None


def parse_sender(text: object) -> str:
    """An address or a domain, in lower case."""
    if isinstance(text, str):
        local, at, domain = text.rpartition("@")
        try:
            if not at:
                return parse_domain_pattern(domain)
            if local and not any(c.isspace() for c in local):
                return f"{local.lower()}@{parse_domain(domain)}"
        except ValueError:
            pass
    raise ValueError(
        f'{shown(text)} is neither an address nor a domain; expected such as "ann@example.net" or "example.net"'
    )


def at_least(least: timedelta) -> Callable[[timedelta], timedelta]:
    """A check that a duration is not shorter."""

    def check(duration: timedelta) -> timedelta:
        if duration < least:
            raise ValueError(f'"{duration_text(duration)}" is too short; expected at least "{duration_text(least)}"')
        return duration

    return check


def shown(value: object) -> str:
    """A wrong value as the file has it, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
