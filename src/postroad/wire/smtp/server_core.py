"""What every part of the SMTP server session does: remember, say, ask, refuse, end.

The session is built in three steps, each in its file: this one, server_beginning.py (greeting, TLS, AUTH) and
server.py (commands and the mail transaction). Only the last is used by others.
"""

from __future__ import annotations

from collections import deque

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import SERVER_CONTENT_S, TLS_HANDSHAKE_S
from postroad.vocabulary.reply import Reply
from postroad.wire import sasl
from postroad.wire.line_buffer import LineBuffer
from postroad.wire.smtp import replies
from postroad.wire.smtp.content_reader import ContentReader
from postroad.wire.smtp.events import CommandRefused, Greeted, ServerEvent, TransactionDropped
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.server_state import State, Transaction
from postroad.wire.smtp.transitions import TRANSITIONS, Phase, Verb


class ServerCore:
    """The fields, and the few verbs that change them. `_transaction` is the mail transaction, one value."""

    __slots__ = (
        "_challenge",
        "_closing",
        "_content",
        "_data_refused",
        "_ended",
        "_events",
        "_greeted",
        "_identity",
        "_lines",
        "_messages",
        "_offences",
        "_out",
        "_phase",
        "_profile",
        "_question",
        "_tls",
        "_transaction",
    )

    def __init__(self, profile: ServerProfile, tls: TlsFacts | None = None) -> None:
        """`tls` is given when the connection began with a handshake (RFC 8314 section 3.3)."""
        self._profile = profile
        self._tls = tls
        self._lines = LineBuffer()
        self._out: list[bytes] = []
        self._events: deque[ServerEvent] = deque()
        self._question: ServerEvent | None = None
        self._greeted: Greeted | None = None
        self._identity = profile.identity
        self._transaction: Transaction | None = None
        self._challenge: sasl.Challenge | None = None
        self._content: ContentReader | None = None
        self._data_refused = False
        self._ended = False
        self._closing: Reply | None = None
        self._offences = self._messages = 0
        self._phase = Phase.HELD

    def data_to_send(self) -> bytes:
        out = self._out
        if not out:
            return b""
        octets = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return octets

    def shut_down(self, last_word: Reply) -> None:
        """End the session: with `last_word` where a reply can be understood, after the open answer if one is
        owed, and silently inside the content or a handshake (RFC 5321 section 3.8)."""
        if self._question is not None:
            self._closing = last_word
            return
        self._closing = None
        if self._phase not in (Phase.CLOSED, Phase.CONTENT, Phase.STARTING_TLS):
            self._out.append(last_word.wire)
        self._close("the server shut the session down")

    # ---- what the outside sees -------------------------------------------------------------------

    @property
    def state(self) -> State:
        return State(
            self._phase,
            self._greeted,
            self._tls,
            self._identity,
            self._transaction,
            self._challenge,
            self._data_refused,
        )

    @property
    def transaction(self) -> Transaction | None:
        """What was accepted of the open transaction; also while ContentEnded is in question."""
        return self._transaction

    @property
    def buffered_bytes(self) -> int:
        return len(self._lines)

    @property
    def patience_s(self) -> float:
        if self._phase is Phase.CONTENT:
            return SERVER_CONTENT_S
        return TLS_HANDSHAKE_S if self._phase is Phase.STARTING_TLS else self._profile.command_s

    # ---- endings ---------------------------------------------------------------------------------

    def _ask(self, question: ServerEvent) -> None:
        self._question = question
        self._events.append(question)

    def _move(self, verb: Verb, given: Reply) -> None:
        self._out.append(given.wire)
        phase = self._phase
        self._phase = TRANSITIONS[phase, verb].get(given.code // 100, phase)

    def _refuse(self, command: str, answer: Reply, *, close: bool = False, offence: bool = True) -> None:
        """Say no ourselves; after too many of it, 421 instead, and the end (RFC 5321 section 7.8)."""
        self._offences += offence
        if self._offences > self._profile.bad_commands and not close:
            answer, close = replies.TOO_MANY_ERRORS, True
        self._out.append(answer.wire)
        self._events.append(CommandRefused(command, answer))
        if close:
            self._close(str(answer))

    def _drop(self, reason: str) -> None:
        if self._transaction is not None:
            self._transaction = None
            self._events.append(TransactionDropped(reason))

    def _close(self, reason: str) -> None:
        self._drop(reason)
        self._content = None
        self._challenge = None
        self._lines.clear()
        self._phase = Phase.CLOSED
