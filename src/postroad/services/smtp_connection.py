"""One SMTP connection: what the session asks is carried to the decisions, and the answers back.

The session says what is asked (wire/smtp/server.py), the decisions what is answered
(services/smtp_decisions.py); here an answer that has to wait is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from postroad.contracts.errors import StoreUnavailable
from postroad.services.answers import ACCEPT, NOTICE, Answer, Identified, Pending, SecretFound, Turned
from postroad.services.connection import Connection, House, PureSession
from postroad.services.reception_parts import Desk
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_content import STORE_UNAVAILABLE
from postroad.services.smtp_decisions import SmtpDecisions
from postroad.services.smtp_profiles import SmtpProfiles
from postroad.services.sweep import NEVER
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import CONTENT_RATE_BYTES_S, CONTENT_RATE_WINDOW_S, REFUSED_CLIENTS_SHARE
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.story import Verdict
from postroad.wire.session import Wait
from postroad.wire.smtp.refused_session import RefusedSession
from postroad.wire.smtp.server import ServerSession

SHUTTING_DOWN = reply(421, "The server is being stopped, try again later", status="4.3.2")
_CLIENT_REFUSED = reply(421, "The client was refused, closing", status="4.7.0")
_SESSION_TOO_LONG = reply(421, "This session has lasted long enough, open a new one", status="4.4.2")

Admit = Callable[["SmtpConnection", SmtpClient], Reply | None]


class SmtpConnection(Connection):
    def __init__(self, house: House, desk: Desk, role: ListenerRole, profiles: SmtpProfiles, admit: Admit) -> None:
        super().__init__(house)
        self._desk = desk
        self._role = role
        self._profiles = profiles
        self._admit = admit
        self._smtp: ServerSession | None = None
        self._refused: RefusedSession | None = None
        self._decisions: SmtpDecisions | None = None
        self._pending: Pending | None = None
        self._turned: Turned | None = None
        self._last_word: Reply | None = None
        self._over_at = NEVER
        self._greet_at = NEVER
        """When the held greeting goes out."""
        self._content_bytes = 0
        self._judged_at = NEVER
        self._patient_until = NEVER

    # ---- Connection -------------------------------------------------------------------------------

    def begin(self, transport: asyncio.Transport) -> PureSession | None:
        network, desk = self._desk.network, self._desk
        tls = network.tls(transport)
        client = SmtpClient(
            desk,
            self._role,
            remote=self.remote,
            local=self.near_end(transport),
            tls=tls,
            uid=network.uid(transport) if self.remote.address == "unix" else None,
        )
        refusal = self._admit(self, client)
        if refusal is not None:
            return self._turn_away(transport, refusal)
        profile = self._profiles.of(self.remote.address)
        # Our own method would make a ring of us and our decisions, which only the collector can take apart.
        self._decisions = SmtpDecisions(desk, client, readmit=self._readmit if profile.xclient else None)
        self._over_at = self._loop.time() + desk.limits.session_s
        if profile.greeting_held:
            self._greet_at = self._loop.time() + desk.settings.policy.greeting_delay_s
        began_at = None if profile.future_release_max_s is None else desk.clock.now()
        self._smtp = ServerSession(profile, tls, random_octets=desk.random_octets, began_at=began_at)
        return self._smtp

    def _turn_away(self, transport: asyncio.Transport, refusal: Reply) -> PureSession | None:
        """RFC 5321 section 3.1: after a 554 the client's QUIT is waited for; after a 421 nothing is."""
        if refusal.code != 554 or self._house.connections > REFUSED_CLIENTS_SHARE * self._desk.limits.sessions:
            transport.write(refusal.wire)
            return None
        self._refused = RefusedSession(refusal)
        return self._refused

    def _readmit(self) -> Reply | None:
        """A front end has told who its client is; where that one is not let in, this connection is of no use."""
        assert self._decisions is not None
        client = self._decisions.client
        self.remote = client.remote
        refusal = self._admit(self, client)
        if refusal is not None:
            self._last_word = _CLIENT_REFUSED
        elif client.account:
            self._house.vouched(self)
        return refusal

    def advance(self) -> tuple[Wait, bool]:
        if self._refused is not None:
            return self._refused.next_event(), True
        session, decisions = self._smtp, self._decisions
        assert session is not None
        assert decisions is not None
        acted = False
        while True:
            event = session.next_event()
            if isinstance(event, Wait):
                return event, acted
            acted = True
            answer = decisions.decide(event)
            if answer is not NOTICE and not self._give(answer):
                return Wait.NEED_ANSWER, True

    def _give(self, answer: Answer) -> bool:
        """Hand an answer to the session; False when it has to be waited for."""
        session = self._smtp
        assert session is not None
        while isinstance(answer, Pending):
            if not answer.future.done():
                self.parked = True
                self._pending = answer
                answer.future.add_done_callback(self._resume)
                return False
            answer = self._then(answer)
        if answer is ACCEPT:
            session.answer(None)
        elif isinstance(answer, Reply):
            session.answer(answer)
        elif isinstance(answer, Identified):
            session.authenticated(answer.identity)
            self._house.vouched(self)
        elif isinstance(answer, SecretFound):
            session.give_secret(answer.secret, fake_salt=answer.fake_salt)
        elif isinstance(answer, Turned):
            self._turned = answer
            session.answer(None)
        return True

    @staticmethod
    def _then(pending: Pending) -> Answer:
        try:
            return pending.then(pending.future)
        except StoreUnavailable:
            return STORE_UNAVAILABLE

    def _resume(self, done: asyncio.Future[Any]) -> None:
        """What was waited for is there."""
        pending, self._pending = self._pending, None
        self.parked = False
        assert pending is not None
        try:
            if not self.gone:
                if self._give(self._then(pending)):
                    self._judged_at = NEVER  # the client was not asked to speak meanwhile
                    self.run()
            elif pending.though_gone:
                self._forget(self._then(pending))
            elif not done.cancelled():
                done.exception()  # nobody is left to be told
        except asyncio.CancelledError:
            self.abort()  # the process stops; what waits was never answered
        except Exception as failure:
            self._break(failure)

    def _forget(self, answer: Answer) -> None:
        """Nobody is left to be answered."""
        if isinstance(answer, Turned):
            self._house.errands.start(answer.abandon())

    def turned(self) -> None:
        """The client has heard that it is the server now; its 220 comes to another protocol."""
        turned, self._turned = self._turned, None
        assert turned is not None
        assert self.transport is not None
        self.session = None
        self.deadline = NEVER
        self._house.errands.start(self._outlive(turned.serve(self.transport)))

    async def _outlive(self, conversation: Coroutine[Any, Any, None]) -> None:
        """The connection counts as one of the client's until the conversation is over."""
        try:
            await conversation
        except Exception as failure:
            self.complain(failure)
        finally:
            self.connection_lost(None)

    def finished(self) -> None:
        if self._turned is not None:
            self._forget(self._turned)
        if self._decisions is not None:
            self._decisions.content.cut(committing=self._pending is not None and self._pending.though_gone)
            self._decisions.login.leave()

    def secured(self, facts: TlsFacts) -> None:
        assert self._decisions is not None
        self._decisions.client.tls_started(facts)
        self._decisions.login.leave()

    def unsecured(self, reason: str) -> None:
        assert self._decisions is not None
        self._decisions.refusals.note("STARTTLS", "", None, Verdict("tls", "reject", reason))

    def between_commands(self, now: float) -> bool:
        """Outside of a transaction a session may be ended: the server stops, or it has lasted too long."""
        if self._refused is not None:
            if self._last_word is None:
                return False
            self._refused.shut_down(self._last_word)
            return True
        if self._last_word is None and now <= self._over_at:
            return False
        assert self._decisions is not None
        assert self._smtp is not None
        if self._decisions.content.transaction is not None:
            return False
        if self._last_word is None:
            self._last_word = _SESSION_TOO_LONG
        self._smtp.shut_down(self._last_word)
        return True

    # ---- time -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._content_bytes += len(data)
        super().data_received(data)
        if self._greet_at != NEVER:
            self._greet()  # which refuses whoever could not wait

    def _greet(self) -> None:
        self._greet_at = NEVER
        if self._smtp is not None and not self.is_over():
            self._smtp.greet()
            self.run()

    def patience_until(self, now: float) -> float:
        if self._greet_at != NEVER:
            return self._greet_at
        assert self.session is not None
        self._patient_until = until = now + self.session.patience_s
        if not self._in_content():
            self._judged_at = NEVER
            return until
        if self._judged_at == NEVER:
            self._watch_rate(now)
        return min(until, self._judged_at)

    def _in_content(self) -> bool:
        transaction = self._decisions.content.transaction if self._decisions is not None else None
        return transaction is not None and transaction.intake is not None

    def _watch_rate(self, now: float) -> None:
        self._content_bytes = 0
        self._judged_at = now + CONTENT_RATE_WINDOW_S

    def overdue(self, now: float) -> None:
        """A client that trickles its content is as silent as one that says nothing."""
        if self._greet_at != NEVER and not self._closing:
            self._greet()
            return
        enough = self._content_bytes >= CONTENT_RATE_BYTES_S * CONTENT_RATE_WINDOW_S
        if self._judged_at <= now < self._patient_until and enough and not self._closing:
            self._watch_rate(now)
            self.deadline = min(self._patient_until, self._judged_at)
        else:
            super().overdue(now)

    def stop(self) -> None:
        """Say 421 4.3.2 as soon as no transaction is open (RFC 5321 section 3.8)."""
        self._last_word = SHUTTING_DOWN
        self.run()
