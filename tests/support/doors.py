"""The two doors that mail comes in by, with what a client says before it may do harm."""

from __future__ import annotations

import base64
import poplib
from dataclasses import dataclass

from tests.support.server import PASSWORD, Server
from tests.support.submitters import unverified
from tests.support.wire import Wire


@dataclass(frozen=True)
class Door:
    role: str
    sender: bytes
    """An address that may be used there, without angle brackets."""

    @property
    def in_tls(self) -> bool:
        return self.role == "submissions"

    def connected(self, server: Server, *, source: str = "") -> Wire:
        wire = Wire(server.address, server.ports[self.role], tls=self.in_tls, source=source)
        assert wire.reply().startswith(b"220 mx.here.example ")
        return wire

    def greeted(self, server: Server, *, source: str = "") -> Wire:
        """After EHLO, and AUTH where that is asked for."""
        wire = self.connected(server, source=source)
        assert wire.ask(b"EHLO client.example").startswith(b"250")
        if self.in_tls:
            self.log_in(wire)
        return wire

    def log_in(self, wire: Wire) -> None:
        credentials = base64.b64encode(b"\0%b\0%b" % (self.sender, PASSWORD.encode()))
        assert wire.ask(b"AUTH PLAIN " + credentials) == b"235 2.7.0 Authentication succeeded\r\n"

    def in_transaction(self, server: Server) -> Wire:
        """After MAIL and a RCPT to bob."""
        wire = self.greeted(server)
        assert wire.ask(b"MAIL FROM:<%b>" % self.sender) == b"250 2.1.0 Sender OK\r\n"
        assert wire.ask(b"RCPT TO:<bob@here.example>") == b"250 2.1.5 Recipient OK\r\n"
        return wire

    def in_content(self, server: Server) -> Wire:
        wire = self.in_transaction(server)
        assert wire.ask(b"DATA").startswith(b"354 ")
        return wire


DOORS = (Door("smtp", b"cat@a.example"), Door("submissions", b"ann@here.example"))


def delivered_unharmed(server: Server) -> None:
    """The server still takes mail at both doors, and nothing is left in its queue."""
    for door in DOORS:
        with door.in_content(server) as wire:
            assert wire.ask(b"Subject: still there\r\n\r\nHello\r\n.").startswith(b"250 2.0.0 Ok: queued as ")
    server.wait_until_delivered()


def fetched(server: Server, user: str) -> list[bytes]:
    """All messages of a user as they came: POP3 gives them so to who knows of UTF-8 (RFC 6856)."""
    client = poplib.POP3_SSL(server.address, server.ports["pop3s"], context=unverified())
    client.utf8()
    client.user(f"{user}@{server.domain}")
    client.pass_(PASSWORD)
    count, _ = client.stat()
    messages = [b"".join(line + b"\r\n" for line in client.retr(number)[1]) for number in range(1, count + 1)]
    client.quit()
    return messages
