"""Opening the stores of a data folder, for a worker or for a command, and closing them in the right order."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from postroad.app.configuration import Configuration
from postroad.app.queue_administration import QueueAdministration, administration_of
from postroad.app.shards import all_shards
from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.passwords import Passwords
from postroad.contracts.queue_store import QueueStore
from postroad.services.operations.accounts import AccountOperations
from postroad.services.operations.mailboxes import MailboxOperations
from postroad.services.operations.merge_results import MergeOperations
from postroad.services.operations.operator import Operator, VerbGroup
from postroad.services.operations.performer import PlainObject
from postroad.services.operations.pickups import PickupOperations
from postroad.services.operations.status import StatusOperations
from postroad.services.operations.stories import StoryOperations
from postroad.services.operations.suppressions import SuppressionOperations
from postroad.services.operations.terminals import TerminalOperations
from postroad.services.outbox_mover import OutboxMover
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.storage.sqlite.mailbox_aside import CURE
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.storage.sqlite.suppression_store import SqliteSuppressions
from postroad.world.clock import SystemClock
from postroad.world.passwords import Argon2Passwords

COMMANDS_AT_ONCE = 64
"""Commands that write to the ledger at the same time; each has files of its own there."""


@dataclass(frozen=True)
class Shared:
    """What every process of a data folder may open beside the others."""

    clock: Clock
    directory: SqliteDirectory
    mailboxes: SqliteMailboxStore
    ledger: SqliteLedger
    passwords: Passwords


@asynccontextmanager
async def open_shared(configuration: Configuration, name: str) -> AsyncIterator[Shared]:
    """`name` is the process in the ledger: no two that run at once may have the same. Raises StoreUnavailable."""
    data = configuration.data_folder
    async with AsyncExitStack() as opened:
        clock = SystemClock()
        ledger = SqliteLedger(data / "ledger", name, clock)
        opened.push_async_callback(ledger.close)
        mailboxes = SqliteMailboxStore(data / "mail")
        opened.push_async_callback(mailboxes.close)
        directory = SqliteDirectory(data / "directory.db")
        opened.push_async_callback(directory.close)
        passwords = Argon2Passwords()
        opened.push_async_callback(passwords.close)
        yield Shared(clock, directory, mailboxes, ledger, passwords)


@asynccontextmanager
async def open_holds(configuration: Configuration) -> AsyncIterator[SqliteHoldStore]:
    """Raises StoreUnavailable."""
    holds = SqliteHoldStore(configuration.data_folder / "hold")
    try:
        yield holds
    finally:
        await holds.close()


@asynccontextmanager
async def open_queue(configuration: Configuration, shard: int, clock: Clock) -> AsyncIterator[SqliteQueueStore]:
    """One shard, with its lock. Raises StoreUnavailable."""
    queue = await SqliteQueueStore.open(configuration.data_folder / "queue", shard, clock_now=clock.now)
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def open_for_command(configuration: Configuration) -> AsyncIterator[Shared]:
    """What a command may open beside the server, under a name of its own. Raises StoreUnavailable."""
    with _command_name(configuration.run_folder) as name:
        async with open_shared(configuration, name) as shared:
            yield shared


@asynccontextmanager
async def open_operator(configuration: Configuration, *, with_queue: bool = False) -> AsyncIterator[Operator]:
    """For a command: an Operator in this process; with the queue where no server runs. Raises StoreUnavailable."""
    async with AsyncExitStack() as opened:
        name = opened.enter_context(_command_name(configuration.run_folder))
        shared = await opened.enter_async_context(open_shared(configuration, name))
        shards = all_shards(configuration) if with_queue else ()
        queues = tuple(
            [await opened.enter_async_context(open_queue(configuration, shard, shared.clock)) for shard in shards]
        )
        drains = tuple(drain_of(OutboxMover(queue=queue, ledger=shared.ledger, errors=_raised)) for queue in queues)
        administration = administration_of(configuration, shared, queues) if with_queue else None
        suppressions = SqliteSuppressions(configuration.data_folder / "suppressions.db")
        opened.push_async_callback(suppressions.close)
        yield operator_of(
            shared,
            "stopped",
            queues if with_queue else None,
            drains,
            administration=administration,
            more=(
                SuppressionOperations(suppressions=suppressions, clock=shared.clock),
                MergeOperations(ledger=shared.ledger, suppressions=suppressions, clock=shared.clock),
            ),
        )


def _raised(what: str, error: BaseException) -> None:
    """A command has nobody to tell but its caller: what goes wrong comes out of the verb itself."""


def drain_of(mover: OutboxMover) -> Callable[[], Awaitable[None]]:
    """What `ledger.flush` awaits."""

    async def drain() -> None:
        await mover.drain()

    return drain


def operator_of(  # noqa: PLR0913  one for each thing that a process may have or not
    shared: Shared,
    process: str,
    queues: tuple[QueueStore, ...] | None,
    drains: tuple[Callable[[], Awaitable[None]], ...] = (),
    *,
    facts: tuple[Callable[[], PlainObject], ...] = (),
    slower_facts: tuple[Callable[[], Awaitable[PlainObject]], ...] = (),
    administration: QueueAdministration | None = None,
    waiting: tuple[PickupOperations | None, TerminalOperations | None] = (None, None),
    more: tuple[VerbGroup, ...] = (),
) -> Operator:
    """The verbs of one process. `queues` and `administration` None: it has no part in the queue; `waiting` are what
    only the first transport worker has, `more` what only commands ask for."""
    directory, mailboxes, ledger, clock = shared.directory, shared.mailboxes, shared.ledger, shared.clock
    here = () if queues is None else queues
    return Operator(
        accounts=AccountOperations(directory=directory, mailboxes=mailboxes, passwords=shared.passwords, clock=clock),
        mailboxes=MailboxOperations(directory=directory, mailboxes=mailboxes, ledger=ledger, clock=clock),
        more=(() if administration is None else administration.groups) + more,
        stories=StoryOperations(ledger=ledger, drains=drains),
        status=StatusOperations(
            process=process,
            clock=clock,
            queues=here,
            ledger=ledger,
            facts=facts,
            slower_facts=(*slower_facts, partial(_set_aside, mailboxes)),
        ),
        pickups=waiting[0],
        terminals=waiting[1],
    )


async def _set_aside(mailboxes: SqliteMailboxStore) -> PlainObject:
    """For `status`: what waits for an administrator, where something does."""
    reasons = await mailboxes.set_aside()
    return {"mailbox_files_set_aside": [f"{reason} ({CURE})" for reason in reasons]} if reasons else {}


@contextmanager
def _command_name(run: Path) -> Iterator[str]:
    """ "c0", "c1", ...: the first that no other command has now. Raises StoreUnavailable."""
    for number in range(COMMANDS_AT_ONCE):
        name = f"c{number}"
        try:
            handle = os.open(run / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{error.filename}: {error.strerror}") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield name
            return
        finally:
            os.close(handle)
    raise StoreUnavailable(f"{COMMANDS_AT_ONCE} commands are at work already. Try again.")
