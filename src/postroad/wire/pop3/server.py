"""The server's side of a POP3 session (RFC 1939), without a socket, a clock or a store.

It is driven as `wire/session.py` says; `events.py` tells which method answers which question, `states.py`
what a command does to the state, `commands.py` what it is answered.
"""

from __future__ import annotations

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import (
    AUTH_LINE_BYTES,
    POP3_COMMAND_LINE_BYTES,
    POP3_COMMANDS_OF_MESSAGE,
    POP3_COMMANDS_WITHOUT_MAIL,
    POP3_OUTPUT_BYTES,
    SMTP_UNKNOWN_COMMANDS_TEXT,
)
from postroad.vocabulary.reply import printable
from postroad.wire.pop3.commands import HANDLERS, AuthAsked, Known, Pop3Profile, Response, err
from postroad.wire.pop3.events import (
    CredentialsGiven,
    MessageAsked,
    OutputDue,
    Pop3Event,
    ProofGiven,
    SecretAsked,
    UpdateAsked,
)
from postroad.wire.pop3.lines import Fault
from postroad.wire.pop3.server_maildrop import Pop3Maildrop
from postroad.wire.pop3.states import COMMANDS, OUT_OF_ORDER, State, in_order
from postroad.wire.session import Wait

__all__ = ["Pop3Profile", "Pop3Session"]


class Pop3Session(Pop3Maildrop):
    """One client's conversation. The greeting waits in `data_to_send()` from the beginning."""

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

    def tls_started(self, facts: TlsFacts) -> None:
        """The handshake succeeded: what was learned before is forgotten (RFC 2595 section 4)."""
        assert self.state is State.HANDSHAKE, "nobody asked for TLS"
        self._lines.clear()
        self._known = Known(profile=self._known.profile, tls_active=True, timestamp=self._known.timestamp)

    def refuse(self, text: str, code: str = "") -> None:
        """Answers any question with -ERR; `code` is a response code of RFC 2449 section 8 or RFC 3206."""
        if self.state is State.CLOSED:
            return
        match self._question:
            case CredentialsGiven() | SecretAsked() | ProofGiven():
                self._refuse_login(text, code)
            case MessageAsked():
                self._refuse_message(text, code)
            case UpdateAsked():
                self._refuse_update(text, code)
            case None:
                raise AssertionError("no question is open")

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

    def _idle_commands_max(self) -> int:
        listing = self._known.listing
        return POP3_COMMANDS_WITHOUT_MAIL + (0 if listing is None else POP3_COMMANDS_OF_MESSAGE * listing.count)
