"""How full the mailboxes are that have a quota: read from the store, and remembered for a moment with what came since.

Several processes may deliver into one mailbox, and each remembers for itself: a quota may be passed by what they take
within QUOTA_ANSWER_S of each other.
"""

from __future__ import annotations

import asyncio

from postroad.contracts.directory import Account
from postroad.contracts.mailbox_store import MailboxStore
from postroad.vocabulary.limits import QUOTA_ANSWER_S, QUOTA_ANSWERS
from postroad.vocabulary.settings import AccountLimits


class Quotas:
    """To be made in the running loop."""

    def __init__(self, mailboxes: MailboxStore, limits: AccountLimits) -> None:
        self._mailboxes = mailboxes
        self.limits = limits
        self._time = asyncio.get_running_loop().time
        self._known: dict[int, tuple[float, int]] = {}

    def of(self, account: Account) -> int:
        """In octets; 0 is none."""
        return self.limits.quota_bytes if account.quota_bytes is None else account.quota_bytes

    def used(self, account: Account) -> int | None:
        """As far as it is remembered."""
        asked_at, used = self._known.get(account.id, (0.0, 0))
        return used if account.id in self._known and self._time() - asked_at < QUOTA_ANSWER_S else None

    async def look(self, account: Account) -> int:
        """Read it from the store. Raises StoreUnavailable."""
        used = (await self._mailboxes.status(account.id)).size_bytes
        if len(self._known) >= QUOTA_ANSWERS:
            self._known.clear()
        self._known[account.id] = (self._time(), used)
        return used

    def add(self, account: Account, octets: int) -> None:
        """So much is on its way into the mailbox."""
        if account.id in self._known:
            asked_at, used = self._known[account.id]
            self._known[account.id] = (asked_at, used + octets)
