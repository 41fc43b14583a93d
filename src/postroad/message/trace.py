"""The trace fields that we write: Received, Return-Path, and the texts of Date and Message-ID.

RFC 5321 section 4.4, RFC 5322 sections 3.3 and 3.6.4. A HELO name, a host name and an address are the
peer's words: none of them can bring a line end, a comment or a field of its own into the header.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.endpoint import Endpoint, PeerFacts, TlsFacts
from postroad.vocabulary.limits import DOMAIN_BYTES

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# What may stand for the client after "from" as it is: a Domain, with the underscore that many hosts have,
# or an address-literal (RFC 5321 section 4.1.3).
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?|\[(?:IPv6:)?[0-9A-Fa-f.:]+\]")
_NOT_IN_COMMENT = re.compile(r"[^A-Za-z0-9_.:\[\]\-@+=/ ]")
_NAME_MAX = DOMAIN_BYTES

# (esmtp, TLS, authenticated, smtputf8) -> the word after "with": RFC 3848, and RFC 6531 section 4.3.
_PROTOCOLS = {
    (esmtp, tls, auth, utf8): ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if tls else "") + ("A" if auth else "")
    if esmtp or tls or auth or utf8
    else "SMTP"
    for esmtp in (False, True)
    for tls in (False, True)
    for auth in (False, True)
    for utf8 in (False, True)
}

_last_date: tuple[int, str] = (-1, "")


def date_text(at: datetime) -> str:
    """`Thu, 01 Jan 2026 12:00:00 +0000` (RFC 5322 section 3.3). `at` is aware; UTC is what is written.

    Raises ValueError for a naive datetime. The text of the last second is kept: mail comes in bursts.
    """
    global _last_date
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place in a message")
    second = int(at.timestamp() // 1)
    known = _last_date
    if known[0] == second:
        return known[1]
    utc = at.astimezone(UTC)
    text = (
        f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} "
        f"{utc.hour:02}:{utc.minute:02}:{utc.second:02} +0000"
    )
    _last_date = (second, text)
    return text


def message_id_text(unique: str, hostname: str) -> str:
    """`<unique@hostname>` (RFC 5322 section 3.6.4). A queue id is unique for ever, and so is its Message-ID."""
    return f"<{unique}@{hostname}>"


def address_literal(address: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def protocol_name(peer: PeerFacts, smtputf8: bool, lmtp: bool = False) -> str:
    """The word after "with" in Received: ESMTPSA and its kin."""
    name = _PROTOCOLS[peer.esmtp or lmtp, peer.tls is not None, bool(peer.account), smtputf8]
    return name.replace("ESMTP", "LMTP").replace("UTF8SMTP", "UTF8LMTP") if lmtp else name


def received_field(
    peer: PeerFacts,
    *,
    hostname: str,
    queue_id: str,
    at: datetime,
    recipient: Mailbox | None = None,
    smtputf8: bool = False,
    lmtp: bool = False,
    priority: int | None = None,
) -> bytes:
    """The Received field that we put before a message (RFC 5321 section 4.4), with its last CR LF.

    peer       who gave it to us, and how
    queue_id   the number that the 250 carries
    at         when (aware)
    recipient  the forward-path when the transaction has exactly one recipient, else None: "for" would tell
               each recipient of the others (RFC 5321 section 7.6)
    smtputf8   whether the transaction said SMTPUTF8
    lmtp       whether it was one of LMTP (RFC 2033, RFC 3848)
    priority   MT-PRIORITY, where it was given (RFC 6710 section 4.1)
    """
    tls = peer.tls
    with_ = protocol_name(peer, smtputf8, lmtp)
    if tls is not None:
        with_ = f"{with_} ({_in_comment(tls.version)} {_in_comment(tls.cipher)})"
    for_ = ""
    if recipient is not None:
        path = str(recipient)
        # A path is in the header only when the header can hold it.
        if path.isprintable() and (smtputf8 or path.isascii()):
            for_ = f"\r\n\tfor <{path}>"
    if priority is not None:
        for_ += f"\r\n\tpriority {priority}"
    text = (
        f"Received: from {_client(peer)}\r\n\tby {hostname} with {with_}\r\n\tid {queue_id}{for_};\r\n"
        f"\t{date_text(at)}\r\n"
    )
    return text.encode("utf-8", "replace")


def _client(peer: PeerFacts) -> str:
    """Extended-Domain (RFC 5321 section 4.4): the name it gave itself, the name DNS confirms, the address."""
    helo = peer.helo
    named = len(helo) <= _NAME_MAX and _DOMAIN.fullmatch(helo) is not None
    if peer.remote.address == "unix":
        who = f"uid {peer.uid}" if peer.uid is not None else "local"
        return f"{helo if named else 'localhost'} ({who})"
    if not peer.remote.address:
        return f"{helo if named else 'unknown'} (unknown)"  # a front end did not tell
    literal = address_literal(peer.remote.address)
    host = peer.host
    known = f"({host} {literal})" if host and _DOMAIN.fullmatch(host) else f"({literal})"
    if named:
        return f"{helo} {known}"
    # Not a name that may stand here: the address does, and what was said is a comment.
    said = f"\r\n\t(HELO {_in_comment(helo)})" if helo else ""
    return f"{literal} {known}{said}"


def _in_comment(text: str) -> str:
    """A peer's text for inside a comment: no parenthesis, backslash, control or 8-bit character remains."""
    return _NOT_IN_COMMENT.sub("?", text[:_NAME_MAX])


def return_path_field(reverse_path: ReversePath) -> bytes:
    """The Return-Path field of final delivery (RFC 5321 section 4.4), with its CR LF."""
    if reverse_path is None:
        return b"Return-Path: <>\r\n"
    path = str(reverse_path)
    if not path.isprintable():
        path = "".join(c if c.isprintable() else "?" for c in path)
    return f"Return-Path: <{path}>\r\n".encode("utf-8", "replace")


def fetched_field(
    host: str, remote: Endpoint, tls: TlsFacts | None, *, hostname: str, queue_id: str, at: datetime, recipient: Mailbox
) -> bytes:
    """The Received field of a message that we fetched by POP3 from a maildrop at `host` (RFC 5321 section 3.7.4: a
    gateway adds one too)."""
    with_ = "POP3" if tls is None else f"POP3 ({_in_comment(tls.version)} {_in_comment(tls.cipher)})"
    for_ = f"\r\n\tfor <{recipient}>" if str(recipient).isprintable() and recipient.is_ascii else ""
    text = (
        f"Received: from {host} ({address_literal(remote.address)})\r\n\tby {hostname} with {with_}\r\n"
        f"\tid {queue_id}{for_};\r\n\t{date_text(at)}\r\n"
    )
    return text.encode("ascii", "replace")
