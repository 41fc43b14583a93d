"""What one transport worker asks of the others: through the control socket, as an administrator would.

With one worker there is nobody to ask; `Alone` answers for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from postroad.app.control import connect_or_none
from postroad.contracts.clock import Clock
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import QueueFilter, QueueStore
from postroad.services.lanes import Errors
from postroad.services.operations.performer import OperationFailed
from postroad.services.terminals import TerminalMessage


class Alone:
    """`wake` tells the schedulers of these shards that something became due."""

    def __init__(self, queues: tuple[QueueStore, ...], clock: Clock, wake: Callable[[], None]) -> None:
        self._queues = queues
        self._clock = clock
        self._wake = wake

    async def flush(self, domain: str) -> int:
        """Make due what waits for a domain. Returns how many groups. Raises StoreUnavailable."""
        now = self._clock.now()
        groups = sum([await queue.make_due(QueueFilter(domain=domain), now) for queue in self._queues])
        if groups:
            self._wake()
        return groups


class AcrossWorkers:
    """Implements `services.terminals.Terminals` for workers that keep no watchers."""

    def __init__(self, control_socket: Path, errors: Errors) -> None:
        self._control_socket = control_socket
        self._errors = errors

    async def flush(self, domain: str) -> int:
        """As `Alone.flush`, in all workers."""
        try:
            answers = await self._ask("queue.flush", {"domain": domain})
        except OperationFailed as failed:
            raise StoreUnavailable(str(failed)) from failed
        return sum(int(answer["groups"]) for answer in answers)

    async def is_active(self, address: str) -> bool:
        try:
            return any(answer["active"] for answer in await self._ask("watch.active", {"account": address}))
        except OperationFailed as failed:
            self._errors("asking who watches", failed)
            return False

    async def show(self, message: TerminalMessage, addresses: tuple[str, ...]) -> frozenset[str]:
        arguments = {"message": msgspec.to_builtins(message), "accounts": list(addresses)}
        try:
            answers = await self._ask("watch.show", arguments)
        except OperationFailed as failed:
            self._errors("showing a message at terminals", failed)
            return frozenset()
        return frozenset(str(account) for answer in answers for account in answer["shown"])

    async def _ask(self, verb: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        client = await connect_or_none(self._control_socket)
        if client is None:
            raise OperationFailed(f"{self._control_socket} does not answer", 75)
        try:
            return await client.perform(verb, arguments)
        finally:
            await client.close()
