"""The queue's verbs inside the transaction: what `accept` and `settle` write.

All of it runs where the CommitEngine runs. Outcomes of a batch are nearly always of one kind, a new message or
a group that is over; these have a form for many. Everything else takes the long way, one by one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from postroad.contracts.errors import AcceptedBefore, LeaseLost, StoreUnavailable
from postroad.contracts.queue_store import NewMessage, Settlement, StoredContent
from postroad.storage.sqlite import queue_reads
from postroad.storage.sqlite.commit import Done, Verb
from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.database import translated
from postroad.storage.sqlite.many_rows import ManyRows
from postroad.storage.sqlite.moments import to_microseconds
from postroad.storage.sqlite.queue_content import FileThreads
from postroad.storage.sqlite.queue_rows import envelope_to_bytes, recipients_from_bytes, recipients_to_bytes
from postroad.vocabulary import story
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.queue_id import QueueId, from_number, to_number

_EXACT = 32
"""As many rows as a batch commonly has: as many as there are busy sessions."""
_MESSAGES = ManyRows("INSERT INTO message (id, envelope, queued_at, size_bytes) VALUES ", "(?,?,?,?)", exact=_EXACT)
_CONTENTS = ManyRows("INSERT INTO content (id, octets) VALUES ", "(?,?)", exact=_EXACT)
_GROUPS = ManyRows(
    "INSERT INTO recipient_group (message, destination, recipients, due_at) VALUES ", "(?,?,?,?)", exact=_EXACT
)
_GROUPS_OVER = ManyRows("DELETE FROM recipient_group WHERE (message, destination) IN (VALUES ", "(?,?)", ")")
_MESSAGES_OVER = ManyRows(
    "DELETE FROM message WHERE id IN (",
    "?",
    ") AND NOT EXISTS (SELECT 1 FROM recipient_group WHERE recipient_group.message = message.id)",
)
_CONTENTS_OVER = ManyRows(
    "DELETE FROM content WHERE id IN (",
    "?",
    ") AND NOT EXISTS (SELECT 1 FROM message WHERE message.id = content.id)",
)


class Settling(NamedTuple):
    """A settlement, with the recipients that came to the group after its work was taken, and must stay."""

    settlement: Settlement
    joined: tuple[Recipient, ...]
    now: int


class Holding(NamedTuple):
    """Groups by message and destination, to be held or released, and the stories of it."""

    keys: list[tuple[int, str]]
    held: bool
    stories: tuple[story.Entry, ...]


class QueueWrites:
    """The verbs of one owner of a shard, for its CommitEngine.

    `epoch` is the owner's; when the file has another by now, every batch fails: accept with StoreUnavailable,
    settle with LeaseLost.
    """

    def __init__(self, folder: Path, threads: FileThreads) -> None:
        self._folder = folder
        self._threads = threads
        self.epoch = 0
        self._epoch_found = 0
        self._next_outbox = 1
        self._over: list[int] = []
        self._refused: list[QueueId] = []
        """Grows at its end on the loop's thread; the writer's thread takes from the front what a commit has settled."""
        self._weighed = 0
        self._unwanted: list[QueueId] = []
        self.accept: Verb[NewMessage, None] = Verb(self._accept_one, self._accept_many)
        self.settle: Verb[Settling, None] = Verb(self._settle_one, self._settle_many)
        self.clear_outbox: Verb[int, None] = Verb(_clear_outbox)
        self.set_held: Verb[Holding, int] = Verb(_set_held)
        self.remember_ids: Verb[int, None] = Verb(self._remember_ids)
        self.forget_keys: Verb[tuple[str, ...], None] = Verb(_forget_keys)
        self.wait_for_earlier: Verb[None, None] = Verb(_write_nothing)

    def take_over(self, connection: apsw.Connection) -> int:
        """Become the owner: raise the epoch. Returns the highest id that was ever given out."""
        connection.execute("BEGIN IMMEDIATE")
        query = (
            "UPDATE shard SET epoch = epoch + 1 RETURNING epoch, max(last_id, (SELECT ifnull(max(id), 0) FROM message))"
        )
        self.epoch, last_id = connection.execute(query).get
        self._next_outbox = connection.execute("SELECT ifnull(max(number), 0) + 1 FROM outbox").get
        connection.execute("COMMIT")
        return int(last_id)

    # ---- what the engine calls around a batch ----

    def begin_batch(self, connection: apsw.Connection) -> None:
        self._over.clear()
        self._weighed, self._unwanted = 0, []
        self._epoch_found = connection.execute("SELECT epoch FROM shard").get

    def finish_batch(self, connection: apsw.Connection, done: Sequence[Done]) -> None:
        """One row in the outbox for all that the batch did (architecture: one blob for each transaction)."""
        entries: list[story.Entry] = []
        for verb, argument, _ in done:
            if verb is self.accept:
                entries.append(argument.story)
            elif verb is self.settle:
                settlement = argument.settlement
                if settlement.story is not None:
                    entries.append(settlement.story)
                entries.extend(message.story for message in settlement.enqueue)
            elif verb is self.set_held:
                entries.extend(argument.stories)
        if entries:
            row = (self._next_outbox, story.to_bytes(tuple(entries)))
            connection.execute("INSERT INTO outbox (number, entries) VALUES (?, ?)", row)
            self._next_outbox += 1
        if self._refused:
            refused = self._refused.copy()
            # One that was refused because it is here already keeps its file.
            self._unwanted = [id for id in refused if queue_reads.content_of(connection, to_number(id)) is None]
            self._weighed = len(refused)

    def after_commit(self, done: Sequence[Done]) -> None:
        """Now the files may go: of messages that are over, and of those whose acceptance failed before."""
        del self._refused[: self._weighed]
        if self._over or self._unwanted:
            ids = [*map(from_number, self._over), *self._unwanted]
            self._threads.remove([str(self._folder / queue_id) for queue_id in ids])

    def not_accepted(self, queue_id: QueueId) -> None:
        """From the loop's thread: a message with a file was refused. The file may go after the next commit, not
        before: should we crash after a failed sync, the message could yet turn out to have been written."""
        self._refused.append(queue_id)

    # ---- accept ----

    def _accept_one(self, connection: apsw.Connection, message: NewMessage) -> None:
        self._accept_many(connection, (message,))

    def _accept_many(self, connection: apsw.Connection, messages: Sequence[NewMessage]) -> list[None]:
        if self._epoch_found != self.epoch:
            raise StoreUnavailable("This part of the queue has another owner now.")
        self._insert(connection, messages)
        return [None] * len(messages)

    def _insert(self, connection: apsw.Connection, messages: Sequence[NewMessage]) -> None:
        message_rows: list[Any] = []
        content_rows: list[Any] = []
        group_rows: list[Any] = []
        for message in messages:
            number = to_number(message.queue_id)
            queued_at = to_microseconds(message.queued_at)
            if message.key:
                _take_key(connection, message.key, queued_at)
            due_at = queued_at if message.due_at is None else to_microseconds(message.due_at)
            content = message.content
            octets = content if isinstance(content, bytes) else content.in_memory()
            if octets is not None:
                size_bytes = len(octets)
                content_rows += (number, octets)
            else:
                assert not isinstance(content, bytes)
                size_bytes = content.size_bytes
                self._place(content, message)
            message_rows += (number, envelope_to_bytes(message.envelope), queued_at, size_bytes)
            for group in message.groups:
                group_rows += (number, str(group.destination), recipients_to_bytes(group.recipients), due_at)
        _MESSAGES.run(connection, message_rows)
        if content_rows:
            _CONTENTS.run(connection, content_rows)
        _GROUPS.run(connection, group_rows)

    def _place(self, content: StoredContent, message: NewMessage) -> None:
        """Make sure that the file bears this message's id: sealed under it, or shared with another message."""
        source, path = content.file_path(), str(self._folder / message.queue_id)
        assert source is not None
        if source == path:
            return
        try:
            if not os.path.exists(path):  # it may be the second run of the batch
                os.link(source, path)
                sync_folder(self._folder)
        except OSError as error:
            raise translated(error, path) from error

    # ---- settle ----

    def _settle_many(self, connection: apsw.Connection, settlings: Sequence[Settling]) -> list[None]:
        over: list[Any] = []
        numbers: list[int] = []
        for settling in settlings:
            settlement = settling.settlement
            if settlement.remaining or settlement.moved or settlement.enqueue or settling.joined:
                self._settle_one(connection, settling)
            else:
                self._check_lease(settlement)
                number = to_number(settlement.queue_id)
                numbers.append(number)
                over += (number, str(settlement.destination))
        if over:
            if _GROUPS_OVER.run(connection, over) != len(numbers):
                raise LeaseLost("One of these groups is settled already.")  # which: found one by one
            self._drop_messages(connection, numbers)
        return [None] * len(settlings)

    def _settle_one(self, connection: apsw.Connection, settling: Settling) -> None:
        settlement = settling.settlement
        self._check_lease(settlement)
        key = (to_number(settlement.queue_id), str(settlement.destination))
        row = connection.execute(
            "SELECT recipients, due_at, held FROM recipient_group WHERE message = ? AND destination = ?", key
        ).get
        if row is None:
            raise LeaseLost(f"{settlement.queue_id}: this group is settled already.")
        remaining, due_at = settlement.remaining, settlement.due_at
        if settling.joined:
            in_row = recipients_from_bytes(row[0])
            stay = tuple(r for r in settling.joined if r in in_row and r not in remaining)
            if stay:
                remaining, due_at = (*remaining, *stay), None
        if remaining:
            due = row[1] if due_at is None else to_microseconds(due_at)
            connection.execute(
                "UPDATE recipient_group SET recipients = ?, due_at = ?, attempts = ?, warned = ?, last = ?"
                " WHERE message = ? AND destination = ?",
                (recipients_to_bytes(remaining), due, settlement.attempts, settlement.warned, settlement.last, *key),
            )
        else:
            connection.execute("DELETE FROM recipient_group WHERE message = ? AND destination = ?", key)
        for group in settlement.moved:
            _move(connection, key[0], group, settling.now, row[2])
        if settlement.enqueue:
            self._insert(connection, settlement.enqueue)
        if not remaining and not settlement.moved:
            self._drop_messages(connection, (key[0],))

    def _check_lease(self, settlement: Settlement) -> None:
        if not settlement.lease == self.epoch == self._epoch_found:
            raise LeaseLost(f"{settlement.queue_id}: this part of the queue has another owner now.")

    def _drop_messages(self, connection: apsw.Connection, numbers: Sequence[int]) -> None:
        """Those of the messages that have no group left go, with their content."""
        dropped = _MESSAGES_OVER.run(connection, numbers)
        if dropped and _CONTENTS_OVER.run(connection, numbers) != dropped:
            # Some had a file. Which ones is not worth a column: unlinking what is not there does no harm.
            kept = "SELECT 1 FROM message WHERE id = ?"
            self._over += [number for number in numbers if connection.execute(kept, (number,)).get is None]

    # ---- the rest ----

    def _remember_ids(self, connection: apsw.Connection, last_id: int) -> None:
        connection.execute("UPDATE shard SET last_id = ? WHERE epoch = ?", (last_id, self.epoch))


def _move(connection: apsw.Connection, number: int, group: Group, now: int, held: int) -> None:
    """Let the destination's group take the recipients over, due at once; make it where there is none. Whoever was
    held stays so: an administrator has held the group while it was being taken up."""
    key = (number, str(group.destination))
    there = connection.execute("SELECT recipients FROM recipient_group WHERE message = ? AND destination = ?", key).get
    if there is None:
        _GROUPS.run(connection, (*key, recipients_to_bytes(group.recipients), now))
        if held:
            _set_held(connection, Holding([key], True, ()))
        return
    recipients = recipients_from_bytes(there)
    recipients += tuple(r for r in group.recipients if r not in recipients)
    connection.execute(
        "UPDATE recipient_group SET recipients = ?, due_at = min(due_at, ?), held = max(held, ?)"
        " WHERE message = ? AND destination = ?",
        (recipients_to_bytes(recipients), now, held, *key),
    )


def _set_held(connection: apsw.Connection, holding: Holding) -> int:
    before = connection.total_changes()
    connection.executemany(
        "UPDATE recipient_group SET held = ? WHERE message = ? AND destination = ?",
        ((int(holding.held), *key) for key in holding.keys),
    )
    return connection.total_changes() - before


def _take_key(connection: apsw.Connection, key: str, at: int) -> None:
    before = connection.total_changes()
    connection.execute("INSERT OR IGNORE INTO taken (key, taken_at) VALUES (?, ?)", (key, at))
    if connection.total_changes() == before:
        raise AcceptedBefore(key)


def _forget_keys(connection: apsw.Connection, keys: tuple[str, ...]) -> None:
    connection.executemany("DELETE FROM taken WHERE key = ?", ((key,) for key in keys))


def _clear_outbox(connection: apsw.Connection, up_to: int) -> None:
    connection.execute("DELETE FROM outbox WHERE number <= ?", (up_to,))


def _write_nothing(connection: apsw.Connection, argument: None) -> None:
    """An item that only waits its turn: all that was submitted before it is committed when it is done."""
