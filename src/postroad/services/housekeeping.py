"""What has to be swept from time to time: delivery keys of finished messages, content that a crash has left in no
mailbox, days of the ledger.

A delivery key may go only when its queue id is final, for until then the delivery may be repeated.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NamedTuple

from postroad.contracts.clock import Clock
from postroad.contracts.hold_store import HoldStore
from postroad.contracts.ledger import Ledger
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.queue_store import QueueStore
from postroad.services.hold_keeping import sweep_delivery_keys
from postroad.services.lanes import Errors
from postroad.services.suppression_feed import SuppressionFeed
from postroad.vocabulary.limits import DELIVERY_KEYS_OLDER_THAN_S, DELIVERY_KEYS_PER_COMMIT, HOUSEKEEPING_S
from postroad.vocabulary.queue_id import QueueId, shard_of

_FIRST = 0


class Swept(NamedTuple):
    """What one round took away: delivery keys, content files that belonged to no message, ledger files."""

    keys: int
    contents: int
    ledgers: int


class Housekeeping:
    """`ledger_keep` is how long stories are kept. With several workers each sweeps the keys of its own shard, and
    the owner of the first shard sweeps what all have in common."""

    def __init__(
        self,
        *,
        queue: QueueStore,
        mailboxes: MailboxStore,
        ledger: Ledger,
        clock: Clock,
        ledger_keep: timedelta,
        errors: Errors,
        holds: HoldStore | None = None,
        feed: SuppressionFeed | None = None,
    ) -> None:
        self._queue = queue
        self._mailboxes = mailboxes
        self._ledger = ledger
        self._clock = clock
        self._ledger_keep = ledger_keep
        self._errors = errors
        self._holds = holds
        self._feed = feed

    async def run(self) -> None:
        """Every HOUSEKEEPING_S, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await self.sweep()
            except Exception as error:
                # A store that is away, or what nobody expected: the mail goes on, and the next round tries again.
                self._errors("housekeeping", error)

    async def sweep(self) -> Swept:
        """One round now. Raises StoreUnavailable; whatever was swept stays swept."""
        keys = await self._sweep_keys()
        contents = await self._mailboxes.sweep_content() if self._queue.shard == _FIRST else 0
        if self._holds is not None:
            older_than = self._clock.now() - timedelta(seconds=DELIVERY_KEYS_OLDER_THAN_S)
            keys += await sweep_delivery_keys(self._holds, self._queue, older_than, self._is_mine)
            contents += await self._holds.sweep_content() if self._queue.shard == _FIRST else 0
        if self._feed is not None and self._queue.shard == _FIRST:
            await self._feed.round()
        return Swept(keys, contents, await self._ledger.drop_before(self._clock.now() - self._ledger_keep))

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
