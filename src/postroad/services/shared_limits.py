"""What the services of one process know of limits that hold over all processes of the server.

Counts of wrong guesses are one for the whole server: every process tells the others, by the supervisor, and adds what
they tell. Everything that is in use for a while is lent out in portions (services/portions.py) where there is
more than one transport worker.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from postroad.rules.networks import NetworkSet
from postroad.services.guesses import Guesses, Tally
from postroad.services.portions import Portions
from postroad.vocabulary.limits import (
    AUTH_FAILURES_OF_CLIENT,
    AUTH_MEMORY_S,
    ETRN_MEMORY_S,
    ETRN_OF_CLIENT,
    REFUSED_RECIPIENTS_MEMORY_S,
    REFUSED_RECIPIENTS_OF_CLIENT,
)


class Guess(StrEnum):
    """What is counted."""

    PASSWORD = "password"
    RECIPIENT = "recipient"
    QUEUE_RUN = "etrn"


_BOUNDS: dict[Guess, tuple[int, float]] = {
    Guess.PASSWORD: (AUTH_FAILURES_OF_CLIENT, AUTH_MEMORY_S),
    Guess.RECIPIENT: (REFUSED_RECIPIENTS_OF_CLIENT, REFUSED_RECIPIENTS_MEMORY_S),
    Guess.QUEUE_RUN: (ETRN_OF_CLIENT, ETRN_MEMORY_S),
}


def guesses_of(kind: Guess, exempt: NetworkSet, tell: Callable[[str], None] | None = None) -> Guesses:
    """A count with the bounds of its kind."""
    most, memory_s = _BOUNDS[kind]
    return Guesses(most=most, memory_s=memory_s, exempt=exempt, tell=tell)


class SharedLimits:
    """`portions` is None where one worker has all. `tell` brings each guess that is counted here to the others."""

    def __init__(
        self,
        portions: Portions | None = None,
        *,
        tell: Callable[[Guess, str], None] | None = None,
        tallies: dict[Guess, list[Tally]] | None = None,
    ) -> None:
        self.portions = portions
        self._tell = tell
        self._at_first = tallies or {}
        self._guesses: dict[Guess, Guesses] = {}

    @property
    def workers(self) -> int:
        """Among how many the limits are divided."""
        return 1 if self.portions is None else self.portions.workers

    def guesses(self, kind: Guess, exempt: NetworkSet) -> Guesses:
        """The count of this kind; one for all services of the process, with the exemptions of the first to ask."""
        found = self._guesses.get(kind)
        if found is None:
            found = self._guesses[kind] = guesses_of(kind, exempt, self._teller(kind))
            found.adopt(self._at_first.pop(kind, []))
        return found

    def _teller(self, kind: Guess) -> Callable[[str], None] | None:
        tell = self._tell
        return None if tell is None else lambda address: tell(kind, address)

    def heard(self, kind: Guess, address: str, now: float) -> None:
        """Another process has counted a guess from there."""
        known = self._guesses.get(kind)
        if known is not None:
            known.heard(address, now)
