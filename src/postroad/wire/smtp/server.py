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
from postroad.wire.smtp.transitions import GREETING_VERBS, TRANSITIONS, Phase, Verb, next_phase

_CONTENT_ASKED = ContentAsked()
_TLS_CLIENT_HELLO = 0x16
_UNANSWERED_WORDS: dict[type, Reply] = {
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
        elif self._phase is not Phase.CLOSED:
            self._lines.append(data)

    def next_event(self) -> ServerEvent | Wait:
        while True:
            if self._events:
                return self._events.popleft()
            if self._question is not None:
                return Wait.NEED_ANSWER
            phase = self._phase
            if phase is Phase.CLOSED:
                return Wait.CLOSED
            if not len(self._lines) or phase is Phase.HELD:
                if self._ended:
                    self._close("the client closed the connection")
                    continue
                return Wait.NEED_TLS if phase is Phase.STARTING_TLS else Wait.NEED_DATA
            if phase is Phase.CONTENT:
                self._take_content()
            elif phase is Phase.STARTING_TLS:
                self._refuse("STARTTLS", replies.PLAINTEXT_AFTER_STARTTLS, close=True)
            elif not self._take_line():
                if self._ended:
                    self._close("the client closed the connection")
                    continue
                return Wait.NEED_DATA

    def answer(self, given: Reply | None) -> None:
        """Answer the open question. None accepts it in the session's own words, where that is possible."""
        question = self._question
        assert question is not None, "no question is open"
        self._question = None
        match question:
            case RecipientGiven() | SenderGiven() | ContentAsked():
                self._answer_step(question, given or _UNANSWERED_WORDS[type(question)])
            case ContentEnded():
                assert given is not None, "only a reply can say what became of the message"
                self._end_transaction(given)
            case Greeted():
                self._answer_greeting(question, given)
            case CredentialsGiven():
                self._answer_credentials(given)
            case _:
                assert given is not None, f"{question} wants a reply"
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
        if self._question is None and self._phase is not Phase.CLOSED:
            if self._phase is not Phase.STARTING_TLS:
                self._out.append(replies.TIMED_OUT.wire)
            self._close("the client was silent for too long")

    # ---- lines -----------------------------------------------------------------------------------

    def _take_line(self) -> bool:
        """Carry out the next line; False when it is not here yet."""
        phase = self._phase
        responding = phase is Phase.AUTHENTICATING
        if phase is Phase.CONNECTED and self._lines.first() == _TLS_CLIENT_HELLO:
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
        if verb is Verb.RCPT:
            self._take_rcpt(argument)
        elif verb is Verb.MAIL:
            self._take_mail(argument)
        elif verb is Verb.VRFY:
            self._ask(parse_vrfy(argument))
        elif verb in GREETING_VERBS:
            self._ask(parse_greeting(verb, argument))
        elif verb is Verb.NOOP:
            self._out.append(replies.OK.wire)
        elif verb is Verb.HELP:
            self._out.append(words_of(self._profile).help.wire)
        elif verb is Verb.AUTH:
            self._take_auth(argument)
        elif argument.strip(b" "):
            # RFC 5321 section 4.3.2: DATA, RSET, QUIT and STARTTLS take none.
            raise SyntaxRefused(replies.NO_ARGUMENT_ALLOWED)
        else:
            self._take_bare(verb)

    def _take_bare(self, verb: Verb) -> None:
        """The commands without an argument."""
        if verb is Verb.DATA:
            if self._phase is Phase.SENDER:
                self._data_refused = True
                self._refuse("DATA", replies.NO_VALID_RECIPIENTS)
            else:
                self._ask(_CONTENT_ASKED)
        elif verb is Verb.RSET:
            self._drop("RSET")
            self._move(verb, replies.OK)
        elif verb is Verb.QUIT:
            self._out.append(replies.BYE.wire)
            self._close("QUIT")
        else:
            self._take_starttls()

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
            return replies.EHLO_FIRST if phase is Phase.CONNECTED else replies.NESTED_MAIL
        if verb is Verb.AUTH:
            return replies.EHLO_FIRST if phase is Phase.CONNECTED else replies.AUTH_IN_TRANSACTION
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
            self._move(Verb.RCPT, given)
        elif type(question) is SenderGiven:
            if given.code < 300:
                self._transaction = Transaction(question)
            self._move(Verb.MAIL, given)
        else:
            assert given.code >= 300, "DATA is answered 354, or refused"
            self._data_refused = given.code >= 400
            self._move(Verb.DATA, given)
            if self._phase is Phase.CONTENT:
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
            if self._phase is not Phase.CLOSED:
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
        self._move(Verb.END_OF_DATA, given)


def _without_secrets(line: bytes) -> str:
    """A refused command for the ledger; of AUTH the verb alone, what follows may be a password."""
    return "AUTH" if line[:5].upper() == b"AUTH " else printable(line.decode("ascii", "replace"), COMMAND_TEXT)
