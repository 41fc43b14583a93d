"""At what rate mail goes to each set of hosts: one pace for all lanes of a process that lead there.

A pace outlives its lane, which exists only while there is work, until it has rested.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable

from postroad.rules.pace import Pace
from postroad.rules.routing import rate_to
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import PACES_REMEMBERED
from postroad.vocabulary.settings import DeliverySettings


class Paces:
    """`workers` share the rates: each has an even part for good, so that all together never send faster."""

    def __init__(self, settings: DeliverySettings, workers: int = 1) -> None:
        self._settings = settings
        self._workers = workers
        self._paces: OrderedDict[Hashable, Pace] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paces)

    def of(self, key: Hashable, destination: Destination) -> Pace | None:
        """That of the hosts known by this key, to which mail for the destination goes; None: as fast as it can."""
        rate = rate_to(destination, self._settings)
        if not rate:
            return None
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= PACES_REMEMBERED:
                self._make_room()
            pace = self._paces[key] = Pace(rate, self._workers)
        return pace

    def _make_room(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for key in [key for key, pace in self._paces.items() if pace.is_rested(now_s)]:
            del self._paces[key]
        while len(self._paces) >= PACES_REMEMBERED:
            self._paces.popitem(last=False)
