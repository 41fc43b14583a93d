"""A sweep that runs only while there is something to sweep: an idle scheduler wakes for nothing."""

from __future__ import annotations

import asyncio

from postroad.services.sweep import Sweep, Swept


class SweepOnDemand(Sweep):
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        super().__init__()
        self._tasks = tasks
        self._running: asyncio.Task[None] | None = None

    def add(self, member: Swept) -> None:
        super().add(member)
        if self._running is None:
            self._running = self._tasks.create_task(self.run(), name="deadlines of outgoing connections")

    def remove(self, member: Swept) -> None:
        super().remove(member)
        if not len(self) and self._running is not None:
            self._running.cancel()
            self._running = None
