"""The commands of an SMTP session beside the mail: VRFY, EXPN, HELP, NOOP, ETRN, ATRN, TURN, XCLIENT.

RFC 5321 sections 3.5 and 4.1.1.6 to 4.1.1.9, RFC 1985, RFC 2645, RFC 821 section 3.8; XCLIENT as Postfix describes it.
"""

from __future__ import annotations

from postroad.vocabulary.reply import Reply, reply
from postroad.wire.smtp import replies
from postroad.wire.smtp.commands import VERBS, parse_name, refuse_argument
from postroad.wire.smtp.events import ClientReplaced, ExpandAsked, TurnAsked, VerifyAsked
from postroad.wire.smtp.help_texts import HELP_TEXTS
from postroad.wire.smtp.parameters import SyntaxRefused
from postroad.wire.smtp.rarer_commands import parse_atrn, parse_etrn, parse_xclient
from postroad.wire.smtp.server_auth import ServerAuth
from postroad.wire.smtp.transitions import Verb


class ServerRarer(ServerAuth):
    """Questions about addresses, help, and the changes of roles."""

    __slots__ = ()

    def _take_vrfy(self, argument: bytes) -> None:
        smtputf8 = self._profile.smtputf8
        self._ask(VerifyAsked(parse_name(argument, smtputf8=smtputf8, otherwise=replies.VRFY_SYNTAX)))

    def _take_expn(self, argument: bytes) -> None:
        self._demand(Verb.EXPN)
        smtputf8 = self._profile.smtputf8
        self._ask(ExpandAsked(parse_name(argument, smtputf8=smtputf8, otherwise=replies.EXPN_SYNTAX)))

    def _take_noop(self, _: bytes) -> None:
        self._out.append(replies.OK.wire)

    def _take_help(self, argument: bytes) -> None:
        words, known = self._words, bool(self._identity)
        topic = argument.strip(b" ").upper()
        if not topic:
            self._out.append(words.help[known].wire)
            return
        verb = VERBS.get(topic)
        if verb is None or verb not in words.verbs[known]:
            raise SyntaxRefused(replies.NO_SUCH_TOPIC)
        self._out.append(reply(214, *HELP_TEXTS[verb], status="2.0.0").wire)

    # ---- the changes of roles --------------------------------------------------------------------

    def _take_etrn(self, argument: bytes) -> None:
        self._demand(Verb.ETRN)
        if self._profile.mail_requires_auth:
            self._demand_identity()
        self._ask(parse_etrn(argument))

    def _take_atrn(self, argument: bytes) -> None:
        self._demand(Verb.ATRN)
        self._demand_identity()
        self._ask(parse_atrn(argument))

    def _take_turn(self, argument: bytes) -> None:
        self._demand(Verb.TURN)
        self._demand_identity()
        refuse_argument(argument)
        self._ask(TurnAsked("TURN"))

    def _answer_turn(self, question: TurnAsked, given: Reply | None) -> None:
        given = replies.TURNING if given is None else given
        assert given.code // 100 != 3, "the roles are changed, or not"
        if given.code < 300 and len(self._lines):
            # Who did not wait for the answer is in no state to be a server.
            self._refuse(question.verb, replies.SPOKEN_AFTER_TURN, close=True)
        else:
            self._move(Verb(question.verb), given)

    # ---- a front end -----------------------------------------------------------------------------

    def _take_xclient(self, argument: bytes) -> None:
        self._demand(Verb.XCLIENT)
        self._ask(parse_xclient(argument))

    def _answer_replaced(self, question: ClientReplaced, given: Reply | None) -> None:
        if given is not None:
            assert given.code >= 400, "None accepts another client"
            self._out.append(given.wire)
            return
        self._greeted = None
        self._identity = self._profile.identity if question.login is None else question.login
        self._move(Verb.XCLIENT, self._words.greeting)
