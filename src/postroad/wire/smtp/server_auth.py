"""AUTH on the server's side of an SMTP session (RFC 4954): the exchange goes on here, what is right is decided outside.

PLAIN and LOGIN bring a password (CredentialsGiven). SCRAM and CRAM-MD5 ask for what is stored (SecretAsked), are
checked here, and end in ProofGiven, so that the outside counts wrong guesses of every mechanism alike.
"""

from __future__ import annotations

from postroad.vocabulary.credentials import CramSecret, ScramKeys, StoredSecret
from postroad.vocabulary.limits import SASL_NONCE_BYTES
from postroad.vocabulary.reply import Reply, reply
from postroad.wire import sasl
from postroad.wire.sasl_secrets import (
    CramExchange,
    CramResponse,
    ScramExchange,
    ScramOpening,
    ScramProof,
    begin_cram,
    begin_scram,
    cram_response,
    is_right,
    scram_challenge,
    scram_proof,
    unknown_keys,
)
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import parse_auth
from postroad.wire.smtp.events import CredentialsGiven, ProofGiven, SecretAsked
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_beginning import ServerBeginning
from postroad.wire.smtp.server_profile import mechanisms
from postroad.wire.smtp.transitions import Phase, Verb

_REPLY_TO_FAULT: dict[type[sasl.SaslFault], Reply] = {
    sasl.Cancelled: replies.AUTH_CANCELLED,
    sasl.BadBase64: replies.BAD_BASE64,
    sasl.BadCredentials: replies.BAD_CREDENTIALS,
}
_PLUS = "SCRAM-SHA-256-PLUS"
_CRAM = "CRAM-MD5"


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
        exchange = self._exchange
        if isinstance(exchange, ScramOpening):
            assert secret is None or isinstance(secret, ScramKeys), "SCRAM goes by ScramKeys"
            assert secret is not None or fake_salt, "an unknown name has a salt like all others"
            keys = unknown_keys(fake_salt, self._profile.scram_iterations) if secret is None else secret
            self._challenge(scram_challenge(exchange, keys, self._random_octets(SASL_NONCE_BYTES)))
        else:
            assert isinstance(exchange, CramResponse)
            assert secret is None or isinstance(secret, CramSecret), "CRAM-MD5 goes by CramSecret"
            self._ask(ProofGiven(_CRAM, "", exchange.name, is_right(exchange, secret)))
        self._obey_closing()

    def _answer_credentials(self, given: Reply | None) -> None:
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
            self._begin(asked.mechanism, asked.initial)
        except sasl.SaslFault as fault:
            self._auth_failed(_REPLY_TO_FAULT[type(fault)])

    def _begin(self, mechanism: str, initial: bytes | None) -> None:
        if mechanism == _CRAM:
            if initial is not None:
                # RFC 4954 section 4: the server begins.
                raise SyntaxRefused(replies.NO_INITIAL_RESPONSE)
            self._challenge(begin_cram(self._random_octets(SASL_NONCE_BYTES), self._profile.hostname))
        elif mechanism not in sasl.SECRET_MECHANISMS:
            self._follow(sasl.start(mechanism, initial))
        elif initial is None:
            self._challenge(sasl.Challenge(mechanism))
        else:
            self._open_scram(mechanism, b"" if initial == b"=" else initial)

    def _take_response(self, line: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        try:
            if isinstance(exchange, sasl.Challenge):
                if exchange.mechanism in sasl.SECRET_MECHANISMS:
                    self._open_scram(exchange.mechanism, line)
                else:
                    self._follow(sasl.respond(exchange, line))
            elif isinstance(exchange, ScramExchange):
                self._check_scram(scram_proof(exchange, line, self._profile.channel_binding))
            elif isinstance(exchange, ScramProof):
                self._end_scram(exchange, line)
            else:
                assert isinstance(exchange, CramExchange)
                self._exchange = cram_response(exchange, line)
                self._ask(SecretAsked(_CRAM, self._exchange.name))
        except sasl.SaslFault as fault:
            self._auth_failed(_REPLY_TO_FAULT[type(fault)])

    def _challenge(self, exchange: sasl.Challenge | ScramExchange | ScramProof | CramExchange) -> None:
        self._phase = Phase.AUTHENTICATING
        self._exchange = exchange
        self._out.append(reply(334, exchange.text.decode()).wire)

    def _follow(self, step: sasl.Step) -> None:
        if isinstance(step, sasl.Challenge):
            self._challenge(step)
        else:
            exchange, self._exchange = self._exchange, None
            mechanism = exchange.mechanism if isinstance(exchange, sasl.Challenge) else "PLAIN"
            self._phase = Phase.AUTHENTICATING
            self._ask(CredentialsGiven(mechanism, step.authorization_id, step.name, step.password))

    def _open_scram(self, mechanism: str, line: bytes) -> None:
        plus_offered = _PLUS in mechanisms(self._profile, in_tls=self._tls is not None)
        opening = begin_scram(mechanism, line, plus_offered=plus_offered)
        self._phase = Phase.AUTHENTICATING
        self._exchange = opening
        self._ask(SecretAsked(mechanism, opening.name))

    def _check_scram(self, proof: ScramProof) -> None:
        if proof.right:
            # RFC 4954 section 4: what the server has to add comes before the 235, in a challenge.
            self._challenge(proof)
        else:
            self._exchange = None
            self._ask_about(proof)

    def _end_scram(self, proof: ScramProof, line: bytes) -> None:
        if line == b"*":
            raise sasl.Cancelled
        if line:
            raise sasl.BadCredentials
        self._exchange = None
        self._ask_about(proof)

    def _ask_about(self, proof: ScramProof) -> None:
        opening = proof.opening
        self._ask(ProofGiven(opening.mechanism, opening.authorization_id, opening.name, proof.right))

    def _auth_failed(self, answer: Reply) -> None:
        self._exchange = None
        self._phase = Phase.READY
        self._refuse("AUTH", answer)
