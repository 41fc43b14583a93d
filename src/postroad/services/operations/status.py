"""`postroad status`: what this process has and does. Each process answers for itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from postroad.contracts.clock import Clock
from postroad.contracts.ledger import Ledger
from postroad.contracts.queue_store import QueueStore
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import PlainObject


class StatusOperations:
    """`facts` are functions that each give some numbers of a service: sessions, attempts, rates; `slower_facts` those
    that must be read from a store."""

    def __init__(
        self,
        *,
        process: str,
        clock: Clock,
        queues: tuple[QueueStore, ...] = (),
        ledger: Ledger | None = None,
        facts: tuple[Callable[[], PlainObject], ...] = (),
        slower_facts: tuple[Callable[[], Awaitable[PlainObject]], ...] = (),
    ) -> None:
        self._process = process
        self._clock = clock
        self._queues = queues
        self._ledger = ledger
        self._facts = facts
        self._slower_facts = slower_facts

    def verbs(self) -> Verbs:
        return {"status": self._status}

    async def _status(self, arguments: PlainObject) -> list[PlainObject]:
        report: PlainObject = {"process": self._process}
        for facts in self._facts:
            report |= facts()
        for slower in self._slower_facts:
            report |= await slower()
        if self._ledger is not None:
            report["ledger_entries_dropped"] = self._ledger.dropped
        now = self._clock.now()
        for queue in self._queues:
            for name, number in (await queue.counts(now)).items():
                key = f"queue_{name}"
                report[key] = report.get(key, 0) + number
        return [report]
