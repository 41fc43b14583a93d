"""What an open maildrop gives to the client of a POP3 session, and the UPDATE (RFC 1939 sections 5 and 6)."""

from __future__ import annotations

from postroad.wire.pop3.commands import err, ok
from postroad.wire.pop3.content import MessageOutput
from postroad.wire.pop3.events import MessageAsked, UpdateAsked
from postroad.wire.pop3.server_login import Pop3Login
from postroad.wire.pop3.states import State


class Pop3Maildrop(Pop3Login):
    """The answers to MessageAsked and UpdateAsked."""

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

    def _refuse_message(self, text: str, code: str) -> None:
        assert self._message is None, "the message is on its way: break_off() is what is left"
        self._answer("RETR", err(text, code))

    def _refuse_update(self, text: str, code: str) -> None:
        self._known.listing = None
        self._answer("QUIT", err(text, code))
