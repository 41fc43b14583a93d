"""Clients that hand in numbered letters while servers are killed under them, and remember what they were told.

Every attempt has an id of its own, in the header field X-Attempt and in the Message-ID, and is made once: whoever
hears nothing goes on with the next letter. So each copy in a mailbox can be laid beside what its client knows.
"""

from __future__ import annotations

import contextlib
import poplib
import re
import smtplib
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.ports import pause
from tests.support.server import PASSWORD, Server

Door = Callable[[], smtplib.SMTP]
Letter = Callable[[str, int], tuple[tuple[str, ...], bytes]]
"""Gives recipients and content for an attempt's id and number."""

_FIELD = re.compile(rb"(?m)^X-Attempt: (\S+)\r?$")
_PATIENCE_S = 30.0


def unverified() -> ssl.SSLContext:
    """For servers with a certificate signed by themselves."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def as_a_server(address: str, port: int) -> Door:
    """Connect as other servers do."""
    return lambda: _greeted(smtplib.SMTP(address, port, local_hostname="client.example", timeout=_PATIENCE_S))


def as_a_user(address: str, port: int, account: str) -> Door:
    """Connect as a mail client does: TLS from the first octet, then the password."""

    def connect() -> smtplib.SMTP:
        client = smtplib.SMTP_SSL(
            address, port, local_hostname="client.example", timeout=_PATIENCE_S, context=unverified()
        )
        return _greeted(client, account)

    return connect


def _greeted(client: smtplib.SMTP, account: str = "") -> smtplib.SMTP:
    try:
        code, words = client.ehlo()
        if code != 250:
            raise smtplib.SMTPResponseException(code, words)
        if account:
            client.login(account, PASSWORD)
    except BaseException:
        client.close()
        raise
    return client


def letter_for(recipients: Sequence[str], *, large_every: int = 25) -> Letter:
    """Letters of 2 KiB to one recipient or two in turn; some are large enough to be kept in files of their own."""

    def write(name: str, number: int) -> tuple[tuple[str, ...], bytes]:
        chosen = tuple(recipients[(number + more) % len(recipients)] for more in range(1 + (number % 10 == 0)))
        octets = 100_000 if number % large_every == 0 else 2_000
        header = (
            f"From: ann@here.example\r\nX-Attempt: {name}\r\nMessage-ID: <{name}@client.example>\r\nSubject: {name}"
        )
        return tuple(dict.fromkeys(chosen)), header.encode() + b"\r\n\r\n" + _lines(octets)

    return write


def _lines(octets: int) -> bytes:
    return (b"It rains, and the post is on the road all the same.\r\n" * (octets // 53 + 1))[: octets // 53 * 53]


@dataclass
class Told:
    """What the clients know at the end: recipients by id, and the codes of refusals."""

    acknowledged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refused: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    unanswered: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        return len(self.acknowledged) + len(self.refused) + len(self.unanswered)


class Submitters:
    """One thread for each door; together they make `total` attempts, over connections that are used again.

    They go no further than `AHEAD` attempts beyond what was waited for last: there is traffic at the moment of every
    kill, and the letters are not all handed in while a server is down that they are not handed to."""

    AHEAD = 60

    def __init__(self, doors: Sequence[Door], letter: Letter, total: int, sender: str = "ann@here.example") -> None:
        self.told = Told()
        self._letter = letter
        self._total = total
        self._allowed = self.AHEAD
        self._sender = sender
        self._begun = 0
        self._failures: list[BaseException] = []
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._guarded, args=(door,), daemon=True) for door in doors]

    @contextlib.contextmanager
    def at_work(self, deadline_s: float = 100.0) -> Iterator[None]:
        """They begin with the block; after it they finish. Raises what went wrong in one of them."""
        for thread in self._threads:
            thread.start()
        yield
        self._allow(self._total)
        end = time.monotonic() + deadline_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
            assert not thread.is_alive(), "a client still waits"
        if self._failures:
            raise self._failures[0]

    def wait_until_begun(self, count: int, deadline_s: float = 60.0) -> None:
        """Returns when so many attempts were begun. Raises AssertionError when it takes too long."""
        self._allow(count + self.AHEAD)
        with self._changed:
            reached = self._changed.wait_for(lambda: self._begun >= count or self._failures, deadline_s)
        assert reached, f"only {self._begun} attempts of {count}"

    def _allow(self, count: int) -> None:
        with self._changed:
            self._allowed = max(self._allowed, count)
            self._changed.notify_all()

    def _guarded(self, door: Door) -> None:
        try:
            self._submit(door)
        except BaseException as failure:
            with self._changed:
                self._failures.append(failure)
                self._changed.notify_all()

    def _submit(self, door: Door) -> None:
        client: smtplib.SMTP | None = None
        while True:
            number = self._take_number()
            if number is None:
                break
            client = client or _connected(door)
            name = f"a{number:05d}"
            recipients, content = self._letter(name, number)
            code = _attempt(client, self._sender, recipients, content)
            with self._changed:
                if code == 250:
                    self.told.acknowledged[name] = recipients
                elif code:
                    self.told.refused[name] = (code, recipients)
                else:
                    self.told.unanswered[name] = recipients
            if code != 250:
                client.close()
                client = None
        if client is not None:
            client.close()

    def _is_over(self) -> bool:
        return self._begun >= self._total or bool(self._failures)

    def _take_number(self) -> int | None:
        with self._changed:
            free = self._changed.wait_for(lambda: self._begun < min(self._allowed, self._total) or self._is_over(), 60)
            assert free, "nobody lets the clients go on"
            if self._is_over():
                return None
            self._begun += 1
            self._changed.notify_all()
            return self._begun


def _connected(door: Door) -> smtplib.SMTP:
    """A connection that was greeted; asked for again while the server is down."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return door()
        except (OSError, smtplib.SMTPException):
            if time.monotonic() > end:
                raise
            pause()


def _attempt(client: smtplib.SMTP, sender: str, recipients: tuple[str, ...], content: bytes) -> int | None:
    """The code of the last reply; None when the connection ended before it came."""
    try:
        code = client.mail(sender)[0]
        for recipient in recipients:
            if code == 250:
                code = client.rcpt(recipient)[0]
        return client.data(content)[0] if code == 250 else code
    except smtplib.SMTPResponseException as refusal:
        return int(refusal.smtp_code) if refusal.smtp_code > 0 else None
    except (OSError, smtplib.SMTPException):
        return None


def fetched_ids(server: Server, user: str) -> Counter[str]:
    """How often each attempt's letter is in a mailbox, asked of POP3."""
    client = poplib.POP3(server.address, server.ports["pop3"], timeout=_PATIENCE_S)
    client.user(f"{user}@{server.domain}")
    client.pass_(PASSWORD)
    count, _ = client.stat()
    found: Counter[str] = Counter()
    for number in range(1, count + 1):
        header = b"\r\n".join(client.top(number, 0)[1])
        match = _FIELD.search(header)
        assert match is not None, header
        found[match[1].decode()] += 1
    client.quit()
    return found
