"""What an SMTP client asks for beside sending mail: that its own be sent, here or the other way round.

ETRN (RFC 1985), ATRN (RFC 2645), TURN (RFC 821 section 3.8). Each is asked of an idle session and answered by
CommandAnswered. After a 2yz to ATRN or TURN the session ends in Wait.TURNED, and a server session takes the connection
over: it sends the 220.
"""

from __future__ import annotations

from collections.abc import Iterable

from postroad.vocabulary.reply import Reply
from postroad.wire.smtp.client_core import Expect
from postroad.wire.smtp.client_events import CommandAnswered, Stage
from postroad.wire.smtp.client_opening import ClientOpening


class ClientRequests(ClientOpening):
    """The customer's side."""

    __slots__ = ()

    def etrn(self, argument: str) -> None:
        """Ask the server to send what waits for a domain; "@domain" for those below it too, "#name" for a queue."""
        self._request(b"ETRN " + _word(argument), Expect.ETRN)

    def atrn(self, domains: Iterable[str] = ()) -> None:
        """Ask to change roles for these domains; for none, all that are ours there."""
        names = b",".join(map(_word, domains))
        self._request(b"ATRN " + names if names else b"ATRN", Expect.ATRN)

    def turn(self) -> None:
        self._request(b"TURN", Expect.TURN)

    def _request(self, line: bytes, expect: Expect) -> None:
        assert self._is_ready, "the session is not ready"
        assert not self._owed, "the session is not idle"
        assert not self._streaming, "content is being sent"
        self._send(line + b"\r\n", expect)

    def _take_request(self, expect: Expect, given: Reply) -> None:
        if given.code // 100 == 3:
            self._end(f"the server answered {expect.name} by a 3yz", given)
            return
        turns = expect is not Expect.ETRN and given.code < 300
        if turns and not self._replies.is_empty:
            # Whoever is the client now waits for our 220 (RFC 2645 section 5.3).
            self._end("the server spoke on after the change of roles", given, Stage.TURN)
            return
        self._events.append(CommandAnswered(expect.name, given))
        if turns:
            self._is_ready = False
            self._is_over = self._is_turned = True


def _word(argument: str) -> bytes:
    assert argument.isprintable(), "a command holds no control characters"
    assert argument, "a domain has a name"
    assert " " not in argument, "a domain holds no space"
    return argument.encode("ascii")
