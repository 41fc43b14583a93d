"""The server's side of a POP3 session (RFC 1939), without a socket, a clock or a store.

It is driven as `wire/session.py` says; `events.py` tells which method answers which question, `states.py`
what a command does to the state, `commands.py` what it is answered, `exchange.py` how AUTH goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from postroad.vocabulary.credentials import CramSecret, StoredSecret
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import (
    AUTH_LINE_BYTES,
    POP3_BAD_COMMANDS,
    POP3_COMMAND_LINE_BYTES,
    POP3_COMMANDS_OF_MESSAGE,
    POP3_COMMANDS_WITHOUT_MAIL,
    POP3_IDLE_S,
    POP3_OUTPUT_BYTES,
    SMTP_UNKNOWN_COMMANDS_TEXT,
    TLS_HANDSHAKE_S,
)
from postroad.vocabulary.reply import printable
from postroad.wire import sasl
from postroad.wire.pop3.commands import HANDLERS, AuthAsked, Known, Pop3Profile, Response, err, ok
from postroad.wire.pop3.content import MessageOutput
from postroad.wire.pop3.events import (
    CredentialsGiven,
    MaildropReleased,
    MessageAsked,
    OutputDue,
    Pop3Event,
    ProofGiven,
    Question,
    SecretAsked,
    UpdateAsked,
)
from postroad.wire.pop3.exchange import PLUS, Exchange, RandomOctets, Step, Surroundings, timestamp
from postroad.wire.pop3.lines import CommandLines, Fault
from postroad.wire.pop3.listing import Listing
from postroad.wire.pop3.states import COMMANDS, OUT_OF_ORDER, Said, State, in_order, next_state
from postroad.wire.session import Wait

__all__ = ["Pop3Profile", "Pop3Session"]


def _no_chance(size: int) -> bytes:
    raise AssertionError("a session that offers APOP or SCRAM needs octets that nobody can guess")


class Pop3Session:
    """One client's conversation. The greeting waits in `data_to_send()` from the beginning."""

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
        self._exchange: Exchange | None = None
        """AUTH is under way: the next line belongs to it."""
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
        counted = (self._bad_commands, self._idle_commands, self._exchange is not None, known.utf8)
        return (known.state, known.tls_active, known.name, marks, *counted, *open_)

    # ---- octets and time ------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Octets came; b"" is the end of the stream: commands that came whole before it are still obeyed."""
        if not data:
            self._ended = True
            if self.state is State.HANDSHAKE:
                self._end("the client went away during the TLS handshake")
        elif self.state not in (State.HANDSHAKE, State.CLOSED):
            # In HANDSHAKE clear text has no business here (RFC 2595 section 4): it is never executed.
            self._lines.feed(data)

    def next_event(self) -> Pop3Event | Wait:
        while True:
            if self._released is not None:
                released, self._released = self._released, None
                return released
            if self.state is State.CLOSED:
                return Wait.CLOSED
            if self._untold is not None:
                question, self._untold = self._untold, None
                return question
            if self._question is not None:
                return Wait.NEED_ANSWER
            if self.state is State.HANDSHAKE:
                return Wait.NEED_TLS
            if self._out_bytes > POP3_OUTPUT_BYTES and not self._output_told:
                self._output_told = True
                return OutputDue(self._out_bytes)
            in_exchange = self._exchange is not None
            line = self._lines.next(AUTH_LINE_BYTES if in_exchange else POP3_COMMAND_LINE_BYTES)
            if line is not None:
                if in_exchange:
                    self._respond(line)
                else:
                    self._read(line)
            elif self._ended:
                self._end("the client closed the connection")
            else:
                return Wait.NEED_DATA

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

    def tls_started(self, facts: TlsFacts) -> None:
        """The handshake succeeded: what was learned before is forgotten (RFC 2595 section 4)."""
        assert self.state is State.HANDSHAKE, "nobody asked for TLS"
        self._lines.clear()
        self._known = Known(profile=self._known.profile, tls_active=True, timestamp=self._known.timestamp)

    # ---- answers --------------------------------------------------------------------------------

    def opened(self, sizes: Sequence[int], uidls: Sequence[str]) -> None:
        """Answers CredentialsGiven: the maildrop is locked; sizes in octets and unique-ids by message-number.

        A size counts what RETR will show (RFC 1939 section 11): line ends as CR LF, and the CR LF that a last
        line without one is given. Unique-ids are 1 to 70 printable characters (RFC 1939 section 7).
        If the session was ended meanwhile the next event is MaildropReleased.
        """
        if self.state is State.CLOSED:
            self._released = MaildropReleased("the session had ended before the maildrop was open")
            return
        question = self._question
        assert isinstance(question, CredentialsGiven | ProofGiven), "no credentials were given"
        assert not isinstance(question, ProofGiven) or question.right, "the proof was wrong"
        self._known.listing = listing = Listing(sizes, uidls)
        self._answer(self._asked_by, ok(f"{listing.count} messages ({listing.octets} octets)"))

    def give_secret(self, secret: StoredSecret | None, fake_salt: bytes) -> None:
        """Answers SecretAsked."""
        if self.state is State.CLOSED:
            return
        assert isinstance(self._question, SecretAsked), "no secret is in question"
        self._question = None
        apop, self._known.apop = self._known.apop, None
        if apop is not None:
            assert secret is None or isinstance(secret, CramSecret), "APOP goes by a secret that can be read"
            self._ask(apop.proof(self._known.timestamp, secret))
        else:
            assert self._exchange is not None
            self._follow(self._exchange.give_secret(secret, fake_salt))

    def refuse(self, text: str, code: str = "") -> None:
        """Answers any question with -ERR; `code` is a response code of RFC 2449 section 8 or RFC 3206."""
        if self.state is State.CLOSED:
            return
        match self._question:
            case CredentialsGiven() | SecretAsked() | ProofGiven():
                self._known.apop = None
                self._answer(self._asked_by, err(text, code))
                self._count_bad()
            case MessageAsked():
                assert self._message is None, "the message is on its way: break_off() is what is left"
                self._answer("RETR", err(text, code))
            case UpdateAsked():
                self._known.listing = None
                self._answer("QUIT", err(text, code))
            case None:
                raise AssertionError("no question is open")

    def send_message(self) -> None:
        """Answers MessageAsked: the message follows in chunks."""
        if self.state is State.CLOSED:
            return
        asked = self._question
        assert isinstance(asked, MessageAsked), "no message was asked for"
        assert self._message is None, "it is on its way already"
        self._message = MessageOutput(asked.lines)
        listing = self._known.listing
        assert listing is not None
        self._say(ok(f"{listing.size(asked.number)} octets" if asked.lines is None else ""))

    def send_chunk(self, octets: bytes) -> None:
        """The next octets of the message as they are stored, of any length. Write `data_to_send()` after each."""
        if self.state is not State.CLOSED:
            assert self._message is not None, "send_message() comes first"
            self._put(self._message.chunk(octets))

    def end_message(self) -> None:
        """That was all of the message."""
        if self.state is not State.CLOSED:
            assert self._message is not None, "send_message() comes first"
            self._put(self._message.end())
            if isinstance(self._question, MessageAsked) and self._question.lines is None:
                self._idle_commands = 0
            self._message = self._question = None

    def break_off(self, reason: str) -> None:
        """The rest of the message cannot be had: the connection is cut, so that nobody takes the part for the whole."""
        self._end(reason)

    def updated(self) -> None:
        """Answers UpdateAsked: what was marked is removed, durably."""
        if self.state is State.CLOSED:
            return
        assert isinstance(self._question, UpdateAsked), "nobody said QUIT"
        self._known.listing = None
        self._answer("QUIT", ok("Goodbye"))

    # ---- inside ---------------------------------------------------------------------------------

    def _read(self, line: bytes | Fault) -> None:
        """Obey one line, or ask what must be asked first."""
        if isinstance(line, Fault):
            self._complain(line)
            return
        verb, _, argument = line.partition(b" ")
        command = verb.upper().decode("latin-1")
        self._idle_commands += 1
        if self._idle_commands > self._idle_commands_max() and command != "QUIT":
            self._say(err("Too many commands without any mail: goodbye", "SYS/TEMP"))
            self._end("the client asked for too much and fetched nothing")
        elif command not in COMMANDS:
            self._say(err(f"Unknown command {printable(command, SMTP_UNKNOWN_COMMANDS_TEXT)}"))
            self._count_bad()
        elif not in_order(self.state, command):
            self._say(err(OUT_OF_ORDER.get((self.state, command), "Log in first: USER, then PASS")))
            self._count_bad()
        else:
            # A password keeps its spaces (RFC 1939 section 7); elsewhere those at the end mean nothing.
            result = HANDLERS[command](argument if command == "PASS" else argument.strip(b" "), self._known)
            if isinstance(result, Response):
                self._answer(command, result)
            else:
                self._asked_by = command
                if isinstance(result, AuthAsked):
                    self._begin_exchange(result)
                else:
                    self._ask(result)

    def _ask(self, question: Question) -> None:
        self._question = self._untold = question

    def _complain(self, fault: Fault) -> None:
        self._say(err(fault.value))
        if fault is Fault.ENDLESS:
            self._end("the client sent a line without end")
        else:
            self._count_bad()

    def _begin_exchange(self, asked: AuthAsked) -> None:
        around = Surroundings(
            self._random_octets, self._known.profile.channel_binding, plus_offered=PLUS in self._known.mechanisms
        )
        self._exchange = exchange = Exchange(asked.mechanism, around)
        try:
            self._follow(exchange.begin(asked.initial))
        except sasl.SaslFault as fault:
            self._give_up_exchange(fault)

    def _respond(self, line: bytes | Fault) -> None:
        """A line of the client inside AUTH."""
        assert self._exchange is not None
        if isinstance(line, Fault):
            self._exchange = None
            self._complain(line)
            return
        try:
            self._follow(self._exchange.respond(line))
        except sasl.SaslFault as fault:
            self._give_up_exchange(fault)

    def _follow(self, step: Step) -> None:
        if isinstance(step, bytes):
            self._put(b"+ %b\r\n" % step)
        else:
            self._ask(step)

    def _give_up_exchange(self, fault: sasl.SaslFault) -> None:
        match fault:
            case sasl.Cancelled():
                answer = err("The login was cancelled")
            case sasl.BadBase64():
                answer = err("This is not base64")
            case _:
                answer = err("Wrong name or password", "AUTH")  # RFC 3206 section 5
        self._answer(self._asked_by, answer)
        self._count_bad()

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

    def _idle_commands_max(self) -> int:
        listing = self._known.listing
        return POP3_COMMANDS_WITHOUT_MAIL + (0 if listing is None else POP3_COMMANDS_OF_MESSAGE * listing.count)

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
