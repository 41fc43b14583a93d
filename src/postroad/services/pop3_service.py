"""POP3: users fetch their mail (RFC 1939, with STLS of RFC 2595, AUTH of RFC 5034, and POP3 over TLS of RFC 8314).

async with Pop3Service(settings=..., stores=..., clock=..., network=...) as pop3:
    listener = await network.listen(pop3.connection(ListenerRole.POP3), ...)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroad.contracts.clock import Clock
from postroad.contracts.entropy import Entropy
from postroad.contracts.network import Network
from postroad.rules.networks import NetworkSet
from postroad.services.conversations import Conversations
from postroad.services.pop3_connection import Pop3Connection
from postroad.services.pop3_parts import Pop3Desk, Pop3Settings, Pop3Stores, Pop3Surroundings
from postroad.services.shared_limits import SharedLimits
from postroad.vocabulary.listener import ListenerRole

__all__ = ["Pop3Service", "Pop3Settings", "Pop3Stores"]

# RFC 3206 section 4: the fault is ours, and passes.
_STOPPING = b"-ERR [SYS/TEMP] The server is being stopped\r\n"
_TOO_MANY = b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"


class Pop3Service(Conversations):
    """See `Conversations` for `sessions`, `overload` and `stop`."""

    def __init__(
        self,
        *,
        settings: Pop3Settings,
        stores: Pop3Stores,
        clock: Clock,
        network: Network,
        shared: SharedLimits | None = None,
        entropy: Entropy | None = None,
        channel_binding: Callable[[], bytes] = bytes,
    ) -> None:
        """See `Pop3Surroundings`."""
        super().__init__(
            network=network,
            sessions_max=settings.sessions,
            of_client_max=settings.sessions_per_client,
            exempt=NetworkSet(settings.exempt),
        )
        around = Pop3Surroundings(
            clock=clock,
            network=network,
            shared=shared or SharedLimits(),
            entropy=entropy,
            channel_binding=channel_binding,
        )
        self._desk = Pop3Desk(settings, stores, around)

    def connection(self, role: ListenerRole) -> Callable[[], asyncio.Protocol]:
        """The protocol factory of a listener in this role (POP3 or POP3S). Usable inside `async with` only."""
        return lambda: Pop3Connection(self, self._desk, role, lambda each: self._admit(role, each))

    def _admit(self, role: ListenerRole, connection: Pop3Connection) -> bytes:
        """Empty: it is one of the sessions now. Otherwise what it is told instead of a greeting."""
        self.arrived(connection)
        if self.stopping:
            return _STOPPING
        ruling = self.admit(connection)
        if ruling is None:
            return b""
        answer = _TOO_MANY.decode("ascii").strip()
        self._desk.note_refusal(role, connection.facts(), "connect", connection.remote.address, answer, ruling.verdict)
        return _TOO_MANY
