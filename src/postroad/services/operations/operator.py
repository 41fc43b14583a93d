"""The one who answers an administrator's verbs in this process, over whatever stores the process holds.

Who is asked for what:

    queue.*, status, ledger.flush   the processes of the running server; this process when it is stopped
    transport.pickup, watch.*       the first transport worker of the running server, and nobody when it is stopped
    everything else                 any process: directory, mailboxes and ledger are shared files

The verbs stand in one table; a verb is a method of one of the small classes beside this file, takes plain
arguments and gives a list of plain objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from postroad.contracts.errors import Busy, StoreUnavailable
from postroad.services.operations.accounts import AccountOperations
from postroad.services.operations.mailboxes import MailboxOperations
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.pickups import PickupOperations
from postroad.services.operations.status import StatusOperations
from postroad.services.operations.stories import StoryOperations
from postroad.services.operations.terminals import TerminalOperations

Verb = Callable[[PlainObject], Awaitable[list[PlainObject]]]

SERVER_VERBS = ("queue.", "status", "ledger.flush")
"""Verbs (or beginnings of verbs) that only the owner of the queue's shards can answer."""

RUNNING_VERBS = ("transport.pickup", "watch.")
"""Those that only the first transport worker of a running server can answer."""


def needs_the_server(verb: str) -> bool:
    return verb.startswith(SERVER_VERBS) or needs_it_running(verb)


def needs_it_running(verb: str) -> bool:
    return verb.startswith(RUNNING_VERBS)


class VerbGroup(Protocol):
    def verbs(self) -> Verbs: ...


class Operator:
    """A Performer over the stores of this process. A group of verbs whose stores are not here is None."""

    def __init__(
        self,
        *,
        accounts: AccountOperations | None = None,
        mailboxes: MailboxOperations | None = None,
        stories: StoryOperations | None = None,
        status: StatusOperations | None = None,
        pickups: PickupOperations | None = None,
        terminals: TerminalOperations | None = None,
        more: Iterable[VerbGroup] = (),
    ) -> None:
        groups = (accounts, mailboxes, stories, status, pickups, terminals, *more)
        self._verbs: dict[str, Verb] = {}
        for group in groups:
            if group is not None:
                self._verbs.update(group.verbs())

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        """Do what `verb` says. Raises OperationFailed, also for an unknown verb and for a store that cannot."""
        action = self._verbs.get(verb)
        if action is None:
            raise OperationFailed(f"{verb}: nobody here can do this", 69)
        try:
            return await action(arguments)
        except StoreUnavailable as error:
            raise OperationFailed(f"The store cannot do it now: {error}. Try again.", 75) from error
        except Busy as error:
            raise OperationFailed(f"Too much to do at once: {error}. Try again.", 75) from error

    async def close(self) -> None:
        """The stores belong to whoever made them; there is nothing of ours to close."""
