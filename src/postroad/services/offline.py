"""Whether mail is sent out at all: the configuration, an order, or the state of the network may keep it here.

While nothing is reachable no attempt is spent: what waits stays due, and some of it is used to see whether the network
is back (`refill.py`): one message, half a minute later two for other destinations, then four. Where it was not us but
many others who are dead, whoever is alive is found among them in minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

from postroad.rules.reachability import Reachability
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import OFFLINE_PROBE_FRESH_S, OFFLINE_PROBE_S, OFFLINE_PROBES, WAYS_REMEMBERED


class OfflineReason(StrEnum):
    CONFIGURED = "configured"
    ORDERED = "ordered"
    DETECTED = "detected"


_WORDS = {
    OfflineReason.CONFIGURED: "the configuration says offline = true",
    OfflineReason.ORDERED: "an administrator has ordered it",
    OfflineReason.DETECTED: "no host and no name server can be reached; it is tried every half minute",
}


class Offline:
    """Implements `relay_parts.Reach`. `answers` counts what was heard on open connections; `changed` is called when
    the network is found to be away, or back."""

    def __init__(self, configured: bool, *, answers: Callable[[], int], changed: Callable[[], None]) -> None:
        self._ordered: OfflineReason | None = OfflineReason.CONFIGURED if configured else None
        self._reachability = Reachability()
        self._answers = answers
        self._changed = changed
        self._probe_s = 0.0
        self._probes = 1
        self._probed: set[Destination] = set()

    @property
    def reason(self) -> OfflineReason | None:
        """None while mail is sent out."""
        return self._ordered or (OfflineReason.DETECTED if self._reachability.is_lost else None)

    @property
    def words(self) -> str:
        """For people; empty while mail is sent out."""
        reason = self.reason
        return "" if reason is None else _WORDS[reason]

    @property
    def is_cut_off(self) -> bool:
        """It is the network that is away, and nobody's wish."""
        return self._ordered is None and self._reachability.is_lost

    def order(self, offline: bool) -> bool:
        """What an administrator says. True if it is news."""
        if offline is (self._ordered is not None):
            return False
        self._ordered = OfflineReason.ORDERED if offline else None
        self._reachability.reached()
        return True

    def reached(self) -> None:
        if self._reachability.reached():
            self._probed.clear()
            self._changed()

    def mark(self) -> int:
        """To be noted when an attempt begins, for `missed`."""
        return self._reachability.mark(self._answers())

    def missed(self, destination: Destination, began: int) -> None:
        """Nothing came back from any of its hosts, or from the name servers about them."""
        if self._reachability.missed(str(destination), began, self._answers()):
            self._probes = 1
            self._probe_s = asyncio.get_running_loop().time() + OFFLINE_PROBE_S
            self._changed()

    # ---- probes ------------------------------------------------------------------------------------

    @property
    def probe_in_s(self) -> float:
        """Seconds until it is to be tried whether the network is back."""
        return max(0.0, self._probe_s - asyncio.get_running_loop().time())

    def probe_now(self) -> None:
        """Do not wait for the hour."""
        self._probe_s = 0.0

    def is_time_for(self, *, fresh: bool) -> bool:
        """Whether one message may be tried now. One that has just come in need not wait for the hour."""
        return self.is_cut_off and self.probe_in_s <= (OFFLINE_PROBE_S - OFFLINE_PROBE_FRESH_S if fresh else 0.0)

    def next_round(self) -> int:
        """How many destinations are to be tried this time, one message each."""
        probes, self._probes = self._probes, min(2 * self._probes, OFFLINE_PROBES)
        return probes

    def begin_probe(self, destination: Destination | None) -> None:
        """It is being tried with mail for this destination, or there is none to try it with."""
        self._probe_s = asyncio.get_running_loop().time() + OFFLINE_PROBE_S
        if destination is None or len(self._probed) >= WAYS_REMEMBERED:
            self._probed.clear()
        if destination is not None:
            self._probed.add(destination)

    def probed(self) -> frozenset[Destination]:
        """With whom it was tried: the next time somebody else is to have the chance."""
        return frozenset(self._probed)
