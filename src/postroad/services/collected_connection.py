"""A connection that we opened ourselves and on which the roles were changed: the other end sends us our mail.

What comes is for mailboxes here, as from any server that we trust to have screened it (RFC 2645 section 5.3).
"""

from __future__ import annotations

import asyncio

from postroad.services.connection import House
from postroad.services.reception_parts import Desk
from postroad.services.smtp_connection import Admit, SmtpConnection
from postroad.services.smtp_profiles import SmtpProfiles
from postroad.vocabulary.listener import ListenerRole


class CollectedConnection(SmtpConnection):
    """`ended` is done when the connection is over, with the number of messages that came."""

    def __init__(self, house: House, desk: Desk, role: ListenerRole, profiles: SmtpProfiles, admit: Admit) -> None:
        super().__init__(house, desk, role, profiles, admit)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def take_over(self, transport: asyncio.Transport) -> None:
        """Say the 220 (RFC 821 section 3.8). Nothing that the other end says from now on is lost."""
        transport.set_protocol(self)
        self.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.ended.done():
            self.ended.set_result(self._decisions.content.accepted if self._decisions is not None else 0)
