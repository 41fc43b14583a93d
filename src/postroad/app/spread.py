"""An administrator's verb, brought to the processes it concerns; their answers, put one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from postroad.services.operations.operator import needs_it_running
from postroad.services.operations.performer import OperationFailed, PlainObject

NOT_SO = 1
"""The exit status of a worker that does not have what was asked for, where another may."""


class Reached(Protocol):
    """A process that can be asked."""

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str: ...

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]: ...


class Spread:
    """A Performer over the workers. `facts` gives what the supervisor itself has to say to "status"."""

    def __init__(self, workers: Sequence[Reached], facts: Callable[[], PlainObject]) -> None:
        self._workers = tuple(workers)
        self._facts = facts

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        """Raises OperationFailed: of all, or of one that failed for another reason than not having it."""
        answers = await self._ask(self._concerned(verb), verb, arguments)
        if verb == "status":
            reports = [self._facts()]
            for name, answered in answers:
                if isinstance(answered, OperationFailed):
                    reports.append({"process": name, "problem": str(answered)})
                else:
                    reports += answered
            return reports
        failures = [answered for _, answered in answers if isinstance(answered, OperationFailed)]
        results = [answered for _, answered in answers if not isinstance(answered, OperationFailed)]
        serious = [failure for failure in failures if failure.exit_status != NOT_SO]
        if serious or (failures and not results):
            raise (serious or failures)[0]
        return [item for result in results for item in result]

    def _concerned(self, verb: str) -> tuple[Reached, ...]:
        if verb in ("status", "ledger.flush"):
            return self._workers
        if needs_it_running(verb):  # what the first transport worker does for all
            return tuple(worker for worker in self._workers if worker.role == "transport")[:1]
        role = {"queue": "transport", "transport": "transport", "access": "access"}.get(verb.partition(".")[0])
        if role:
            return tuple(worker for worker in self._workers if worker.role == role)
        return self._workers[-1:]  # files that all share: any one can

    async def _ask(
        self, workers: tuple[Reached, ...], verb: str, arguments: PlainObject
    ) -> list[tuple[str, list[PlainObject] | OperationFailed]]:
        async def one(worker: Reached) -> tuple[str, list[PlainObject] | OperationFailed]:
            try:
                return worker.name, await worker.perform(verb, arguments)
            except OperationFailed as failed:
                return worker.name, failed

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(worker)) for worker in workers]
        return [task.result() for task in tasks]

    async def close(self) -> None:
        """The workers are the supervisor's."""
