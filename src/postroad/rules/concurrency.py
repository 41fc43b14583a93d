"""How many connections at once a host bears, learned from how it answers.

Pure. Begins low, grows by one for every round in which all went well, and halves when the host itself has enough:
a connection refused or timed out beside others that work, a 421, a reply that speaks of load. What is said of one
recipient or one sender tells nothing of the host (RFC 5321 section 4.2.1, RFC 3463 section 3).
"""

from __future__ import annotations

from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import CONCURRENCY_FIRST, DEFERRALS_IN_A_ROW, ROUND_AFTER_SETBACK
from postroad.vocabulary.reply import Reply

_OVERLOADED = frozenset({EnhancedStatus(4, 3, 2), EnhancedStatus(4, 4, 5)})
"""System not accepting network messages, system congestion."""
_SECURITY = (4, 7)
"""Of MAIL, where no recipient is known yet, it is about us: most often "too much from your address"."""


class Concurrency:
    """`limit` is how many connections there may be now, at most `ceiling`.

    `generation` is to be noted when a connection is opened: those of one generation that fail together halve the
    limit once.
    """

    __slots__ = ("_deferred", "_done", "_round", "ceiling", "generation", "limit")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = min(CONCURRENCY_FIRST, ceiling)
        self.generation = 0
        self._round = self.limit
        self._done = 0
        self._deferred = 0

    def succeeded(self) -> bool:
        """A transaction was answered, and not by putting everybody off. True if the limit has grown by it."""
        self._deferred = 0
        if self.limit >= self.ceiling:
            return False
        self._done += 1
        if self._done < self._round:
            return False
        self.limit += 1
        self._begin_round(self.limit)
        return True

    def deferred(self) -> None:
        """A transaction came to an end in which everybody was put off. After some in a row one connection is enough
        to find out when that is over; the first success lets it grow again."""
        self._deferred += 1
        self._done = 0
        if self._deferred >= DEFERRALS_IN_A_ROW and self.limit > 1:
            self.limit = 1
            self._begin_round(1)

    def pressed(self, generation: int) -> None:
        """The host has enough."""
        if generation != self.generation:
            return
        self.generation += 1
        self.limit = max(1, self.limit // 2)
        self._begin_round(max(self.limit, ROUND_AFTER_SETBACK))

    def _begin_round(self, length: int) -> None:
        self._round = length
        self._done = 0


def speaks_of_load(reply: Reply, *, before_recipients: bool) -> bool:
    """Whether a reply in a transaction says that the host as a whole has enough. `before_recipients`: it is the one
    to MAIL."""
    if reply.code == 421:
        return True
    status = reply.status
    if not 400 <= reply.code < 500 or status is None:
        return False
    return status in _OVERLOADED or (before_recipients and (status.class_, status.subject) == _SECURITY)
