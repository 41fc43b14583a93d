"""Is it the others who are dead, or we who are cut off? Told by what comes back when hosts are tried.

Pure. One host that does not answer is dead; several different ones in a row, while nobody at all answers, mean that
our own network or name server is away. A refusal comes from somewhere and so counts as an answer.
"""

from __future__ import annotations

from postroad.vocabulary.limits import OFFLINE_HOSTS


class Reachability:
    """`is_lost` while nothing is reachable."""

    __slots__ = ("_answers", "_missed", "is_lost")

    def __init__(self) -> None:
        self.is_lost = False
        self._missed: set[str] = set()
        self._answers = 0

    def reached(self) -> bool:
        """Somebody answered. True if nothing was reachable until now."""
        was_lost, self.is_lost = self.is_lost, False
        if self._missed:
            self._missed.clear()
        return was_lost

    def missed(self, host: str, answers: int) -> bool:
        """Nothing came back from where `host` stands for, or from the name servers about it. `answers` counts what was
        heard on connections that are open. True if with this nothing is reachable any more."""
        if answers != self._answers:
            self._answers = answers
            self.reached()
        self._missed.add(host)
        if self.is_lost or len(self._missed) < OFFLINE_HOSTS:
            return False
        self.is_lost = True
        self._missed.clear()
        return True
