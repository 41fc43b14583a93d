"""What outgoing connections are given, and what they tell of their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from postroad.contracts.network import Network
from postroad.contracts.queue_store import QueueStore
from postroad.services.lanes import Errors
from postroad.services.sweep import Sweep
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.settings import DeliverySettings

Listener = Callable[[int, str, str], None]
"""(connection number, "C" or "S", line): the conversation, for the demonstration and for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every outgoing connection of one scheduler uses."""

    network: Network
    store: QueueStore
    sweep: Sweep
    tasks: asyncio.TaskGroup
    settings: DeliverySettings
    errors: Errors
    listener: Listener | None = None


class TlsPlan(msgspec.Struct, frozen=True):
    """Who the server must be, and whether its certificate is checked; `at_once` for TLS from the first octet
    (RFC 8314 section 3.3)."""

    server_name: str
    verify: bool = False
    at_once: bool = False


class End(msgspec.Struct, frozen=True):
    """How a connection ended: `text` and `reply` say why; `tls` that the handshake broke; `was_ready` that the
    session came about, `served` that at least one transaction was answered to the end, `cut` that it ended
    under mail which went back to its lane."""

    text: str
    reply: Reply | None = None
    tls: bool = False
    was_ready: bool = False
    served: bool = False
    cut: bool = False
