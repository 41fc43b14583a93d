"""How an SMTP session begins, on the client's side: greeting, EHLO or HELO, STARTTLS, AUTH.

RFC 5321 sections 3.1 and 3.2, RFC 3207, RFC 4954.
"""

from __future__ import annotations

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import CLIENT_AUTH_LINE_BYTES
from postroad.vocabulary.reply import Reply
from postroad.wire.sasl import plain_response, to_base64
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
        verb = b"EHLO " if expect is Expect.EHLO else b"HELO "
        self._send(verb + self._profile.helo_name.encode("ascii") + b"\r\n", expect)

    def _take_ehlo(self, given: Reply) -> None:
        if given.code // 100 == 5:
            # RFC 5321 section 3.2: a server of another age knows HELO.
            self._send_name(Expect.HELO)
        elif given.code // 100 != 2:
            self._end("the server refused EHLO", given, Stage.EHLO, quit_=True)
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
        if not self._in_tls and not self._profile.plaintext_auth_allowed:
            self._end("the connection has no TLS, so the password was not sent", None, Stage.AUTH, quit_=True)
            return
        name, password = credentials
        mechanisms = self._extensions.get("AUTH", "").upper().split()
        if "PLAIN" in mechanisms:
            response = plain_response(name, password)
            if len(response) > CLIENT_AUTH_LINE_BYTES:
                self._auth_lines = [response]
                self._send(b"AUTH PLAIN\r\n", Expect.AUTH)
            else:
                self._auth_lines = []
                self._send(b"AUTH PLAIN " + response + b"\r\n", Expect.AUTH, shown="AUTH PLAIN ***")
        elif "LOGIN" in mechanisms:
            self._auth_lines = [to_base64(name.encode()), to_base64(password.encode())]
            self._send(b"AUTH LOGIN\r\n", Expect.AUTH)
        else:
            self._end("the server offers neither AUTH PLAIN nor AUTH LOGIN", None, Stage.AUTH, quit_=True)

    def _take_auth(self, given: Reply) -> None:
        if given.code // 100 == 2:
            self._auth_lines = []
            self._be_ready()
        elif given.code // 100 == 3 and self._auth_lines:
            self._send(self._auth_lines.pop(0) + b"\r\n", Expect.AUTH, shown="***")
        elif given.code // 100 == 3:
            # A challenge too many: give up (RFC 4954 section 4); what it answers to that is of no interest.
            self._out.append(b"*\r\n")
            self._end("the server asked for more than a name and a password", given, Stage.AUTH, quit_=True)
        else:
            self._end("the server refused our name and password", given, Stage.AUTH, quit_=True)

    def _be_ready(self) -> None:
        self._is_ready = True
        self._events.append(Ready(self._extensions, self._server_name))
