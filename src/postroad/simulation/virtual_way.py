"""One direction of a virtual connection: octets that are written, fly, arrive in order and are read.

Like TCP it has a window: what the receiver does not read stays with the sender, whose transport then asks its
protocol to pause. One timer per direction keeps the order, also where the loop shuffles callbacks.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from postroad.simulation.weather import Weather
from postroad.vocabulary.limits import VIRTUAL_WINDOW_BYTES


class Piece(NamedTuple):
    """What arrives at once. `layer` is 1 for octets inside TLS, else 0; `hello` is the role of the side that
    begins its handshake here ("client" or "server"); `eof` ends the stream."""

    data: bytes | memoryview
    layer: int = 0
    hello: str = ""
    eof: bool = False


class Way:
    """From one end to the other. `arrived` gets each piece; `may_arrive` says whether the receiver reads now;
    `drained` is told that the sender's buffer has become shorter; `trouble(cut)` that the weather struck."""

    def __init__(self, weather: Weather, chance: random.Random, limit: int | None, mute: int | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._weather = weather
        self._chance = chance
        self._cut_left = limit
        self._mute_left = mute
        self._waiting: deque[Piece] = deque()
        self._flying: deque[tuple[float, Piece]] = deque()
        self._flying_bytes = 0
        self._timer: asyncio.Handle | None = None
        self._dead = False
        self.waiting_bytes = 0
        self.arrived: Callable[[Piece], None]
        self.may_arrive: Callable[[], bool]
        self.drained: Callable[[], None]
        self.trouble: Callable[[bool], None]

    def send(self, piece: Piece) -> None:
        if self._dead:
            return
        self._waiting.append(piece)
        self.waiting_bytes += len(piece.data)
        self._take_off()

    def go_on(self) -> None:
        """The receiver reads again."""
        self._schedule()

    @property
    def is_flushed(self) -> bool:
        """Whether everything has left the sender's buffer."""
        return not self._waiting

    def forget_waiting(self) -> None:
        """The sender gives up what is still in its buffer; what flies arrives."""
        self._waiting.clear()
        self.waiting_bytes = 0

    def stop(self) -> None:
        """Nothing arrives any more."""
        self._dead = True
        self._waiting.clear()
        self._flying.clear()
        self.waiting_bytes = self._flying_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_off(self) -> None:
        arrival = self._loop.time() + self._weather.latency_s
        while self._waiting and self._flying_bytes < VIRTUAL_WINDOW_BYTES:
            piece = self._waiting.popleft()
            length = self._segment(len(piece.data))
            if not piece.hello and length < len(piece.data):
                view = memoryview(piece.data)  # a long write is cut often, and copied once
                self._waiting.appendleft(piece._replace(data=view[length:]))
                piece = piece._replace(data=view[:length])
            self.waiting_bytes -= len(piece.data)
            self._flying_bytes += len(piece.data)
            self._flying.append((arrival, piece))
        self._schedule()

    def _segment(self, length: int) -> int:
        """How many of `length` octets travel together."""
        # Not cut to the room in the window: that would end in segments of single octets.
        most = min(length, self._weather.segment_bytes or VIRTUAL_WINDOW_BYTES)
        return self._chance.randint(1, most) if self._weather.ragged and most > 1 else most

    def _schedule(self) -> None:
        if self._flying and self._timer is None and self.may_arrive():
            at = self._flying[0][0]
            if at > self._loop.time():
                self._timer = self._loop.call_at(at, self._arrive)
            else:
                self._timer = self._loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        if not self._flying or not self.may_arrive():
            return
        _, piece = self._flying.popleft()
        self._flying_bytes -= len(piece.data)
        kept, struck = self._through_weather(piece)
        if kept:
            self.arrived(kept)
        if struck:
            self.trouble(struck == "cut")
        if self._dead:
            return
        before = self.waiting_bytes
        self._take_off()
        if self.waiting_bytes < before or self.is_flushed:
            self.drained()

    def _through_weather(self, piece: Piece) -> tuple[Piece | None, str]:
        """What is left of a piece, and "cut" or "mute" when its last octet was the last allowed."""
        for left, trouble in ((self._cut_left, "cut"), (self._mute_left, "mute")):
            if left is not None and len(piece.data) >= left:
                whole = left > 0 and not piece.hello
                return (piece._replace(data=piece.data[:left]) if whole else None), trouble
        if self._cut_left is not None:
            self._cut_left -= len(piece.data)
        if self._mute_left is not None:
            self._mute_left -= len(piece.data)
        return piece, ""
