"""The supervisor's side of limits that hold over all processes: it lends portions, and passes counts of guesses on.

Words about limits come in lines {"limits": [word, ...]} and go in the same. From a worker:

    ["ask", key, want, most, urgent, used]    ["give", key, count, used]    ["recalled", key, count]
    ["wrong", kind, address]

and to it: ["lent", key, count, standing, is_answer], ["recall", key, standing, is_wanted], ["wrong", kind, address];
before it serves also ["first", key, portion] and ["tally", kind, who, since, count].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from postroad.rules.lending import Lender, Lent, Word
from postroad.rules.networks import NetworkSet
from postroad.services.guesses import Guesses
from postroad.services.shared_limits import Guess, guesses_of
from postroad.vocabulary.limits import CHANNEL_TALLIES, LENDING_TIDY_S

Words = list[list[Any]]
Tell = Callable[[Words, bool], None]
"""Brings words to a process; those that are not `needed` are dropped where it does not read."""


class Lending:
    """`transport` are the names of the workers that portions are lent to; every process counts guesses."""

    def __init__(self, transport: tuple[str, ...]) -> None:
        self._lender = Lender(transport)
        self._borrowers = frozenset(transport) if len(transport) > 1 else frozenset[str]()
        self._tell: dict[str, Tell] = {}
        self._guesses: dict[Guess, Guesses] = {kind: guesses_of(kind, NetworkSet(())) for kind in Guess}

    @property
    def workers(self) -> int:
        """Among how many the limits are divided."""
        return max(1, len(self._borrowers))

    def born(self, name: str, tell: Tell) -> Words:
        """A process begins, and hears everything from now on. What it has to know before."""
        self._tell[name] = tell
        words: Words = []
        if name in self._borrowers:
            words += [["first", key, portion] for key, portion in self._lender.born(name).items()]
        for kind, guesses in self._guesses.items():
            words += [["tally", kind.value, *tally] for tally in guesses.tallies(CHANNEL_TALLIES)]
        return words

    def died(self, name: str) -> None:
        """Its portions come back. Harmless when repeated."""
        self._tell.pop(name, None)
        if name in self._borrowers:
            self._pass_on(self._lender.died(name))

    def heard(self, name: str, words: Words) -> None:
        """What a process says."""
        answers: list[Word] = []
        wrong: Words = []
        for word in words:
            match word:
                case ["ask", key, want, most, urgent, used] if name in self._borrowers:
                    answers += self._lender.ask(name, key, want, most, urgent=urgent, used=_used(used))
                case ["give", key, count, used] if name in self._borrowers:
                    answers += self._lender.give_back(name, key, count, _used(used))
                case ["recalled", key, count] if name in self._borrowers:
                    answers += self._lender.recalled(name, key, count)
                case ["wrong", kind, address]:
                    self._guesses[Guess(kind)].heard(address, asyncio.get_running_loop().time())
                    wrong.append(word)
        if wrong:
            for other, tell in self._tell.items():
                if other != name:
                    tell(wrong, False)
        self._pass_on(answers)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LENDING_TIDY_S)
            self._pass_on(self._lender.tidy())

    def _pass_on(self, words: list[Word]) -> None:
        by_worker: dict[str, Words] = {}
        for word in words:
            if isinstance(word, Lent):
                plain = ["lent", word.key, word.count, word.standing, word.is_answer]
            else:
                plain = ["recall", word.key, word.standing, word.is_wanted]
            by_worker.setdefault(word.worker, []).append(plain)
        for name, plain_words in by_worker.items():
            if name in self._tell:
                self._tell[name](plain_words, True)


def _used(used: list[Any] | None) -> tuple[float, int] | None:
    return None if used is None else (used[0], used[1])
