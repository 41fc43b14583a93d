"""A reverse-path for each member of a mailing list, by which a bounce tells whom it is about, whatever is in it.

Of `friends-bounces@a.example`, for bob@b.example: `friends-bounces+bob=b.example@a.example`. What comes back to it is
found by the sub-address (RFC 5233). Pure: nothing has to be remembered of what was sent.

A member whose address does not fit there as it is has a digest in its place. That is so for what a dot-string cannot
hold, for what is not US-ASCII (a server without SMTPUTF8 may be on the way back), and for what would make the
local-part longer than LOCAL_PART_BYTES (RFC 5321 section 4.5.3.1.1).
"""

from __future__ import annotations

import base64
import hashlib

from postroad.message.report_fields import from_xtext
from postroad.vocabulary.address import SUBADDRESS_SEPARATOR, Mailbox, ReversePath
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.limits import LOCAL_PART_BYTES

_DIGEST_BYTES = 10
"""Sixteen characters: no two of any list's members have the same."""
_RFC822 = "rfc822;"


def is_told_apart(envelope: Envelope) -> bool:
    """Whether recipients have reverse-paths of their own. A name with the separator in it could not be found again."""
    path = envelope.reverse_path
    if not envelope.verp or path is None or not path.is_ascii:
        return False
    return SUBADDRESS_SEPARATOR not in path.local_part and not str(path).startswith('"')


def reverse_path_of(envelope: Envelope, recipient: Recipient) -> ReversePath:
    """The reverse-path under which this recipient gets it; the one for all where none of its own can be written."""
    path = envelope.reverse_path
    if path is None or not is_told_apart(envelope):
        return path
    member = _member(recipient)
    for tag in (f"{member.local_part}={member.domain}", digest_of(member)):
        tagged = Mailbox(f"{path.local_part}{SUBADDRESS_SEPARATOR}{tag}", path.domain)
        if tagged.is_ascii and len(tagged.local_part) <= LOCAL_PART_BYTES and not str(tagged).startswith('"'):
            return tagged
    return path


def digest_of(member: Mailbox) -> str:
    """What stands for an address that does not fit. There is no "=" in it, as there is in all others."""
    digest = hashlib.sha256(member.key().encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest[:_DIGEST_BYTES]).decode("ascii").lower()


def named_by(bounce_address: Mailbox) -> Mailbox | str | None:
    """Whom a bounce to this address is about: the member, in the spelling that came back, or the `digest_of` one; None
    for the reverse-path that is all members'."""
    tag = bounce_address.local_part.partition(SUBADDRESS_SEPARATOR)[2]
    name, equals, domain = tag.rpartition("=")
    if not equals:
        return tag.lower() or None
    return Mailbox(name, domain.lower()) if name and domain else None


def _member(recipient: Recipient) -> Mailbox:
    """Where an alias was followed it is the alias that is the member; ORCPT names it (RFC 3461 section 5.2.7.2)."""
    if recipient.original.lower().startswith(_RFC822):
        local_part, at, domain = from_xtext(recipient.original[len(_RFC822) :]).rpartition("@")
        if at and local_part and domain:
            return Mailbox(local_part, domain.lower())
    return recipient.forward_path
