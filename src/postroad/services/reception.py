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

import msgspec

from postroad.rules.acceptance import BLOCKED_CLIENT, SHUT_OUT
from postroad.rules.networks import NetworkSet
from postroad.rules.ruling import Ruling
from postroad.services.authentication import SUBMISSION_MECHANISMS
from postroad.services.conversations import Conversations
from postroad.services.errands import Errands
from postroad.services.reception_parts import Desk, Onward, ReceptionSettings, Stores, Surroundings
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_connection import SHUTTING_DOWN, SmtpConnection
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.story import Entry, Refused, Verdict
from postroad.wire.sasl import MECHANISMS
from postroad.wire.smtp.server_profile import ServerProfile

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
        assert self._desk is not None, "reception is not open yet"
        desk, profile = self._desk, self._profile_of(role)

        def connection() -> SmtpConnection:
            nonlocal profile
            binding = self._around.channel_binding()
            if binding != profile.channel_binding:  # there is a new certificate
                profile = msgspec.structs.replace(profile, channel_binding=binding)
            return SmtpConnection(self, desk, role, profile, self._admit)

        return connection

    def _profile_of(self, role: ListenerRole) -> ServerProfile:
        settings, limits = self._settings, self._settings.limits
        by_login = role in (ListenerRole.SUBMISSION, ListenerRole.SUBMISSIONS)
        return ServerProfile(
            hostname=settings.hostname,
            mail_requires_auth=by_login,
            auth_offered=self._mechanisms() if by_login else (),
            tls_available=settings.tls_available and role is not ListenerRole.LOCAL,
            message_bytes=limits.message_bytes,
            recipients_max=limits.recipients,
            messages_per_session=limits.messages_per_session,
            bad_commands=limits.bad_commands,
            command_s=limits.command_s,
            bare_newline=settings.policy.bare_newline,
        )

    def _mechanisms(self) -> tuple[str, ...]:
        return MECHANISMS if self._around.entropy is None else SUBMISSION_MECHANISMS

    @property
    def messages(self) -> int:
        """Accepted since the start."""
        return self._desk.messages if self._desk is not None else 0

    def _admit(self, connection: SmtpConnection, client: SmtpClient) -> Reply | None:
        """None: it is counted among the sessions. Otherwise what it is told instead of a greeting."""
        assert self._desk is not None
        self.arrived(connection)
        address = client.remote.address
        ruling: Ruling | None
        if self.stopping:
            return SHUTTING_DOWN
        if client.role is ListenerRole.LOCAL and client.uid is None:
            ruling = Ruling(_NO_CREDENTIALS, BLOCKED_CLIENT.reply)
        elif not client.role.is_submission and address in self._desk.blocked_networks:
            ruling = BLOCKED_CLIENT  # RFC 5321 section 3.1: 554 instead of 220
        elif not client.role.is_submission and self._guesses_addresses(address):
            ruling = SHUT_OUT
        else:
            ruling = self.admit(connection, ours=client.role.is_submission)
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
        return self._desk.recipient_guesses.too_many(address, asyncio.get_running_loop().time())
