"""One end of a virtual connection: what a socket and asyncio's transport do together, without either.

The rules are TCP's as asyncio shows them: `close` sends what was written, then the end of the stream; `abort`
drops what is still in the buffer; after `write_eof` the other direction goes on; octets that come to a closed
end are answered with a reset; a protocol that reads too slowly makes the sender's protocol pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from postroad.contracts.errors import TlsFailed
from postroad.simulation.virtual_handshake import Handshake
from postroad.simulation.virtual_way import Piece, Way
from postroad.vocabulary.endpoint import Endpoint, TlsFacts

_HIGH_WATER = 65_536
_LOW_WATER = 16_384
_OUTSIDE = "octets outside of TLS came where only TLS may be"


class End:
    """`into` and `out` are the two ways; `peer` is the other end; `gone` is called once when it is over."""

    def __init__(self, remote: Endpoint, local: Endpoint, into: Way, out: Way, gone: Callable[[End], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.remote = remote
        self.local = local
        self.uid: int | None = None
        self.peer: End
        self.protocol: asyncio.BaseProtocol | None = None
        self.transport = VirtualTransport(self)
        self.tls: TlsFacts | None = None
        self.handshake: Handshake | None = None
        self.paused = False
        self.held = False
        self.closing = False
        self.lost = False
        self._eof_written = False
        self._protocol_paused = False
        self._lost_by: Exception | None = None
        self._high, self._low = _HIGH_WATER, _LOW_WATER
        self._gone = gone
        self._out = out
        self._into = into
        into.arrived = self._arrived
        into.may_arrive = self._may_arrive
        out.drained = self._drained

    # ---- what comes in ----

    def _may_arrive(self) -> bool:
        if self.closing or self.handshake is not None:
            return True
        return self.protocol is not None and not self.paused and not self.held

    def _arrived(self, piece: Piece) -> None:
        if self.closing:
            if self.lost and piece.data:
                self._loop.call_soon(self.peer.fail, ConnectionResetError("the peer had closed the connection"))
        elif self.handshake is not None:
            self.handshake.arrived(piece)
        elif piece.eof:
            self._end_of_stream()
        elif self.tls is not None and not piece.layer:
            self.fail(ConnectionResetError(_OUTSIDE))
        else:
            data = bytes(piece.data)
            if piece.layer and self.tls is None:
                data = b"\x17\x03\x03" + bytes(octet ^ 0xA5 for octet in data)  # TLS, read by somebody without
            self._tell(lambda protocol: protocol.data_received(data))

    def _end_of_stream(self) -> None:
        keep_open = self._tell(lambda protocol: protocol.eof_received())
        # TLS has no half-open connections: asyncio closes whatever eof_received said.
        if not keep_open or self.tls is not None:
            self.close()

    def _tell(self, call: Callable[[asyncio.Protocol], Any]) -> Any:
        assert isinstance(self.protocol, asyncio.Protocol)
        try:
            return call(self.protocol)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a protocol's callback failed", "exception": error})
            self.fail(error)
            return None

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._into.go_on()

    def release(self) -> None:
        """Our side knows its new transport: what waited for that may come now."""
        was_held, self.held = self.held, False
        if not self.lost:
            self._into.go_on()
        elif was_held:
            self._tell_lost(self._lost_by)

    # ---- what goes out ----

    def write(self, data: bytes) -> None:
        if self._eof_written:
            raise RuntimeError("write() after write_eof()")
        if data and not self.closing:
            self.send(Piece(data, layer=0 if self.tls is None else 1))

    def send(self, piece: Piece) -> None:
        self._out.send(piece)
        self._ask_to_pause()

    def write_eof(self) -> None:
        if self.tls is not None:
            raise NotImplementedError("TLS has no half-open connections")
        if not self._eof_written and not self.closing:
            self._eof_written = True
            self._out.send(Piece(b"", eof=True))

    def set_limits(self, high: int | None, low: int | None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) >= low ({low}) >= 0 does not hold")
        self._high, self._low = high, low
        self._ask_to_pause()

    @property
    def limits(self) -> tuple[int, int]:
        return self._low, self._high

    @property
    def buffered(self) -> int:
        return self._out.waiting_bytes

    def _ask_to_pause(self) -> None:
        if self._out.waiting_bytes > self._high and not self._protocol_paused and self.protocol is not None:
            self._protocol_paused = True
            self._tell(lambda protocol: protocol.pause_writing())

    def _drained(self) -> None:
        if self.lost:
            return
        if self._protocol_paused and self._out.waiting_bytes <= self._low:
            self._protocol_paused = False
            self._tell(lambda protocol: protocol.resume_writing())
        if self.closing and self._out.is_flushed:
            self._finish(None)

    # ---- the end ----

    def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        if not self._eof_written:
            self._out.send(Piece(b"", eof=True))
        self._give_up_handshake("the connection was closed during the TLS handshake")
        self._into.go_on()
        if self._out.is_flushed:
            self._finish(None)

    def abort(self) -> None:
        if self.lost:
            return
        self.closing = True
        self._out.forget_waiting()
        self._out.send(Piece(b"", eof=True))
        self._give_up_handshake("the connection was closed during the TLS handshake")
        self._into.go_on()
        self._finish(None)

    def fail(self, error: Exception) -> None:
        """The connection breaks, seen from here: nothing more goes out, and the protocol learns of it."""
        if self.lost:
            return
        self.closing = True
        self._out.forget_waiting()
        self._out.send(Piece(b"", eof=True))
        self._give_up_handshake(str(error))
        self._finish(error)

    def vanish(self) -> None:
        """The process at this end is dead: its protocol is told nothing any more, the peer gets a reset."""
        self.lost = self.closing = True
        self._out.stop()
        self._gone(self)
        self._loop.call_soon(self.peer.fail, ConnectionResetError("connection reset by peer"))

    def _give_up_handshake(self, why: str) -> None:
        if self.handshake is not None:
            self.handshake.failed(why)

    def _finish(self, error: Exception | None) -> None:
        self.lost = True
        self._gone(self)
        self._lost_by = error
        if not self.held:
            self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        if self.protocol is not None:
            protocol, self.protocol = self.protocol, None
            try:
                protocol.connection_lost(error)
            except Exception as raised:
                self._loop.call_exception_handler({"message": "connection_lost failed", "exception": raised})

    # ---- TLS ----

    def begin_handshake(self, handshake: Handshake) -> None:
        """From here on the stream carries the handshake; the old transport is void."""
        if self.closing:
            raise TlsFailed("the connection was closed before the TLS handshake")
        self.handshake = handshake
        self.transport.void = True
        self.paused = False
        handshake.begin()
        self._into.go_on()

    def tls_agreed(self, facts: TlsFacts) -> None:
        """Octets inside TLS wait until `release`."""
        self.handshake = None
        self.held = True
        self.tls = facts
        self.transport = VirtualTransport(self)


class VirtualTransport(asyncio.Transport):
    """What a protocol holds in its hand. After `start_tls` the old one is void: writing to it is our own bug."""

    def __init__(self, end: End) -> None:
        super().__init__({"peername": (end.remote.address, end.remote.port)})
        self.end = end
        self.void = False

    def _usable(self) -> End:
        assert not self.void, "the plain transport was used after TLS began"
        return self.end

    def write(self, data: Any) -> None:
        self._usable().write(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self._usable().write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._usable().write_eof()

    def can_write_eof(self) -> bool:
        return self.end.tls is None

    def pause_reading(self) -> None:
        self._usable().pause_reading()

    def resume_reading(self) -> None:
        self._usable().resume_reading()

    def is_reading(self) -> bool:
        return not self.end.paused and not self.end.closing

    def get_write_buffer_size(self) -> int:
        return self.end.buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.end.limits

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._usable().set_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._usable().protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.end.protocol is not None
        return self.end.protocol

    def is_closing(self) -> bool:
        return self.end.closing

    def close(self) -> None:
        self.end.close()

    def abort(self) -> None:
        self.end.abort()
