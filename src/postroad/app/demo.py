"""`postroad demo`: a small internet on this machine, and the whole road of a letter on it.

A name server and two mail servers, sender.example and recipient.example, on addresses of 127.0.0.0/8, with real
sockets and stores. ann and bob use Python's own smtplib and poplib, as any mail client would.
"""

from __future__ import annotations

import asyncio
import poplib
import smtplib
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

from postroad.app.assemble import Node, open_access
from postroad.app.certificate import ensure_certificate
from postroad.app.configuration import Configuration, parse
from postroad.app.errors import CannotServe
from postroad.app.folder import prepare
from postroad.app.listening import ACCESS_ROLES, bind_doors
from postroad.app.loop import run_in_loop
from postroad.app.passwords import readable_password
from postroad.app.speaking import Speaker
from postroad.app.stores import open_operator
from postroad.app.transport import open_transport
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary import zone
from postroad.world.dns_server import DnsServer

DEADLINE_S = 18.0
_LOOK_S = 0.05
_CLIENT_S = 5.0
_NAMESERVER = "127.0.0.53"
_SENDER = "127.0.0.2"
_RECIPIENT = "127.0.0.3"
_ANN = "ann@sender.example"
_BOB = "bob@recipient.example"
_NOBODY = "nobody@recipient.example"

_CONFIGURATION = """\
hostname = "mx.{domain}"
data = "{folder}/data"
[listen]
smtp = ["{address}:{smtp}"]
submission = ["{address}:{submission}"]
submissions = []
pop3 = []
pop3s = ["{address}:{pop3s}"]
[dns]
servers = ["{dns}"]
[delivery]
port = {smtp}                       # a remote MTA's port 25 needs rights that a demonstration does without
bind = ["{address}"]
private_destinations = "allow"      # the whole internet is on this machine
connection_idle_s = 1
[queue]
retry = ["1s", "1s", "2s"]
[limits]
exempt = ["127.0.0.0/8"]
sessions = 100
[policy]
reverse_dns = "off"                 # nobody has made reverse zones for 127.0.0.0/8
"""

Say = Callable[[str], None]
Tell = Callable[[PlainObject], Iterable[str]]


class NotArrived(Exception):
    """Something that had to happen did not, and within what time."""


@dataclass
class Town:
    """One mail server that can be switched on and off. `overheard` prints its conversations with other servers."""

    name: str
    configuration: Configuration
    overheard: Callable[[int, str, str], None]
    passwords: dict[str, str] = field(default_factory=dict)
    _running: AsyncExitStack | None = None
    _nodes: list[Node] = field(default_factory=list)

    async def settle(self, *people: str) -> None:
        """The data folder, the domain and its people."""
        prepare(self.configuration.data_folder)
        ensure_certificate(self.configuration)
        async with open_operator(self.configuration) as operator:
            await operator.perform("domain.add", {"domain": self.name})
            for address in people:
                self.passwords[address] = readable_password()
                await operator.perform("account.add", {"address": address, "password": self.passwords[address]})

    async def switch_on(self) -> None:
        doors = bind_doors(self.configuration.listeners(), 1)
        outside = tuple((door.role, door.sockets[0]) for door in doors if door.role not in ACCESS_ROLES)
        inside = tuple((door.role, door.sockets[0]) for door in doors if door.role in ACCESS_ROLES)
        speaker = Speaker(self.name)
        self._running = AsyncExitStack()
        transport = open_transport(
            self.configuration, name="t0", shards=(0,), doors=outside, speaker=speaker, listener=self.overheard
        )
        access = open_access(self.configuration, name="a0", doors=inside, speaker=speaker)
        self._nodes = [await self._running.enter_async_context(node) for node in (transport, access)]

    async def switch_off(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await running.aclose()

    async def ask(self, verb: str, **arguments: object) -> list[PlainObject]:
        return await self._nodes[0].performer.perform(verb, arguments)

    async def mailbox(self, address: str) -> list[PlainObject]:
        return await self.ask("mailbox.list", address=address)

    def trusted(self) -> ssl.SSLContext:
        """What a mail client of this server trusts: the certificate that the server made for itself."""
        return ssl.create_default_context(cafile=self.configuration.certificate_file)

    def port(self, role: str) -> tuple[str, int]:
        return next((one.address, one.port) for listener, one in self.configuration.listeners() if listener == role)


def demo(say: Say, tell: Tell) -> int:
    """Play it all. `say` prints a line, `tell` puts a step of a story into words. 0 if every letter arrived."""
    with tempfile.TemporaryDirectory(prefix="postroad-demo-") as folder:
        try:
            run_in_loop(_within_deadline(Path(folder), say, tell))
        except (NotArrived, CannotServe, OperationFailed, OSError, smtplib.SMTPException, poplib.error_proto) as error:
            say(f"\nNOT as it should be: {error}")
            return 1
    say("\nEvery letter arrived where it should.")
    return 0


async def _within_deadline(folder: Path, say: Say, tell: Tell) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            await _play(folder, say, tell)
    except TimeoutError:
        raise NotArrived(f"not done within {DEADLINE_S:.0f} s") from None


async def _play(folder: Path, say: Say, tell: Tell) -> None:
    port = _free_port(_SENDER, _RECIPIENT)
    names = DnsServer(_zones())
    resolver = await names.start(_NAMESERVER)

    def overheard(connection: int, who: str, line: str) -> None:
        say(f"    {who}: {line}")

    def town(name: str, address: str) -> Town:
        own = folder / name
        own.mkdir()
        ports = {"smtp": port, "submission": _free_port(address), "pop3s": _free_port(address)}
        text = _CONFIGURATION.format(domain=name, folder=own, address=address, dns=resolver, **ports)
        return Town(name, parse(text, own / "postroad.toml"), overheard)

    sender, recipient = town("sender.example", _SENDER), town("recipient.example", _RECIPIENT)
    await sender.settle(_ANN)
    await recipient.settle(_BOB)
    try:
        await sender.switch_on()
        await recipient.switch_on()
        say(f"A name server on {resolver}, mx.sender.example on {_SENDER} and mx.recipient.example on {_RECIPIENT}.")
        first = await _a_letter(sender, recipient, say)
        await _a_letter_to_nobody(sender, say)
        third = await _a_letter_to_a_sleeping_server(sender, recipient, say)
        await _bob_fetches(recipient, (first, third), say)
        await _the_story(sender, first, say, tell)
    finally:
        await sender.switch_off()
        await recipient.switch_off()
        await names.stop()


# ---- the scenes --------------------------------------------------------------------------------------


async def _a_letter(sender: Town, recipient: Town, say: Say) -> EmailMessage:
    say(f"\n1. {_ANN} writes to {_BOB}. Her server asks for the MX of recipient.example, and they talk:\n")
    letter = _letter(
        _BOB, "A first letter", "Dear Bob,\n\n.dots at the start of a line are safe, and so is the café.\n"
    )
    await _submit(sender, letter)
    await _wait_for(lambda: _has(recipient, _BOB, 1), "the first letter in bob's mailbox")
    return letter


async def _a_letter_to_nobody(sender: Town, say: Say) -> None:
    say(f"\n2. {_ANN} writes to {_NOBODY}, who does not exist:\n")
    await _submit(sender, _letter(_NOBODY, "Are you there?", "Hello?\n"))
    await _wait_for(lambda: _has(sender, _ANN, 1), "a report in ann's mailbox")
    (octets,) = await asyncio.to_thread(_fetch, sender, _ANN)
    report = message_from_bytes(octets)
    if _NOBODY.encode() not in octets or report.get_content_type() != "multipart/report":
        raise NotArrived("what ann got is no report on her letter to nobody")
    say(f"\n   ann fetches what came back, from {report['From']}, about: {report['Subject']}\n")
    words = report.get_payload(0)
    for line in str(words.get_payload() if isinstance(words, type(report)) else words).splitlines():
        say(f"    | {line}")


async def _a_letter_to_a_sleeping_server(sender: Town, recipient: Town, say: Say) -> EmailMessage:
    say("\n3. mx.recipient.example is switched off, and ann writes again:\n")
    await recipient.switch_off()
    letter = _letter(_BOB, "A letter that waits", "It keeps until you are back.\n")
    await _submit(sender, letter)
    await _wait_for(lambda: _was_tried(sender), "an attempt while the other server is off")
    for entry in await sender.ask("queue.list"):
        say(f"   {entry['queue_id']} waits in the queue, tried {entry['attempts']} times: {entry['last']}")
    say("\n   mx.recipient.example is switched on again, and the next attempt finds it:\n")
    await recipient.switch_on()
    await _wait_for(lambda: _has(recipient, _BOB, 2), "the letter that waited in bob's mailbox")
    return letter


async def _bob_fetches(recipient: Town, letters: tuple[EmailMessage, ...], say: Say) -> None:
    say(f"\n4. {_BOB} fetches his mail by POP3:\n")
    fetched = await asyncio.to_thread(_fetch, recipient, _BOB)
    for octets in fetched:
        message = message_from_bytes(octets)
        say(f"   {len(octets)} octets from {message['From']}: {message['Subject']}")
    for letter in letters:
        if sum(octets.endswith(_octets(letter)) for octets in fetched) != 1:
            raise NotArrived(f"{letter['Subject']!r} is not in bob's mailbox once, as it was sent")
    if len(fetched) != len(letters):
        raise NotArrived(f"bob has {len(fetched)} letters instead of {len(letters)}")


async def _the_story(sender: Town, letter: EmailMessage, say: Say, tell: Tell) -> None:
    say("\n5. The story of the first letter, as mx.sender.example tells it (postroad trace):\n")
    await sender.ask("ledger.flush")
    steps = await sender.ask("story.find", key=str(letter["Message-ID"]))
    if not steps:
        raise NotArrived("the first letter has no story")
    for step in steps:
        for line in tell(step):
            say(f"   {line}")


# ---- what ann and bob do -----------------------------------------------------------------------------


def _letter(to: str, subject: str, text: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = _ANN, to, subject
    letter["Date"] = "Mon, 23 Nov 2026 10:00:00 +0000"
    letter["Message-ID"] = f"<{subject.lower().replace(' ', '.').rstrip('?')}@sender.example>"
    letter.set_content(text)
    return letter


def _octets(letter: EmailMessage) -> bytes:
    return letter.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


async def _submit(town: Town, letter: EmailMessage) -> None:
    await asyncio.to_thread(_submit_by_smtplib, town, letter)


def _submit_by_smtplib(town: Town, letter: EmailMessage) -> None:
    with smtplib.SMTP(*town.port("submission"), local_hostname="laptop.sender.example", timeout=_CLIENT_S) as client:
        client.starttls(context=_without_names(town))
        client.login(_ANN, town.passwords[_ANN])
        client.sendmail(_ANN, [str(letter["To"])], _octets(letter))


def _fetch(town: Town, address: str) -> list[bytes]:
    host, port = town.port("pop3s")
    client = poplib.POP3_SSL(host, port, context=_without_names(town), timeout=_CLIENT_S)
    try:
        client.user(address)
        client.pass_(town.passwords[address])
        count, _ = client.stat()
        return [b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    finally:
        client.quit()


def _without_names(town: Town) -> ssl.SSLContext:
    """The certificate is checked; it does not name the address of 127.0.0.0/8 that we connect to."""
    context = town.trusted()
    context.check_hostname = False
    return context


# ---- waiting and looking -----------------------------------------------------------------------------


async def _wait_for(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Raises NotArrived. The whole play has a deadline; this says what it was waiting for."""
    try:
        while not await true():  # noqa: ASYNC110  the server owes nobody an event when a letter arrives
            await asyncio.sleep(_LOOK_S)
    except asyncio.CancelledError:
        raise NotArrived(f"waited in vain for {what}") from None


async def _has(town: Town, address: str, messages: int) -> bool:
    return len(await town.mailbox(address)) >= messages


async def _was_tried(town: Town) -> bool:
    entries = await town.ask("queue.list")
    return bool(entries) and all(entry["attempts"] > 0 for entry in entries)


def _zones() -> zone.Zones:
    return {
        "sender.example": [zone.mx("sender.example", 10, "mx.sender.example"), zone.a("mx.sender.example", _SENDER)],
        "recipient.example": [
            zone.mx("recipient.example", 10, "mx.recipient.example"),
            zone.a("mx.recipient.example", _RECIPIENT),
        ],
        "": [],
    }


def _free_port(*addresses: str) -> int:
    """A port that is free on all the addresses. Raises OSError when there is none after many tries."""
    for _ in range(100):
        with socket.socket() as first:
            first.bind((addresses[0], 0))
            port = int(first.getsockname()[1])
            try:
                for other in addresses[1:]:
                    with socket.socket() as probe:
                        probe.bind((other, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port is free on all of {', '.join(addresses)}")
