"""Which hosts a destination's mail goes to, asked before a connection is thought of, and known for a while.

    ways.known(key)   the way, if it need not be asked for
    ways.ask(key)     `found` is told, soon or late

Who has the same hosts in the same order has the same lane. A domain whose name servers hang waits here, where it
takes nothing from others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from postroad.rules.mx_order import Hosts, NoWay
from postroad.services.lanes import UNEXPECTED, Errors
from postroad.services.parcel import LaneKey
from postroad.vocabulary.limits import WAY_LIFETIME_S, WAYS_ASKED_AT_ONCE, WAYS_REMEMBERED


@dataclass(frozen=True, slots=True)
class Way:
    """`key` is the same for all whose mail takes the same way; `addresses` are those that are known already, None for
    a host whose address could not be looked up just now. `implicit`: the domain itself, which has no MX."""

    key: Hashable
    hosts: Hosts
    addresses: Mapping[str, tuple[str, ...] | None]
    implicit: bool = False


Find: TypeAlias = Callable[[LaneKey], Awaitable[Way | NoWay]]


class Ways:
    def __init__(
        self,
        *,
        find: Find,
        found: Callable[[LaneKey, Way | NoWay], None],
        tasks: asyncio.TaskGroup,
        errors: Errors,
    ) -> None:
        self._find = find
        self._found = found
        self._tasks = tasks
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._known: OrderedDict[LaneKey, tuple[float, Way]] = OrderedDict()
        self._to_ask: OrderedDict[LaneKey, None] = OrderedDict()
        self._asking: dict[LaneKey, asyncio.Task[None]] = {}

    def known(self, key: LaneKey) -> Way | None:
        entry = self._known.get(key)
        if entry is None:
            return None
        if entry[0] <= self._loop.time():
            del self._known[key]
            return None
        return entry[1]

    def ask(self, key: LaneKey) -> None:
        if key not in self._asking:
            self._to_ask[key] = None
            self._ask_more()

    def stop(self) -> None:
        """Nothing more is to be found out."""
        self._to_ask.clear()
        for task in self._asking.values():
            task.cancel()

    def _ask_more(self) -> None:
        while self._to_ask and len(self._asking) < WAYS_ASKED_AT_ONCE:
            key, _ = self._to_ask.popitem(last=False)
            self._asking[key] = self._tasks.create_task(self._ask(key), name=f"the way to {key[0]}")

    async def _ask(self, key: LaneKey) -> None:
        try:
            way = await self._find(key)
        except Exception as error:
            self._errors(f"the way to {key[0]}", error)
            way = UNEXPECTED
        finally:
            del self._asking[key]
        if isinstance(way, Way):
            self._known[key] = (self._loop.time() + WAY_LIFETIME_S, way)
            while len(self._known) > WAYS_REMEMBERED:
                self._known.popitem(last=False)
        self._found(key, way)
        self._ask_more()
