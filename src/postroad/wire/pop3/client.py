"""The POP3 client session: fetch what waits in a maildrop elsewhere (RFC 1939, RFC 2449, RFC 2595).

    on Wait.READY      retrieve(number), delete(number) or quit()
    on NEED_TLS        the handshake, then tls_started

The session logs in and lists by itself: greeting, CAPA, STLS, USER and PASS, LIST, UIDL. A server without UIDL is of
no use to us: nothing else tells a message that was fetched from one that was not. wire/session.py tells how it is
driven, client_events.py what it tells. Bad input never raises; it ends the session.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import (
    CLIENT_COMMAND_S,
    CLIENT_CONTENT_S,
    CLIENT_QUIT_S,
    PICKUP_MESSAGES,
    POP3_REPLY_LINE_BYTES,
    TLS_HANDSHAKE_S,
)
from postroad.vocabulary.reply import printable
from postroad.wire.line_buffer import LineBuffer, LineFault
from postroad.wire.pop3.client_events import (
    MaildropListed,
    MessageEnded,
    MessageMarked,
    MessageOctets,
    MessageRefused,
    Pop3ClientEvent,
    Pop3ClientProfile,
    SessionEnded,
    Waiting,
)
from postroad.wire.pop3.dot_reader import DotReader
from postroad.wire.session import Wait
from postroad.wire.smtp.client_events import TlsUse

UID_BYTES = 70
"""RFC 1939 section 7."""


class Step(Enum):
    """What the next line is, or the line after it."""

    GREETING = "the greeting"
    CAPA = "CAPA"
    CAPABILITIES = "the capabilities"
    STLS = "STLS"
    HANDSHAKE = "the TLS handshake"
    USER = "USER"
    PASS = "PASS"
    LIST = "LIST"
    SIZES = "the sizes"
    UIDL = "UIDL"
    UIDS = "the unique-ids"
    READY = "nothing"
    RETR = "RETR"
    CONTENT = "the content"
    DELE = "DELE"
    QUIT = "QUIT"


class Pop3ClientSession:
    """One connection to one server."""

    __slots__ = ("_capabilities", "_content", "_ended", "_events", "_in_tls", "_is_over", "_lines", "_number", "_out",
                 "_profile", "_sizes", "_step", "_uids")  # fmt: skip

    def __init__(self, profile: Pop3ClientProfile) -> None:
        self._profile = profile
        self._lines = LineBuffer()
        self._out: list[bytes] = []
        self._events: deque[Pop3ClientEvent] = deque()
        self._step = Step.GREETING
        self._in_tls = profile.tls_active
        self._capabilities: set[str] = set()
        self._sizes: dict[int, int] = {}
        self._uids: dict[int, str] = {}
        self._content = DotReader()
        self._number = 0
        self._ended = self._is_over = False

    # ---- the interface of every session ----------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        if not data:
            self._ended = True
        elif not self._is_over:
            self._lines.append(data)

    def data_to_send(self) -> bytes:
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def next_event(self) -> Pop3ClientEvent | Wait:
        while True:
            if self._events:
                return self._events.popleft()
            if self._is_over:
                return Wait.CLOSED
            if self._step is Step.HANDSHAKE:
                if len(self._lines):
                    # An octet before the handshake was put there by somebody in between (RFC 2595 section 4).
                    self._end("the server sent octets in clear after its +OK to STLS: this may be an attack")
                    continue
                if not self._ended:
                    return Wait.NEED_TLS
            if not self._advance():
                if not self._ended:
                    return Wait.READY if self._step is Step.READY else Wait.NEED_DATA
                self._end("the server closed the connection")

    def timed_out(self) -> None:
        """The server has not answered within `patience_s`."""
        if not self._is_over:
            self._end(f"no answer to {self._step.value} within {self.patience_s:.0f} seconds")

    def tls_started(self, facts: TlsFacts) -> None:
        """What was learned in clear is forgotten (RFC 2595 section 4)."""
        assert self._step is Step.HANDSHAKE, "no handshake was asked for"
        self._lines.clear()
        self._capabilities.clear()
        self._in_tls = True
        self._log_in()

    @property
    def patience_s(self) -> float:
        if self._step is Step.HANDSHAKE:
            return TLS_HANDSHAKE_S
        if self._step is Step.QUIT:
            return CLIENT_QUIT_S
        return CLIENT_CONTENT_S if self._step is Step.CONTENT else CLIENT_COMMAND_S

    @property
    def buffered_bytes(self) -> int:
        return len(self._lines)

    # ---- what the outside does -------------------------------------------------------------------

    def retrieve(self, number: int) -> None:
        """MessageOctets come, then MessageEnded; or MessageRefused."""
        self._ask_about(number, Step.RETR)

    def delete(self, number: int) -> None:
        """MessageMarked or MessageRefused comes."""
        self._ask_about(number, Step.DELE)

    def quit(self) -> None:
        """Say goodbye, upon which the marked messages go; in the middle of anything the session just ends."""
        if self._is_over:
            return
        if self._step is Step.READY:
            self._send("QUIT", Step.QUIT)
        else:
            self._end("we gave the session up")

    def _ask_about(self, number: int, step: Step) -> None:
        assert self._step is Step.READY, "the session is not ready"
        self._number = number
        self._send(f"{step.value} {number}", step)

    # ---- lines -----------------------------------------------------------------------------------

    def _advance(self) -> bool:
        """Take what has come; False when more must come first."""
        if self._step is Step.CONTENT:
            return self._take_content()
        line = self._lines.take_line(POP3_REPLY_LINE_BYTES)
        if line is None:
            return False
        if isinstance(line, LineFault):
            self._end("the server sent a line that is too long")
        elif self._step in _LISTS:
            self._take_listed(line)
        else:
            self._take_status(line)
        return True

    def _take_status(self, line: bytes) -> None:
        text = printable(line.decode("utf-8", "replace"))
        is_ok = line[:3].upper() == b"+OK" and line[3:4] in (b"", b" ")
        if not is_ok and line[:4].upper() != b"-ERR":
            self._end(f"the server does not speak POP3: {text}")
            return
        step = self._step
        if step is Step.READY:
            self._end(f"the server spoke without being asked: {text}")
        elif is_ok:
            _TAKE_OK[step](self)
        elif step in (Step.RETR, Step.DELE):
            self._step = Step.READY
            self._events.append(MessageRefused(self._number, text))
        elif step is Step.CAPA:
            self._secure()  # RFC 2449 section 5: an older server
        elif step is Step.STLS and self._profile.tls is not TlsUse.REQUIRED:
            self._log_in()
        else:
            self._end(f"the server refused {step.value}: {text}")

    def _take_listed(self, line: bytes) -> None:
        """A line of a short list, bounded in number."""
        step = self._step
        if line == b".":
            _AFTER_LIST[step](self)
            return
        words = line[1:].split() if line[:1] == b"." else line.split()
        if step is Step.CAPABILITIES:
            if words and len(self._capabilities) < _CAPABILITIES:
                self._capabilities.add(words[0].decode("ascii", "replace").upper())
            return
        if len(words) < 2 or not words[0].isdigit() or len(words[0]) > _DIGITS:
            self._end(f"the server's answer to {step.value} is none")
            return
        number, word = int(words[0]), words[1]
        if step is Step.SIZES:
            if not word.isdigit() or len(word) > _DIGITS:
                self._end("the server gave a size that is no number")
            elif len(self._sizes) < PICKUP_MESSAGES:
                self._sizes[number] = int(word)
        elif not 1 <= len(word) <= UID_BYTES or not all(0x21 <= octet <= 0x7E for octet in word):
            self._end("the server gave a unique-id that is none (RFC 1939 section 7)")
        elif number in self._sizes:
            self._uids[number] = word.decode("ascii")

    def _take_content(self) -> bool:
        if not len(self._lines):
            return False
        data = self._content.feed(self._lines.take_all())
        if data:
            self._events.append(MessageOctets(data))
        if self._content.ended:
            self._lines.append(self._content.rest)
            self._step = Step.READY
            self._events.append(MessageEnded(self._number))
        return True

    # ---- the steps -------------------------------------------------------------------------------

    def _greeted(self) -> None:
        self._send("CAPA", Step.CAPA)

    def _capabilities_come(self) -> None:
        self._step = Step.CAPABILITIES

    def _secure(self) -> None:
        """STLS where it is wanted, and can be."""
        tls = self._profile.tls
        if self._in_tls or tls is TlsUse.NEVER:
            self._log_in()
        elif "STLS" in self._capabilities or tls is TlsUse.REQUIRED:
            self._send("STLS", Step.STLS)
        else:
            self._log_in()

    def _shake_hands(self) -> None:
        self._step = Step.HANDSHAKE

    def _log_in(self) -> None:
        profile = self._profile
        if not self._in_tls and not profile.plaintext_login_allowed:
            self._end("the connection has no TLS, so the password was not sent")
        elif not (_is_one_word(profile.user) and _is_one_line(profile.password)):
            self._end("the name or the password cannot be said in POP3")
        else:
            self._send(f"USER {profile.user}", Step.USER)

    def _say_password(self) -> None:
        self._send(f"PASS {self._profile.password}", Step.PASS)

    def _ask_sizes(self) -> None:
        self._send("LIST", Step.LIST)

    def _sizes_come(self) -> None:
        self._step = Step.SIZES

    def _ask_uids(self) -> None:
        self._send("UIDL", Step.UIDL)

    def _uids_come(self) -> None:
        self._step = Step.UIDS

    def _listed(self) -> None:
        self._step = Step.READY
        messages = tuple(Waiting(number, uid, self._sizes[number]) for number, uid in sorted(self._uids.items()))
        self._events.append(MaildropListed(messages))

    def _content_comes(self) -> None:
        self._content = DotReader()
        self._step = Step.CONTENT

    def _marked(self) -> None:
        self._step = Step.READY
        self._events.append(MessageMarked(self._number))

    def _goodbye(self) -> None:
        self._end("", committed=True)

    def _send(self, line: str, step: Step) -> None:
        self._out.append(line.encode() + b"\r\n")
        self._step = step

    def _end(self, reason: str, *, committed: bool = False) -> None:
        self._events.append(SessionEnded(reason, committed))
        self._is_over = True
        self._lines.clear()


_LISTS = (Step.CAPABILITIES, Step.SIZES, Step.UIDS)
_CAPABILITIES = 100
_DIGITS = 12

_TAKE_OK = {
    Step.GREETING: Pop3ClientSession._greeted,
    Step.CAPA: Pop3ClientSession._capabilities_come,
    Step.STLS: Pop3ClientSession._shake_hands,
    Step.USER: Pop3ClientSession._say_password,
    Step.PASS: Pop3ClientSession._ask_sizes,
    Step.LIST: Pop3ClientSession._sizes_come,
    Step.UIDL: Pop3ClientSession._uids_come,
    Step.RETR: Pop3ClientSession._content_comes,
    Step.DELE: Pop3ClientSession._marked,
    Step.QUIT: Pop3ClientSession._goodbye,
}
_AFTER_LIST = {
    Step.CAPABILITIES: Pop3ClientSession._secure,
    Step.SIZES: Pop3ClientSession._ask_uids,
    Step.UIDS: Pop3ClientSession._listed,
}


def _is_one_line(text: str) -> bool:
    return bool(text) and not any(c in text for c in "\r\n\0")


def _is_one_word(text: str) -> bool:
    return _is_one_line(text) and " " not in text
