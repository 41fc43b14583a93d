"""The shell round a pure session, for SMTP and POP3 alike: octets in and out, deadlines, TLS, the end.

An `asyncio.Protocol` without a task or a timer of its own. What it reads goes to the session; what the
session asks goes to the subclass; when no more can be done now, all that is to be said leaves in one write.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from postroad.contracts.errors import TlsFailed
from postroad.contracts.network import Network
from postroad.services.errands import Errands
from postroad.services.sweep import NEVER, Sweep
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.vocabulary.limits import LENT_WAIT_S, PIPELINE_BYTES, SESSION_OUTPUT_S, TLS_HANDSHAKE_S
from postroad.wire.session import Wait


class PureSession(Protocol):
    """What the shell needs of a session (wire/session.py)."""

    def receive_data(self, data: bytes) -> None: ...

    def data_to_send(self) -> bytes: ...

    def timed_out(self) -> None: ...

    def tls_started(self, facts: TlsFacts) -> None: ...

    @property
    def patience_s(self) -> float: ...

    @property
    def buffered_bytes(self) -> int: ...


class House(Protocol):
    """The service that a connection belongs to."""

    network: Network
    sweep: Sweep
    loop: asyncio.AbstractEventLoop
    stopping: bool

    @property
    def errands(self) -> Errands: ...

    @property
    def connections(self) -> int:
        """Those too that are not, or not yet, one of the sessions."""
        ...

    def room_for(self, connection: Connection) -> asyncio.Future[None] | None:
        """What to wait for before a session is made, and then to ask again; None: nothing."""
        ...

    def vouched(self, connection: Connection) -> None:
        """The client has logged in. Harmless when repeated."""
        ...

    def left(self, connection: Connection) -> None:
        """The connection is over; called once for each."""
        ...


_NOBODY = Endpoint("", 0)
# In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are needed for each read.
_NEED_DATA, _NEED_TLS, _CLOSED, _TURNED = Wait.NEED_DATA, Wait.NEED_TLS, Wait.CLOSED, Wait.TURNED


class Connection(asyncio.Protocol):
    """A subclass makes the session in `begin` and asks it in `advance`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = house.loop
        self.deadline = NEVER
        self.session: PureSession | None = None
        self.transport: asyncio.Transport | None = None
        self.remote = _NOBODY
        self.gone = False
        self.parked = False
        """A decision is awaited: the session is not asked anything."""
        self._closing = False
        self._started_tls = False
        self._write_paused = False
        self._read_paused = False

    # ---- what a subclass does ---------------------------------------------------------------------

    def begin(self, transport: asyncio.Transport) -> PureSession | None:
        """The session of a new connection; None when it was refused and told so."""
        raise NotImplementedError

    def far_end(self, transport: asyncio.Transport) -> Endpoint:
        """Who is at the other end."""
        return self._house.network.remote(transport)

    def near_end(self, transport: asyncio.Transport) -> Endpoint:
        """Where the client connected to."""
        return self._house.network.local(transport)

    def advance(self) -> tuple[Wait, bool]:
        """Ask the session until it says Wait, or until `parked`; and whether anything was done."""
        raise NotImplementedError

    def finished(self) -> None:
        """The connection is gone; `gone` is set."""
        raise NotImplementedError

    def secured(self, facts: TlsFacts) -> None:
        """TLS began by command; the session knows already."""
        raise NotImplementedError

    def unsecured(self, reason: str) -> None:
        """The handshake failed; the connection is over."""

    def turned(self) -> None:
        """The roles are changed: another protocol takes the transport, now; call `connection_lost` at its end."""
        raise NotImplementedError

    def stop(self) -> None:
        """The server stops: end the conversation at the next good moment."""
        raise NotImplementedError

    def between_commands(self, now: float) -> bool:
        """The session waits for the client. True when it has been ended instead, and has more to say."""
        return False

    def patience_until(self, now: float) -> float:
        """When the client's turn to speak is over; asked after something was done."""
        assert self.session is not None
        return now + self.session.patience_s

    # ---- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        self.transport = stream
        self.remote = self.far_end(stream)
        self._house.sweep.add(self)
        if not self._waits_for_room(NEVER):
            self._make_session(stream)

    def _waits_for_room(self, until: float) -> bool:
        """Other processes are asked whether there is room; meanwhile nothing is read and nothing said. `until` is
        when there has been enough of it; NEVER before the first question."""
        room = self._house.room_for(self)
        if room is None:
            return False
        if until == NEVER:
            until = self._loop.time() + LENT_WAIT_S
        self.hold_reading()
        room.add_done_callback(lambda _: self._room_answered(until))
        return True

    def _room_answered(self, until: float) -> None:
        if self.gone or self._closing or (self._loop.time() < until and self._waits_for_room(until)):
            return
        assert self.transport is not None
        self.resume_reading()
        self._make_session(self.transport)

    def _make_session(self, stream: asyncio.Transport) -> None:
        try:
            self.session = self.begin(stream)
        except Exception as failure:
            self._break(failure)
            return
        if self.session is None:
            self.close()
        else:
            self.run()

    def data_received(self, data: bytes) -> None:
        session = self.session
        if session is None or self._closing or self._started_tls:
            return
        session.receive_data(data)
        if self.parked or self._write_paused:
            if session.buffered_bytes > PIPELINE_BYTES:
                self.hold_reading()
        else:
            self.run()

    def eof_received(self) -> bool:
        """The client will send no more, but may still read what we answer."""
        if self.session is None or self.is_over():
            return False
        self.session.receive_data(b"")
        self.run()
        return self.plain and not self.is_over()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.gone:
            return
        self.gone = True
        self._house.sweep.remove(self)
        try:
            self.finished()
        except Exception as failure:
            self.complain(failure)
        self._house.left(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self.hold_reading()
        self.deadline = self._loop.time() + SESSION_OUTPUT_S

    def resume_writing(self) -> None:
        self._write_paused = False
        if not self._closing:
            self.deadline = NEVER  # `run` sets the next, unless a decision is awaited
            self.run()

    # ---- the pump ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Go on as far as possible, say what there is to say, and wait for what is missing."""
        session = self.session
        if session is None or self.gone or self._closing or self.waits():
            return
        try:
            wait, acted = self.advance()
            now = self._loop.time()
            while wait is _NEED_DATA and self.between_commands(now):
                wait, _ = self.advance()
            if self.parked:
                self.deadline = NEVER  # it is our turn; each thing we wait for has a bound of its own
                if session.buffered_bytes > PIPELINE_BYTES:
                    self.hold_reading()
                return
            wrote = self.flush()
            if wait is _CLOSED:
                self.close()
            elif wait is _NEED_TLS:
                self._start_tls()
            elif wait is _TURNED:
                self.turned()
            elif not self._write_paused:
                if self._read_paused:
                    self.resume_reading()
                if acted or wrote or self.deadline == NEVER:
                    self.deadline = self.patience_until(now)
        except Exception as failure:
            self._break(failure)

    def waits(self) -> bool:
        """For a decision, or for the client to read what we have said: nothing more is done for it now."""
        return self.parked or self._write_paused

    def is_over(self) -> bool:
        return self.gone or self._closing

    def flush(self) -> bool:
        """Write what the session has to say; whether there was anything."""
        assert self.session is not None
        assert self.transport is not None
        out = self.session.data_to_send()
        if out and not self.gone:
            self.transport.write(out)
        return bool(out)

    def hold_reading(self) -> None:
        if not self._read_paused and self.transport is not None and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._read_paused and self.transport is not None and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    @property
    def plain(self) -> bool:
        """Not inside TLS, where the end of one direction is the end of both."""
        return self.transport is not None and self._house.network.tls(self.transport) is None

    # ---- time and the end -------------------------------------------------------------------------

    def overdue(self, now: float) -> None:
        """The sweep found the deadline passed."""
        if self._closing or self._write_paused or self.session is None:
            self.abort()
            return
        try:
            self.session.timed_out()
        except Exception as failure:
            self._break(failure)
            return
        self.run()

    def close(self) -> None:
        """Let the client have what was written, within SESSION_OUTPUT_S, and close."""
        self._closing = True
        self.deadline = self._loop.time() + SESSION_OUTPUT_S
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        self._closing = True
        self.deadline = NEVER
        if self.transport is not None:
            self.transport.abort()

    def complain(self, failure: BaseException) -> None:
        self._loop.call_exception_handler(
            {"message": f"a conversation with {self.remote} broke off", "exception": failure, "protocol": self}
        )

    def _break(self, failure: Exception) -> None:
        """A fault of our own: it ends this connection and no other."""
        self.complain(failure)
        self.abort()

    # ---- TLS --------------------------------------------------------------------------------------

    def _start_tls(self) -> None:
        self._started_tls = True
        self.deadline = NEVER
        self._house.errands.start(self._handshake())

    async def _handshake(self) -> None:
        """Never raises, but for being cancelled. After the handshake the session is told in the same turn of
        the loop: octets from inside TLS come in a later one."""
        assert self.transport is not None
        network = self._house.network
        try:
            async with asyncio.timeout(TLS_HANDSHAKE_S):
                transport, facts = await network.start_tls_as_server(self.transport, self)
            if self.gone:
                transport.abort()
            else:
                self._inside_tls(transport, facts)
        except (TlsFailed, TimeoutError) as failure:
            self.unsecured(str(failure) or "the handshake took too long")
            self._end_handshake()
        except asyncio.CancelledError:
            self._end_handshake()
            raise
        except Exception as failure:
            self.complain(failure)
            self._end_handshake()

    def _inside_tls(self, transport: asyncio.Transport, facts: TlsFacts) -> None:
        assert self.session is not None
        self.transport = transport
        self._started_tls = False
        self._read_paused = False
        self.session.tls_started(facts)
        self.secured(facts)
        self.deadline = self._loop.time() + self.session.patience_s
        self.run()

    def _end_handshake(self) -> None:
        self.abort()
        # A transport that never finished its handshake may never tell us that it is gone.
        self.connection_lost(None)
