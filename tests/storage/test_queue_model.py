"""The queue against a model of it that fits on a page: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from postroad.contracts.queue_store import NewMessage, QueueFilter, Settlement, Work
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.story import Entry, from_bytes
from tests.contract.queue_mail import T0

WAYS = tuple(Destination(DestinationKind.DOMAIN, f"{letter}.example") for letter in "abc")
PEOPLE = tuple(Recipient(Mailbox(name, "x.example")) for name in ("ann", "bob", "cid", "dan", "eve", "fay"))
Key = tuple[QueueId, Destination]

ways = st.sampled_from(WAYS)
minutes = st.integers(0, 60).map(lambda n: timedelta(minutes=n))
split = st.lists(ways, min_size=1, max_size=len(PEOPLE))


@dataclass(frozen=True)
class ModelGroup:
    recipients: frozenset[Recipient]
    due_at: datetime
    attempts: int = 0
    warned: bool = False
    last: str = ""


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="postroad-model-"))
        self.runner = asyncio.Runner()
        self.now = T0
        self.groups: dict[Key, ModelGroup] = {}
        self.in_hand: dict[Key, Work] = {}
        self.contents: dict[QueueId, bytes] = {}
        self.told: list[str] = []
        self.open()

    def open(self) -> None:
        self.store = self.runner.run(SqliteQueueStore.open(self.folder, 3, clock_now=lambda: self.now, direct=True))

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    async def new_message(self, chosen: list[Destination], wait: timedelta | None) -> NewMessage:
        queue_id = self.store.new_id(self.now)
        people: dict[Destination, tuple[Recipient, ...]] = {}
        for way, person in zip(chosen, PEOPLE, strict=False):
            people[way] = (*people.get(way, ()), person)
        groups = tuple(Group(way, recipients) for way, recipients in people.items())
        envelope = Envelope(None, PEOPLE[: len(chosen)])
        due_at = None if wait is None else self.now + wait
        content = queue_id.encode() * len(chosen)
        return NewMessage(queue_id, envelope, content, groups, self.now, Entry(queue_id, (), ()), due_at)

    def note(self, message: NewMessage) -> None:
        assert isinstance(message.content, bytes)
        self.contents[message.queue_id] = message.content
        self.told.append(message.queue_id)
        for group in message.groups:
            key = (message.queue_id, group.destination)
            self.groups[key] = ModelGroup(frozenset(group.recipients), message.due_at or self.now)

    @rule(chosen=split, wait=st.none() | minutes)
    def accept(self, chosen: list[Destination], wait: timedelta | None) -> None:
        message = self.runner.run(self.new_message(chosen, wait))

        async def accept() -> None:
            await self.store.accept(message)

        self.runner.run(accept())
        self.note(message)

    @rule(limit=st.integers(1, 10))
    def take(self, limit: int) -> None:
        work = self.runner.run(self.store.take_due(self.now, limit, lambda *key: key in self.in_hand))
        waiting = [key for key, group in self.groups.items() if group.due_at <= self.now and key not in self.in_hand]
        # The longest due first, then by number and name.
        waiting.sort(key=lambda key: (self.groups[key].due_at, key[0], str(key[1])))
        assert [(w.queue_id, w.destination) for w in work] == waiting[:limit]
        for w in work:
            group = self.groups[w.queue_id, w.destination]
            assert (frozenset(w.recipients), w.attempts, w.warned) == (group.recipients, group.attempts, group.warned)
            assert len(set(w.recipients)) == len(w.recipients)
            self.in_hand[w.queue_id, w.destination] = w

    @precondition(lambda self: self.in_hand)
    @rule(
        data=st.data(),
        wait=minutes,
        notice=st.none() | split,
        how=st.sampled_from(["over", "later", "elsewhere"]),
    )
    def settle(self, data: st.DataObject, wait: timedelta, notice: list[Destination] | None, how: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_hand, key=str)))
        work, group = self.in_hand.pop(key), self.groups.pop(key)
        remaining: tuple[Recipient, ...] = ()
        moved: tuple[Group, ...] = ()
        if how == "later":
            remaining = work.recipients[: data.draw(st.integers(1, len(work.recipients)))]
        elif how == "elsewhere":
            moved = (Group(data.draw(st.sampled_from([way for way in WAYS if way != key[1]])), work.recipients),)
        messages = () if notice is None else (self.runner.run(self.new_message(notice, None)),)
        settlement = Settlement(
            queue_id=key[0],
            destination=key[1],
            lease=work.lease,
            remaining=remaining,
            due_at=self.now + wait if remaining else None,
            attempts=work.attempts + 1,
            warned=True,
            last=how,
            enqueue=messages,
            moved=moved,
            story=Entry(key[0], (), ()),
        )

        async def settle() -> None:
            await self.store.settle(settlement)

        self.runner.run(settle())
        self.told.append(key[0])
        # Who came while the group was in hand was not part of the attempt, and stays due.
        joined = group.recipients - set(work.recipients)
        if remaining or joined:
            due_at = group.due_at if joined else self.now + wait
            stay = frozenset(remaining) | joined
            self.groups[key] = ModelGroup(stay, due_at, work.attempts + 1, True, how)
        for group_moved in moved:
            there = (key[0], group_moved.destination)
            before = self.groups.get(there, ModelGroup(frozenset(), self.now))
            self.groups[there] = replace(
                before,
                recipients=before.recipients | set(group_moved.recipients),
                due_at=min(before.due_at, self.now),
            )
        for message in messages:
            self.note(message)

    @rule(way=ways)
    def make_due(self, way: Destination) -> None:
        """An administrator asks for the mail of the first message in the queue."""
        first = min((key[0] for key in self.groups), default=QueueId("000000000000"))
        count = self.runner.run(self.store.make_due(QueueFilter(queue_id=first), self.now))
        meant = [key for key in self.groups if key[0] == first]
        assert count == len(meant)
        for key in meant:
            self.groups[key] = replace(self.groups[key], due_at=self.now)

    @rule(wait=minutes)
    def time_passes(self, wait: timedelta) -> None:
        self.now += wait

    @rule(back=minutes)
    def restart(self, back: timedelta) -> None:
        """The process ends and another begins; what was in hand is not any more. The clock may be wrong now."""
        self.runner.run(self.store.close())
        self.in_hand.clear()
        self.now -= back
        self.open()

    @rule()
    def copy_to_the_ledger(self) -> None:
        blobs = self.runner.run(self.store.outbox(1000))
        assert [entry.queue_id for _, blob in blobs for entry in from_bytes(blob)] == self.told
        if blobs:

            async def clear() -> None:
                await self.store.clear_outbox(blobs[-1][0])

            self.runner.run(clear())
        self.told.clear()

    @invariant()
    def both_say_the_same(self) -> None:
        entries = self.runner.run(self.store.entries(QueueFilter(), 10_000))
        assert {
            (entry.queue_id, Destination.parse(entry.destination)): (
                sorted(entry.recipients),
                entry.due_at,
                entry.attempts,
                entry.last,
            )
            for entry in entries
        } == {
            key: (sorted(str(r.forward_path) for r in group.recipients), group.due_at, group.attempts, group.last)
            for key, group in self.groups.items()
        }
        alive = {key[0] for key in self.groups}
        counts = self.runner.run(self.store.counts(self.now))
        assert counts == {
            "messages": len(alive),
            "groups": len(self.groups),
            "due": sum(group.due_at <= self.now for group in self.groups.values()),
            "held": 0,
            "bytes": sum(len(self.contents[queue_id]) for queue_id in alive),
        }
        assert self.runner.run(self.store.known(tuple(self.contents))) == alive


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestQueue = QueueMachine.TestCase
