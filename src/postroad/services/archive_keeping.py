"""What is done with the archive from time to time: the heads of all chains are tied together once a day, and what has
been kept for long enough, and is under no legal hold, goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from postroad.contracts.archive_store import Archive
from postroad.contracts.clock import Clock
from postroad.services.lanes import Errors
from postroad.vocabulary.limits import HOUSEKEEPING_S


class ArchiveKeeping:
    """`keep` counts from acceptance. One process of a server does it for all."""

    def __init__(self, archive: Archive, clock: Clock, keep: timedelta, errors: Errors) -> None:
        self._archive = archive
        self._clock = clock
        self._keep = keep
        self._errors = errors

    async def run(self) -> None:
        """At once and every HOUSEKEEPING_S, until cancelled."""
        while True:
            try:
                await self.round()
            except Exception as error:
                # The archive is away, or what nobody expected: the next round tries again.
                self._errors("keeping the archive", error)
            await asyncio.sleep(HOUSEKEEPING_S)

    async def round(self) -> int:
        """One round now; how many records lost content and envelope. Raises StoreUnavailable."""
        now = self._clock.now()
        await self._archive.tie(now)
        return await self._archive.remove_before(now - self._keep, now)
