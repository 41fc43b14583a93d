"""Who has been wrong too often lately: about passwords, or about addresses, over all connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeAlias

from postroad.rules.networks import NetworkSet, client_of, network_of
from postroad.vocabulary.limits import GUESSERS, NETWORK_SHARE

Tally: TypeAlias = tuple[str, float, int]
"""A client or network, since when it is counted (by the clock of all loops of this machine), and how often it was
wrong."""


class Guesses:
    """Counts wrong guesses by client and by the network around it; networks in `exempt` are not counted.

    `most` guesses of one client within `memory_s`, or NETWORK_SHARE times as many of a network, are too many;
    from then on it is shut out for `memory_s`, and what it tries meanwhile need not be looked at. `tell` hears the
    address of each guess that is counted here, for others that count with us (`heard`).
    """

    def __init__(
        self, *, most: int, memory_s: float, exempt: NetworkSet, tell: Callable[[str], None] | None = None
    ) -> None:
        self._most = most
        self._memory_s = memory_s
        self._exempt = exempt
        self._tell = tell
        self._wrong: dict[str, tuple[float, int]] = {}
        """Since when, and how many; who was wrong last stands last."""

    def too_many(self, address: str, now: float) -> bool:
        if not self._wrong:
            return False
        return (
            self._count(client_of(address), now) >= self._most
            or self._count(network_of(address), now) >= self._most * NETWORK_SHARE
        )

    def wrong(self, address: str, now: float) -> int:
        """One more. How many there are now of this client; 0 for one that is not counted."""
        if address in self._exempt:
            return 0
        if self._tell is not None:
            self._tell(address)
        return self.heard(address, now)

    def heard(self, address: str, now: float) -> int:
        """Somebody who counts with us has told of one more."""
        client, network = client_of(address), network_of(address)
        if network != client:  # what is no internet address has no network around it
            self._add(network, now, self._most * NETWORK_SHARE)
        return self._add(client, now, self._most)

    def tallies(self, most: int) -> list[Tally]:
        """What is counted, the latest `most` of it, for one who begins to count with us."""
        latest = islice(reversed(self._wrong.items()), most)
        return [(who, since, count) for who, (since, count) in latest][::-1]

    def adopt(self, tallies: Iterable[Tally]) -> None:
        """Begin with what another has counted."""
        for who, since, count in islice(tallies, GUESSERS):
            self._wrong[who] = (since, count)

    def count(self, address: str, now: float) -> int:
        """Of this client alone."""
        return self._count(client_of(address), now)

    def _count(self, who: str, now: float) -> int:
        since, count = self._wrong.get(who, (now, 0))
        return count if now - since < self._memory_s else 0

    def _add(self, who: str, now: float, most: int) -> int:
        since, count = self._wrong.pop(who, (now, 0))
        if now - since >= self._memory_s:
            since, count = now, 0
        count += 1
        # The one too many begins the time outside.
        self._wrong[who] = (now if count == most else since, count)
        if len(self._wrong) > GUESSERS:
            del self._wrong[next(iter(self._wrong))]
        return count
