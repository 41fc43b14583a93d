"""What the scheduler has in hand: groups by their key, bounded in all, for each destination, and in content.

The bound for each destination is why one that is slow, and has more mail waiting than memory holds, keeps nobody
else's in the store. What there is no room for stays in the store; `full` and `let_go` see that it is looked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from postroad.services.parcel import GroupKey, Parcel
from postroad.vocabulary.destination import Destination
from postroad.vocabulary.limits import (
    CONTENT_IN_MEMORY_BYTES,
    GROUPS_FRESH_SHARE,
    GROUPS_IN_MEMORY,
    GROUPS_OF_ONE_DESTINATION,
    REFILL_BATCH,
)


class InHand:
    def __init__(self) -> None:
        self._parcels: dict[GroupKey, Parcel] = {}
        self._of_destination: Counter[Destination] = Counter()
        self._content_bytes = 0
        self._passed_over: set[Destination] = set()
        """Destinations that had no room, and may have more in the store."""

    def __len__(self) -> int:
        return len(self._parcels)

    def __iter__(self) -> Iterator[Parcel]:
        return iter(self._parcels.values())

    def __contains__(self, key: GroupKey) -> bool:
        """A mere look-up: may be asked from another thread."""
        return key in self._parcels

    @property
    def content_bytes(self) -> int:
        """What is kept of fresh messages for their first attempt."""
        return self._content_bytes

    @property
    def is_full(self) -> bool:
        return len(self._parcels) >= GROUPS_IN_MEMORY

    @property
    def room(self) -> int:
        """For how many groups of one look into the store there is room."""
        return min(_from_store() - len(self._parcels), REFILL_BATCH)

    @property
    def has_room(self) -> bool:
        """Whether a look into the store is worth its while."""
        return len(self._parcels) <= max(_from_store() // 2, _from_store() - REFILL_BATCH)

    def has_room_for(self, destination: Destination) -> bool:
        """False when there are so many for it that the next one is to stay in the store for now."""
        if self._of_destination[destination] < GROUPS_OF_ONE_DESTINATION:
            return True
        self._passed_over.add(destination)
        return False

    def has_room_for_content(self, size_bytes: int) -> bool:
        return self._content_bytes + size_bytes <= CONTENT_IN_MEMORY_BYTES

    def full(self) -> frozenset[Destination]:
        """Destinations for which the store need not be asked now."""
        full = frozenset(each for each, count in self._of_destination.items() if count >= GROUPS_OF_ONE_DESTINATION)
        self._passed_over |= full
        return full

    def add(self, parcel: Parcel) -> None:
        self._parcels[parcel.key] = parcel
        self._of_destination[parcel.work.destination] += 1
        self._content_bytes += parcel.held_bytes

    def let_go(self, parcel: Parcel) -> bool:
        """It leaves our hands. True when its destination has room again for what was passed over."""
        del self._parcels[parcel.key]
        self._content_bytes -= parcel.held_bytes
        destination = parcel.work.destination
        left = self._of_destination[destination] - 1
        if left:
            self._of_destination[destination] = left
        else:
            del self._of_destination[destination]
        if destination in self._passed_over and left <= GROUPS_OF_ONE_DESTINATION // 2:
            self._passed_over.discard(destination)
            return True
        return False


def _from_store() -> int:
    """How much may come out of the store: a backlog leaves room for what comes in now."""
    return GROUPS_IN_MEMORY - GROUPS_IN_MEMORY // GROUPS_FRESH_SHARE
