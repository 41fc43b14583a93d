"""Limits that hold over all workers together: each is lent a portion, and the portions never exceed the limit.

A budget is known by its key ("sessions of 192.0.2.7"). While nothing happens to it nobody keeps anything about it:
every worker may use a standing portion of it unasked, so small that all of them together are half of the limit. A
worker that needs more asks, and from then on the portions of that key stand here; what others have and do not use is
called in when it is wanted. When all have their standing portion again the key is forgotten.

Pure: messages in, messages out. The messages to and from one worker must keep their order; those of several may
come in any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

Used: TypeAlias = tuple[float, int]
"""What is used up for good: since when it is counted, and how much. A later count, or a higher one, is the newer."""

NOTHING_USED: Used = (0.0, 0)


def standing_portion(most: int, workers: int) -> int:
    """What each may use unasked of a budget that is given back after use."""
    return most // (2 * workers)


@dataclass(frozen=True, slots=True)
class Lent:
    """`worker` may use `count` more; `standing` is what it needs nobody's leave for. `is_answer`: to its oldest
    question about this key."""

    worker: str
    key: str
    count: int
    standing: int
    is_answer: bool


@dataclass(frozen=True, slots=True)
class Recall:
    """`worker` is to say (`recalled`) what it does not use of its portion; it loses that. `is_wanted`: another worker
    waits for it, or else it is only put in order."""

    worker: str
    key: str
    standing: int
    is_wanted: bool


Word: TypeAlias = Lent | Recall


@dataclass(slots=True)
class _Question:
    worker: str
    want: int
    is_urgent: bool
    has_recalled: bool = False


@dataclass(slots=True)
class _Budget:
    most: int
    standing: int
    used: Used
    portions: dict[str, int]
    questions: list[_Question] = field(default_factory=list)
    recalled: set[str] = field(default_factory=set)
    """Whose answers are awaited."""
    is_quiet: bool = False
    """Nothing has happened since the last tidying."""

    @property
    def free(self) -> int:
        return self.most - self.used[1] - sum(self.portions.values())


class Lender:
    """`workers` are all that there are to be; each `born` before it says anything."""

    def __init__(self, workers: Iterable[str]) -> None:
        self._count = len(tuple(workers))
        self._alive: set[str] = set()
        self._budgets: dict[str, _Budget] = {}

    def __len__(self) -> int:
        """Budgets that are kept."""
        return len(self._budgets)

    def born(self, worker: str) -> dict[str, int]:
        """A worker begins. Its portions of the budgets that are kept, none of which is its standing one."""
        self._alive.add(worker)
        for budget in self._budgets.values():
            budget.portions[worker] = 0
        return {key: 0 for key, budget in self._budgets.items() if budget.standing}

    def died(self, worker: str) -> list[Word]:
        """Its portions come back. Harmless when repeated."""
        self._alive.discard(worker)
        words: list[Word] = []
        for key, budget in list(self._budgets.items()):
            budget.portions.pop(worker, None)
            budget.recalled.discard(worker)
            budget.questions = [question for question in budget.questions if question.worker != worker]
            self._settle(key, budget, words)
        return words

    def ask(self, worker: str, key: str, want: int, most: int, *, urgent: bool, used: Used | None = None) -> list[Word]:
        """A worker wants to use `want` more of what is at `most` that many. Without `urgent` it can wait: nothing is
        called in for it. With `used` the budget has no standing portions, and what is used counts against it."""
        if worker not in self._alive:
            return []
        budget = self._budgets.get(key)
        if budget is None:
            standing = 0 if used is not None else standing_portion(most, self._count)
            budget = _Budget(most, standing, NOTHING_USED, dict.fromkeys(self._alive, standing))
            self._budgets[key] = budget
        budget.most = most
        budget.used = max(budget.used, used or NOTHING_USED)
        budget.questions.append(_Question(worker, max(1, want), urgent))
        return self._settled(key, budget)

    def give_back(self, worker: str, key: str, count: int, used: Used | None = None) -> list[Word]:
        """It uses so much less, and will not use it without asking."""
        return self._returned(worker, key, count, used, is_answer=False)

    def recalled(self, worker: str, key: str, count: int) -> list[Word]:
        """The answer to a `Recall`: so much was not in use."""
        return self._returned(worker, key, count, None, is_answer=True)

    def tidy(self) -> list[Word]:
        """To be called now and then: what has been at rest since the last time is forgotten; where nothing happened
        although more than the standing portions are lent, what is not used is called in."""
        words: list[Word] = []
        for key, budget in list(self._budgets.items()):
            if not budget.is_quiet:
                budget.is_quiet = True
            elif self._is_at_rest(budget):
                del self._budgets[key]
            else:
                self._call_in(key, budget, words, beyond=budget.standing)
        return words

    def _returned(self, worker: str, key: str, count: int, used: Used | None, *, is_answer: bool) -> list[Word]:
        budget = self._budgets.get(key)
        if budget is None or worker not in self._alive:
            return []
        budget.portions[worker] = max(0, budget.portions.get(worker, 0) - count)
        budget.used = max(budget.used, used or NOTHING_USED)
        if is_answer:
            budget.recalled.discard(worker)
        return self._settled(key, budget)

    def _settled(self, key: str, budget: _Budget) -> list[Word]:
        words: list[Word] = []
        self._settle(key, budget, words)
        return words

    def _settle(self, key: str, budget: _Budget, words: list[Word]) -> None:
        """Answer what can be answered, in the order of the questions; then let all have their standing portions."""
        budget.is_quiet = False
        while budget.questions:
            question = budget.questions[0]
            if budget.free <= 0 and question.is_urgent:
                if not question.has_recalled:
                    question.has_recalled = True
                    self._call_in(key, budget, words, asking=question.worker)
                if budget.recalled:
                    return
            del budget.questions[0]
            count = max(0, min(question.want, budget.free))
            budget.portions[question.worker] += count
            words.append(Lent(question.worker, key, count, budget.standing, is_answer=True))
        self._relax(key, budget, words)

    def _call_in(self, key: str, budget: _Budget, words: list[Word], *, asking: str = "", beyond: int = 0) -> None:
        for worker, portion in budget.portions.items():
            if worker != asking and portion > beyond and worker not in budget.recalled:
                budget.recalled.add(worker)
                words.append(Recall(worker, key, budget.standing, is_wanted=bool(asking)))

    def _relax(self, key: str, budget: _Budget, words: list[Word]) -> None:
        standing = budget.standing
        if budget.recalled or not standing:
            return
        wanted = sum(max(portion, standing) for portion in budget.portions.values())
        # With something to spare, or the next question would call it in again.
        if wanted + standing > budget.most - budget.used[1]:
            return
        for worker, portion in budget.portions.items():
            if portion < standing:
                budget.portions[worker] = standing
                words.append(Lent(worker, key, standing - portion, standing, is_answer=False))
        if self._is_at_rest(budget):
            del self._budgets[key]

    def _is_at_rest(self, budget: _Budget) -> bool:
        quiet = not budget.questions and not budget.recalled
        return quiet and all(portion == budget.standing for portion in budget.portions.values())
