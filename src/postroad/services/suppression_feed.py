"""Addresses of merged letters that failed for good are suppressed, whether or not anybody looks at the results."""

from __future__ import annotations

from datetime import timedelta

from postroad.contracts.clock import Clock
from postroad.contracts.ledger import Ledger
from postroad.contracts.suppressions import SuppressionStore
from postroad.services.operations.merge_results import result_of, suppression_for
from postroad.vocabulary.limits import MERGE_LETTERS_ASKED, MERGE_PAGES_PER_ROUND, MERGE_STEPS

_OPEN = ("waiting", "deferred")


class SuppressionFeed:
    """`keep` is how long stories are kept: what has no end by then will never have one."""

    def __init__(self, *, suppressions: SuppressionStore, ledger: Ledger, clock: Clock, keep: timedelta) -> None:
        self._suppressions = suppressions
        self._ledger = ledger
        self._clock = clock
        self._keep = keep
        self._after = ""
        """Where the next round goes on, "" for the beginning."""

    async def round(self) -> int:
        """Look at a bounded number of letters; how many addresses came. Raises StoreUnavailable, and ValueError when
        there is no room for more; then the letters stay, and are looked at again."""
        came = 0
        for _ in range(MERGE_PAGES_PER_ROUND):
            letters = await self._suppressions.awaited(self._after, MERGE_LETTERS_ASKED)
            if not letters:
                self._after = ""
                break
            now = self._clock.now()
            stories = await self._ledger.find_each(
                tuple(each.queue_id for each in letters), MERGE_STEPS, min(each.since for each in letters)
            )
            hard, done = [], []
            for each in letters:
                result = result_of([fact for entry in stories[each.queue_id] for fact in entry.facts])
                if result["hard"]:
                    hard.append(suppression_for(each.address, each.queue_id, result, now))
                if result["state"] not in _OPEN or each.since < now - self._keep:
                    done.append(each.queue_id)
            if hard:
                came += await self._suppressions.add(tuple(hard))
            if done:
                await self._suppressions.drop_awaited(tuple(done))
            self._after = letters[-1].queue_id
        return came
