"""The command lines a client sends (RFC 5321 section 4.1.1), and the EHLO answer it goes by.

A parameter is sent only when its extension was announced. Values that could hold a CR or LF do not exist; that
they do not is asserted once more, for here is where it would hurt.
"""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache

from postroad.vocabulary.address import ReversePath, path_text
from postroad.vocabulary.envelope import BodyType, Recipient
from postroad.vocabulary.limits import DOMAIN_CACHE_ENTRIES
from postroad.vocabulary.reply import Reply
from postroad.wire.smtp.client_events import OutgoingTransaction


@lru_cache(maxsize=DOMAIN_CACHE_ENTRIES)
def path_octets(path: ReversePath) -> bytes:
    text = path_text(path)
    assert all(c >= " " and c != "\x7f" for c in text), "a path holds no control characters"
    return text.encode("utf-8")


def mail_line(transaction: OutgoingTransaction, extensions: dict[str, str], *, logged_in: bool = False) -> bytes:
    """`logged_in`: the server knows us by AUTH."""
    line = b"MAIL FROM:" + path_octets(transaction.reverse_path)
    if not extensions:
        return line + b"\r\n"
    if "SIZE" in extensions:
        line += b" SIZE=%d" % transaction.size_bytes
    body = transaction.body
    if body is not BodyType.SEVEN_BIT and (
        takes_binary(extensions) if body is BodyType.BINARY_MIME else "8BITMIME" in extensions
    ):
        line += b" BODY=" + body.encode()
    if transaction.smtputf8 and "SMTPUTF8" in extensions:
        line += b" SMTPUTF8"
    if (transaction.ret or transaction.envid) and "DSN" in extensions:
        line += _parameter(b" RET=", transaction.ret) + _parameter(b" ENVID=", transaction.envid)
    if transaction.deliver_by is not None and "DELIVERBY" in extensions:
        by = transaction.deliver_by
        line += b" BY=%d;%s%s" % (by.seconds, by.mode.encode(), b"T" if by.trace else b"")
    if transaction.require_tls and "REQUIRETLS" in extensions:
        line += b" REQUIRETLS"
    if transaction.priority and "MT-PRIORITY" in extensions:
        line += b" MT-PRIORITY=%d" % transaction.priority
    if logged_in and "AUTH" in extensions:
        # RFC 4954 section 5: to who knows us by AUTH it is said that we do not vouch for who handed the message in.
        line += b" AUTH=<>"
    if "FUTURERELEASE" in extensions:
        if transaction.hold_for_s is not None:
            line += b" HOLDFOR=%d" % transaction.hold_for_s
        elif transaction.hold_until is not None:
            line += f" HOLDUNTIL={transaction.hold_until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}".encode()
    return line + b"\r\n"


def takes_binary(extensions: dict[str, str]) -> bool:
    """RFC 3030 section 3: BINARYMIME is nothing without CHUNKING."""
    return "BINARYMIME" in extensions and "CHUNKING" in extensions


def rcpt_line(recipient: Recipient, extensions: dict[str, str]) -> bytes:
    line = b"RCPT TO:" + path_octets(recipient.forward_path)
    if (recipient.notify or recipient.original) and "DSN" in extensions:
        line += _parameter(b" NOTIFY=", ",".join(recipient.notify)) + _parameter(b" ORCPT=", recipient.original)
    return line + b"\r\n"


def _parameter(keyword: bytes, value: str) -> bytes:
    if not value:
        return b""
    assert value.isprintable(), "a parameter's value holds no control characters"
    assert " " not in value, "a parameter's value holds no space"
    return keyword + value.encode("utf-8")


def extensions_of(answer: Reply) -> dict[str, str]:
    """The keywords of an EHLO answer in upper case, with their parameters (RFC 5321 section 4.1.1.1)."""
    extensions: dict[str, str] = {}
    for line in answer.lines[1:]:
        keyword, _, parameters = line.strip().partition(" ")
        if keyword[:5].upper() == "AUTH=":
            # The spelling of before RFC 2554, which some still send beside the right one.
            keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}"
        if keyword:
            extensions.setdefault(keyword.upper(), parameters.strip())
    return extensions
