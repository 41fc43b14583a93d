"""What a next hop's replies mean for the recipients, and what it must be able to do for a message.

Pure. RFC 5321 sections 4.2.1 and 4.5.3.1.10, RFC 1870 section 6.1, RFC 6152 section 3, RFC 3030 section 3,
RFC 6531 section 3.5, RFC 2852 section 4.1, RFC 8689 section 4.2.1, RFC 9422 section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from postroad.rules.attempt import REQUIRETLS_NEEDED, status_of
from postroad.rules.deliver_by import TOO_LATE, hop_keeps_time
from postroad.rules.mx_order import NoWay
from postroad.vocabulary.address import ReversePath
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import BodyType, DeliverBy, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import Reply

MAY_HAVE_IT = (
    "The connection ended after the message was sent and before {host} answered. It may have been delivered; "
    "when it is sent again, it may arrive twice."
)
"""The one duplicate that no mailer can avoid (RFC 5321 section 6.1, RFC 1047)."""

_NO_REPLY = EnhancedStatus(4, 4, 2)
_TOO_MANY = (452, 552)


class NextHop(msgspec.Struct, frozen=True):
    """Who answered, for the outcomes: the host's name and its address."""

    name: str = ""
    address: str = ""


def outcome_of(recipient: Recipient, reply: Reply, by: NextHop) -> Outcome:
    """The recipient's outcome by the reply that decided it: 2yz taken over, 4yz deferred, 5yz failed."""
    fate = Fate.RELAYED if reply.code < 400 else Fate.DEFERRED if reply.code < 500 else Fate.FAILED
    return Outcome(recipient, fate, status_of(reply), "", str(reply), by.name, by.address)


def wants_another_transaction(reply: Reply, accepted_before: int) -> bool:
    """Whether a refused RCPT only says that this transaction is full: the recipient then goes with the next
    one, at once. RFC 5321 section 4.5.3.1.10; 552 is what servers of an older age say."""
    return accepted_before > 0 and reply.code in _TOO_MANY


def outcome_of_no_way(recipient: Recipient, verdict: NoWay) -> Outcome:
    """The outcome where no host was reached, the same for all recipients."""
    return Outcome(
        recipient,
        verdict.fate,
        verdict.status,
        verdict.text,
        verdict.reply,
        verdict.remote_mta,
        verdict.remote_address,
    )


def outcome_of_cut(recipient: Recipient, text: str, reply: Reply | None, by: NextHop) -> Outcome:
    """The outcome where the session ended in the middle. Whatever the server said last (a 421, or a 5yz
    with which it hung up), it was not about this recipient: deferred."""
    status = _NO_REPLY if reply is None else status_of(reply).with_class(4)
    return Outcome(recipient, Fate.DEFERRED, status, text, "" if reply is None else str(reply), by.name, by.address)


class Lacking(Enum):
    """What a next hop cannot do; the text is for the sender."""

    SIZE = "takes messages of at most {limit} octets; this one has {size}"
    EIGHT_BIT = "takes no 8-bit content (8BITMIME)"
    BINARY = "takes no binary content (BINARYMIME)"
    UTF8 = "takes no internationalised addresses or header fields (SMTPUTF8)"
    TIME = "does not promise to return the message in time (DELIVERBY)"
    SECRECY = "was not reached in the way that this message requires (REQUIRETLS)"


_STATUS = {
    Lacking.SIZE: EnhancedStatus(5, 3, 4),
    Lacking.EIGHT_BIT: EnhancedStatus(5, 6, 3),
    Lacking.BINARY: EnhancedStatus(5, 6, 3),
    Lacking.UTF8: EnhancedStatus(5, 6, 7),
    Lacking.TIME: TOO_LATE,
    Lacking.SECRECY: REQUIRETLS_NEEDED,
}


def lacking(extensions: Mapping[str, str], *, size_bytes: int, body: BodyType, smtputf8: bool) -> Lacking | None:
    """What the server that announced `extensions` cannot do for a message, or None if all is well.

    The answer is about what the message *declares*; `rules/body_form` goes on from there to what it needs, and to
    the form it could be given.
    """
    limit = extensions.get("SIZE", "")
    if limit.isascii() and limit.isdigit() and 0 < int(limit[:20]) < size_bytes:
        return Lacking.SIZE
    if smtputf8 and "SMTPUTF8" not in extensions:
        return Lacking.UTF8
    if body is BodyType.EIGHT_BIT_MIME and "8BITMIME" not in extensions:
        return Lacking.EIGHT_BIT
    if body is BodyType.BINARY_MIME and not ("BINARYMIME" in extensions and "CHUNKING" in extensions):
        return Lacking.BINARY  # DATA cannot carry it (RFC 3030 section 3)
    return None


def lacking_promise(
    extensions: Mapping[str, str], *, tls: TlsFacts | None, require_tls: bool, deliver_by: DeliverBy | None
) -> Lacking | None:
    """What the server cannot promise for a message: to keep it secret onward (RFC 8689 section 4.2.1), to have it
    there or back in the time that is left (RFC 2852 section 4.1.4). `tls` is what the connection has."""
    if require_tls and (tls is None or not tls.verified or "REQUIRETLS" not in extensions):
        return Lacking.SECRECY
    if deliver_by is not None and not hop_keeps_time(deliver_by, extensions.get("DELIVERBY")):
        return Lacking.TIME
    return None


def goes_without_promise(reverse_path: ReversePath, require_tls: bool, outcomes: Sequence[Outcome]) -> bool:
    """Whether a message that no host of its recipients promised to keep secret goes there all the same, like any
    other: a report must not be lost for that (RFC 8689 section 5). It holds no more than the header of what it is
    about."""
    if reverse_path is not None or not require_tls:
        return False
    return all(each.fate is Fate.FAILED and each.status == REQUIRETLS_NEEDED for each in outcomes)


def limits_of(extensions: Mapping[str, str]) -> dict[str, int]:
    """The numbers of LIMITS (RFC 9422 section 3) that are ones we could obey: MAILMAX, RCPTMAX, RCPTDOMAINMAX."""
    found: dict[str, int] = {}
    for word in extensions.get("LIMITS", "").split():
        name, _, value = word.partition("=")
        if value.isascii() and value.isdigit() and len(value) <= 6 and int(value) > 0:
            found[name.upper()] = int(value)
    return found


def outcome_of_lacking(
    recipient: Recipient,
    lack: Lacking,
    by: NextHop,
    *,
    size_bytes: int,
    extensions: Mapping[str, str],
    unconvertible: str = "",
) -> Outcome:
    """The failure of a recipient whose host cannot take this message; `unconvertible` tells why no other form of
    it could be made (`message.convert.CannotConvert`)."""
    words = lack.value.format(limit=extensions.get("SIZE", ""), size=size_bytes)
    if unconvertible:
        words += f", and the message cannot be converted: {unconvertible}"
    return Outcome(recipient, Fate.FAILED, _STATUS[lack], f"{by.name} {words}.", "", by.name, by.address)
