"""How an SMTP session begins, on the client's side: greeting, EHLO or HELO, STARTTLS, AUTH.

RFC 5321 sections 3.1 and 3.2, RFC 3207, RFC 4954, RFC 2033 section 4.1.
"""

from __future__ import annotations

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import CLIENT_AUTH_LINE_BYTES
from postroad.vocabulary.reply import Reply
from postroad.wire.sasl import SECRET_MECHANISMS, SaslFault
from postroad.wire.sasl_client import PLUS, Exchange, begin, strongest
from postroad.wire.smtp.client_commands import extensions_of
from postroad.wire.smtp.client_core import ClientCore, Expect
from postroad.wire.smtp.client_events import Ready, Stage, TlsUse


class ClientOpening(ClientCore):
    """What comes before the first transaction."""

    __slots__ = ()

    def tls_started(self, facts: TlsFacts) -> None:
        """The handshake succeeded: everything begins again with EHLO."""
        assert self._handshaking, "no handshake was asked for"
        self._begin_tls(facts)
        self._send_name(Expect.EHLO)

    def _take_greeting(self, given: Reply) -> None:
        if given.code // 100 != 2:
            # RFC 5321 section 3.1: 554 at the greeting, answered by QUIT.
            self._end("the server does not take mail from us now", given, Stage.GREETING, quit_=True)
            return
        self._send_name(Expect.EHLO)

    def _send_name(self, expect: Expect) -> None:
        verb = b"HELO " if expect is Expect.HELO else b"LHLO " if self._profile.lmtp else b"EHLO "
        self._send(verb + self._profile.helo_name.encode("ascii") + b"\r\n", expect)

    def _take_ehlo(self, given: Reply) -> None:
        if given.code // 100 == 5 and not self._profile.lmtp:
            # RFC 5321 section 3.2: a server of another age knows HELO.
            self._send_name(Expect.HELO)
        elif given.code // 100 != 2:
            verb = "LHLO" if self._profile.lmtp else "EHLO"
            self._end(f"the server refused {verb}", given, Stage.EHLO, quit_=True)
        else:
            self._server_name = given.lines[0].partition(" ")[0]
            self._extensions = extensions_of(given)
            self._secure()

    def _take_helo(self, given: Reply) -> None:
        if given.code // 100 != 2:
            self._end("the server refused HELO", given, Stage.EHLO, quit_=True)
        else:
            self._server_name = given.lines[0].partition(" ")[0]
            self._extensions = {}
            self._secure()

    def _secure(self) -> None:
        """STARTTLS where it is wanted, and can be."""
        if self._in_tls or self._profile.tls is TlsUse.NEVER:
            self._authenticate()
        elif "STARTTLS" in self._extensions:
            self._send(b"STARTTLS\r\n", Expect.STARTTLS)
        elif self._profile.tls is TlsUse.REQUIRED:
            self._end("TLS is required and the server does not offer STARTTLS", None, Stage.STARTTLS, quit_=True)
        else:
            self._authenticate()

    def _take_starttls(self, given: Reply) -> None:
        if given.code // 100 == 2:
            self._handshaking = True
        elif self._profile.tls is TlsUse.REQUIRED:
            self._end("TLS is required and the server refused STARTTLS", given, Stage.STARTTLS, quit_=True)
        else:
            self._authenticate()

    def _authenticate(self) -> None:
        credentials = self._profile.credentials
        if credentials is None:
            self._be_ready()
            return
        offered = self._extensions.get("AUTH", "").split()
        self._mechanisms = strongest(
            offered,
            in_tls=self._in_tls,
            password_may_show=self._profile.plaintext_auth_allowed,
            can_bind=self._in_tls and bool(self._channel_binding),
            can_draw=self._random is not None,
        )
        if self._mechanisms:
            self._log_in(credentials, plus_offered=PLUS in (each.upper() for each in offered))
        elif self._in_tls or self._profile.plaintext_auth_allowed:
            self._end("the server offers no AUTH mechanism that we know", None, Stage.AUTH, quit_=True)
        else:
            self._end("the connection has no TLS, so the password was not sent", None, Stage.AUTH, quit_=True)

    def _log_in(self, credentials: tuple[str, str], *, plus_offered: bool) -> None:
        """AUTH by the best mechanism that was not tried yet (RFC 4954 section 4)."""
        mechanism = self._mechanisms.pop(0)
        try:
            self._exchange = begin(
                mechanism,
                *credentials,
                random_octets=self._random,
                channel_binding=self._channel_binding,
                plus_offered=plus_offered,
            )
        except SaslFault as fault:
            self._end(str(fault), None, Stage.AUTH, quit_=True)
            return
        command = b"AUTH " + mechanism.encode()
        response = self._exchange.initial(CLIENT_AUTH_LINE_BYTES)
        if response is None:
            self._send(command + b"\r\n", Expect.AUTH)
        else:
            self._send(command + b" " + response + b"\r\n", Expect.AUTH, shown=f"AUTH {mechanism} ***")

    def _take_auth(self, given: Reply) -> None:
        exchange = self._exchange
        assert exchange is not None
        if given.code // 100 == 2:
            self._exchange = None
            if exchange.may_end:
                self._be_ready()
            else:
                self._end("the server says we are known to it, but proves nothing", given, Stage.AUTH, quit_=True)
        elif given.code // 100 == 3:
            try:
                line = exchange.respond(given.lines[0].encode("ascii"))
            except SaslFault as fault:
                # Give up (RFC 4954 section 4); what it answers to that is of no interest.
                self._out.append(b"*\r\n")
                self._end(str(fault), given, Stage.AUTH, quit_=True)
            else:
                self._send(line + b"\r\n", Expect.AUTH, shown="***")
        else:
            self._refused_login(exchange, given)

    def _refused_login(self, exchange: Exchange, given: Reply) -> None:
        """A server may have our password and no secret for SCRAM or CRAM-MD5: then one that it sees is tried, once."""
        credentials = self._profile.credentials
        assert credentials is not None
        seen = [mechanism for mechanism in self._mechanisms if mechanism not in SECRET_MECHANISMS]
        if given.code // 100 == 5 and exchange.mechanism in SECRET_MECHANISMS and seen:
            self._mechanisms = seen[:1]
            self._log_in(credentials, plus_offered=False)
        else:
            self._end("the server refused our name and password", given, Stage.AUTH, quit_=True)

    def _be_ready(self) -> None:
        self._is_ready = True
        self._events.append(Ready(self._extensions, self._server_name))
