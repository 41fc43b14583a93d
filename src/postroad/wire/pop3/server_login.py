"""Who the client of a POP3 session is: AUTH (RFC 5034) and APOP (RFC 1939 section 7); what is right is decided outside.

How an AUTH goes on is `wire/sasl_server.py`; here its lines get POP3's frames, and its faults POP3's words.
"""

from __future__ import annotations

from collections.abc import Sequence

from postroad.vocabulary.credentials import StoredSecret
from postroad.wire import sasl, sasl_server
from postroad.wire.pop3.commands import AuthAsked, err, ok
from postroad.wire.pop3.events import CredentialsGiven, MaildropReleased, ProofGiven, SecretAsked
from postroad.wire.pop3.lines import Fault
from postroad.wire.pop3.listing import Listing
from postroad.wire.pop3.server_core import Pop3Core
from postroad.wire.pop3.states import State
from postroad.wire.sasl_server import PLUS, Around, Turn


class Pop3Login(Pop3Core):
    """From the first name to the open maildrop."""

    # ---- what the outside does ------------------------------------------------------------------

    def opened(self, sizes: Sequence[int], uidls: Sequence[str]) -> None:
        """Answers CredentialsGiven: the maildrop is locked; sizes in octets and unique-ids by message-number.

        A size counts what RETR will show (RFC 1939 section 11): line ends as CR LF, and the CR LF that a last
        line without one is given. Unique-ids are 1 to 70 printable characters (RFC 1939 section 7).
        If the session was ended meanwhile the next event is MaildropReleased.
        """
        if self.state is State.CLOSED:
            self._released = MaildropReleased("the session had ended before the maildrop was open")
            return
        question = self._question
        assert isinstance(question, CredentialsGiven | ProofGiven), "no credentials were given"
        assert not isinstance(question, ProofGiven) or question.right, "the proof was wrong"
        self._known.listing = listing = Listing(sizes, uidls)
        self._answer(self._asked_by, ok(f"{listing.count} messages ({listing.octets} octets)"))

    def give_secret(self, secret: StoredSecret | None, fake_salt: bytes) -> None:
        """Answers SecretAsked."""
        if self.state is State.CLOSED:
            return
        assert isinstance(self._question, SecretAsked), "no secret is in question"
        self._question = None
        apop, self._known.apop = self._known.apop, None
        if apop is not None:
            self._ask(apop.proof(self._known.timestamp, secret))
        else:
            self._go_on(sasl_server.give_secret(self._exchange, secret, fake_salt, self._around()))

    def _refuse_login(self, text: str, code: str) -> None:
        self._known.apop = None
        self._answer(self._asked_by, err(text, code))
        self._count_bad()

    # ---- what the client says -------------------------------------------------------------------

    def _begin_exchange(self, asked: AuthAsked) -> None:
        try:
            self._go_on(sasl_server.begin(asked.mechanism, asked.initial, self._around()))
        except sasl.SaslFault as fault:
            self._give_up_exchange(fault)

    def _respond(self, line: bytes | Fault) -> None:
        """A line of the client inside AUTH."""
        assert self._exchange is not None
        if isinstance(line, Fault):
            self._exchange = None
            self._complain(line)
            return
        try:
            self._go_on(sasl_server.respond(self._exchange, line, self._around()))
        except sasl.SaslFault as fault:
            self._give_up_exchange(fault)

    def _go_on(self, turn: Turn) -> None:
        self._exchange = turn.stage
        if isinstance(turn.due, bytes):
            self._put(b"+ %b\r\n" % turn.due)
        else:
            self._ask(turn.due)

    def _around(self) -> Around:
        profile = self._known.profile
        return Around(
            random_octets=self._random_octets,
            hostname=profile.hostname,
            channel_binding=profile.channel_binding,
            plus_offered=PLUS in self._known.mechanisms,
        )

    def _give_up_exchange(self, fault: sasl.SaslFault) -> None:
        match fault:
            case sasl.Cancelled():
                answer = err("The login was cancelled")
            case sasl.BadBase64():
                answer = err("This is not base64")
            case sasl.ServerBegins():
                answer = err("This mechanism takes no initial response")
            case _:
                answer = err("Wrong name or password", "AUTH")  # RFC 3206 section 5
        self._answer(self._asked_by, answer)
        self._count_bad()
