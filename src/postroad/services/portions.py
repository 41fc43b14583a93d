"""What this worker may use of limits that hold over all workers: its portions, lent by the supervisor (rules/lending).

    portions.take(limit)       at once, out of the portion; False: no more
    portions.wanting(limit)    None: `take` knows; else a future to wait for first
    portions.give(limit)       what was taken is in use no longer
    portions.spend(limit)      what was taken is used up for good, and counted elsewhere by now

Nothing here waits: where the supervisor does not answer within LENT_WAIT_S the worker has its portion and no more.
A worker that is alone needs none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from postroad.rules.lending import Used, standing_portion
from postroad.vocabulary.limits import LENT_CHUNKS, LENT_NO_S, LENT_REFUSALS, LENT_WAIT_S

Word = list[Any]
"""To the supervisor: ["ask", key, want, most, urgent, used], ["give", key, count, used], ["recalled", key, count]."""


class Limit(NamedTuple):
    """`most` of what `key` names, over all workers. `used` says what is used up already, where that is counted
    elsewhere."""

    key: str
    most: int
    used: Callable[[], Used] | None = None


class _Question:
    """Under way to the supervisor, and who waits for its answer."""

    __slots__ = ("is_urgent", "waiting")

    def __init__(self, is_urgent: bool) -> None:
        self.is_urgent = is_urgent
        self.waiting: list[asyncio.Future[None]] = []


class Portions:
    """`send` takes words that are to reach the supervisor in their order; it neither waits nor raises, and False is for
    a question that the channel has no room for. `workers` is how many share the limits; `at_first` are portions that
    are not the standing ones."""

    def __init__(
        self, *, workers: int, send: Callable[[Word], bool], at_first: Mapping[str, int] | None = None
    ) -> None:
        self._workers = workers
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._in_use: dict[str, int] = {}
        self._portions: dict[str, int] = dict(at_first or {})
        """Those that are not the standing ones."""
        self._asked: dict[str, list[_Question]] = {}
        """In the order of their answers; of each key one that can wait at most, and one that cannot."""
        self._refused_until: dict[str, float] = {}
        self._when_wanted: Callable[[str], None] | None = None
        self._woken: set[str] = set()
        """Whose waiters have been told to ask again, and do so when this turn of the loop is over."""

    @property
    def workers(self) -> int:
        """Among how many the limits are divided."""
        return self._workers

    def on_wanted(self, told: Callable[[str], None]) -> None:
        """`told` hears the key when another worker waits for what is in use here."""
        self._when_wanted = told

    def take(self, limit: Limit, count: int = 1) -> bool:
        """Use `count` more."""
        in_use = self._in_use.get(limit.key, 0) + count
        portion = self._portion(limit)
        if in_use > portion:
            if not self._is_refused(limit.key):
                self._ask(limit, in_use - portion, urgent=True)
            return False
        self._in_use[limit.key] = in_use
        if in_use == portion:  # before the next one has to wait
            self._ask(limit, 0, urgent=False)
        return True

    def wanting(self, limit: Limit, count: int = 1) -> asyncio.Future[None] | None:
        """What to wait for, and then to ask again; None when `take` gives the answer."""
        lacking = self._in_use.get(limit.key, 0) + count - self._portion(limit)
        if lacking <= 0 or self._is_refused(limit.key):
            return None
        question = self._ask(limit, lacking, urgent=True)
        if question is None:
            return None
        future: asyncio.Future[None] = self._loop.create_future()
        question.waiting.append(future)
        self._loop.call_later(LENT_WAIT_S, self._give_up, limit.key, future)
        return future

    def give(self, limit: Limit, count: int = 1) -> None:
        """What is far beyond the need goes back to the others, and with the last in use all that was lent."""
        in_use = self._less_in_use(limit.key, count)
        portion = self._portions.get(limit.key)
        if portion is None:
            return
        self._refused_until.pop(limit.key, None)
        chunk = self._chunk(limit) if in_use else 0
        surplus = portion - max(in_use, self._standing(limit))
        if surplus > 2 * chunk:
            self._give_back(limit, surplus - chunk)

    def spend(self, limit: Limit, count: int = 1) -> None:
        """Of the portion that much is no more."""
        in_use = self._less_in_use(limit.key, count)
        portion = self._portions.get(limit.key, 0)
        self._give_back(limit, portion if not in_use else min(count, portion))

    # ---- the supervisor's words ------------------------------------------------------------------

    def lent(self, key: str, count: int, standing: int, *, is_answer: bool) -> None:
        """So much more may be used."""
        self._set(key, self._portions.get(key, standing) + count, standing)
        if not is_answer:
            return
        question = self._answered(key)
        if not count and question.is_urgent:
            self._note_refusal(key)
        for future in question.waiting:
            if not future.done():
                future.set_result(None)
        if question.waiting and key not in self._woken:
            self._woken.add(key)
            self._loop.call_soon(self._woken.discard, key)

    def recall(self, key: str, standing: int, *, is_wanted: bool) -> None:
        """Others need what is not in use here. What was lent to those who waited for it they use first: two workers
        would call one portion to and fro for ever."""
        if key in self._woken:
            self._loop.call_soon(self._return_unused, key, standing, is_wanted)
        else:
            self._return_unused(key, standing, is_wanted)

    def _return_unused(self, key: str, standing: int, is_wanted: bool) -> None:
        portion = self._portions.get(key, standing)
        back = max(0, portion - self._in_use.get(key, 0))
        self._set(key, portion - back, standing)
        self._send(["recalled", key, back])
        if is_wanted and self._when_wanted is not None and key in self._in_use:
            self._when_wanted(key)

    # ---- the books -------------------------------------------------------------------------------

    def _portion(self, limit: Limit) -> int:
        portion = self._portions.get(limit.key)
        return self._standing(limit) if portion is None else portion

    def _standing(self, limit: Limit) -> int:
        return 0 if limit.used is not None else standing_portion(limit.most, self._workers)

    def _chunk(self, limit: Limit) -> int:
        return max(1, limit.most // (LENT_CHUNKS * self._workers))

    def _set(self, key: str, portion: int, standing: int) -> None:
        if portion == standing:
            self._portions.pop(key, None)
        else:
            self._portions[key] = portion

    def _less_in_use(self, key: str, count: int) -> int:
        in_use = self._in_use.get(key, 0) - count
        if in_use > 0:
            self._in_use[key] = in_use
            return in_use
        self._in_use.pop(key, None)
        return 0

    def _ask(self, limit: Limit, lacking: int, *, urgent: bool) -> _Question | None:
        """The question that is under way now; None when there is none, because the channel is full."""
        questions = self._asked.get(limit.key)
        if questions and (questions[-1].is_urgent or not urgent):
            return questions[-1]
        used = None if limit.used is None else limit.used()
        if not self._send(["ask", limit.key, lacking + self._chunk(limit), limit.most, urgent, used]):
            return None
        question = _Question(urgent)
        self._asked.setdefault(limit.key, []).append(question)
        return question

    def _answered(self, key: str) -> _Question:
        questions = self._asked[key]
        question = questions.pop(0)
        if not questions:
            del self._asked[key]
        return question

    def _give_back(self, limit: Limit, count: int) -> None:
        self._set(limit.key, self._portion(limit) - count, self._standing(limit))
        used = None if limit.used is None else limit.used()
        if count or used is not None:
            self._send(["give", limit.key, count, used])

    def _is_refused(self, key: str) -> bool:
        return bool(self._refused_until) and self._refused_until.get(key, 0.0) > self._loop.time()

    def _note_refusal(self, key: str) -> None:
        if len(self._refused_until) >= LENT_REFUSALS:
            self._refused_until.clear()
        self._refused_until[key] = self._loop.time() + LENT_NO_S

    def _give_up(self, key: str, future: asyncio.Future[None]) -> None:
        """The supervisor does not answer; when it does, that is a portion for the next."""
        if not future.done():
            self._note_refusal(key)
            future.set_result(None)
