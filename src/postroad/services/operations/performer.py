"""How an administrator's request travels: one verb, plain arguments, a list of plain objects back.

The same call is answered by `Operator` in this process (the server is stopped) or, through the control
socket, by the processes of the running server, whose answers are put one after another.
"""

from __future__ import annotations

from typing import Any, Protocol

PlainObject = dict[str, Any]
"""What JSON can carry: str, int, float, bool, None, lists and objects; times as RFC 3339 in UTC."""


class OperationFailed(Exception):
    """The request cannot be done. `exit_status` is the command's: 1 it is not so, 2 bad usage,
    69 unavailable, 75 try again (sysexits.h). The text is for people: what happened, what to do."""

    def __init__(self, text: str, exit_status: int = 1) -> None:
        super().__init__(text)
        self.exit_status = exit_status


class NotTaken(OperationFailed):
    """A letter was refused, or nobody was there to take it: it is certain that it was not taken."""


class Performer(Protocol):
    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        """Do what `verb` ("queue.list", "status", ...) says. Raises OperationFailed."""
        ...

    async def close(self) -> None: ...
