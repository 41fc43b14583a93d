"""What every part of the SMTP client session does: remember what is owed, send, end (RFC 5321, RFC 2920).

The session is built in steps, each in its file: this one, client_opening.py (greeting to AUTH), client_requests.py
(ETRN, ATRN, TURN) and client.py (transactions). Only the last is used by others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

import msgspec

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import (
    CLIENT_COMMAND_S,
    CLIENT_CONTENT_S,
    CLIENT_DATA_S,
    CLIENT_END_OF_DATA_S,
    CLIENT_GREETING_S,
    CLIENT_QUIT_S,
    CLIENT_TURN_S,
    TLS_HANDSHAKE_S,
)
from postroad.vocabulary.reply import Reply
from postroad.wire.sasl_client import Exchange
from postroad.wire.session import Wait
from postroad.wire.smtp.client_events import ClientEvent, Ended, LineReceived, LineSent, Stage, TlsUse
from postroad.wire.smtp.reply_reader import ReplyReader


class ClientProfile(msgspec.Struct, frozen=True, kw_only=True):
    """`tls_active` says that the connection began with a handshake. `credentials` are a name and a password;
    without TLS the password is sent only when `plaintext_auth_allowed`, but proved by SCRAM or CRAM-MD5 all the same.
    `lmtp`: say LHLO, and have a reply for each recipient (RFC 2033). `chunks_above`: content of more octets goes by
    BDAT where CHUNKING is announced; None for never, but BODY=BINARYMIME goes so in any case (RFC 3030)."""

    helo_name: str
    tls: TlsUse = TlsUse.IF_OFFERED
    credentials: tuple[str, str] | None = None
    plaintext_auth_allowed: bool = False
    tls_active: bool = False
    record: bool = False
    lmtp: bool = False
    chunks_above: int | None = None


class Expect(Enum):
    """What the next reply will answer."""

    GREETING = Stage.GREETING
    EHLO = Stage.EHLO
    HELO = "HELO"
    STARTTLS = Stage.STARTTLS
    AUTH = Stage.AUTH
    RSET = "RSET"
    MAIL = Stage.MAIL
    RCPT = Stage.RCPT
    DATA = Stage.DATA
    CHUNK = "chunk"
    """A BDAT that is not the last."""
    END_OF_DATA = Stage.END_OF_DATA
    VOID_END = "void end of data"
    """The dot of a DATA that no recipient was left for (RFC 2920 section 3.1)."""
    ETRN = Stage.ETRN
    ATRN = "ATRN"
    TURN = Stage.TURN
    QUIT = Stage.QUIT


_STAGES = {expect: expect.value for expect in Expect if isinstance(expect.value, Stage)} | {
    Expect.HELO: Stage.EHLO,
    Expect.RSET: Stage.IDLE,
    Expect.VOID_END: Stage.DATA,
    # While chunks are being sent the stage is CONTENT; once they are all sent, the server may have the message.
    Expect.CHUNK: Stage.END_OF_DATA,
    Expect.ATRN: Stage.TURN,
}
_PATIENCE_S = dict.fromkeys(Stage, CLIENT_COMMAND_S) | {
    Stage.GREETING: CLIENT_GREETING_S,
    Stage.TLS: TLS_HANDSHAKE_S,
    Stage.DATA: CLIENT_DATA_S,
    Stage.CONTENT: CLIENT_CONTENT_S,
    Stage.END_OF_DATA: CLIENT_END_OF_DATA_S,
    Stage.ETRN: CLIENT_TURN_S,
    Stage.TURN: CLIENT_TURN_S,
    Stage.QUIT: CLIENT_QUIT_S,
}


_READY, _NEED_DATA = Wait.READY, Wait.NEED_DATA


class ClientCore:
    """The fields, and the few verbs that change them. `_owed` has one entry for each reply the server owes."""

    __slots__ = (
        "_channel_binding",
        "_events",
        "_exchange",
        "_extensions",
        "_handshaking",
        "_in_tls",
        "_is_over",
        "_is_ready",
        "_is_turned",
        "_mechanisms",
        "_out",
        "_owed",
        "_peer_is_gone",
        "_profile",
        "_random",
        "_replies",
        "_server_name",
        "_streaming",
    )

    def __init__(self, profile: ClientProfile, random_octets: Callable[[int], bytes] | None = None) -> None:
        """`random_octets` gives so many that nobody can guess; without it SCRAM is not spoken."""
        self._profile = profile
        self._random = random_octets
        self._replies = ReplyReader()
        self._out: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._owed: deque[tuple[Expect, Recipient | None]] = deque([(Expect.GREETING, None)])
        self._extensions: dict[str, str] = {}
        self._server_name = ""
        self._mechanisms: list[str] = []
        self._exchange: Exchange | None = None
        self._channel_binding = b""
        self._in_tls = profile.tls_active
        self._handshaking = self._is_ready = self._is_over = self._peer_is_gone = self._streaming = False
        self._is_turned = False

    def bind_channel(self, end_point: bytes) -> None:
        """tls-server-end-point of the server's certificate (RFC 5929 section 4), when the handshake is over and before
        the session is told: SCRAM then proves that nobody is in between."""
        self._channel_binding = end_point

    # ---- the interface of every session ----------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        if not data:
            self._peer_is_gone = True
        elif not self._is_over:
            self._replies.append(data)

    def data_to_send(self) -> bytes:
        out = self._out
        if not out:
            return b""
        octets = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return octets

    def next_event(self) -> ClientEvent | Wait:
        while True:
            if self._events:
                return self._events.popleft()
            if self._is_over:
                return Wait.TURNED if self._is_turned else Wait.CLOSED
            if self._handshaking and not self._replies.is_empty:
                # An octet before the handshake was put there by somebody in between (RFC 3207 section 6).
                reason = "the server sent octets in clear after its 220 to STARTTLS: this may be an attack"
                self._end(reason, stage=Stage.STARTTLS)
                continue
            taken = self._replies.take()
            if isinstance(taken, Reply):
                self._take_reply(taken)
            elif taken is not None:
                self._end(str(taken))
            elif self._peer_is_gone:
                self._end("the server closed the connection")
            elif self._handshaking:
                return Wait.NEED_TLS
            elif self._is_ready and not self._owed and not self._streaming:
                return _READY
            else:
                return _NEED_DATA

    def timed_out(self) -> None:
        """The server has not answered within `patience_s`."""
        if not self._is_over:
            self._end(f"no answer to {self.stage.value} within {self.patience_s:.0f} seconds")

    @property
    def stage(self) -> Stage:
        """What the session is about: what the next reply answers, or what it waits for."""
        if self._streaming:
            return Stage.CONTENT
        if self._handshaking:
            return Stage.TLS
        return _STAGES[self._owed[0][0]] if self._owed else Stage.IDLE

    @property
    def patience_s(self) -> float:
        return _PATIENCE_S[self.stage]

    @property
    def extensions(self) -> dict[str, str]:
        """As in Ready."""
        return self._extensions

    @property
    def buffered_bytes(self) -> int:
        return len(self._replies)

    # ---- replies ---------------------------------------------------------------------------------

    def _take_reply(self, given: Reply) -> None:
        if self._profile.record:
            self._events.extend(LineReceived(line) for line in given.wire.decode("ascii").splitlines())
        if given.code == 421:
            # RFC 5321 section 3.8: at any time, and it is the last.
            self._end("the server closed the session", given)
        elif not self._owed:
            self._end("the server sent a reply that nothing was asked for", given)
        else:
            expect, recipient = self._owed.popleft()
            self._take_expected(expect, recipient, given)

    def _take_expected(self, expect: Expect, recipient: Recipient | None, given: Reply) -> None:
        raise NotImplementedError

    # ---- sending and ending ----------------------------------------------------------------------

    def _send(self, line: bytes, expect: Expect, recipient: Recipient | None = None, shown: str = "") -> None:
        self._out.append(line)
        self._owed.append((expect, recipient))
        if self._profile.record:
            self._events.append(LineSent(shown or line[:-2].decode("utf-8", "replace")))

    def _end(self, reason: str, given: Reply | None = None, stage: Stage | None = None, *, quit_: bool = False) -> None:
        """It is over; with a last QUIT where the server can be expected to understand it."""
        self._events.append(Ended(stage or self.stage, reason, given))
        if quit_:
            self._out.append(b"QUIT\r\n")
        self._is_over = True
        self._owed.clear()
        self._replies.clear()
        self._handshaking = self._streaming = False

    def _begin_tls(self, facts: TlsFacts) -> None:
        """RFC 3207 section 4.2: what was learned in clear is forgotten."""
        self._replies.clear()
        self._extensions = {}
        self._server_name = ""
        self._handshaking = False
        self._in_tls = True
