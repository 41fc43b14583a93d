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

from postroad.vocabulary.limits import (
    AUTH_LINE_BYTES,
    COMMAND_LINE_BYTES,
    COMMAND_TEXT,
    SMTP_UNKNOWN_COMMANDS_TEXT,
)
from postroad.vocabulary.reply import Reply, printable
from postroad.wire.line_buffer import LineFault
from postroad.wire.session import Wait
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import (
    ABSENT_VERBS,
    FOREIGN_VERBS,
    parse_greeting,
    parse_mail,
    parse_rcpt,
    parse_vrfy,
    read_verb,
    refuse_argument,
)
from postroad.wire.smtp.content_reader import ContentReader
from postroad.wire.smtp.events import (
    CommandRefused,
    ContentAsked,
    ContentEnded,
    ContentReceived,
    CredentialsGiven,
    Greeted,
    RecipientGiven,
    SenderGiven,
    ServerEvent,
)
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_beginning import ServerBeginning
from postroad.wire.smtp.server_profile import words_of
from postroad.wire.smtp.server_state import Transaction
from postroad.wire.smtp.transitions import TRANSITIONS, Phase, Verb, next_phase

_CONTENT_ASKED = ContentAsked()
_TLS_CLIENT_HELLO = 0x16
# In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are needed for each line.
_HELD, _CONNECTED, _AUTHENTICATING = Phase.HELD, Phase.CONNECTED, Phase.AUTHENTICATING
_SENDER, _CONTENT, _STARTING_TLS, _CLOSED = Phase.SENDER, Phase.CONTENT, Phase.STARTING_TLS, Phase.CLOSED
_MAIL, _RCPT, _DATA, _END_OF_DATA = Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.END_OF_DATA
_NEED_DATA, _NEED_ANSWER = Wait.NEED_DATA, Wait.NEED_ANSWER
_STEPS = (RecipientGiven, SenderGiven, ContentAsked)
_OWN_WORDS: dict[type, Reply] = {
    SenderGiven: replies.SENDER_OK,
    RecipientGiven: replies.RECIPIENT_OK,
    ContentAsked: replies.GO_AHEAD,
}


class ServerSession(ServerBeginning):
    """One connection of one client. See wire/session.py for the methods all sessions have."""

    __slots__ = ()

    # ---- what the outside does -------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        if not data:
            self._ended = True
        elif self._phase is not _CLOSED:
            self._lines.append(data)

    def next_event(self) -> ServerEvent | Wait:
        while True:
            if self._events:
                return self._events.popleft()
            if self._question is not None:
                return _NEED_ANSWER
            phase = self._phase
            if phase is _CLOSED:
                return Wait.CLOSED
            if not len(self._lines) or phase is _HELD:
                if self._ended:
                    self._close("the client closed the connection")
                    continue
                return Wait.NEED_TLS if phase is _STARTING_TLS else _NEED_DATA
            if phase is _CONTENT:
                self._take_content()
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
        if isinstance(question, _STEPS):
            self._answer_step(question, _OWN_WORDS[type(question)] if given is None else given)
        elif isinstance(question, Greeted):
            self._answer_greeting(question, given)
        elif isinstance(question, CredentialsGiven):
            self._answer_credentials(given)
        else:
            assert given is not None, f"{question} wants a reply"
            if isinstance(question, ContentEnded):
                self._end_transaction(given)
            else:
                self._out.append(given.wire)
        if given is not None and given.code == 421:
            self._close("closed by a 421")
        if self._closing is not None:
            self.shut_down(self._closing)

    def authenticated(self, identity: str) -> None:
        """The credentials are right; `identity` is whose."""
        assert isinstance(self._question, CredentialsGiven), "no credentials are in question"
        assert identity, "an identity has a name"
        self._question = None
        self._identity = identity
        self._move(Verb.RESPONSE, replies.AUTHENTICATED)
        if self._closing is not None:
            self.shut_down(self._closing)

    def timed_out(self) -> None:
        """Patience has run out (RFC 5321 section 4.5.3.2.7). While our own answer is owed nothing happens."""
        if self._question is None and self._phase is not _CLOSED:
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
        if line is LineFault.TOO_LONG:
            if responding:
                self._auth_failed(replies.AUTH_LINE_TOO_LONG)
            else:
                self._refuse("", replies.LINE_TOO_LONG)
        elif line is LineFault.ENDLESS:
            self._refuse("", replies.ENDLESS_LINE, close=True)
        elif responding:
            self._take_response(line)
        else:
            try:
                self._take_command(line)
            except SyntaxRefused as refused:
                self._refuse(_without_secrets(line), refused.reply)
        return True

    def _take_command(self, line: bytes) -> None:
        if b"\n" in line or b"\r" in line:
            raise SyntaxRefused(replies.BARE_NEWLINE_IN_COMMAND)
        verb, word, argument = read_verb(line)
        if verb is None:
            self._take_unknown(word)
            return
        phase = self._phase
        if (phase, verb) not in TRANSITIONS:
            self._refuse(verb.value, self._why_out_of_order(verb))
            return
        self._data_refused = False
        _COMMANDS[verb](self, argument)

    def _take_helo(self, argument: bytes) -> None:
        self._ask(parse_greeting(Verb.HELO, argument))

    def _take_ehlo(self, argument: bytes) -> None:
        self._ask(parse_greeting(Verb.EHLO, argument))

    def _take_vrfy(self, argument: bytes) -> None:
        self._ask(parse_vrfy(argument))

    def _take_noop(self, _: bytes) -> None:
        self._out.append(replies.OK.wire)

    def _take_help(self, _: bytes) -> None:
        self._out.append(words_of(self._profile).help.wire)

    def _take_data(self, argument: bytes) -> None:
        refuse_argument(argument)
        if self._phase is _SENDER:
            self._data_refused = True
            self._refuse("DATA", replies.NO_VALID_RECIPIENTS)
        else:
            self._ask(_CONTENT_ASKED)

    def _take_rset(self, argument: bytes) -> None:
        refuse_argument(argument)
        self._drop("RSET")
        self._move(Verb.RSET, replies.OK)

    def _take_quit(self, argument: bytes) -> None:
        refuse_argument(argument)
        self._out.append(replies.BYE.wire)
        self._close("QUIT")

    def _take_unknown(self, word: bytes) -> None:
        """What is no command here: of another extension, of another protocol, or of nothing at all."""
        text = printable(word.decode("ascii", "replace"), SMTP_UNKNOWN_COMMANDS_TEXT)
        if word in FOREIGN_VERBS:
            self._refuse(text, replies.NOT_SMTP, close=True)
            return
        if word in ABSENT_VERBS:
            self._refuse(text, replies.NOT_IMPLEMENTED)
            return
        if self._data_refused:
            self._drop("content was sent though DATA was refused")
            self._data_refused = False
            self._phase = Phase.OUT_OF_STEP
        self._refuse(text, replies.UNKNOWN_COMMAND)

    def _why_out_of_order(self, verb: Verb) -> Reply:
        phase = self._phase
        if phase is Phase.OUT_OF_STEP:
            return replies.NOT_WAITED_FOR_DATA
        if verb is Verb.MAIL:
            return replies.EHLO_FIRST if phase is _CONNECTED else replies.NESTED_MAIL
        if verb is Verb.AUTH:
            return replies.EHLO_FIRST if phase is _CONNECTED else replies.AUTH_IN_TRANSACTION
        if verb in (Verb.RCPT, Verb.DATA):
            return replies.MAIL_FIRST
        return replies.OUT_OF_ORDER

    # ---- the mail transaction --------------------------------------------------------------------

    def _take_mail(self, argument: bytes) -> None:
        profile = self._profile
        if profile.mail_requires_auth and not self._identity:
            # RFC 4954 section 6, RFC 6409 section 4.3
            in_clear = self._tls is None and profile.tls_available
            self._refuse("MAIL", replies.TLS_FIRST if in_clear else replies.AUTH_REQUIRED)
        elif self._messages >= profile.messages_per_session:
            self._refuse("MAIL", replies.TOO_MANY_MESSAGES, close=True)
        else:
            self._ask(parse_mail(argument, profile))

    def _take_rcpt(self, argument: bytes) -> None:
        transaction = self._transaction
        assert transaction is not None
        recipient = parse_rcpt(argument, self._profile, smtputf8=transaction.sender.smtputf8)
        if len(transaction.recipients) >= self._profile.recipients_max:
            # RFC 5321 section 4.5.3.1.10: 452, and the client sends the others in another transaction.
            self._out.append(replies.TOO_MANY_RECIPIENTS.wire)
            self._events.append(CommandRefused("RCPT", replies.TOO_MANY_RECIPIENTS))
        else:
            self._ask(recipient)

    def _answer_step(self, question: RecipientGiven | SenderGiven | ContentAsked, given: Reply) -> None:
        if type(question) is RecipientGiven:
            transaction = self._transaction
            assert transaction is not None
            if given.code < 300:
                self._transaction = Transaction(transaction.sender, (*transaction.recipients, question))
            self._move(_RCPT, given)
        elif type(question) is SenderGiven:
            if given.code < 300:
                self._transaction = Transaction(question)
            self._move(_MAIL, given)
        else:
            assert given.code >= 300, "DATA is answered 354, or refused"
            self._data_refused = given.code >= 400
            self._move(_DATA, given)
            if given.code < 400:
                self._content = ContentReader(self._profile)

    def _take_content(self) -> None:
        content = self._content
        assert content is not None
        data = content.feed(self._lines.take_all())
        if data:
            self._events.append(ContentReceived(data))
        if content.overrun:
            self._refuse("content", replies.TOO_LARGE, close=True)
        elif content.ended:
            self._lines.append(content.rest)
            self._content = None
            fault = content.fault
            if fault is None:
                self._ask(ContentEnded(content.size_bytes))
                return
            self._refuse("content", fault, offence=False)
            if self._phase is not _CLOSED:
                self._drop(str(fault))
                self._phase = next_phase(Phase.CONTENT, Verb.END_OF_DATA, fault.code)
                self._messages += 1
            if fault in (replies.BARE_NEWLINE_IN_CONTENT, replies.NUL_IN_CONTENT):
                self._close("the content had a false line end or a NUL")

    def _end_transaction(self, given: Reply) -> None:
        self._messages += 1
        if given.code < 300:
            self._offences = 0
        self._transaction = None
        self._move(_END_OF_DATA, given)


_COMMANDS: dict[Verb, Callable[[ServerSession, bytes], None]] = {
    Verb.HELO: ServerSession._take_helo,
    Verb.EHLO: ServerSession._take_ehlo,
    Verb.MAIL: ServerSession._take_mail,
    Verb.RCPT: ServerSession._take_rcpt,
    Verb.DATA: ServerSession._take_data,
    Verb.RSET: ServerSession._take_rset,
    Verb.NOOP: ServerSession._take_noop,
    Verb.VRFY: ServerSession._take_vrfy,
    Verb.HELP: ServerSession._take_help,
    Verb.QUIT: ServerSession._take_quit,
    Verb.STARTTLS: ServerSession._take_starttls,
    Verb.AUTH: ServerSession._take_auth,
}


def _without_secrets(line: bytes) -> str:
    """A refused command for the ledger; of AUTH the verb alone, what follows may be a password."""
    return "AUTH" if line[:5].upper() == b"AUTH " else printable(line.decode("ascii", "replace"), COMMAND_TEXT)
