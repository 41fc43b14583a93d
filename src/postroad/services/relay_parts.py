"""What outgoing connections are given, and what they tell of their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from postroad.contracts.clock import Clock
from postroad.contracts.network import Network
from postroad.contracts.queue_store import StoredContent
from postroad.services.conversion import Conversions
from postroad.services.lanes import Errors
from postroad.services.sweep import Sweep
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.settings import DeliverySettings

Listener = Callable[[int, str, str], None]
"""(connection number, "C" or "S", line): the conversation, for the demonstration and for tests."""


class Contents(Protocol):
    """Where the content of a group is that was not taken up with it."""

    async def content(self, queue_id: QueueId) -> StoredContent:
        """Raises StoreUnavailable; KeyError when there is no such message (any more)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every outgoing connection of one scheduler uses."""

    network: Network
    clock: Clock
    store: Contents
    sweep: Sweep
    tasks: asyncio.TaskGroup
    settings: DeliverySettings
    errors: Errors
    listener: Listener | None = None
    conversions: Conversions | None = None
    """For content that a server cannot have as it is; without it, large content waits."""


class TlsPlan(msgspec.Struct, frozen=True):
    """Who the server must be, and whether its certificate is checked; `at_once` for TLS from the first octet
    (RFC 8314 section 3.3)."""

    server_name: str
    verify: bool = False
    at_once: bool = False


class End(msgspec.Struct, frozen=True):
    """How a connection ended: `text` and `reply` say why; `tls` that the handshake broke; `was_ready` that the
    session came about, `served` that at least one transaction was answered to the end, `cut` that it ended
    under mail, which is back in its lane or may have arrived; `insecure` that mail for which TLS is required can
    never go there (RFC 8689), as the host does not offer what it takes or cannot prove its name."""

    text: str
    reply: Reply | None = None
    tls: bool = False
    was_ready: bool = False
    served: bool = False
    cut: bool = False
    insecure: bool = False
    unreachable: bool = False
    """Nothing came back at all."""


class Reach(Protocol):
    """Who wants to know whether anybody can be reached."""

    def reached(self) -> None: ...
