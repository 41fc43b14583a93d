"""What accounts send, held against their limits: in memory while it happens, in the directory soon after.

    tab = desk.usage.open_tab(account)          at MAIL: a Ruling instead where the hour is full
    refusal = tab.add_recipient()               at RCPT
    tab.charge()                                the message is ours; or tab.drop()

Transactions under way count as if they had been accepted, so that no number of sessions at once gets an account
past a limit. The counters are written in batches, off the way of the mail: a crash loses what was accepted in the
last USAGE_WRITE_S.

With several workers each knows of the others' mail when it has written its own; what is not written yet is lent to
them in portions (services/portions.py), so that it cannot be more than what is left, whichever of them it goes to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Account, Directory
from postroad.contracts.errors import StoreUnavailable
from postroad.rules.account_limits import judge_messages, judge_recipients
from postroad.rules.lending import Used
from postroad.rules.ruling import Ruling
from postroad.services.portions import Limit, Portions
from postroad.vocabulary.limits import USAGE_WRITE_S
from postroad.vocabulary.settings import AccountLimits
from postroad.vocabulary.usage import Sent, Usage

Limits: TypeAlias = tuple[Limit | None, Limit | None]
Lent: TypeAlias = dict[str, tuple[Limit, int]]


def _add(lent: Lent, limit: Limit, count: int) -> None:
    lent[limit.key] = limit, count + (lent[limit.key][1] if limit.key in lent else 0)


class _Book:
    """One account: what it has sent, which of that is not written yet, and what is under way."""

    __slots__ = (
        "being_written",
        "lent",
        "messages",
        "recipients",
        "unwritten_messages",
        "unwritten_recipients",
        "usage",
    )

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self.messages = 0
        self.recipients = 0
        self.unwritten_messages = 0
        self.unwritten_recipients = 0
        self.being_written = False
        self.lent: Lent = {}
        """What of our portions is sent and not written yet."""

    def take_lent(self) -> Lent:
        lent, self.lent = self.lent, {}
        return lent

    @property
    def is_idle(self) -> bool:
        return not (self.messages or self.unwritten_messages or self.being_written)


class AccountUsage:
    """`defaults` are the limits of accounts that have none of their own; `troubled` hears of a directory that takes
    no counters; they are kept and tried again. A book is kept while there is something in it."""

    def __init__(
        self,
        *,
        directory: Directory,
        clock: Clock,
        defaults: AccountLimits,
        troubled: Callable[[StoreUnavailable], None],
        portions: Portions | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._defaults = defaults
        self._troubled = troubled
        self._portions = portions
        self._books: dict[int, _Book] = {}
        self._news = asyncio.Event()

    def wanting(self, account: Account) -> asyncio.Future[None] | None:
        """What to wait for before `open_tab`, and then to ask again; None when that gives the answer. Raises
        StoreUnavailable."""
        return self.wanting_of(self._limits(account)[0])

    def wanting_of(self, limit: Limit | None) -> asyncio.Future[None] | None:
        return None if self._portions is None or limit is None else self._portions.wanting(limit)

    def _limits(self, account: Account) -> Limits:
        """Of messages and of recipients, where other processes count with us."""
        if self._portions is None:
            return None, None

        def messages() -> Used:
            usage = self._directory.usage(account.id).at(self._clock.now())
            return usage.hour_began_at.timestamp(), usage.messages

        def recipients() -> Used:
            usage = self._directory.usage(account.id).at(self._clock.now())
            return usage.day_began_at.timestamp(), usage.recipients

        of_messages, of_recipients = self._messages_per_hour(account), self._recipients_per_day(account)
        return (
            Limit(f"messages {account.id}", of_messages, messages) if of_messages else None,
            Limit(f"recipients {account.id}", of_recipients, recipients) if of_recipients else None,
        )

    def _messages_per_hour(self, account: Account) -> int:
        most = account.messages_per_hour
        return self._defaults.messages_per_hour if most is None else most

    def _recipients_per_day(self, account: Account) -> int:
        most = account.recipients_per_day
        return self._defaults.recipients_per_day if most is None else most

    def open_tab(self, account: Account) -> Tab | Ruling:
        """A message of this account begins. Raises StoreUnavailable."""
        book = self._books.get(account.id)
        if book is None:
            book = self._books[account.id] = _Book(self._directory.usage(account.id))
        most, limits, now = self._messages_per_hour(account), self._limits(account), self._clock.now()
        ruling = judge_messages(book.usage, book.messages, most, now)
        if ruling is None and not self._take(limits[0]):
            ruling = judge_messages(book.usage, most, most, now)
        if ruling is not None:
            self._tidy(account.id, book)
            return ruling
        book.messages += 1
        return Tab(self, account, book, limits)

    def judge_recipient(self, account: Account, book: _Book, limit: Limit | None) -> Ruling | None:
        most, now = self._recipients_per_day(account), self._clock.now()
        ruling = judge_recipients(book.usage, book.recipients, most, now)
        if ruling is None and not self._take(limit):
            ruling = judge_recipients(book.usage, most, most, now)
        return ruling

    def _take(self, limit: Limit | None) -> bool:
        return self._portions is None or limit is None or self._portions.take(limit)

    def close_tab(self, account_id: int, book: _Book, recipients: int, limits: Limits, *, sent: bool) -> None:
        book.messages -= 1
        book.recipients -= recipients
        for limit, count in zip(limits, (1, recipients), strict=True):
            if limit is None or self._portions is None or not count:
                continue
            if sent:
                _add(book.lent, limit, count)
            else:
                self._portions.give(limit, count)
        if sent:
            book.usage = book.usage.plus(1, recipients, self._clock.now())
            book.unwritten_messages += 1
            book.unwritten_recipients += recipients
            self._news.set()
        else:
            self._tidy(account_id, book)

    def _tidy(self, account_id: int, book: _Book) -> None:
        if book.is_idle:
            self._books.pop(account_id, None)

    async def run(self) -> None:
        """Write what there is to write until cancelled, and then once more. To be run while tabs are open."""
        try:
            while True:
                await self._news.wait()
                await asyncio.sleep(USAGE_WRITE_S)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """Bring the counters into the directory, as far as it takes them."""
        self._news.clear()
        now = self._clock.now()
        sent = tuple(
            Sent(account_id, book.unwritten_messages, book.unwritten_recipients, now)
            for account_id, book in self._books.items()
            if book.unwritten_messages
        )
        if not sent:
            return
        for each in sent:
            book = self._books[each.account_id]
            book.unwritten_messages -= each.messages
            book.unwritten_recipients -= each.recipients
            book.being_written = True
        lent = [self._books[each.account_id].take_lent() for each in sent]
        try:
            counters = await self._directory.add_usage(sent)
        except StoreUnavailable as failure:
            self._keep(sent, lent)
            self._troubled(failure)
            return
        for each, of_account in zip(sent, lent, strict=True):
            self._written(each.account_id, counters.get(each.account_id, Usage()))
            for limit, count in of_account.values():
                if self._portions is not None:
                    self._portions.spend(limit, count)

    def _keep(self, sent: tuple[Sent, ...], lent: list[Lent]) -> None:
        for each, of_account in zip(sent, lent, strict=True):
            book = self._books[each.account_id]
            for limit, count in of_account.values():
                _add(book.lent, limit, count)
            book.unwritten_messages += each.messages
            book.unwritten_recipients += each.recipients
            book.being_written = False
        self._news.set()

    def _written(self, account_id: int, usage: Usage) -> None:
        """The directory knows what all processes have written; what came here since is added again."""
        book = self._books[account_id]
        book.being_written = False
        book.usage = usage.plus(book.unwritten_messages, book.unwritten_recipients, self._clock.now())
        self._tidy(account_id, book)


class Tab:
    """One transaction of an account, from MAIL to its end; closed once, by `charge` or `drop`."""

    __slots__ = ("_account", "_book", "_is_open", "_limits", "_recipients", "_usage")

    def __init__(self, usage: AccountUsage, account: Account, book: _Book, limits: Limits) -> None:
        self._usage = usage
        self._account = account
        self._book = book
        self._limits = limits
        self._recipients = 0
        self._is_open = True

    def wanting(self) -> asyncio.Future[None] | None:
        """What to wait for before `add_recipient`, and then to ask again; None when that gives the answer."""
        return self._usage.wanting_of(self._limits[1])

    def add_recipient(self) -> Ruling | None:
        """None: it is counted with this message. Otherwise why there can be no more today."""
        ruling = self._usage.judge_recipient(self._account, self._book, self._limits[1])
        if ruling is None:
            self._recipients += 1
            self._book.recipients += 1
        return ruling

    def charge(self) -> None:
        """The message was accepted."""
        self._close(sent=True)

    def drop(self) -> None:
        """The transaction came to nothing. Harmless when the tab is closed already."""
        self._close(sent=False)

    def _close(self, *, sent: bool) -> None:
        if self._is_open:
            self._is_open = False
            self._usage.close_tab(self._account.id, self._book, self._recipients, self._limits, sent=sent)
