"""The options that choose mail in the queue, alike for every command that does something with it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from postroad.services.operations.performer import OperationFailed, PlainObject

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was given on the command line; `older` is a length of time, such as "4h"."""

    queue_id: str = ""
    domain: str = ""
    sender: str = ""
    older: str = ""
    everything: bool = False

    def must_choose(self) -> None:
        """Raises OperationFailed where nothing was chosen."""
        if not (self.queue_id or self.domain or self.sender or self.older or self.everything):
            raise OperationFailed("which mail? give a queue id, --domain, --from, --older or --all", 2)

    def arguments(self) -> PlainObject:
        """For the verb. Raises OperationFailed for a time that is none."""
        arguments: PlainObject = {"queue_id": self.queue_id, "domain": self.domain, "sender": self.sender}
        if self.older:
            match = re.fullmatch(r"(\d{1,6})([smhd])", self.older)
            if match is None:
                raise OperationFailed(f"--older {self.older}: expected a time such as 30m, 4h or 1d", 2)
            before = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
            arguments["before"] = before.isoformat()
        if self.everything:
            arguments["all"] = True
        return arguments


def choose(*, everything: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `selection`; with `everything` it takes a queue id and --all as well."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(*arguments: Any, **named: Any) -> None:
            chosen = {name: named.pop(name) for name in Selection.__dataclass_fields__ if name in named}
            command(*arguments, selection=Selection(**chosen), **named)

        result: Callable[..., None] = wrapped
        for option in _OPTIONS:
            result = option(result)
        if everything:
            result = click.option("--all", "everything", is_flag=True, help="The whole queue.")(result)
            result = click.argument("queue_id", default="")(result)
        return result

    return decorate


_OPTIONS = (
    click.option("--domain", default="", help="Only mail to recipients of this domain."),
    click.option("--from", "sender", default="", help="Only mail from this sender, or sender domain."),
    click.option("--older", default="", metavar="TIME", help="Only mail queued longer ago than this: 30m, 4h, 1d."),
)
