"""A connection from a balancer: first its PROXY header, then SMTP with the client that the header names.

Until the header is whole nothing is said and nobody is admitted; what is no header ends the connection without
a word. Every rule and every limit goes by the address of the header (HAProxy's PROXY protocol, section 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from postroad.services.connection import Connection
from postroad.services.smtp_connection import SmtpConnection
from postroad.vocabulary.endpoint import Endpoint, PeerFacts
from postroad.vocabulary.limits import PROXY_HEADER_S
from postroad.vocabulary.story import Entry, Refused, Verdict
from postroad.wire.proxy import ProxyFault, ProxyHeader, ProxyReader


class ProxiedConnection(SmtpConnection):
    """`has_room` tells whether one more may wait for its header, and counts it."""

    def __init__(self, *parts: Any, has_room: Callable[[Connection], bool]) -> None:
        super().__init__(*parts)
        self._has_room = has_room
        self._reader: ProxyReader | None = ProxyReader()
        self._header = ProxyHeader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.remote = super().far_end(self.transport)
        self._house.sweep.add(self)
        self.deadline = self._loop.time() + PROXY_HEADER_S
        if not self._has_room(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            super().data_received(data)
            return
        if self._closing:
            return
        found = reader.feed(data)
        if isinstance(found, ProxyFault):
            self._refuse(found.reason)
        elif found is not None:
            self._reader = None
            self._header = found
            assert self.transport is not None
            super().connection_made(self.transport)
            if reader.rest:
                super().data_received(reader.rest)

    def overdue(self, now: float) -> None:
        if self._reader is not None and not self._closing:
            self._refuse("the PROXY header did not come in time")
        else:
            super().overdue(now)

    def stop(self) -> None:
        if self._reader is not None:
            self.abort()
        else:
            super().stop()

    def far_end(self, transport: asyncio.Transport) -> Endpoint:
        return self._header.source or super().far_end(transport)

    def near_end(self, transport: asyncio.Transport) -> Endpoint:
        return self._header.destination or super().near_end(transport)

    def _refuse(self, reason: str) -> None:
        assert self.transport is not None
        fact = Refused(
            at=self._desk.clock.now(),
            listener=self._role.value,
            peer=PeerFacts(self.remote, super().near_end(self.transport)),
            stage="PROXY",
            subject=self.remote.address,
            reply="",
            verdicts=(Verdict("proxy", "reject", reason),),
        )
        self._desk.ledger.record(Entry("", (), (fact,)))
        self.abort()
