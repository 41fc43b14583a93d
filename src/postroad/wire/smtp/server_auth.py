"""AUTH on the server's side of an SMTP session (RFC 4954): what is right is decided outside.

How an exchange goes on is `wire/sasl_server.py`; here its lines get SMTP's frames, and its faults SMTP's replies.
"""

from __future__ import annotations

from postroad.vocabulary.credentials import StoredSecret
from postroad.vocabulary.reply import Reply, reply
from postroad.wire import sasl, sasl_server
from postroad.wire.sasl_server import PLUS, Around, CredentialsGiven, ProofGiven, SecretAsked, Turn
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import parse_auth
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_beginning import ServerBeginning
from postroad.wire.smtp.server_profile import mechanisms
from postroad.wire.smtp.transitions import Phase, Verb

_REPLY_TO_FAULT: dict[type[sasl.SaslFault], Reply] = {
    sasl.Cancelled: replies.AUTH_CANCELLED,
    sasl.BadBase64: replies.BAD_BASE64,
    sasl.BadCredentials: replies.BAD_CREDENTIALS,
    sasl.ServerBegins: replies.NO_INITIAL_RESPONSE,
}


class ServerAuth(ServerBeginning):
    """Who the client is, if it can show it."""

    __slots__ = ()

    # ---- what the outside does -------------------------------------------------------------------

    def authenticated(self, identity: str) -> None:
        """The credentials are right; `identity` is whose."""
        question = self._question
        assert isinstance(question, CredentialsGiven | ProofGiven), "no credentials are in question"
        assert not isinstance(question, ProofGiven) or question.right, "the proof was wrong"
        assert identity, "an identity has a name"
        self._question = None
        self._exchange = None
        self._identity = identity
        self._move(Verb.RESPONSE, replies.AUTHENTICATED)
        self._obey_closing()

    def give_secret(self, secret: StoredSecret | None, *, fake_salt: bytes = b"") -> None:
        """Answer SecretAsked. Without a secret the exchange goes on all the same; for SCRAM `fake_salt` is then what
        the client sees: always the same for the same name."""
        assert isinstance(self._question, SecretAsked), "no secret is in question"
        self._question = None
        self._advance(sasl_server.give_secret(self._exchange, secret, fake_salt, self._around()))
        self._obey_closing()

    def _answer_credentials(self, question: CredentialsGiven | SecretAsked | ProofGiven, given: Reply | None) -> None:
        assert given is not None, "credentials are right or wrong"
        assert given.code >= 400, "say `authenticated` to accept"
        self._exchange = None
        self._move(Verb.RESPONSE, given)
        if given.code >= 500:
            self._offences += 1
            if self._offences > self._profile.bad_commands:
                self.shut_down(replies.TOO_MANY_ERRORS)

    # ---- what the client says --------------------------------------------------------------------

    def _take_auth(self, argument: bytes) -> None:
        self._demand(Verb.AUTH)
        asked = parse_auth(argument)
        if self._identity:
            raise SyntaxRefused(replies.AUTH_ALREADY)
        if asked.mechanism not in mechanisms(self._profile, in_tls=self._tls is not None):
            self._refuse("AUTH", replies.MECHANISM_UNKNOWN)
            return
        try:
            self._advance(sasl_server.begin(asked.mechanism, asked.initial, self._around()))
        except sasl.SaslFault as fault:
            self._auth_failed(_REPLY_TO_FAULT[type(fault)])

    def _take_response(self, line: bytes) -> None:
        assert self._exchange is not None
        try:
            self._advance(sasl_server.respond(self._exchange, line, self._around()))
        except sasl.SaslFault as fault:
            self._auth_failed(_REPLY_TO_FAULT[type(fault)])

    def _advance(self, turn: Turn) -> None:
        self._phase = Phase.AUTHENTICATING
        self._exchange = turn.stage
        if isinstance(turn.due, bytes):
            self._out.append(reply(334, turn.due.decode()).wire)
        else:
            self._ask(turn.due)

    def _around(self) -> Around:
        profile = self._profile
        return Around(
            random_octets=self._random_octets,
            hostname=profile.hostname,
            channel_binding=profile.channel_binding,
            plus_offered=PLUS in mechanisms(profile, in_tls=self._tls is not None),
            scram_iterations=profile.scram_iterations,
        )

    def _auth_failed(self, answer: Reply) -> None:
        self._exchange = None
        self._phase = Phase.READY
        self._refuse("AUTH", answer)
