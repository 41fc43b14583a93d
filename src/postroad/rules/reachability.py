"""Is it the others who are dead, or we who are cut off? Told by what comes back when hosts are tried.

Pure. One host that does not answer is dead; several different ones in a row, while nobody at all answers, mean that
our own network or name server is away. A refusal comes from somewhere and so counts as an answer.
"""

from __future__ import annotations

from postroad.vocabulary.limits import OFFLINE_HOSTS


class Reachability:
    """`is_lost` while nothing is reachable. `answers`, of whoever counts them, are what was heard on connections that
    are open."""

    __slots__ = ("_at", "_missed", "_reached", "is_lost")

    def __init__(self) -> None:
        self.is_lost = False
        self._missed: set[str] = set()
        self._reached = 0
        self._at = 0

    def mark(self, answers: int) -> int:
        """To be noted when an attempt begins."""
        return self._reached + answers

    def reached(self) -> bool:
        """Somebody could be connected to. True if nothing was reachable until now."""
        was_lost, self.is_lost = self.is_lost, False
        self._reached += 1
        return was_lost

    def missed(self, where: str, began: int, answers: int) -> bool:
        """Nothing came back from there, nor from name servers about it, in an attempt that began at the mark `began`.
        True if with this nothing is reachable any more. Where anybody else was heard since it began, it tells nothing
        of our own network."""
        now = self._reached + answers
        if now != self._at:
            self._at = now
            self._missed.clear()
        if now != began or self.is_lost:
            return False
        self._missed.add(where)
        self.is_lost = len(self._missed) >= OFFLINE_HOSTS
        return self.is_lost
