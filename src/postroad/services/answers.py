"""What a decision may say to the shell of a connection, beside a plain Reply (a 421 ends it)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from postroad.vocabulary.credentials import StoredSecret
from postroad.vocabulary.reply import Reply


class Plain(Enum):
    ACCEPT = "accept"
    """Yes, in the session's own words."""
    NOTICE = "notice"
    """Nothing was asked, nothing is answered."""


ACCEPT, NOTICE = Plain.ACCEPT, Plain.NOTICE
"""In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are for each command."""


class Identified(NamedTuple):
    """AUTH succeeded."""

    identity: str


class SecretFound(NamedTuple):
    """What SCRAM or CRAM-MD5 goes on with; `fake_salt` hides that there is no secret."""

    secret: StoredSecret | None
    fake_salt: bytes


class Turned(NamedTuple):
    """TURN or ATRN is granted. Once the client has been told, `serve(transport)` has the connection, and awaits its
    end; where that comes to nothing, `abandon()` gives back what was kept for it."""

    serve: Callable[[asyncio.Transport], Coroutine[Any, Any, None]]
    abandon: Callable[[], Coroutine[Any, Any, None]]


class Pending(NamedTuple):
    """The decision waits: when `future` is done, `then(future)` gives the answer.

    `though_gone`: `then` must run also when the client has gone meanwhile, because it settles what
    was begun; its answer is then dropped.
    """

    future: asyncio.Future[Any]
    then: Callable[[asyncio.Future[Any]], Answer]
    though_gone: bool = False


Answer: TypeAlias = Reply | Plain | Identified | SecretFound | Turned | Pending
