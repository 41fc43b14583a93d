"""A worker's side of limits that hold over all processes; `app/lending.py` is the supervisor's, and has the words."""

from __future__ import annotations

import asyncio
from typing import Any

from postroad.app.channel import line
from postroad.services.guesses import Tally
from postroad.services.portions import Portions
from postroad.services.shared_limits import Guess, SharedLimits
from postroad.vocabulary.limits import CHANNEL_BUFFER_BYTES, CHANNEL_WORDS


class Borrowing:
    """`first` are the words that came before the worker serves; `workers` is among how many limits are divided, 1
    where this one has all of them, or has no part in them."""

    def __init__(self, writer: asyncio.StreamWriter, *, workers: int, first: list[list[Any]]) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._words: list[list[Any]] = []
        at_first: dict[str, int] = {}
        tallies: dict[Guess, list[Tally]] = {}
        for word in first:
            match word:
                case ["first", key, portion]:
                    at_first[key] = portion
                case ["tally", kind, who, since, count]:
                    tallies.setdefault(Guess(kind), []).append((who, since, count))
        self._portions = Portions(workers=workers, send=self._send, at_first=at_first) if workers > 1 else None
        self.shared = SharedLimits(self._portions, tell=self._guessed, tallies=tallies)

    def heard(self, words: list[list[Any]]) -> None:
        """What the supervisor says."""
        for word in words:
            match word:
                case ["lent", key, count, standing, is_answer] if self._portions is not None:
                    self._portions.lent(key, count, standing, is_answer=is_answer)
                case ["recall", key, standing, is_wanted] if self._portions is not None:
                    self._portions.recall(key, standing, is_wanted=is_wanted)
                case ["wrong", kind, address]:
                    self.shared.heard(Guess(kind), address, self._loop.time())

    def _guessed(self, kind: Guess, address: str) -> None:
        if not self._is_full:
            self._say(["wrong", kind.value, address])

    def _send(self, word: list[Any]) -> bool:
        if word[0] == "ask" and self._is_full:
            return False
        self._say(word)
        return True

    @property
    def _is_full(self) -> bool:
        return self._writer.transport.get_write_buffer_size() > CHANNEL_BUFFER_BYTES

    def _say(self, word: list[Any]) -> None:
        """With all that is said in this turn of the loop."""
        if not self._words:
            self._loop.call_soon(self._flush)
        self._words.append(word)

    def _flush(self) -> None:
        words, self._words = self._words, []
        if self._writer.is_closing():
            return
        for begin in range(0, len(words), CHANNEL_WORDS):
            self._writer.write(line({"limits": words[begin : begin + CHANNEL_WORDS]}))
