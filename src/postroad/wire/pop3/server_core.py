"""What a POP3 session keeps, what is seen of it from outside, and how it ends (RFC 1939).

The session is built in steps, each in its file: this one, server_login.py (who the client is), server_maildrop.py
(messages and UPDATE), server.py (the order of things).
"""

from __future__ import annotations

from postroad.vocabulary.limits import POP3_BAD_COMMANDS, POP3_IDLE_S, TLS_HANDSHAKE_S
from postroad.wire.pop3.apop import timestamp
from postroad.wire.pop3.commands import Known, Pop3Profile, Response, err, ok
from postroad.wire.pop3.content import MessageOutput
from postroad.wire.pop3.events import MaildropReleased, Question, UpdateAsked
from postroad.wire.pop3.lines import CommandLines, Fault
from postroad.wire.pop3.states import Said, State, next_state
from postroad.wire.sasl_server import RandomOctets, Stage


def _no_chance(size: int) -> bytes:
    raise AssertionError("a session that offers APOP or SCRAM needs octets that nobody can guess")


class Pop3Core:
    """The fields, and the few verbs that change them. The greeting waits in `data_to_send()` from the beginning."""

    def __init__(self, profile: Pop3Profile, random_octets: RandomOctets = _no_chance) -> None:
        """`random_octets` gives octets that nobody can guess, for APOP and SCRAM."""
        self._random_octets = random_octets
        stamp = timestamp(random_octets, profile.hostname) if profile.apop else b""
        self._known = Known(profile=profile, tls_active=profile.tls_active, timestamp=stamp)
        self._lines = CommandLines()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._output_told = False
        self._question: Question | None = None
        self._untold: Question | None = None
        """The same, until somebody has heard of it."""
        self._asked_by = ""
        """The command that led to the question."""
        self._exchange: Stage | None = None
        """How far an AUTH has come: the next line belongs to it."""
        self._message: MessageOutput | None = None
        self._released: MaildropReleased | None = None
        self._ended = False
        self._bad_commands = 0
        self._idle_commands = 0
        """Commands since a message was fetched."""
        self._say(ok(f"{profile.hostname} POP3 server ready {stamp.decode()}".rstrip(" ")))

    # ---- what the shell asks --------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._known.state

    @property
    def tls_active(self) -> bool:
        return self._known.tls_active

    @property
    def utf8(self) -> bool:
        """The client takes internationalised headers as they are (RFC 6856 section 2)."""
        return self._known.utf8

    @property
    def owes_answer(self) -> bool:
        """Whether a question is open. It is void, without an answer, once the session has been ended."""
        return self._question is not None

    @property
    def wants_more(self) -> bool:
        """Whether further `send_chunk`s of the message can still show: False when TOP has all of its lines."""
        return self._message is not None and self._message.wants_more

    @property
    def patience_s(self) -> float:
        # RFC 1939 section 3: an inactivity timer is of at least ten minutes, in every state.
        return TLS_HANDSHAKE_S if self.state is State.HANDSHAKE else POP3_IDLE_S

    @property
    def buffered_bytes(self) -> int:
        """Octets received and not yet read as commands."""
        return len(self._lines)

    def data_to_send(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        self._output_told = False
        return data

    def snapshot(self) -> tuple[object, ...]:
        """All that decides what comes next, as one hashable value: two sessions with equal snapshots and the
        same octets to come go the same way. For tests that walk all the states."""
        known = self._known
        marks = known.listing.deleted if known.listing is not None else None
        open_ = (self._question, self._message is not None, self._released, self._ended)
        counted = (self._bad_commands, self._idle_commands, self._exchange, known.utf8)
        return (known.state, known.tls_active, known.name, marks, *counted, *open_)

    # ---- endings --------------------------------------------------------------------------------

    def timed_out(self) -> None:
        """RFC 1939 section 3: the connection is closed without UPDATE and without a word."""
        self._end("the client was silent for too long")

    def lost(self) -> None:
        """The connection is gone in both directions; what was received and not yet read is void."""
        self._end("the connection was lost")

    def shut_down(self, text: str) -> None:
        """The server stops. An UPDATE that is under way is let finish: the session ends with it anyway."""
        if isinstance(self._question, UpdateAsked) or self.state is State.CLOSED:
            return
        # Inside a message -ERR would be read as a part of it; inside a handshake as rubbish.
        if self._message is None and self.state is not State.HANDSHAKE:
            self._say(err(text, "SYS/TEMP"))  # RFC 3206 section 4
        self._end("the server was stopped")

    # ---- inside ---------------------------------------------------------------------------------

    def _ask(self, question: Question) -> None:
        self._question = self._untold = question

    def _answer(self, command: str, response: Response) -> None:
        self._question = None
        self._exchange = None
        self._say(response)
        self._known.state = state = next_state(self.state, command, response.said)
        if state in (State.HANDSHAKE, State.CLOSED):
            # What came behind STLS came in the clear: it is never executed (RFC 2595 section 4). What came
            # behind QUIT is nothing.
            self._lines.clear()
        if response.said is Said.ERR and state is State.AUTHORIZATION:
            self._known.name = ""

    def _complain(self, fault: Fault) -> None:
        self._say(err(fault.value))
        if fault is Fault.ENDLESS:
            self._end("the client sent a line without end")
        else:
            self._count_bad()

    def _count_bad(self) -> None:
        self._bad_commands += 1
        if self._bad_commands >= POP3_BAD_COMMANDS and self.state is not State.CLOSED:
            self._say(err("Too many errors: goodbye"))
            self._end("the client made too many errors")

    def _end(self, reason: str) -> None:
        """The session is over without UPDATE."""
        if self.state is State.CLOSED:
            return
        # Whoever does an update gives the lock back when it is done.
        if self._known.listing is not None and not isinstance(self._question, UpdateAsked):
            self._released = MaildropReleased(reason)
        self._known.state = State.CLOSED
        self._known.listing = self._question = self._untold = self._message = self._exchange = None
        self._lines.clear()

    def _say(self, response: Response) -> None:
        self._put(response.octets)

    def _put(self, octets: bytes) -> None:
        if octets:
            self._out.append(octets)
            self._out_bytes += len(octets)
