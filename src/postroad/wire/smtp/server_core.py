"""What every part of the SMTP server session does: remember, say, ask, refuse, end.

The session is built in steps, each in its file: this one, server_beginning.py (EHLO, TLS), server_auth.py,
server_rarer.py (the commands beside the mail), server_content.py (DATA and BDAT) and server.py (the pump, MAIL and
RCPT). Only the last is used by others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import SERVER_CONTENT_S, TLS_HANDSHAKE_S
from postroad.vocabulary.reply import Reply
from postroad.wire.line_buffer import LineBuffer
from postroad.wire.sasl_server import Stage
from postroad.wire.smtp import replies
from postroad.wire.smtp.chunk_reader import ChunkReader
from postroad.wire.smtp.content_reader import ContentReader
from postroad.wire.smtp.events import CommandRefused, Greeted, ServerEvent, TransactionDropped
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_profile import ServerProfile, words_of
from postroad.wire.smtp.server_state import Chunk, State, Transaction
from postroad.wire.smtp.transitions import TRANSITIONS, Phase, Verb

# In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are needed for each line.
_HELD, _CONNECTED, _CLOSED, _STARTING_TLS = Phase.HELD, Phase.CONNECTED, Phase.CLOSED, Phase.STARTING_TLS
_INSIDE_CONTENT = (Phase.CONTENT, Phase.CHUNK)
_SPEECHLESS = (_CLOSED, Phase.TURNED, *_INSIDE_CONTENT, _STARTING_TLS)
"""Where no reply would be understood."""


class ServerCore:
    """The fields, and the few verbs that change them. `_transaction` is the mail transaction, one value."""

    __slots__ = (
        "_began_at",
        "_chunk",
        "_chunks",
        "_chunks_refused",
        "_closing",
        "_content",
        "_data_refused",
        "_ended",
        "_events",
        "_exchange",
        "_greeted",
        "_identity",
        "_idle_commands",
        "_lines",
        "_messages",
        "_offences",
        "_out",
        "_phase",
        "_profile",
        "_question",
        "_random",
        "_tls",
        "_transaction",
        "_words",
    )

    def __init__(
        self,
        profile: ServerProfile,
        tls: TlsFacts | None = None,
        *,
        random_octets: Callable[[int], bytes] | None = None,
        began_at: datetime | None = None,
    ) -> None:
        """`tls` is given when the connection began with a handshake (RFC 8314 section 3.3), or when the roles were
        changed inside TLS. `random_octets` gives so many that nobody can guess: for SCRAM and CRAM-MD5. `began_at`,
        aware, is needed where the profile offers FUTURERELEASE."""
        self._profile = profile
        self._words = words_of(profile)
        self._tls = tls
        self._lines = LineBuffer()
        self._out: list[bytes] = []
        self._events: deque[ServerEvent] = deque()
        self._question: ServerEvent | None = None
        self._greeted: Greeted | None = None
        self._identity = profile.identity
        self._transaction: Transaction | None = None
        self._exchange: Stage | None = None
        self._content: ContentReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk: Chunk | None = None
        self._chunks_refused = 0
        """Of the message whose transaction ended with one of them, and one more."""
        self._random = random_octets
        self._began_at = began_at
        self._data_refused = False
        self._ended = False
        self._closing: Reply | None = None
        self._offences = self._messages = self._idle_commands = 0
        self._phase = _HELD
        if not profile.greeting_held:
            self.greet()

    def greet(self) -> None:
        """Send the 220; only needed with `greeting_held`. A client that spoke before it is refused."""
        if self._phase is not _HELD:
            return
        self._phase = _CONNECTED
        if self._lines:
            self._refuse("", replies.SPOKEN_TOO_EARLY, close=True)
        else:
            self._out.append(self._words.greeting.wire)

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
        if self._phase not in _SPEECHLESS:
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
            self._exchange,
            self._chunk,
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
        phase = self._phase
        if phase in _INSIDE_CONTENT:
            return SERVER_CONTENT_S
        return TLS_HANDSHAKE_S if phase is _STARTING_TLS else self._profile.command_s

    # ---- saying and asking -----------------------------------------------------------------------

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

    def _is_offered(self, verb: Verb) -> bool:
        return verb in self._words.verbs[bool(self._identity)]

    def _demand(self, verb: Verb) -> None:
        """Raises SyntaxRefused: 502 where it is not offered."""
        if not self._is_offered(verb):
            raise SyntaxRefused(replies.NOT_IMPLEMENTED)

    def _demand_identity(self) -> None:
        """Raises SyntaxRefused: 530 for a client that has not authenticated (RFC 4954 section 6)."""
        if not self._identity:
            in_clear = self._tls is None and self._profile.tls_available and not self._profile.auth_in_clear
            raise SyntaxRefused(replies.TLS_FIRST if in_clear else replies.AUTH_REQUIRED)

    def _random_octets(self, size: int) -> bytes:
        assert self._random is not None, "a session that offers SCRAM or CRAM-MD5 is given random octets"
        return self._random(size)

    # ---- endings ---------------------------------------------------------------------------------

    def _obey_closing(self) -> None:
        """The answer that was owed is given: end the session if that was asked for meanwhile."""
        if self._closing is not None:
            self.shut_down(self._closing)

    def _drop(self, reason: str) -> None:
        if self._transaction is not None:
            self._transaction = None
            self._chunks = None
            self._events.append(TransactionDropped(reason))

    def _close(self, reason: str) -> None:
        self._drop(reason)
        self._content = self._chunk = self._exchange = None
        self._lines.clear()
        self._phase = _CLOSED
