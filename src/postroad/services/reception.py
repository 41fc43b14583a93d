"""Reception: mail comes in by SMTP, from other servers, from our users, and from the users of this machine.

    async with Reception(settings=..., stores=..., around=..., onward=...) as reception:
        listener = await network.listen(reception.connection(ListenerRole.SMTP), ...)
        reception.overload.watch(listener)
        ...
        await listener.close()
        await reception.stop(STOP_GRACE_S)

One object serves all SMTP connections of a worker; its tasks are waited for when the block ends. RFC 5321,
RFC 6409 (submission), RFC 3207 (STARTTLS), RFC 4954 (AUTH).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroad.rules.acceptance import BLOCKED_CLIENT, SHUT_OUT
from postroad.rules.networks import NetworkSet
from postroad.rules.ruling import Ruling
from postroad.services.collected_connection import CollectedConnection
from postroad.services.connection import Connection
from postroad.services.conversations import Conversations
from postroad.services.errands import Errands
from postroad.services.proxied_connection import ProxiedConnection
from postroad.services.reception_parts import Desk, Onward, ReceptionSettings, Stores, Surroundings
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_connection import SHUTTING_DOWN, Admit, SmtpConnection
from postroad.services.smtp_profiles import SmtpProfiles
from postroad.vocabulary.limits import REFUSED_CLIENTS_SHARE
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.story import Entry, Refused, Verdict

__all__ = ["Onward", "Reception", "ReceptionSettings", "Stores", "Surroundings"]

_NO_CREDENTIALS = Verdict("local", "reject", "the other end of the local socket is not known")


class Reception(Conversations):
    """See `Conversations` for `sessions`, `overload` and `stop`."""

    def __init__(self, *, settings: ReceptionSettings, stores: Stores, around: Surroundings, onward: Onward) -> None:
        limits = settings.limits
        super().__init__(
            network=around.network,
            sessions_max=limits.sessions,
            of_client_max=limits.sessions_per_client,
            exempt=NetworkSet(limits.exempt),
            per_minute=limits.connections_per_minute,
            portions=around.shared.portions,
            sessions_of_all=settings.sessions_of_all,
        )
        self._settings = settings
        self._stores = stores
        self._around = around
        self._onward = onward
        self._desk: Desk | None = None

    def opened(self, errands: Errands) -> None:
        self._desk = Desk(self._settings, self._stores, self._around, self._onward, errands)
        self.run_beside(self._desk.usage.run())

    # ---- for listeners ----------------------------------------------------------------------------

    def connection(self, role: ListenerRole) -> Callable[[], asyncio.Protocol]:
        """The protocol factory of a listener in this role. Usable inside `async with` only."""
        parts = self._parts(role)
        if role is ListenerRole.SMTP_PROXY:
            return lambda: ProxiedConnection(*parts, has_room=self._may_wait)
        return lambda: SmtpConnection(*parts)

    def collect(self, transport: asyncio.Transport) -> asyncio.Future[int]:
        """Receive on a connection of ours on which the roles were changed, now. The future is done at its end, with
        the number of messages that came. Usable inside `async with` only."""
        connection = CollectedConnection(*self._parts(ListenerRole.PICKUP))
        connection.take_over(transport)
        return connection.ended

    def _parts(self, role: ListenerRole) -> tuple[Reception, Desk, ListenerRole, SmtpProfiles, Admit]:
        assert self._desk is not None, "reception is not open yet"
        profiles = SmtpProfiles(
            self._settings,
            role,
            channel_binding=self._around.channel_binding,
            has_entropy=self._around.entropy is not None,
        )
        return self, self._desk, role, profiles, self._admit

    def _may_wait(self, connection: Connection) -> bool:
        """Whether one more may wait for its PROXY header, without being a session yet."""
        self.arrived(connection)
        return self.connections <= REFUSED_CLIENTS_SHARE * self._settings.limits.sessions

    @property
    def messages(self) -> int:
        """Accepted since the start."""
        return self._desk.messages if self._desk is not None else 0

    def _admit(self, connection: SmtpConnection, client: SmtpClient) -> Reply | None:
        """None: it is counted among the sessions. Otherwise what it is told instead of a greeting. Asked again when
        a front end tells who the client is."""
        assert self._desk is not None
        self.forget(connection)
        self.arrived(connection)
        address = client.remote.address
        ruling: Ruling | None
        if self.stopping:
            return SHUTTING_DOWN
        if client.role is ListenerRole.PICKUP:
            return None  # it is we who called
        if client.role is ListenerRole.LOCAL and client.uid is None:
            ruling = Ruling(_NO_CREDENTIALS, BLOCKED_CLIENT.reply)
        elif not client.role.is_submission and address in self._desk.blocked_networks:
            ruling = BLOCKED_CLIENT  # RFC 5321 section 3.1: 554 instead of 220
        elif client.role.is_open_to_strangers and self._guesses_addresses(address):
            ruling = SHUT_OUT
        else:
            ruling = self.admit(connection, ours=not client.role.is_open_to_strangers)
        if ruling is None:
            return None
        assert ruling.reply is not None
        refused = Refused(
            at=self._around.clock.now(),
            listener=client.role.value,
            peer=client.facts(),
            stage="connect",
            subject=address,
            reply=str(ruling.reply),
            verdicts=(ruling.verdict,),
        )
        self._stores.ledger.record(Entry("", (), (refused,)))
        return ruling.reply

    def _guesses_addresses(self, address: str) -> bool:
        assert self._desk is not None
        return self._desk.recipient_guesses.too_many(address, self.loop.time())
