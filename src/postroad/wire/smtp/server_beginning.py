"""How an SMTP session begins, on the server's side: greeting, EHLO, STARTTLS, AUTH.

RFC 5321 sections 3.1 and 4.1.1.1, RFC 3207, RFC 4954.
"""

from __future__ import annotations

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.reply import Reply, reply
from postroad.wire import sasl
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import parse_auth, refuse_argument
from postroad.wire.smtp.events import CredentialsGiven, Greeted
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_core import ServerCore
from postroad.wire.smtp.server_profile import ServerProfile, words_of
from postroad.wire.smtp.transitions import Phase, Verb, next_phase

_REPLY_TO_FAULT: dict[type[sasl.SaslFault], Reply] = {
    sasl.Cancelled: replies.AUTH_CANCELLED,
    sasl.BadBase64: replies.BAD_BASE64,
    sasl.BadCredentials: replies.BAD_CREDENTIALS,
}


class ServerBeginning(ServerCore):
    """What comes before the first MAIL."""

    __slots__ = ()

    def __init__(self, profile: ServerProfile, tls: TlsFacts | None = None) -> None:
        super().__init__(profile, tls)
        if not profile.greeting_held:
            self.greet()

    def greet(self) -> None:
        """Send the 220; only needed with `greeting_held`. A client that spoke before it is refused."""
        if self._phase is not Phase.HELD:
            return
        self._phase = Phase.CONNECTED
        if len(self._lines):
            self._refuse("", replies.SPOKEN_TOO_EARLY, close=True)
        else:
            self._out.append(words_of(self._profile).greeting.wire)

    def tls_started(self, facts: TlsFacts) -> None:
        """The handshake succeeded. RFC 3207 section 4.2: all that was learned before it is forgotten."""
        assert self._phase is Phase.STARTING_TLS, self._phase
        self._lines.clear()
        self._greeted = None
        self._identity = self._profile.identity
        self._phase = next_phase(self._phase, Verb.TLS_STARTED, 220)
        self._tls = facts

    def _answer_greeting(self, question: Greeted, given: Reply | None) -> None:
        if given is not None:
            assert given.code >= 400, "None accepts a greeting"
            self._out.append(given.wire)
            return
        self._drop(question.verb)
        self._greeted = question
        words = words_of(self._profile)
        if question.verb == "HELO":
            accepted = words.helo
        elif self._tls is None:
            accepted = words.ehlo
        else:
            accepted = words.ehlo_authenticated if self._identity else words.ehlo_in_tls
        self._move(Verb(question.verb), accepted)

    def _take_starttls(self, argument: bytes) -> None:
        refuse_argument(argument)
        if self._tls is not None:
            self._refuse("STARTTLS", replies.TLS_ALREADY)
        elif not self._profile.tls_available:
            self._refuse("STARTTLS", replies.NOT_IMPLEMENTED)
        else:
            self._drop("STARTTLS")
            self._move(Verb.STARTTLS, replies.READY_FOR_TLS)

    def _take_auth(self, argument: bytes) -> None:
        asked = parse_auth(argument)
        if not self._profile.auth_offered:
            raise SyntaxRefused(replies.NOT_IMPLEMENTED)
        if self._identity:
            raise SyntaxRefused(replies.AUTH_ALREADY)
        if self._tls is None or asked.mechanism not in self._profile.auth_offered:
            self._refuse("AUTH", replies.MECHANISM_UNKNOWN)
            return
        try:
            self._follow(sasl.start(asked.mechanism, asked.initial))
        except sasl.SaslFault as fault:
            self._auth_failed(_REPLY_TO_FAULT[type(fault)])

    def _take_response(self, line: bytes) -> None:
        challenge = self._challenge
        assert challenge is not None
        try:
            self._follow(sasl.respond(challenge, line))
        except sasl.SaslFault as fault:
            self._auth_failed(_REPLY_TO_FAULT[type(fault)])

    def _follow(self, step: sasl.Step) -> None:
        self._phase = Phase.AUTHENTICATING
        if isinstance(step, sasl.Challenge):
            self._challenge = step
            self._out.append(reply(334, step.text.decode()).wire)
        else:
            mechanism = self._challenge.mechanism if self._challenge else "PLAIN"
            self._challenge = None
            self._ask(CredentialsGiven(mechanism, step.authorization_id, step.name, step.password))

    def _auth_failed(self, answer: Reply) -> None:
        self._challenge = None
        self._phase = Phase.READY
        self._refuse("AUTH", answer)

    def _answer_credentials(self, given: Reply | None) -> None:
        assert given is not None, "credentials are right or wrong"
        assert given.code >= 400, "say `authenticated` to accept"
        self._move(Verb.RESPONSE, given)
        if given.code >= 500:
            self._offences += 1
            if self._offences > self._profile.bad_commands:
                self.shut_down(replies.TOO_MANY_ERRORS)
