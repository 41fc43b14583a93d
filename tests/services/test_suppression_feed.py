"""Addresses of merged letters that failed hard are suppressed by housekeeping, though nobody asks for the results."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from postroad.contracts.suppressions import Awaited
from postroad.services.operations.merge_results import MergeOperations
from postroad.services.suppression_feed import SuppressionFeed
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.storage.sqlite.suppression_store import SqliteSuppressions
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Attempted, Entry
from postroad.world.clock import SystemClock

LETTERS = 600
"""More than one page."""


def letter(number: int) -> QueueId:
    return QueueId(f"{number:012d}")


def outcome_of(number: int) -> Outcome:
    """Every third has an unknown address, every third is put off, every third arrives."""
    recipient = Recipient(Mailbox(f"u{number}", "b.example"))
    if number % 3 == 0:
        return Outcome(recipient, Fate.FAILED, EnhancedStatus(5, 1, 1), "no such user", reply="550 5.1.1 No such user")
    if number % 3 == 1:
        return Outcome(recipient, Fate.DEFERRED, EnhancedStatus(4, 2, 0), "later", reply="450 4.2.0 Later")
    return Outcome(recipient, Fate.RELAYED, EnhancedStatus(2, 0, 0), "taken", reply="250 2.0.0 Taken")


def attempted(number: int, at: datetime) -> Entry:
    fact = Attempted(at=at, destination="domain:b.example", attempt=1, outcomes=(outcome_of(number),))
    return Entry(letter(number), (letter(number),), (fact,))


def test_hard_failures_feed_the_suppressions_and_what_is_under_way_is_looked_at_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as opened:
            clock = SystemClock()
            ledger = SqliteLedger(tmp_path / "ledger", "t0", clock)
            opened.push_async_callback(ledger.close)
            suppressions = SqliteSuppressions(tmp_path / "suppressions.db")
            opened.push_async_callback(suppressions.close)
            operations = MergeOperations(ledger=ledger, suppressions=suppressions, clock=clock)
            keep = timedelta(days=30)
            feed = SuppressionFeed(suppressions=suppressions, ledger=ledger, clock=clock, keep=keep)
            began_at = datetime.now(UTC)
            letters = [{"address": f"u{n}@b.example", "queue_id": letter(n)} for n in range(LETTERS)]
            for at in range(0, LETTERS, 300):
                arguments = {"letters": letters[at : at + 300], "since": began_at.isoformat()}
                assert await operations.verbs()["merge.expect"](arguments) == []
            for n in range(LETTERS):
                ledger.record(attempted(n, began_at))
            await ledger.flush()
            # One that is as old as the stories that are kept, without any story, is waited for no longer.
            old = Awaited(queue_id=letter(LETTERS), address=Mailbox("old", "b.example"), since=began_at - 2 * keep)
            await suppressions.expect((old,))

            assert await feed.round() == LETTERS // 3
            hard = {str(each.address) for each in await suppressions.newest(began_at, 1000)}
            assert hard == {f"u{n}@b.example" for n in range(0, LETTERS, 3)}
            left = await suppressions.awaited("", 1000)
            assert [each.queue_id for each in left] == [letter(n) for n in range(1, LETTERS, 3)]

            # What is taken back stays so, and what was put off fails in the end.
            assert await suppressions.remove(Mailbox("u0", "b.example"))
            failed = Outcome(outcome_of(1).recipient, Fate.FAILED, EnhancedStatus(5, 1, 1), "", reply="550 5.1.1 No")
            fact = Attempted(at=datetime.now(UTC), destination="domain:b.example", attempt=2, outcomes=(failed,))
            ledger.record(Entry(letter(1), (letter(1),), (fact,)))
            await ledger.flush()
            assert await feed.round() + await feed.round() == 1
            assert await suppressions.among((Mailbox("u0", "b.example"),), began_at) == ()
            assert len(await suppressions.among((Mailbox("u1", "b.example"),), began_at)) == 1

    asyncio.run(scene())
