"""Carries the stories of the queue's transactions from its outbox to the ledger, in batches.

The ledger is off the reply path: `accept` and `settle` leave their facts in their own transaction, and here
they are copied, synced there, and only then cleared.
"""

from __future__ import annotations

import asyncio

from postroad.contracts.ledger import Ledger
from postroad.contracts.queue_store import QueueStore
from postroad.services.lanes import Errors
from postroad.vocabulary.limits import OUTBOX_BATCH, OUTBOX_PAUSE_S, SETTLE_WAIT_MAX_S


class OutboxMover:
    """`touch` after every accept or settle costs nothing; `drain` is for whoever wants to read the ledger now."""

    def __init__(self, *, queue: QueueStore, ledger: Ledger, errors: Errors) -> None:
        self._queue = queue
        self._ledger = ledger
        self._errors = errors
        self._touched = asyncio.Event()
        self._moving = asyncio.Lock()

    def touch(self) -> None:
        """There is something in the outbox."""
        self._touched.set()

    async def run(self) -> None:
        """Until cancelled. A store or ledger that is unavailable is tried again, ever more slowly; so is what nobody
        expected, for the mail must not stop because its stories cannot be told."""
        wait_s = OUTBOX_PAUSE_S
        self._touched.set()  # what a crash left behind
        while True:
            await self._touched.wait()
            await asyncio.sleep(wait_s)
            self._touched.clear()
            try:
                await self.drain()
                wait_s = OUTBOX_PAUSE_S
            except Exception as error:
                self._errors("copying stories to the ledger", error)
                wait_s = min(2 * wait_s, SETTLE_WAIT_MAX_S)
                self._touched.set()

    async def drain(self) -> int:
        """Everything whose transaction is durable now can be found in the ledger when it returns.

        Returns the number of blobs copied. Raises StoreUnavailable; what was copied stays copied, and a blob
        copied twice shows once.
        """
        moved = 0
        async with self._moving:
            while blobs := await self._queue.outbox(OUTBOX_BATCH):
                await self._ledger.write(tuple(blob for _, blob in blobs))
                await self._queue.clear_outbox(blobs[-1][0])
                moved += len(blobs)
                if len(blobs) < OUTBOX_BATCH:
                    break
        return moved
