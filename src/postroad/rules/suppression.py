"""Which failures say that an address is not to be written to again, and for how long.

Only a lasting failure that is about the address itself: no such mailbox, no such domain, disabled, moved, a domain
that takes no mail (RFC 3463 sections 3.2 and 3.3, RFC 7504, RFC 7505). A refusal by policy, for the content, or of
ourselves says nothing about the address; a full mailbox may be emptied.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from postroad.vocabulary.enhanced_status import EnhancedStatus

_ADDRESS_IS_BAD = frozenset({(1, 0), (1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1)})
"""(subject, detail): X.1.0 and the others of the address; X.2.1 the mailbox is disabled."""

_STATUS_IN_REPLY = re.compile(r"\d{3}[ -](\d\.\d{1,3}\.\d{1,3})(?: |$)", re.ASCII)
_DOMAIN_TAKES_NO_MAIL = 556


def is_hard(status: EnhancedStatus, reply: str = "") -> bool:
    """Whether this failure of a recipient is one of its address.

    `status` is that of the outcome, `reply` the far end's words, "" when there were none. Where the reply carries a
    status of its own, that one is believed: what a bare 550 is taken to mean is not, as it is said for policy too."""
    if status.class_ != 5:
        return False
    if not reply:
        return (status.subject, status.detail) in _ADDRESS_IS_BAD
    if reply.startswith(str(_DOMAIN_TAKES_NO_MAIL)):
        return True
    match = _STATUS_IN_REPLY.match(reply)
    said = EnhancedStatus.parse(match[1]) if match else None
    return said is not None and said.class_ == 5 and (said.subject, said.detail) in _ADDRESS_IS_BAD


def expires_at(since: datetime, days: int) -> datetime | None:
    """None for never, which 0 days stand for."""
    return since + timedelta(days=days) if days else None
