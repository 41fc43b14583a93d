"""Limits over all workers: whatever is asked, given back, called in, and whoever dies, they are never exceeded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroad.rules.lending import Lender, Lent, Recall, Used
from postroad.services.door_portions import DoorPortions
from postroad.services.portions import Limit, Portions
from postroad.simulation.virtual_loop import VirtualLoop
from postroad.vocabulary.limits import LENT_NO_S
from tests.services.houses import pass_time

NAMES = ("t0", "t1", "t2")


class Crew:
    """A lender and its workers, with channels that keep their order and deliver when they are told to."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.names = names
        self.lender = Lender(names)
        self.up: dict[str, deque[list[Any]]] = {}
        self.down: dict[str, deque[Lent | Recall]] = {}
        self.portions: dict[str, Portions] = {}
        self.in_use: dict[str, dict[str, int]] = {}
        self.used = 0
        for name in names:
            self.begin(name)

    def begin(self, name: str) -> None:
        self.up[name], self.down[name] = deque(), deque()
        self.in_use[name] = {}

        def send(word: list[Any]) -> bool:
            self.up[name].append(word)
            return True

        at_first = self.lender.born(name)
        self.portions[name] = Portions(workers=len(self.names), send=send, at_first=at_first)

    def die(self, name: str) -> None:
        self.up[name].clear()
        self.down[name].clear()
        self._tell(self.lender.died(name))
        self.begin(name)

    def _tell(self, words: list[Lent | Recall]) -> None:
        for word in words:
            self.down[word.worker].append(word)

    def hear(self, name: str) -> None:
        """The supervisor takes the oldest word of a worker."""
        if not self.up[name]:
            return
        match self.up[name].popleft():
            case ["ask", key, want, most, urgent, used]:
                self._tell(self.lender.ask(name, key, want, most, urgent=urgent, used=used))
            case ["give", key, count, used]:
                self._tell(self.lender.give_back(name, key, count, used))
            case ["recalled", key, count]:
                self._tell(self.lender.recalled(name, key, count))

    def tell(self, name: str) -> None:
        """A worker takes the supervisor's oldest word to it."""
        if not self.down[name]:
            return
        word = self.down[name].popleft()
        if isinstance(word, Lent):
            self.portions[name].lent(word.key, word.count, word.standing, is_answer=word.is_answer)
        else:
            self.portions[name].recall(word.key, word.standing, is_wanted=word.is_wanted)

    def deliver_all(self) -> None:
        while any(self.up.values()) or any(self.down.values()):
            for name in self.names:
                self.hear(name)
                self.tell(name)

    async def settle(self) -> None:
        """What is on its way arrives, and what the workers put off to the loop's next turn is done."""
        self.deliver_all()
        await asyncio.sleep(0)
        self.deliver_all()

    def tidy(self) -> None:
        self._tell(self.lender.tidy())

    def take(self, name: str, limit: Limit) -> bool:
        taken = self.portions[name].take(limit)
        if taken:
            self.in_use[name][limit.key] = self.in_use[name].get(limit.key, 0) + 1
        return taken

    def give(self, name: str, limit: Limit) -> None:
        if self.in_use[name].get(limit.key, 0):
            self.in_use[name][limit.key] -= 1
            self.portions[name].give(limit)

    def spend(self, name: str, limit: Limit) -> None:
        if self.in_use[name].get(limit.key, 0):
            self.in_use[name][limit.key] -= 1
            self.used += 1
            self.portions[name].spend(limit)

    def total(self, key: str) -> int:
        return sum(each.get(key, 0) for each in self.in_use.values())

    async def patiently(self, name: str, limit: Limit) -> bool:
        """As a connection does: wait for the supervisor's answer while there is one to wait for."""
        while (waiting := self.portions[name].wanting(limit)) is not None:
            self.deliver_all()
            await waiting
        return self.take(name, limit)


def play(scene: Any) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scene())


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("take", "take", "take", "give", "hear", "hear", "tell", "tell", "die", "tidy")),
        st.sampled_from(NAMES),
        st.sampled_from(("a", "b")),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(1, 14))
@example([("take", "t0", "a"), ("hear", "t0", "a"), ("tell", "t0", "a"), ("take", "t0", "a")], 6)
def test_the_sum_of_what_is_used_never_exceeds_the_limit(actions: list[tuple[str, str, str]], most: int) -> None:
    async def scene() -> None:
        crew = Crew()
        for action, name, key in actions:
            limit = Limit(key, most)
            match action:
                case "take":
                    crew.take(name, limit)
                case "give":
                    crew.give(name, limit)
                case "hear":
                    crew.hear(name)
                case "tell":
                    crew.tell(name)
                case "tidy":
                    crew.tidy()
                case "die":
                    crew.die(name)
            assert crew.total("a") <= most
            assert crew.total("b") <= most
        # Whatever came before: all that is free can be had by whoever asks, wherever it was lent to.
        await pass_time(LENT_NO_S)
        crew.deliver_all()
        while await crew.patiently("t1", Limit("a", most)):
            assert crew.total("a") <= most
        assert crew.total("a") == most
        # And when nobody uses anything any more nothing is kept about it.
        for name in NAMES:
            for key in ("a", "b"):
                while crew.in_use[name].get(key):
                    crew.give(name, Limit(key, most))
        await crew.settle()
        for _ in range(4):
            crew.tidy()
            await crew.settle()
        assert len(crew.lender) == 0
        for portions in crew.portions.values():
            assert not portions._in_use
            assert not portions._asked
            assert not portions._portions

    play(scene)


@settings(max_examples=300, deadline=None)
@given(ACTIONS, st.integers(1, 14))
def test_what_is_used_up_and_what_is_about_to_be_never_exceed_the_limit(
    actions: list[tuple[str, str, str]], most: int
) -> None:
    async def scene() -> None:
        crew = Crew()

        def used() -> Used:
            return 1.0, crew.used

        limit = Limit("a", most, used)
        for action, name, key in actions:
            match action:
                case "take":
                    crew.take(name, limit)
                case "give" if key == "a":
                    crew.give(name, limit)
                case "give":
                    crew.spend(name, limit)
                case "hear":
                    crew.hear(name)
                case "tell":
                    crew.tell(name)
                case "tidy":
                    crew.tidy()
                case "die":
                    crew.die(name)
            assert crew.used + crew.total("a") <= most
        await pass_time(LENT_NO_S)
        crew.deliver_all()
        while await crew.patiently("t1", limit):
            crew.spend("t1", limit)
        assert crew.used + crew.total("a") == most

    play(scene)


def test_below_the_standing_portion_nobody_is_asked_and_nothing_is_kept() -> None:
    async def scene() -> None:
        crew = Crew(("t0", "t1"))
        limit = Limit("a", 40)
        for _ in range(9):
            assert crew.take("t0", limit)
        for _ in range(9):
            crew.give("t0", limit)
        assert not crew.up["t0"]
        assert not crew.portions["t0"]._in_use

    play(scene)


def test_who_returns_all_is_forgotten_on_both_sides() -> None:
    async def scene() -> None:
        crew = Crew(("t0", "t1"))
        limit = Limit("a", 10)
        for _ in range(10):
            assert await crew.patiently("t0", limit)
        assert not await crew.patiently("t1", limit)
        for _ in range(10):
            crew.give("t0", limit)
            crew.deliver_all()
        assert len(crew.lender) == 0
        for name in crew.names:
            assert not crew.portions[name]._portions

    play(scene)


def test_the_portions_of_a_dead_worker_come_back() -> None:
    async def scene() -> None:
        crew = Crew(("t0", "t1"))
        limit = Limit("a", 10)
        for _ in range(10):
            assert await crew.patiently("t0", limit)
        assert not await crew.patiently("t1", limit)
        crew.in_use["t0"].clear()
        crew.die("t0")
        await pass_time(LENT_NO_S)
        for _ in range(10):
            assert await crew.patiently("t1", limit)
        assert not crew.take("t0", limit), "the new one has no standing portion of what is lent out"

    play(scene)


TURNS = [(step, name) for step in ("hear", "tell", "work") for name in ("t0", "t1")]


@given(st.lists(st.sampled_from(("t0", "t1")), min_size=7, max_size=14), st.permutations(TURNS))
def test_what_is_lent_to_those_who_wait_is_used_before_another_worker_calls_it_in(
    crowd: list[str], turns: list[tuple[str, str]]
) -> None:
    """Words come in pieces, "lent" and "recall" in one; all have an answer after a few of them, whatever the order."""

    async def scene() -> None:
        crew = Crew(("t0", "t1"))
        doors = {name: DoorPortions(crew.portions[name], sessions_max=100, of_client_max=6) for name in crew.names}

        async def is_let_in(name: str) -> bool:
            while (waiting := doors[name].wanting("192.0.2.1", 0.0, exempt=False)) is not None:
                await waiting
            return doors[name].admit("192.0.2.1", 0.0, exempt=False, ours=True) is None

        users = [asyncio.ensure_future(is_let_in(name)) for name in crowd]
        for step, name in turns * 20:
            if step == "work":
                await asyncio.sleep(0)
                continue
            pieces = crew.up[name] if step == "hear" else crew.down[name]
            for _ in range(len(pieces)):
                crew.hear(name) if step == "hear" else crew.tell(name)
        assert all(user.done() for user in users)
        assert sum(user.result() for user in users) == 6

    play(scene)


def test_without_an_answer_a_worker_has_its_portion_and_no_more() -> None:
    async def scene() -> None:
        portions = Portions(workers=2, send=lambda _: True)
        limit = Limit("a", 8)
        taken = 0
        while True:
            waiting = portions.wanting(limit)
            if waiting is not None:
                await waiting
            if not portions.take(limit):
                break
            taken += 1
        assert taken == 2

    play(scene)
