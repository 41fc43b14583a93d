"""What holds need from time to time: senders told, mail that waited too long given up, stories copied.

Only the owner of the first shard of the queue keeps holds, so that the key under which a notification is accepted is
always looked for in the same place: `accept` first, by key, and `reported` afterwards (docs/decisions/0005).

    look()       one round now
    nudge(d)     something has left the hold of this domain
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import structs

from postroad.contracts.clock import Clock
from postroad.contracts.errors import AcceptedBefore, StoreUnavailable
from postroad.contracts.hold_store import HeldMessage, Hold, HoldLocked, HoldSettlement, HoldStore, Report
from postroad.contracts.ledger import Ledger
from postroad.contracts.queue_store import NewMessage, QueueStore, StoredContent, Work
from postroad.rules.deliver_by import returned
from postroad.rules.settlement import EXPIRED, Decision, Past, age_text, decide
from postroad.services.lanes import Errors
from postroad.services.notifications import Notifications, Routing
from postroad.services.parcel import Parcel
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.limits import COMMIT_BATCH, HOLD_LOOK_S, HOLD_PAGE, HOLD_REPORTS, OUTBOX_BATCH
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import HoldDomain, RetrySettings
from postroad.vocabulary.story import Attempted, Entry, Moved, Reported

_STILL_HELD = "It waits for its recipients to fetch it, and they have not called yet."
_FOR_EVER = RetrySettings(give_up_after=timedelta.max, attempts_max=2**62)
IsMine = Callable[[str], bool]
"""Whether a delivery key is of this shard's messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingWorld:
    """`accepted` is handed each message that the queue has taken; `routing` groups recipients, as for reception."""

    holds: HoldStore
    queue: QueueStore
    ledger: Ledger
    clock: Clock
    routing: Routing
    accepted: Callable[[NewMessage], None]


class HoldKeeping:
    """`hostname` is the one in notifications."""

    def __init__(
        self,
        domains: tuple[HoldDomain, ...],
        world: KeepingWorld,
        *,
        hostname: str,
        retry: RetrySettings,
        errors: Errors,
    ) -> None:
        self._domains = {hold.domain: hold for hold in domains}
        self._world = world
        self._retry = retry
        self._errors = errors
        self._notifications = Notifications(hostname=hostname, store=world.queue, routing=world.routing)
        self._wake = asyncio.Event()
        self._one = asyncio.Lock()

    def nudge(self, domain: str) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Every HOLD_LOOK_S, and when nudged, until cancelled."""
        swept = False
        while True:
            self._wake.clear()
            try:
                await self.look()
                if not swept:
                    await self._forget_keys()
                    swept = True
            except Exception as error:
                self._errors("keeping holds", error)
            try:
                async with asyncio.timeout(HOLD_LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """One round over all holds. Raises StoreUnavailable when one could not be kept; what was done stays done, and
        the others are kept."""
        failures: list[Exception] = []
        async with self._one:
            for domain in await self._world.holds.domains():
                try:
                    await self._keep(domain)
                except Exception as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    async def _keep(self, domain: str) -> None:
        if await self._needs_looking_at(domain):
            try:
                async with self._world.holds.open_hold(domain) as hold:
                    await self._look_at(hold)
            except HoldLocked:
                pass  # it is being emptied; the next round looks again
        await self._report(domain)
        await self.copy_stories(domain)

    async def _needs_looking_at(self, domain: str) -> bool:
        """Locked without need, a hold would be refused to its owner just then."""
        summary = await self._world.holds.summary(domain)
        oldest, deadline, now = summary.oldest_held_at, summary.next_deadline_at, self._world.clock.now()
        if oldest is None:
            return False
        settings = self._domains.get(domain)
        return settings is None or oldest <= now - settings.keep or (deadline is not None and deadline <= now)

    async def _look_at(self, hold: Hold) -> None:
        settings = self._domains.get(hold.domain)
        if settings is None:
            await self._give_back(hold)
        else:
            await self._meet_deadlines(hold)
            await self._expire(hold, self._world.clock.now() - settings.keep)

    # ---- to be there by a certain time -----------------------------------------------------------

    async def _meet_deadlines(self, hold: Hold) -> None:
        """RFC 2852 section 4.1: what should have been fetched by now goes back (mode R), or waits on and its sender
        hears that it is late (mode N)."""
        while page := await hold.overdue(self._world.clock.now(), HOLD_PAGE):
            for message in page:
                await hold.settle(self._late(hold.domain, message))

    def _late(self, domain: str, message: HeldMessage) -> HoldSettlement:
        envelope, now = message.envelope, self._world.clock.now()
        deliver_by = envelope.deliver_by
        if deliver_by is not None and deliver_by.mode == "R":
            outcomes = tuple(returned(each, deliver_by) for each in envelope.recipients)
            return self._settlement(domain, message, outcomes)
        outcomes = tuple(Outcome(each, Fate.DEFERRED, EXPIRED, _STILL_HELD) for each in envelope.recipients)
        past = Past(envelope.reverse_path, message.queued_at, 1, warned=False, deliver_by=deliver_by)
        decision = decide(outcomes, past, _FOR_EVER, now=now, jitter=0.0)
        return HoldSettlement(
            number=message.number, remaining=envelope.recipients, to_report=decision.delays, deadline_passed=True
        )

    # ---- waited too long -------------------------------------------------------------------------

    async def _expire(self, hold: Hold, before: datetime) -> None:
        """They come in the order in which they were held: the first that is young ends it."""
        while page := await hold.messages(0, HOLD_PAGE):
            for message in page:
                if message.held_at > before:
                    return
                await hold.settle(self._given_up(hold.domain, message))

    def _given_up(self, domain: str, message: HeldMessage) -> HoldSettlement:
        age = age_text(self._world.clock.now() - message.held_at)
        text = f"It was held here for {age}, and nobody fetched it."
        outcomes = tuple(Outcome(each, Fate.FAILED, EXPIRED, text) for each in message.envelope.recipients)
        return self._settlement(domain, message, outcomes)

    def _settlement(self, domain: str, message: HeldMessage, outcomes: tuple[Outcome, ...]) -> HoldSettlement:
        """Nobody waits any more."""
        now = self._world.clock.now()
        past = Past(message.envelope.reverse_path, message.queued_at, message.attempts + 1, warned=True)
        decision = decide(outcomes, past, self._retry, now=now, jitter=0.0)
        fact = Attempted(
            at=now,
            destination=str(Destination(DestinationKind.HOLD, domain)),
            attempt=message.attempts + 1,
            outcomes=outcomes,
        )
        return HoldSettlement(
            number=message.number,
            to_report=decision.failures,
            story=Entry(message.queue_id, (message.queue_id,), (fact,)),
        )

    # ---- not held any more -----------------------------------------------------------------------

    async def _give_back(self, hold: Hold) -> None:
        """The domain has no hold any more: its mail goes the way that it has now."""
        while page := await hold.messages(0, HOLD_PAGE):
            for message in page:
                key = f"held/{hold.domain}/{message.number}"
                accepted = await self._accept(
                    self._moved(hold.domain, message, key, await hold.content(message.number))
                )
                await hold.settle(HoldSettlement(number=message.number))
                if accepted is not None:
                    self._world.accepted(accepted)
                await self._world.queue.forget_keys((key,))

    def _moved(self, domain: str, message: HeldMessage, key: str, content: StoredContent) -> NewMessage:
        now = self._world.clock.now()
        queue_id = self._world.queue.new_id(now)
        groups = self._world.routing(message.envelope.recipients)
        fact = Moved(
            at=now,
            destination=str(Destination(DestinationKind.HOLD, domain)),
            to=tuple(str(group.destination) for group in groups),
        )
        keys = (queue_id, message.queue_id, *(each.forward_path.key() for each in message.envelope.recipients))
        return NewMessage(
            queue_id,
            message.envelope,
            content,
            groups,
            now,
            Entry(queue_id, keys, (fact,)),
            key=key,
        )

    # ---- telling senders -------------------------------------------------------------------------

    async def _report(self, domain: str) -> None:
        holds = self._world.holds
        while reports := await holds.reports(domain, HOLD_REPORTS):
            for report in reports:
                messages = await self._notifications_of(domain, report)
                for message in messages:
                    if await self._accept(message) is not None:
                        self._world.accepted(message)
                await holds.reported(domain, report.number, self._story_of(domain, report, messages))
                await self._world.queue.forget_keys(tuple(message.key for message in messages))

    async def _notifications_of(self, domain: str, report: Report) -> tuple[NewMessage, ...]:
        now = self._world.clock.now()
        work = Work(
            queue_id=report.queue_id,
            destination=Destination(DestinationKind.HOLD, domain),
            recipients=(),
            envelope=report.envelope,
            size_bytes=report.size_bytes,
            queued_at=report.queued_at,
            attempts=0,
            warned=True,
            lease=0,
        )
        decision = Decision(
            report.outcomes,
            failures=tuple(outcome for outcome in report.outcomes if outcome.fate is Fate.FAILED),
            delays=tuple(outcome for outcome in report.outcomes if outcome.fate is Fate.DEFERRED),
            relays=tuple(outcome for outcome in report.outcomes if outcome.fate is Fate.RELAYED),
        )
        try:
            original = await self._world.holds.content(domain, report.message)
            messages = await self._notifications.about(Parcel(work, original), decision, self._retry, now)
        except (KeyError, StoreUnavailable) as error:
            # To be told is what matters, and the next reports wait behind this one.
            self._errors(f"the original of {report.queue_id}", error)
            messages = await self._notifications.about(Parcel(work), decision, self._retry, now, with_original=False)
        return tuple(structs.replace(message, key=f"{report.key}/{number}") for number, message in enumerate(messages))

    def _story_of(self, domain: str, report: Report, messages: tuple[NewMessage, ...]) -> Entry:
        facts = tuple(
            Reported(
                at=message.queued_at,
                destination=str(Destination(DestinationKind.HOLD, domain)),
                recipients=tuple(str(outcome.recipient.forward_path) for outcome in report.outcomes),
                notification=message.queue_id,
            )
            for message in messages
        )
        return Entry(report.queue_id, (report.queue_id,), facts)

    async def _accept(self, message: NewMessage) -> NewMessage | None:
        """Have the queue take it; None when it had it already, from before a crash. Raises StoreUnavailable."""
        try:
            await self._world.queue.accept(message)
        except AcceptedBefore:
            return None
        return message

    # ---- stories and keys ------------------------------------------------------------------------

    async def copy_stories(self, domain: str) -> None:
        """Bring what the hold has to tell into the ledger. Safe at any time. Raises StoreUnavailable."""
        holds = self._world.holds
        while blobs := await holds.outbox(domain, OUTBOX_BATCH):
            await self._world.ledger.write(tuple(blob for _, blob in blobs))
            await holds.clear_outbox(domain, blobs[-1][0])

    async def drain(self) -> None:
        """The stories of all holds, now. Raises StoreUnavailable."""
        for domain in await self._world.holds.domains():
            await self.copy_stories(domain)

    async def _forget_keys(self) -> None:
        """Keys that a crash has left: each round forgets its own, so what a round did not see is over."""
        for prefix in ("hold/", "held/"):
            after = ""
            while keys := await self._world.queue.keys(prefix, after, COMMIT_BATCH):
                after = keys[-1]
                final = [key for key in keys if not await self._may_come_again(key)]
                if final:
                    await self._world.queue.forget_keys(tuple(final))

    async def _may_come_again(self, key: str) -> bool:
        """Whether what the key was given for is still in its hold. Both are taken in the order of their numbers."""
        kind, domain, number, *_ = key.split("/")
        if kind == "hold":
            reports = await self._world.holds.reports(domain, 1)
            return bool(reports) and int(number) >= reports[0].number
        try:
            async with self._world.holds.open_hold(domain) as hold:
                waiting = await hold.messages(0, 1)
        except HoldLocked:
            return True
        return bool(waiting) and int(number) >= waiting[0].number


async def sweep_delivery_keys(holds: HoldStore, queue: QueueStore, older_than: datetime, is_mine: IsMine) -> int:
    """Forget the delivery keys of messages of this shard that have left the queue for good. Returns how many.
    Raises StoreUnavailable."""
    forgotten = 0
    for domain in await holds.domains():
        after = ""
        while keys := await holds.delivery_keys(domain, after, older_than, HOLD_PAGE):
            after = keys[-1]
            mine = {key: QueueId(key.partition("/")[0]) for key in keys if is_mine(key)}
            known = await queue.known(tuple(dict.fromkeys(mine.values())))
            final = tuple(key for key, queue_id in mine.items() if queue_id not in known)
            if final:
                await holds.forget_keys(domain, final)
            forgotten += len(final)
    return forgotten
