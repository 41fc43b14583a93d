"""What has to be swept from time to time: delivery keys of finished messages, days of the ledger.

A delivery key may go only when its queue id is final, for until then the delivery may be repeated.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.ledger import Ledger
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.queue_store import QueueStore
from postroad.services.lanes import Errors
from postroad.vocabulary.limits import DELIVERY_KEYS_OLDER_THAN_S, DELIVERY_KEYS_PER_COMMIT, HOUSEKEEPING_S
from postroad.vocabulary.queue_id import QueueId, shard_of


class Housekeeping:
    """`ledger_keep` is how long stories are kept. With several workers each sweeps the keys of its own shard."""

    def __init__(
        self,
        *,
        queue: QueueStore,
        mailboxes: MailboxStore,
        ledger: Ledger,
        clock: Clock,
        ledger_keep: timedelta,
        errors: Errors,
    ) -> None:
        self._queue = queue
        self._mailboxes = mailboxes
        self._ledger = ledger
        self._clock = clock
        self._ledger_keep = ledger_keep
        self._errors = errors

    async def run(self) -> None:
        """Every HOUSEKEEPING_S, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await self.sweep()
            except StoreUnavailable as error:
                self._errors("housekeeping", error)

    async def sweep(self) -> tuple[int, int]:
        """One round now. Returns the numbers of forgotten keys and of removed ledger files.
        Raises StoreUnavailable; whatever was swept stays swept."""
        return await self._sweep_keys(), await self._ledger.drop_before(self._clock.now() - self._ledger_keep)

    async def _sweep_keys(self) -> int:
        """All portions of one round; keys of messages still under way are looked at again in the next."""
        older_than = self._clock.now() - timedelta(seconds=DELIVERY_KEYS_OLDER_THAN_S)
        forgotten = 0
        while keys := await self._mailboxes.delivery_keys(older_than, DELIVERY_KEYS_PER_COMMIT):
            mine = {key: QueueId(key.partition("/")[0]) for key in keys if self._is_mine(key)}
            known = await self._queue.known(tuple(dict.fromkeys(mine.values())))
            final = tuple(key for key, queue_id in mine.items() if queue_id not in known)
            if final:
                await self._mailboxes.forget_keys(final)
            forgotten += len(final)
        return forgotten

    def _is_mine(self, key: str) -> bool:
        """Other shards answer for their own messages; what is no key of ours is left alone."""
        try:
            return shard_of(key.partition("/")[0]) == self._queue.shard
        except ValueError:
            return False
