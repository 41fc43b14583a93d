"""Live terminals: who watches, and what is shown to them (RFC 821 section 3.4: SEND, SOML, SAML).

A watcher asks again and again (`poll`) for what has come for its address, and says how much of it it has shown. It
is active while it asks; who has not asked for WATCH_LEASE_S is gone. A message counts as shown when a watcher has
said so: what was only sent on its way to a terminal that died is not.

One transport worker, the first, keeps the watchers of the whole server; the others ask it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import msgspec

from postroad.contracts.errors import Busy
from postroad.vocabulary.limits import (
    WATCH_ACK_S,
    WATCH_LEASE_S,
    WATCH_MESSAGES,
    WATCH_POLL_S,
    WATCHERS,
    WATCHERS_OF_ADDRESS,
)


class TerminalMessage(msgspec.Struct, frozen=True):
    """One message for terminals; every text is safe to print. `at` is RFC 3339, `way` the command that sent it."""

    at: str
    way: str
    envelope_from: str
    from_: str = msgspec.field(name="from")
    subject: str
    lines: tuple[str, ...]


class Terminals(Protocol):
    async def is_active(self, address: str) -> bool:
        """Whether somebody watches for this address (`Mailbox.key()`), and takes messages. Never raises."""
        ...

    async def show(self, message: TerminalMessage, addresses: tuple[str, ...]) -> frozenset[str]:
        """Those of the addresses at whose terminal it was shown, within WATCH_ACK_S. Never raises."""
        ...


class Watcher:
    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: deque[tuple[int, TerminalMessage, asyncio.Future[None]]] = deque()
        self.last = 0
        self.asking = 0
        """Polls under way; more than one where a client gave a poll up and asked again."""
        self.until_s = 0.0
        self.news = asyncio.Event()

    def is_active(self, now_s: float) -> bool:
        return bool(self.asking) or now_s < self.until_s


class Watchers:
    """Implements `Terminals` in the process that keeps them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watchers: dict[str, Watcher] = {}
        self._of_address: dict[str, list[Watcher]] = {}
        self._stopping = False

    def let_go(self) -> None:
        """The process stops: polls that wait are answered now."""
        self._stopping = True
        for watcher in self._watchers.values():
            watcher.news.set()

    @property
    def count(self) -> int:
        return len(self._watchers)

    # ---- Terminals -------------------------------------------------------------------------------

    async def is_active(self, address: str) -> bool:
        now_s = self._loop.time()
        return any(
            watcher.is_active(now_s) and len(watcher.messages) < WATCH_MESSAGES
            for watcher in self._of_address.get(address, ())
        )

    async def show(self, message: TerminalMessage, addresses: tuple[str, ...]) -> frozenset[str]:
        asked = [self._put(message, address) for address in addresses]
        if waiting := [shown for each in asked for shown in each]:
            await asyncio.wait(waiting, timeout=WATCH_ACK_S)
        return frozenset(
            address for address, each in zip(addresses, asked, strict=True) if any(shown.done() for shown in each)
        )

    def _put(self, message: TerminalMessage, address: str) -> list[asyncio.Future[None]]:
        """Into the hands of every active watcher of the address; a future for each, done when it was shown."""
        now_s = self._loop.time()
        asked = []
        for watcher in self._of_address.get(address, ()):
            if watcher.is_active(now_s) and len(watcher.messages) < WATCH_MESSAGES:
                shown: asyncio.Future[None] = self._loop.create_future()
                watcher.last += 1
                watcher.messages.append((watcher.last, message, shown))
                watcher.news.set()
                asked.append(shown)
        return asked

    # ---- for watchers ----------------------------------------------------------------------------

    async def poll(
        self, name: str, address: str, shown: int, wait_s: float = WATCH_POLL_S
    ) -> list[tuple[int, TerminalMessage]]:
        """What has come for a watcher after number `shown`, which it has shown; waits for it up to `wait_s`.

        The first poll under a name makes the watcher. Raises Busy where there are too many."""
        watcher = self._watcher(name, address)
        while watcher.messages and watcher.messages[0][0] <= shown:
            watcher.messages.popleft()[2].set_result(None)
        watcher.asking += 1
        try:
            if not watcher.messages and not self._stopping:
                watcher.news.clear()
                async with asyncio.timeout(min(wait_s, WATCH_POLL_S)):
                    await watcher.news.wait()
        except TimeoutError:
            pass
        finally:
            watcher.asking -= 1
            watcher.until_s = self._loop.time() + WATCH_LEASE_S
        return [(number, message) for number, message, _ in watcher.messages]

    def close(self, name: str, shown: int) -> None:
        """The watcher goes, having shown what came up to this number. Harmless when repeated."""
        watcher = self._watchers.pop(name, None)
        if watcher is None:
            return
        for number, _, was_shown in watcher.messages:
            if number <= shown:
                was_shown.set_result(None)
        watcher.messages.clear()
        others = self._of_address[watcher.address]
        others.remove(watcher)
        if not others:
            del self._of_address[watcher.address]

    def _watcher(self, name: str, address: str) -> Watcher:
        watcher = self._watchers.get(name)
        if watcher is not None:
            return watcher
        self._forget_the_gone()
        if len(self._watchers) >= WATCHERS:
            raise Busy(f"{WATCHERS} terminals watch already")
        if len(self._of_address.get(address, ())) >= WATCHERS_OF_ADDRESS:
            raise Busy(f"{WATCHERS_OF_ADDRESS} terminals watch for this address already")
        watcher = self._watchers[name] = Watcher(address)
        self._of_address.setdefault(address, []).append(watcher)
        return watcher

    def _forget_the_gone(self) -> None:
        now_s = self._loop.time()
        for name, watcher in list(self._watchers.items()):
            if not watcher.is_active(now_s):
                self.close(name, 0)
