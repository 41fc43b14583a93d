"""The ledger: the story of every message, found by queue id, address or Message-ID."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from postroad.vocabulary.story import Entry


class Ledger(Protocol):
    def record(self, entry: Entry) -> None:
        """Take note; written within LEDGER_FLUSH_S. For facts without a transaction. Never waits, never
        raises; when LEDGER_QUEUE entries wait, the entry is dropped and counted."""
        ...

    async def write(self, blobs: tuple[bytes, ...]) -> None:
        """Write the outbox blobs of one or more transactions; synced when it returns.
        Writing the same blob twice (a crash before the outbox was cleared) shows once in `find`.
        Raises StoreUnavailable."""
        ...

    async def find(self, key: str, limit: int) -> tuple[Entry, ...]:
        """Entries that carry the key, of all days and processes, oldest first; of more than `limit` the newest.
        Raises StoreUnavailable."""
        ...

    async def find_each(self, keys: tuple[str, ...], limit: int, since: datetime) -> dict[str, tuple[Entry, ...]]:
        """The same for many keys at once, of the days (UTC) from `since` on. Raises StoreUnavailable."""
        ...

    async def flush(self) -> None:
        """Everything recorded so far can be found by everybody when it returns. Raises StoreUnavailable."""
        ...

    async def drop_before(self, day: datetime) -> int:
        """Remove whole days (UTC) before this one, but never today. Returns the number of files removed.
        Raises StoreUnavailable."""
        ...

    @property
    def dropped(self) -> int: ...

    async def close(self) -> None: ...
