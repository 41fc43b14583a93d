"""One POP3 connection (RFC 1939): the session's questions answered from the directory and the mailbox.

A login has a task of its own for as long as it lasts, because the maildrop is held as long; the task answers
the login, then sleeps until the session is over, does the update, and gives the lock back before
the client hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, TypeAlias

from postroad.contracts.directory import Account
from postroad.contracts.errors import Busy, MaildropLocked, StoreDamaged, StoreUnavailable
from postroad.contracts.mailbox_store import Maildrop, StoredMessage
from postroad.contracts.queue_store import StoredContent
from postroad.message.convert import Rewriter
from postroad.message.surrogate import rewriter as surrogate_rewriter
from postroad.services.authentication import TooManyGuesses
from postroad.services.connection import Connection, House
from postroad.services.pop3_parts import Pop3Desk
from postroad.vocabulary.endpoint import Endpoint, PeerFacts, TlsFacts
from postroad.vocabulary.limits import AUTH_FAILURES, POP3_WRITE_AHEAD_BYTES
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.story import Entry, Fetched, Verdict
from postroad.wire.pop3.events import (
    CredentialsGiven,
    MaildropReleased,
    MessageAsked,
    OutputDue,
    ProofGiven,
    SecretAsked,
    UpdateAsked,
)
from postroad.wire.pop3.server import Pop3Session
from postroad.wire.session import Wait

_NOT_NOW = "The mailbox is not available now, try again later"
_DAMAGED = "The mailbox is damaged; its mail waits until the administrator has restored it"
_WRONG = "Wrong name or password"

Admit = Callable[["Pop3Connection"], bytes]
Login: TypeAlias = CredentialsGiven | ProofGiven


class Pop3Connection(Connection):
    def __init__(self, house: House, desk: Pop3Desk, role: ListenerRole, admit: Admit) -> None:
        super().__init__(house)
        self._desk = desk
        self._role = role
        self._admit = admit
        self._pop3: Pop3Session | None = None
        self._tls: TlsFacts | None = None
        self._local = Endpoint("", 0)
        self._account: Account | None = None
        self._maildrop: Maildrop | None = None
        self._released = asyncio.Event()
        self._update: UpdateAsked | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._failures = 0

    # ---- Connection -------------------------------------------------------------------------------

    def begin(self, transport: asyncio.Transport) -> Pop3Session | None:
        self._tls = self._desk.network.tls(transport)
        self._local = self._desk.network.local(transport)
        refusal = self._admit(self)
        if refusal:
            transport.write(refusal)
            return None
        transport.set_write_buffer_limits(high=POP3_WRITE_AHEAD_BYTES)
        self._pop3 = self._desk.session(self.remote.address, in_tls=self._tls is not None)
        return self._pop3

    def advance(self) -> tuple[Wait, bool]:
        session = self._pop3
        assert session is not None
        errands = self._house.errands
        acted = False
        while True:
            event = session.next_event()
            if isinstance(event, Wait):
                return event, acted
            acted = True
            match event:
                case SecretAsked():
                    self._give_secret(session, event)
                case CredentialsGiven() | ProofGiven():
                    self.parked = True
                    errands.start(self._guarded(self._log_in(event)))
                    return Wait.NEED_ANSWER, True
                case MessageAsked():
                    self.parked = True
                    errands.start(self._guarded(self._send(event)))
                    return Wait.NEED_ANSWER, True
                case UpdateAsked():
                    self.parked = True
                    self._update = event
                    self._released.set()
                    return Wait.NEED_ANSWER, True
                case MaildropReleased():
                    self._released.set()
                case OutputDue():
                    self.flush()
                    if self.waits():
                        return Wait.NEED_ANSWER, True

    def resume_writing(self) -> None:
        self._room.set()
        super().resume_writing()

    def pause_writing(self) -> None:
        self._room.clear()
        super().pause_writing()

    def finished(self) -> None:
        """A cut is no QUIT: nothing is removed (RFC 1939 section 6); the lock is given back."""
        if self._pop3 is not None:
            self._pop3.lost()
        self._room.set()
        self._released.set()

    def secured(self, facts: TlsFacts) -> None:
        self._tls = facts
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=POP3_WRITE_AHEAD_BYTES)

    def unsecured(self, reason: str) -> None:
        self._note_refusal("STLS", "", "", Verdict("tls", "reject", reason))

    def stop(self) -> None:
        if self._pop3 is not None and not self.parked:
            self._pop3.shut_down("The server is being stopped")
            self.run()

    async def _guarded(self, errand: Coroutine[Any, Any, None]) -> None:
        """An errand that fails for a reason of ours ends this connection and tells why."""
        try:
            await errand
        except Exception as failure:
            self._break(failure)

    def _go_on(self) -> None:
        self.parked = False
        self.run()
        if self._house.stopping:
            self.stop()

    # ---- login ------------------------------------------------------------------------------------

    def _give_secret(self, session: Pop3Session, event: SecretAsked) -> None:
        """APOP goes by the secret that is kept for CRAM-MD5: both need one that can be read."""
        mechanism = "CRAM-MD5" if event.mechanism == "APOP" else event.mechanism
        try:
            found = self._desk.authentication.secret(self.remote.address, mechanism, event.name)
        except TooManyGuesses:
            self._turn_away(session, event)
        except StoreUnavailable:
            session.refuse(_NOT_NOW, "SYS/TEMP")
        else:
            session.give_secret(found.secret, found.fake_salt)

    async def _who(self, event: Login) -> Account | None:
        authentication, client = self._desk.authentication, self.remote.address
        if isinstance(event, ProofGiven):
            return authentication.proven(client, event.name, event.right, event.authorization_id)
        return await authentication.log_in(client, event.name, event.password, event.authorization_id)

    async def _log_in(self, event: Login) -> None:
        session = self._pop3
        assert session is not None
        try:
            account = await self._who(event)
            if account is None:
                await self._wrong(event)
                return
            async with self._desk.mailboxes.open_maildrop(account.id) as maildrop:
                self._open(session, account, maildrop)
                await self._released.wait()
                done = await self._removed(maildrop)
        except TooManyGuesses:
            self._turn_away(session, event)
        except MaildropLocked:
            session.refuse("Another session has this mailbox open", "IN-USE")  # RFC 2449 section 8.1.2
        except StoreDamaged:
            session.refuse(_DAMAGED, "SYS/PERM")  # RFC 3206 section 4: somebody has to do something
        except (Busy, StoreUnavailable):
            session.refuse(_NOT_NOW, "SYS/TEMP")  # RFC 3206 section 4
        else:
            # The lock is free by now: a client may come back at once.
            if self._update is not None:
                if done:
                    session.updated()
                else:
                    session.refuse("Some messages could not be removed", "SYS/TEMP")
        self._go_on()

    def _turn_away(self, session: Pop3Session, event: Login | SecretAsked) -> None:
        self._note_refusal(_stage(event), event.name, "", Verdict("password", "reject", "too many failed logins"))
        session.refuse(_WRONG, "AUTH")
        session.shut_down("Too many failed logins")

    def _open(self, session: Pop3Session, account: Account, maildrop: Maildrop) -> None:
        self._account = account
        self._maildrop = maildrop
        self._house.vouched(self)
        messages = maildrop.messages
        validity = maildrop.uid_validity
        session.opened(
            # What RETR will send (RFC 1939 section 11): to who has not said UTF8, the surrogate.
            [each.size_bytes + (0 if session.utf8 else each.surrogate_growth or 0) for each in messages],
            # RFC 1939 section 7, UIDL: never used again, the same in every session.
            [f"{validity}.{each.uid}" for each in messages],
        )
        self._go_on()

    async def _wrong(self, event: Login) -> None:
        session = self._pop3
        assert session is not None
        self._failures += 1
        verdict = Verdict("password", "reject", "wrong name or password")
        self._note_refusal(_stage(event), event.name, f"-ERR {_WRONG}", verdict)
        await asyncio.sleep(self._desk.authentication.delay_s(self.remote.address, self._failures))
        if self.gone:
            return
        session.refuse(_WRONG, "AUTH")  # RFC 3206 section 5
        if self._failures >= AUTH_FAILURES:
            session.shut_down("Too many failed logins")
        self._go_on()

    # ---- messages ---------------------------------------------------------------------------------

    async def _send(self, event: MessageAsked) -> None:
        """RETR and TOP: at most a chunk and what the transport holds are in memory."""
        session, maildrop = self._pop3, self._maildrop
        assert session is not None
        assert maildrop is not None
        message = maildrop.messages[event.number - 1]
        rewriter: Rewriter | None = None
        try:
            content = await maildrop.content(message.uid)
            if message.surrogate_growth is not None and not session.utf8:
                rewriter = surrogate_rewriter(await maildrop.surrogate(message.uid))
        except KeyError:
            session.refuse("This message is no longer there")
        except StoreDamaged:
            session.refuse(_DAMAGED, "SYS/PERM")
        except StoreUnavailable:
            session.refuse(_NOT_NOW, "SYS/TEMP")
        else:
            session.send_message()
            try:
                await self._stream(session, content, rewriter)
            except StoreUnavailable as failure:
                session.break_off(str(failure))
            else:
                session.end_message()
                if event.lines is None and not self.gone:
                    self._note_fetched(message, removed=False)
        self._go_on()

    async def _stream(self, session: Pop3Session, content: StoredContent, rewriter: Rewriter | None) -> None:
        octets = content.in_memory()
        if octets is not None:
            # All at once: whatever a slow reader leaves waits in the transport alone.
            session.send_chunk(octets if rewriter is None else rewriter.feed(octets) + rewriter.end())
            return
        chunks = content.chunks()
        try:
            async for chunk in chunks:
                session.send_chunk(chunk if rewriter is None else rewriter.feed(chunk))
                self.flush()
                if not session.wants_more or not await self._has_room():
                    break
        finally:
            close = getattr(chunks, "aclose", None)  # a generator that TOP leaves early holds a file
            if close is not None:
                await close()

    async def _has_room(self) -> bool:
        """Wait for a client that reads slowly; the sweep ends it when it reads nothing. False: it is gone."""
        await self._room.wait()
        return not self.is_over()

    # ---- UPDATE -----------------------------------------------------------------------------------

    async def _removed(self, maildrop: Maildrop) -> bool:
        """RFC 1939 section 6: all that were marked are removed, or none and the client hears of it."""
        if self._update is None or not self._update.numbers:
            return True
        messages = [maildrop.messages[number - 1] for number in self._update.numbers]
        try:
            await maildrop.remove(tuple(each.uid for each in messages))
        except StoreUnavailable:
            return False
        for each in messages:
            self._note_fetched(each, removed=True)
        return True

    # ---- the ledger -------------------------------------------------------------------------------

    def _note_fetched(self, message: StoredMessage, *, removed: bool) -> None:
        assert self._account is not None
        address = self._account.address
        fetched = Fetched(at=self._now(), account=str(address), uid=message.uid, remote=self.remote, removed=removed)
        keys = (message.queue_id, address.key())
        self._desk.ledger.record(Entry(message.queue_id, keys, (fetched,)))

    def _note_refusal(self, stage: str, subject: str, answer: str, verdict: Verdict) -> None:
        self._desk.note_refusal(self._role, self.facts(), stage, subject, answer, verdict)

    def _now(self) -> datetime:
        return self._desk.clock.now()

    def facts(self) -> PeerFacts:
        return PeerFacts(remote=self.remote, local=self._local, tls=self._tls)


def _stage(event: Login | SecretAsked) -> str:
    """The command, for the ledger."""
    if event.mechanism == "USER":
        return "PASS"
    return "APOP" if event.mechanism == "APOP" else "AUTH"
