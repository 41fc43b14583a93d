"""How an SMTP session begins, on the server's side: greeting, EHLO, STARTTLS.

RFC 5321 sections 3.1 and 4.1.1.1, RFC 3207, RFC 2033 section 4.1.
"""

from __future__ import annotations

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.reply import Reply
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import parse_greeting, refuse_argument
from postroad.wire.smtp.events import Greeted
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.server_core import ServerCore
from postroad.wire.smtp.server_profile import ehlo_until
from postroad.wire.smtp.transitions import GREETING_VERBS, Phase, Verb, next_phase

_VERBS: dict[str, Verb] = {verb.value: verb for verb in GREETING_VERBS}


class ServerBeginning(ServerCore):
    """What comes before the first MAIL."""

    __slots__ = ()

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
        profile = self._profile
        words = self._words
        if question.verb == "HELO":
            accepted = words.helo
        else:
            accepted = (words.ehlo if self._tls is None else words.ehlo_in_tls)[bool(self._identity)]
            if profile.future_release_max_s is not None:
                assert self._began_at is not None, "a session that offers FUTURERELEASE is told when it began"
                accepted = ehlo_until(profile, accepted, self._began_at)
        self._move(_VERBS[question.verb], accepted)

    def _take_helo(self, argument: bytes) -> None:
        if self._profile.lmtp:
            # RFC 2033 section 4.1
            raise SyntaxRefused(replies.LHLO_ONLY)
        self._ask(parse_greeting(Verb.HELO, argument))

    def _take_ehlo(self, argument: bytes) -> None:
        if self._profile.lmtp:
            raise SyntaxRefused(replies.LHLO_ONLY)
        self._ask(parse_greeting(Verb.EHLO, argument))

    def _take_lhlo(self, argument: bytes) -> None:
        if not self._profile.lmtp:
            raise SyntaxRefused(replies.NOT_LMTP)
        self._ask(parse_greeting(Verb.LHLO, argument))

    def _take_starttls(self, argument: bytes) -> None:
        refuse_argument(argument)
        if self._tls is not None:
            self._refuse("STARTTLS", replies.TLS_ALREADY)
        elif not self._profile.tls_available:
            self._refuse("STARTTLS", replies.NOT_IMPLEMENTED)
        else:
            self._drop("STARTTLS")
            self._move(Verb.STARTTLS, replies.READY_FOR_TLS)
