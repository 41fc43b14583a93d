"""The SMTP server session: octets and decisions in, questions and replies out (RFC 5321).

It owns no clock, socket or store. wire/session.py tells how it is driven, events.py what it asks,
transitions.py what may come when. Choices of ours:

- Octets behind STARTTLS, in the same segment or before the handshake, end the connection (RFC 3207 section 4
  leaves it open; nobody honest sends them).
- When a DATA was refused and lines follow that are no commands, a client is sending its content without
  having waited: no transaction begins any more on this connection.
- One faulty octet in the content (a lone CR or LF, a NUL) is answered only at the true end, and the connection
  is closed then, so that nothing behind a false end is ever a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postroad.vocabulary.envelope import Way
from postroad.vocabulary.limits import (
    AUTH_LINE_BYTES,
    COMMAND_LINE_BYTES,
    COMMANDS_WITHOUT_MAIL,
)
from postroad.vocabulary.reply import Reply
from postroad.wire.line_buffer import LineFault
from postroad.wire.session import Wait
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import (
    FOREIGN_VERBS,
    kept_of,
    kept_word,
    parse_mail,
    parse_rcpt,
    read_verb,
    refuse_argument,
)
from postroad.wire.smtp.events import (
    ClientReplaced,
    CommandRefused,
    ContentAsked,
    ContentEnded,
    CredentialsGiven,
    Greeted,
    ProofGiven,
    RecipientGiven,
    SecretAsked,
    SenderGiven,
    ServerEvent,
    TurnAsked,
)
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_content import ServerContent
from postroad.wire.smtp.server_state import Transaction
from postroad.wire.smtp.transitions import MAIL_VERBS, TRANSITIONS, Phase, Verb

_TLS_CLIENT_HELLO = 0x16
# In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are needed for each line.
_HELD, _CONNECTED, _AUTHENTICATING = Phase.HELD, Phase.CONNECTED, Phase.AUTHENTICATING
_CONTENT, _CHUNK = Phase.CONTENT, Phase.CHUNK
_STARTING_TLS, _TURNED, _CLOSED = Phase.STARTING_TLS, Phase.TURNED, Phase.CLOSED
_MAIL, _RCPT, _QUIT = Verb.MAIL, Verb.RCPT, Verb.QUIT
_BRING_MAIL = (Verb.RCPT, Verb.DATA, Verb.BDAT)
"""These count as commands that bring no mail only where they are refused; MAIL, until the message is taken."""
_NEED_DATA, _NEED_ANSWER = Wait.NEED_DATA, Wait.NEED_ANSWER
_TOO_LONG = LineFault.TOO_LONG


class ServerSession(ServerContent):
    """One connection of one client. See wire/session.py for the methods all sessions have."""

    __slots__ = ()

    # ---- what the outside does -------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        if not data:
            self._ended = True
        elif self._phase is not _CLOSED:
            self._lines.append(data)

    def next_event(self) -> ServerEvent | Wait:
        events, lines = self._events, self._lines
        while True:
            if events:
                return events.popleft()
            if self._question is not None:
                return _NEED_ANSWER
            phase = self._phase
            if phase is _CLOSED:
                return Wait.CLOSED
            if not lines or phase is _HELD:
                if self._ended:
                    self._close("the client closed the connection")
                    continue
                if phase is _TURNED:
                    return Wait.TURNED
                return Wait.NEED_TLS if phase is _STARTING_TLS else _NEED_DATA
            if phase is _CONTENT:
                self._take_content()
            elif phase is _CHUNK:
                self._take_chunk()
            elif phase is _STARTING_TLS:
                self._refuse("STARTTLS", replies.PLAINTEXT_AFTER_STARTTLS, close=True)
            elif not self._take_line():
                if self._ended:
                    self._close("the client closed the connection")
                    continue
                return _NEED_DATA

    def answer(self, given: Reply | None) -> None:
        """Answer the open question. None accepts it in the session's own words, where that is possible."""
        question = self._question
        assert question is not None, "no question is open"
        self._question = None
        answer = _ANSWERS.get(type(question))
        if answer is not None:
            answer(self, question, given)
        else:
            assert given is not None, f"{question} wants a reply"
            self._out.append(given.wire)
        if given is not None and given.code == 421:
            self._close("closed by a 421")
        if self._closing is not None:
            self._obey_closing()

    def timed_out(self) -> None:
        """Patience has run out (RFC 5321 section 4.5.3.2.7). While our own answer is owed nothing happens."""
        if self._question is None and self._phase not in (_CLOSED, _TURNED):
            if self._phase is not _STARTING_TLS:
                self._out.append(replies.TIMED_OUT.wire)
            self._close("the client was silent for too long")

    # ---- lines -----------------------------------------------------------------------------------

    def _take_line(self) -> bool:
        """Carry out the next line; False when it is not here yet."""
        phase = self._phase
        responding = phase is _AUTHENTICATING
        if phase is _CONNECTED and self._lines.first() == _TLS_CLIENT_HELLO:
            self._refuse("", replies.NOT_SMTP, close=True)
            return True
        line = self._lines.take_line(AUTH_LINE_BYTES if responding else COMMAND_LINE_BYTES)
        if line is None:
            return False
        if isinstance(line, LineFault):
            self._take_faulty_line(line, responding)
        elif responding:
            self._take_response(line)
        else:
            try:
                self._take_command(line)
            except SyntaxRefused as refused:
                self._refuse(kept_of(line), refused.reply)
        return True

    def _take_faulty_line(self, fault: LineFault, responding: bool) -> None:
        if fault is not _TOO_LONG:
            self._refuse("", replies.ENDLESS_LINE, close=True)
        elif responding:
            self._auth_failed(replies.AUTH_LINE_TOO_LONG)
        else:
            self._refuse("", replies.LINE_TOO_LONG)

    def _take_command(self, line: bytes) -> None:
        if b"\n" in line or b"\r" in line:
            raise SyntaxRefused(replies.BARE_NEWLINE_IN_COMMAND)
        verb, word, argument = read_verb(line)
        if verb is None:
            self._take_unknown(word)
            return
        if (self._phase, verb) not in TRANSITIONS:
            self._take_misplaced(verb, argument)
            return
        self._data_refused = False
        self._chunks_refused = 0
        if verb not in _BRING_MAIL:
            self._idle_commands += 1
        if self._idle_commands > COMMANDS_WITHOUT_MAIL and verb is not _QUIT:
            self._refuse(verb.value, replies.TOO_MANY_WITHOUT_MAIL, close=True)
        else:
            _COMMANDS[verb](self, argument)

    def _take_rset(self, argument: bytes) -> None:
        refuse_argument(argument)
        self._drop("RSET")
        self._move(Verb.RSET, replies.OK)

    def _take_quit(self, argument: bytes) -> None:
        refuse_argument(argument)
        self._out.append(replies.BYE.wire)
        self._close("QUIT")

    def _take_unknown(self, word: bytes) -> None:
        """What is no command here: of another protocol, or of nothing at all."""
        text = kept_word(word)
        if word in FOREIGN_VERBS:
            self._refuse(text, replies.NOT_SMTP, close=True)
            return
        if self._data_refused:
            self._drop("content was sent though DATA was refused")
            self._data_refused = False
            self._phase = Phase.OUT_OF_STEP
        self._refuse(text, replies.UNKNOWN_COMMAND)

    def _take_misplaced(self, verb: Verb, argument: bytes) -> None:
        """A command that cannot come now; for BDAT the octets that belong to it are read all the same."""
        why = self._why_out_of_order(verb)
        if verb is Verb.BDAT:
            self._take_misplaced_bdat(argument, why)
        else:
            self._refuse(verb.value, why)

    def _why_out_of_order(self, verb: Verb) -> Reply:
        phase = self._phase
        if not self._is_offered(verb):
            return _OF_OTHER_PROTOCOL.get(verb, replies.NOT_IMPLEMENTED)
        if phase is Phase.OUT_OF_STEP:
            return replies.NOT_WAITED_FOR_DATA
        if phase is _CONNECTED and verb is not Verb.STARTTLS and verb not in _AFTER_MAIL:
            return replies.EHLO_FIRST
        if phase is Phase.CHUNKS and verb in (*MAIL_VERBS, *_AFTER_MAIL):
            return replies.CHUNKS_FOLLOW
        if verb in MAIL_VERBS:
            return replies.NESTED_MAIL
        if verb is Verb.AUTH:
            return replies.AUTH_IN_TRANSACTION
        return replies.MAIL_FIRST if verb in _AFTER_MAIL else replies.OUT_OF_ORDER

    # ---- the mail transaction --------------------------------------------------------------------

    def _take_mail(self, argument: bytes, way: Way = Way.MAIL) -> None:
        profile = self._profile
        if profile.atrn:
            # RFC 2645 section 5.4: where mail is fetched none is taken.
            self._refuse(way.value, replies.NOT_IMPLEMENTED)
        elif profile.mail_requires_auth and not self._identity:
            # RFC 4954 section 6, RFC 6409 section 4.3
            in_clear = self._tls is None and profile.tls_available
            self._refuse("MAIL", replies.TLS_FIRST if in_clear else replies.AUTH_REQUIRED)
        elif self._messages >= profile.messages_per_session:
            self._refuse("MAIL", replies.TOO_MANY_MESSAGES, close=True)
        else:
            self._ask(parse_mail(argument, profile, way, self._tls is not None, self._began_at))

    def _take_send(self, argument: bytes) -> None:
        self._take_old_way(Way.SEND, argument)

    def _take_soml(self, argument: bytes) -> None:
        self._take_old_way(Way.SOML, argument)

    def _take_saml(self, argument: bytes) -> None:
        self._take_old_way(Way.SAML, argument)

    def _take_old_way(self, way: Way, argument: bytes) -> None:
        """RFC 821 section 3.4"""
        self._demand(Verb(way.value))
        self._take_mail(argument, way)

    def _take_rcpt(self, argument: bytes) -> None:
        transaction = self._transaction
        assert transaction is not None
        recipient = parse_rcpt(argument, self._profile, smtputf8=transaction.sender.smtputf8)
        if transaction.recipients >= self._profile.recipients_max:
            self._idle_commands += 1
            # RFC 5321 section 4.5.3.1.10: 452, and the client sends the others in another transaction.
            self._out.append(replies.TOO_MANY_RECIPIENTS.wire)
            self._events.append(CommandRefused("RCPT", replies.TOO_MANY_RECIPIENTS))
        else:
            self._ask(recipient)

    def _answer_sender(self, question: SenderGiven, given: Reply | None) -> None:
        if given is None:
            given = replies.SENDER_OK
        if given.code < 300:
            self._transaction = Transaction(question)
        self._move(_MAIL, given)

    def _answer_recipient(self, question: RecipientGiven, given: Reply | None) -> None:
        transaction = self._transaction
        assert transaction is not None
        if given is None:
            given = replies.RECIPIENT_OK
        if given.code < 300:
            self._transaction = Transaction(transaction.sender, transaction.recipients + 1)
        else:
            self._idle_commands += 1
        self._move(_RCPT, given)

    def _answer_end(self, question: ContentEnded, given: Reply | None) -> None:
        assert given is not None, "the end of the content wants a reply"
        self._end_transaction(given)


_AFTER_MAIL = (Verb.RCPT, Verb.DATA, Verb.BDAT)
_OF_OTHER_PROTOCOL = {Verb.HELO: replies.LHLO_ONLY, Verb.EHLO: replies.LHLO_ONLY, Verb.LHLO: replies.NOT_LMTP}

_ANSWERS: dict[type, Callable[[ServerSession, Any, Reply | None], None]] = {
    SenderGiven: ServerSession._answer_sender,
    RecipientGiven: ServerSession._answer_recipient,
    ContentAsked: ServerSession._answer_content,
    ContentEnded: ServerSession._answer_end,
    Greeted: ServerSession._answer_greeting,
    CredentialsGiven: ServerSession._answer_credentials,
    SecretAsked: ServerSession._answer_credentials,
    ProofGiven: ServerSession._answer_credentials,
    TurnAsked: ServerSession._answer_turn,
    ClientReplaced: ServerSession._answer_replaced,
}
"""The questions that can be accepted in the session's own words, or whose answers move it."""

_COMMANDS: dict[Verb, Callable[[ServerSession, bytes], None]] = {
    Verb.HELO: ServerSession._take_helo,
    Verb.EHLO: ServerSession._take_ehlo,
    Verb.LHLO: ServerSession._take_lhlo,
    Verb.MAIL: ServerSession._take_mail,
    Verb.SEND: ServerSession._take_send,
    Verb.SOML: ServerSession._take_soml,
    Verb.SAML: ServerSession._take_saml,
    Verb.RCPT: ServerSession._take_rcpt,
    Verb.DATA: ServerSession._take_data,
    Verb.BDAT: ServerSession._take_bdat,
    Verb.RSET: ServerSession._take_rset,
    Verb.NOOP: ServerSession._take_noop,
    Verb.VRFY: ServerSession._take_vrfy,
    Verb.EXPN: ServerSession._take_expn,
    Verb.HELP: ServerSession._take_help,
    Verb.QUIT: ServerSession._take_quit,
    Verb.STARTTLS: ServerSession._take_starttls,
    Verb.AUTH: ServerSession._take_auth,
    Verb.ETRN: ServerSession._take_etrn,
    Verb.ATRN: ServerSession._take_atrn,
    Verb.TURN: ServerSession._take_turn,
    Verb.XCLIENT: ServerSession._take_xclient,
}
